"""The table of fields: what an entry may have behind its seven keys. Pure.

The order of the table is the order in the entry. Any other variable of the format may be a field, too, as text and
under its own name; these follow in the order in which they are asked for.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SEVEN = ("host", "time", "method", "path", "httpVersion", "status", "userAgent")
TEXT, INTEGER, DECIMAL = "text", "integer", "decimal"


class FormatError(ValueError):
    """The format, or a field of it, cannot be used; the message says why, and of which variable."""


class Field(NamedTuple):
    """`name`: the key in the entry. `variables`: of nginx; the first that a format has counts.

    `kind`: INTEGER and DECIMAL are JSON numbers. What a list may stand in (upstreams one after the other) is TEXT. `-`
    and nothing are null. `own`: the variable that the container's nginx logs, where it is not the first.
    """

    name: str
    variables: tuple[str, ...]
    kind: str = TEXT
    own: str = ""


TABLE = (
    Field("bytes", ("body_bytes_sent", "bytes_sent"), INTEGER),
    Field("referer", ("http_referer",)),
    Field("user", ("remote_user",)),
    Field("forwardedFor", ("http_x_forwarded_for", "proxy_add_x_forwarded_for")),
    Field("serverName", ("server_name", "host", "http_host"), own="host"),  # it serves any name, and has none itself
    Field("scheme", ("scheme",)),
    Field("requestLength", ("request_length",), INTEGER),
    Field("requestTime", ("request_time",), DECIMAL),
    Field("upstreamTime", ("upstream_response_time",)),
    Field("upstreamStatus", ("upstream_status",)),
    Field("requestId", ("request_id", "req_id")),
)
_BY_NAME = {field.name: field for field in TABLE}


def names(setting: str) -> tuple[str, ...]:
    """The names in a setting such as `bytes,referer`."""
    return tuple(name.strip() for name in setting.split(",") if name.strip())


def chosen(wanted: tuple[str, ...]) -> tuple[Field, ...]:
    """The fields of these names, in the order of an entry, each once. Raises FormatError."""
    others = dict.fromkeys(name for name in wanted if name not in _BY_NAME)
    for name in others:
        if name in SEVEN or not re.fullmatch(r"\w+", name, re.ASCII):
            raise FormatError(f"{name!r} can be no field: use {', '.join(_BY_NAME)}, or a variable's name")
    return (*(field for field in TABLE if field.name in wanted), *(Field(name, (name,)) for name in others))
