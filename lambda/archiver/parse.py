r"""A line of nginx's combined format as an entry, and bytes as text that can be turned back. Pure.

nginx writes `"`, `\` and every byte outside 32–126 of a variable as `\xHH`. So the first raw `"` of a line starts the
request, whatever a client put into its user name, and every quoted field ends at the next raw `"`.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from json.encoder import encode_basestring
from typing import NamedTuple

MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH = {name: number for number, name in enumerate(MONTHS, 1)}
_TIME = rb"\[(\d\d/(?:" + b"|".join(MONTHS) + rb")/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]"
# What an address, a host name or `unix:` may hold
ADDRESS = rb"[0-9A-Za-z.:%_-]++"
# The quantifiers are possessive (`++`, `*+`) and the time has a fixed width: a hostile line costs linear time.
_QUOTED = rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_LINE = re.compile(
    rb"(" + ADDRESS + rb') - ([^"]*) ' + _TIME + rb" " + _QUOTED + rb" (\d{3}) (?:\d++|-) " + _QUOTED + rb" " + _QUOTED,
    re.DOTALL,
)
_ANY_TIME = re.compile(_TIME)
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++) (.+) (HTTP/\d++\.\d++)", re.DOTALL)  # token: RFC 9110, 5.6.2
_SIMPLE_REQUEST = re.compile(rb"([A-Z]++) (/[^ ]*+)")  # HTTP/0.9 names no version
_NGINX_ESCAPE = re.compile(rb'\\(?:x([0-9A-Fa-f]{2})|(["\\]))')
# Only such a byte is shown by an escape, and the backslash that keeps another one from looking so
_LOOKS_ESCAPED = re.compile(rb"\\(?=x(?:[89A-F][0-9A-F]|5C))")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# A byte that is no UTF-8 is decoded as one of these
_SHOWN = {0xDC00 + byte: f"\\x{byte:02X}" for byte in range(0x80, 0x100)}


class NotCombinedError(ValueError):
    """The line is not in the combined format; the message is the reason."""


class Entry(NamedTuple):
    """`hour` is the UTC hour of the line's own time as YYYY/MM/DD/HH, `text` the JSON with its newline."""

    hour: str
    text: bytes


def parse(line: bytes) -> Entry:
    """The entry of one log line (without newline). Raises NotCombinedError, and nothing else, for any other bytes.

    NULs before it are no part of it: a log has them where it was emptied under its writer, or where a crash cut it off.
    """
    match = _LINE.fullmatch(line.lstrip(b"\0"))
    if match is None:
        raise NotCombinedError("not in the combined format" if line else "empty line")
    host, _user, written, request, status, _referer, agent = match.groups()
    moment = in_utc(written)
    if moment is None:
        raise NotCombinedError("no such time")
    hour, time = moment
    method, path, version = _request(_unescape(request))
    entry = {
        "host": host.decode(),
        "time": time,
        "method": method,
        "path": path,
        "httpVersion": version,
        "status": int(status),
        "userAgent": visible(_unescape(agent)),
    }
    return Entry(hour, _JSON(entry).encode() + b"\n")


def rejected(raw: bytes, reason: str, generation: str | None, offset: int | None) -> bytes:
    """What is kept of bytes that are no entry: JSON with its newline, `raw` as `visible` shows it."""
    return b'{"reason":%b,"raw":%b,"generation":%b,"offset":%b}\n' % (
        *(quoted(reason), quoted(visible(raw))),
        *(b"null" if generation is None else quoted(generation), b"null" if offset is None else b"%d" % offset),
    )


def quoted(text: str) -> bytes:
    """The text as a JSON string, in UTF-8."""
    return encode_basestring(text).encode()


def readable_hour(line: bytes) -> str | None:
    """The UTC hour of the first valid `[time]` in the line, if there is any."""
    for match in _ANY_TIME.finditer(line):
        moment = in_utc(match[1])
        if moment:
            return moment[0]
    return None


def hour_of(seconds: float) -> str:
    """The UTC hour of a Unix time as YYYY/MM/DD/HH."""
    return _hour(datetime.fromtimestamp(seconds, UTC))


def visible(data: bytes) -> str:
    r"""Bytes as text that shows all of them: UTF-8 where it is valid, `\xHH` for the other bytes.

    A backslash that would make text look like one, `\x80` to `\xFF` or `\x5C`, becomes `\x5C`; so replacing these by
    their bytes gives the original.
    """
    if b"\\x" in data:
        data = _LOOKS_ESCAPED.sub(rb"\\x5C", data)
    if data.isascii():
        return data.decode("ascii")
    return data.decode("utf-8", "surrogateescape").translate(_SHOWN)


def _unescape(field: bytes) -> bytes:
    if b"\\" not in field:
        return field
    return _NGINX_ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()) if match[1] else match[2], field)


def _request(request: bytes) -> tuple[str, str, str]:
    """Method, target and version; anything but a request line (TLS bytes, nothing) is all path."""
    match = _REQUEST.fullmatch(request)
    if match:
        return visible(match[1]), visible(match[2]), visible(match[3])
    match = _SIMPLE_REQUEST.fullmatch(request)
    if match:
        return visible(match[1]), visible(match[2]), ""
    return "", visible(request), ""


@lru_cache(maxsize=1024)  # the lines of one second share their time
def in_utc(written: bytes) -> tuple[str, str] | None:
    """`17/Apr/2020:16:00:00 +0900` as (hour, ISO time) in UTC; None when there is no such time."""
    minutes = int(written[22:24]) * 60 + int(written[24:26])
    try:
        moment = datetime(
            int(written[7:11]),
            _MONTH[written[3:6]],
            int(written[:2]),
            int(written[12:14]),
            int(written[15:17]),
            int(written[18:20]),
            tzinfo=timezone(timedelta(minutes=minutes if written[21:22] == b"+" else -minutes)),
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return _hour(moment), f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def _hour(moment: datetime) -> str:
    return f"{moment.year:04}/{moment:%m/%d/%H}"
