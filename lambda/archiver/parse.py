r"""A line of the log as an entry, and bytes as text that can be turned back. Pure.

nginx writes `"`, `\` and every byte outside 32–126 of a variable as `\xHH`. So in the combined format the first raw `"`
of a line starts the request, whatever a client put into its user name, and every quoted field ends at the next raw `"`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from json.encoder import encode_basestring
from typing import NamedTuple

from archiver.fields import DECIMAL, INTEGER, TEXT, Field
from archiver.format import AGENT, COMBINED, TARGETS, Format
from archiver.kinds import ADDRESS, ADDRESSES
from archiver.times import TIMES, moment_of

_ADDRESS = re.compile(ADDRESS)
_STATUS = re.compile(rb"\d{3}")
_TIMES = {name: re.compile(shape) for name, shape in TIMES.items()}
_NUMBERS = {INTEGER: re.compile(rb"\d++"), DECIMAL: re.compile(rb"\d++(?:\.\d++)?")}
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++) (.+) (HTTP/\d++\.\d++)", re.DOTALL)  # token: RFC 9110, 5.6.2
_SIMPLE_REQUEST = re.compile(rb"([A-Z]++) (/[^ ]*+)")  # HTTP/0.9 names no version
_NGINX_ESCAPE = re.compile(rb'\\(?:x([0-9A-Fa-f]{2})|(["\\]))')
# Only such a byte is shown by an escape, and the backslash that keeps another one from looking so
_LOOKS_ESCAPED = re.compile(rb"\\(?=x(?:[89A-F][0-9A-F]|5C))")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
# A byte that is no UTF-8 is decoded as one of these
_SHOWN = {0xDC00 + byte: f"\\x{byte:02X}" for byte in range(0x80, 0x100)}


class NotInFormatError(ValueError):
    """The line is not in its format; the message is the reason."""


class Entry(NamedTuple):
    """`hour` is the UTC hour of the line's own time as YYYY/MM/DD/HH, `text` the JSON with its newline."""

    hour: str
    text: bytes


def parse(line: bytes, format_: Format = COMBINED) -> Entry:
    """The entry of one log line (without newline). Raises NotInFormatError, and nothing else, for any other bytes.

    NULs before it are no part of it: a log has them where it was emptied under its writer, or where a crash cut it off.
    """
    found = format_.values(line.lstrip(b"\0"))
    if found is None:
        raise NotInFormatError(format_.problem if line else "empty line")
    time, written = first(found, TIMES)
    host, status = first(found, ADDRESSES)[1], found.get("status", b"")
    # what JSON has need not look like it
    if not (_TIMES[time].fullmatch(written) and _ADDRESS.fullmatch(host) and _STATUS.fullmatch(status)):
        raise NotInFormatError(format_.problem)
    moment = moment_of(time, written)
    if moment is None:
        raise NotInFormatError("no such time")

    def sent(value: bytes) -> bytes:
        return _unescape(value) if format_.line else value

    if "request" in found:
        method, path, version = _request(sent(found["request"]))
    else:
        values = (found.get("request_method", b""), first(found, TARGETS)[1], found.get("server_protocol", b""))
        method, path, version = ("" if value == b"-" else visible(sent(value)) for value in values)
    entry = {
        "host": host.decode(),
        "time": moment[1],
        "method": method,
        "path": path,
        "httpVersion": version,
        "status": int(status),
        "userAgent": visible(sent(found.get(AGENT, b""))),
    }
    more = (b',"%b":%b' % (each.name.encode(), _value(each, found, sent)) for each in format_.fields)
    return Entry(moment[0], b"%b%b}\n" % (_JSON(entry).encode()[:-1], b"".join(more)))


def first(found: Mapping[str, bytes], names: Iterable[str]) -> tuple[str, bytes]:
    """The first of the variables that is there, and its value; of none, the first one and nothing."""
    return next(((name, found[name]) for name in names if name in found), (next(iter(names)), b""))


def _value(field: Field, found: Mapping[str, bytes], sent: Callable[[bytes], bytes]) -> bytes:
    """As JSON; null for what is not there, and for what is no number where one belongs."""
    value = first(found, field.variables)[1]
    if value in (b"", b"-"):
        return b"null"
    if field.kind == TEXT:
        return quoted(visible(sent(value)))
    if not _NUMBERS[field.kind].fullmatch(value):
        return b"null"
    short = value.lstrip(b"0")
    return short if short[:1].isdigit() else b"0" + short


def rejected(raw: bytes, reason: str, generation: str | None, offset: int | None) -> bytes:
    """What is kept of bytes that are no entry: JSON with its newline, `raw` as `visible` shows it."""
    return b'{"reason":%b,"raw":%b,"generation":%b,"offset":%b}\n' % (
        *(quoted(reason), quoted(visible(raw))),
        *(b"null" if generation is None else quoted(generation), b"null" if offset is None else b"%d" % offset),
    )


def quoted(text: str) -> bytes:
    """The text as a JSON string, in UTF-8."""
    return encode_basestring(text).encode()


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
