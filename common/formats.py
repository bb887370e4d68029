"""The formats of a log, by the function's own code."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "lambda"))
from archiver.fields import FormatError, names
from archiver.format import JSON, NAMED, Format, compiled, own_format
from archiver.parse import NotInFormatError, parse
from common.delivery import Delivery

__all__ = ["JSON", "NAMED", "Format", "FormatError", "check_format", "format_of", "log_format", "takes"]

DEFAULT = "combined"
TIME = "[$time_local]"


def format_of(text: str, fields: str) -> Format:
    """The format of ACCESS_LOG_FORMAT and FIELDS. Raises FormatError."""
    return compiled(text, names(fields))


def takes(line: bytes, format_: Format) -> bool:
    """Whether the line becomes an entry, and is not rejected."""
    try:
        parse(line, format_)
    except NotInFormatError:
        return False
    return True


def log_format(fields: str) -> str:
    """What the container's nginx logs, as a log_format of its own. Raises FormatError."""
    return own_format(names(fields))


def check_format(text: str, fields: str, owns_log: bool, delivery: Delivery) -> None:
    """Raise ValueError where lines could not be read, or not be sent. `owns_log`: it is the appliance's own."""
    given = {"ACCESS_LOG_FORMAT": text, "FIELDS": fields}
    said = " and ".join(f"{name}={value!r}" for name, value in given.items() if value not in ("", DEFAULT))
    try:
        format_of(text, fields)
    except FormatError as error:
        raise ValueError(f"{said}: {error}") from None
    if owns_log and text != DEFAULT:
        raise ValueError(f"{said}: the appliance's own nginx logs in {DEFAULT}, to which FIELDS adds; leave it out")
    if not delivery.has_ledger and (fields or TIME not in NAMED.get(text, text)):
        # a record of such a delivery holds one hour, by this time alone, and so much that its entries fit the answer
        raise ValueError(
            f"{said}: {delivery.title} takes lines with {TIME} only, and entries without FIELDS. "
            "Mend it with: -e DELIVERY=kinesis"
        )
