"""The formats of a log, by the function's own code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common.together import COMBINED
from common.values import networks

sys.path.append(str(Path(__file__).resolve().parents[1] / "lambda"))
from archiver import kept
from archiver.fields import SEVEN as SEVEN
from archiver.fields import FormatError as FormatError
from archiver.fields import names
from archiver.format import JSON as JSON
from archiver.format import NAMED as NAMED
from archiver.format import Format as Format
from archiver.format import compiled, own_format
from archiver.parse import NotInFormatError, parse

if TYPE_CHECKING:
    from common.settings import Settings

TIME = "[$time_local]"


def format_of(text: str, fields: str) -> Format:
    """The format of ACCESS_LOG_FORMAT and FIELDS. Raises FormatError."""
    return compiled(text, names(fields))


def entry(line: bytes, format_: Format) -> bytes:
    """The entry that the line becomes; empty: it is rejected."""
    try:
        return parse(line, format_).text
    except NotInFormatError:
        return b""


def variables(settings: Settings) -> dict[str, str]:
    """What the function has in its environment of how lines are read, and what is kept of them.

    Of the appliance's own log nginx has left out before what is to be left out.
    """
    given = {"ACCESS_LOG_FORMAT": settings.access_log_format, "FIELDS": settings.fields}
    if not settings.owns_log:
        given["TRUSTED_PROXIES"] = ",".join(map(str, networks(settings.trusted_proxies)))
        given["ANONYMIZE_IP"] = "1" if settings.anonymize_ip else ""
        given |= {"DROP_QUERY": settings.drop_query, "LOG_SKIP": settings.log_skip}
    return {name: value for name, value in given.items() if value not in ("", COMBINED)}


def function_format(settings: Settings) -> Format:
    """The format by which the function, with these variables, makes entries of lines. Raises FormatError."""
    return kept.format_of(variables(settings))


def log_format(fields: str) -> str:
    """What the container's nginx logs, as a log_format of its own. Raises FormatError."""
    return own_format(names(fields))


def check_format(settings: Settings) -> None:
    """Raise ValueError where lines could not be read, or not be sent."""
    text, fields, delivery = settings.access_log_format, settings.fields, settings.delivery
    said = " and ".join(f"{name}={value!r}" for name, value in variables(settings).items())
    try:
        function_format(settings)
    except ValueError as error:  # FormatError, or bytes that are no UTF-8
        raise ValueError(f"{said}: {error}") from None
    if settings.owns_log and text != COMBINED:
        raise ValueError(f"{said}: the appliance's own nginx logs in {COMBINED}, to which FIELDS adds; leave it out")
    if not delivery.has_ledger and (fields or TIME not in NAMED.get(text, text)):
        # a record of such a delivery holds one hour, by this time alone, and so much that its entries fit the answer
        raise ValueError(
            f"{said}: {delivery.title} takes lines with {TIME} only, and entries without FIELDS. "
            "Mend it with: -e DELIVERY=kinesis"
        )
