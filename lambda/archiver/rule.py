r"""The regular expression that takes the lines of one hour, and their entries from its groups. Pure.

It takes a part of the lines that the format has, and makes of them what `parse` makes: a format's line can be read in
one way only, so an expression with fewer characters for each variable cannot read it in another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from archiver.fields import DECIMAL, INTEGER, TEXT, Field
from archiver.format import AGENT, TARGETS, Format
from archiver.kinds import ADDRESS, ADDRESSES, ANY, HOST, LIST, PORT, PROTOCOL, WORD, Kind, Part
from archiver.parse import first
from archiver.times import TIMES, in_utc, local

# Most durations begin so: what is tried first costs least
_NUMBERS = {INTEGER: rb"(?:0|[1-9]\d*+)", DECIMAL: rb"(?:0\.\d++|[1-9]\d*+(?:\.\d++)?|0)"}
_MAY_BE_EMPTY = (ANY, WORD, HOST, PORT, PROTOCOL)
_JSON_NUMBER = Kind("number", frozenset(), _NUMBERS[DECIMAL])
_SPACE = rb"[ \t\r]*+"
_MEMBER = re.compile(rb'%b[{,]%b"([\w@.-]++)"%b:%b(?:"([ !#-\[\]-~]*+)"|(%b))' % (*(_SPACE,) * 4, _NUMBERS[DECIMAL]))
_ENDS = re.compile(rb"%b\}%b" % (_SPACE, _SPACE))
_UP_TO_HOUR = {"time_local": len("18/Apr/2020:01:"), "time_iso8601": len("2020-04-18T01:")}


class Form(NamedTuple):
    """A kind of line: whether it may have nginx's escapes, what its request is (`%b`: a word, a text), and method, path
    and version in the entry by the groups of that. `groups`: how many it has."""

    escaped: bool
    request: bytes
    shown: tuple[int, int, int] = (1, 2, 3)
    groups: int = 3


_REQUEST = rb"([A-Z]++) (%(word)b) (HTTP/\d\.\d)"
PLAIN = Form(False, _REQUEST)
ESCAPED = Form(True, _REQUEST)
# Before 3.11.5 Python may go on in the middle of a possessive group that did not match (CPython gh-106052), unless that
# begins with single characters, each written once
OTHERS = (
    # Nothing, or it begins with a byte that no method begins with
    Form(True, rb"((?:\\x(?:[01][0-9A-F]|22|5C|7F|[89A-F][0-9A-F])%(text)b)?)", (0, 1, 0), 1),
    Form(True, rb"([A-Z]++) (/%(class)b*+(?:\\x(?!20)[0-9A-F]{2}%(class)b*+)*)", (1, 2, 0), 2),
)


class Shape(NamedTuple):
    """What all lines of a block have in common. `no_request`: how an empty request shows, b"" without `$request`."""

    parts: tuple[Part, ...]
    behind: bytes
    fields: tuple[Field, ...]
    goes_on: bool
    escapes: bool
    no_request: bytes


class Clock(NamedTuple):
    """The times of one UTC hour: what they begin with, and the zone behind the minutes and seconds."""

    variable: str
    stem: bytes
    zone: bytes


class Column(NamedTuple):
    """What an entry has before a group of the expression; the quote around it, if any; and what is null instead."""

    before: bytes
    group: int
    quote: bytes = b""
    nulls: tuple[bytes, ...] = ()


class Rule(NamedTuple):
    """`line` splits lines into what is not taken and its groups, in turn. `end`: behind the last column."""

    hour: str
    line: re.Pattern[bytes]
    columns: tuple[Column, ...]
    end: bytes

    def entries(self, found: list[bytes]) -> bytes:
        """Those of a split's lines. A column of a list costs less than a group of a template."""
        step = self.line.groups + 1
        total = len(found) // step
        row: list[bytes] = []
        shown: list[list[bytes]] = []
        before = b""
        for literal, group, quote, nulls in self.columns:
            values = found[group::step]
            before += literal
            count = sum(map(values.count, nulls))
            if count == total:
                before += b"null"
                continue
            if count:
                values = [b"null" if value in nulls else quote + value + quote for value in values]
                quote = b""
            row += (before + quote, b"")
            shown.append(values)
            before = quote
        row.append(before + self.end)
        pieces = row * total
        for at, values in enumerate(shown):
            pieces[2 * at + 1 :: len(row)] = values
        return b"".join(pieces)


def shape_of(line: bytes, format_: Format) -> Shape | None:
    """That of the format; of JSON, that of this line. None where the parser has to do it."""
    parts, behind = format_.parts, format_.behind
    if format_.tail:
        joint = format_.tail[0]._replace(before=behind + format_.tail[0].before)
        parts, behind = (*parts, joint, *format_.tail[1:]), format_.end
    if format_.line is None:
        parts, behind = _members(line, format_.keys)
    there = dict.fromkeys((part.variable for part in parts), b"")
    seven = {first(there, names)[0] for names in (ADDRESSES, TIMES, TARGETS)}
    seven |= {"request", "request_method", "server_protocol", "status", AGENT}
    if not parts or any(first(there, field.variables)[0] in seven for field in format_.fields):
        return None
    around = pairwise([*parts, Part(behind, "", ANY)])
    no_request = [part.before[-3:] + after.before[:2] for part, after in around if part.variable == "request"]
    return Shape(
        parts=parts,
        behind=behind,
        fields=format_.fields,
        goes_on=format_.goes_on and not format_.tail,
        escapes=format_.line is not None,
        no_request=no_request[0] if no_request and format_.line else b"",
    )


def _members(line: bytes, keys: Mapping[str, str] | None) -> tuple[tuple[Part, ...], bytes]:
    """A JSON line of plain texts and numbers as the parts of a format; none of another one."""
    parts: dict[str, Part] = {}
    at, before = 0, b""
    while match := _MEMBER.match(line, at):
        key, text = match[1].decode(), match[2] is not None
        variable = key if keys is None else keys.get(key, "")
        before += line[at : match.start(2 if text else 3)]
        parts[key] = Part(before, variable, ANY if text else _JSON_NUMBER, text)
        before, at = (b'"' if text else b""), match.end()
    end = _ENDS.fullmatch(line, at)
    return ((*parts.values(),), before + end[0]) if end else ((), b"")


def clock_of(values: Mapping[str, bytes]) -> Clock | None:
    """The hour of a line's time; None when there is no such time, or one in seconds."""
    variable, written = first(values, TIMES)
    if variable == "msec" or not re.fullmatch(TIMES[variable], written):
        return None
    as_local = written if variable == "time_local" else local(written)
    if in_utc(as_local) is None or not as_local.endswith(b"0"):
        return None
    # In a zone that is not a whole number of hours away from UTC, only ten minutes stay together
    stem = _UP_TO_HOUR[variable] + (not as_local.endswith(b"00"))
    return Clock(variable, written[:stem], written[_UP_TO_HOUR[variable] + len("59:59") :])


def _first_of(clock: Clock) -> tuple[str, str]:
    """The hour and the first time of it, as `in_utc` has them."""
    written = clock.stem + b"00:00"[len(clock.stem) - _UP_TO_HOUR[clock.variable] :] + clock.zone
    return in_utc(written if clock.variable == "time_local" else local(written)) or ("", "")


def _class(kind: Kind, quoted: bool, follows: bytes) -> bytes:
    """The characters of a value that is followed by this one."""
    barred = b'"\\' + follows + (b"" if quoted else b" ") + {LIST: b",", HOST: b":["}.get(kind, b"")
    return b"[%b]" % re.escape(bytes(byte for byte in range(32, 127) if byte not in barred))


def _text(characters: bytes, form: Form, some: bool) -> bytes:
    """`some`: at least one."""
    if not form.escaped:
        return characters + (b"++" if some else b"*+")
    start = rb"(?=\\x|%b)" % characters if some else b""
    return rb"%b%b*+(?:\\x[0-9A-F][0-9A-F]%b*+)*+" % (start, characters, characters)


@lru_cache(maxsize=256)
def rule(shape: Shape, clock: Clock, form: Form) -> Rule:
    """For the lines of a shape in an hour."""
    there = dict.fromkeys((part.variable for part in shape.parts), b"")
    address, target = first(there, ADDRESSES)[0], first(there, TARGETS)[0]
    fields = [(field, first(there, field.variables)[0]) for field in shape.fields]
    shapes = {"status": rb"[1-9]\d\d", address: b"%b", AGENT: b"%b"}
    if "request" not in there:
        shapes |= {"request_method": rb"[A-Z]++", target: rb"(?=/)%b", "server_protocol": rb"HTTP/\d\.\d"}
    numbers = {name: _NUMBERS[field.kind] for field, name in fields if field.kind != TEXT}
    shapes |= {name: b"%b" for _, name in fields}
    # A line's first `[time]` names the hour that it would be rejected to, so a value before it must not look like one
    bracketed = any(part.variable == clock.variable and part.before.endswith(b"[") for part in shape.parts)
    line, count = b"^", 0
    groups: dict[str, int] = {}
    nulls: dict[str, tuple[bytes, ...]] = {}
    for part, after in pairwise([*shape.parts, Part(shape.behind or b"\n", "", ANY)]):
        name, kind, follows = part.variable, part.kind, after.before[:1]
        barred = follows + (b"[" if bracketed and clock.variable not in groups else b"")
        characters = _class(kind, part.quoted, barred)
        nulls[name] = () if kind is _JSON_NUMBER else (b"-", b"") if kind in _MAY_BE_EMPTY else (b"-",)
        value = kind.shape or (ADDRESS if name == address else None)
        if kind is LIST:
            value = rb"(?!:)%b(?! : |, )" % _text(characters, form, True)
        elif kind is HOST or value is None:
            value = _text(characters, form, kind is not WORD and not part.quoted)
        line += re.escape(part.before)
        if name == clock.variable:
            whole = len(clock.stem) == _UP_TO_HOUR[name]
            within = rb"[0-5]\d:[0-5]\d" if whole else rb"\d:[0-5]\d"
            line += rb"%b(%b)%b" % (re.escape(clock.stem), within, re.escape(clock.zone))
        elif name == "request":
            word = _class(ANY, False, barred)
            line += form.request % {b"word": _text(word, form, True), b"text": value, b"class": word}
            for key, at in zip(("request_method", target, "server_protocol"), form.shown, strict=True):
                groups[key] = count + at if at else 0
            count += form.groups
            continue
        elif name in numbers:
            line += b"(%b)" % b"|".join((numbers[name], *nulls[name]))
        elif name in shapes:
            line += b"(%b)" % shapes[name].replace(b"%b", value)
        else:
            line += value
            continue
        count += 1
        groups[name] = count
    line += re.escape(shape.behind) + (rb"(?: .*+)?+" if shape.goes_on else b"") + b"\n"
    hour, time = _first_of(clock)
    day = time[: len("2020-04-18T01:") + len(clock.stem) - _UP_TO_HOUR[clock.variable]].encode()
    seven = (
        *((b'{"host":"', address), (b'","time":"' + day, clock.variable), (b'.000Z","method":"', "request_method")),
        *((b'","path":"', target), (b'","httpVersion":"', "server_protocol")),
        *((b'","status":', "status"), (b',"userAgent":"', AGENT)),
    )
    columns: list[Column] = []
    passed = b""  # what no group follows
    for before, name in seven:
        passed += before
        if groups.get(name):
            columns.append(Column(passed, groups[name]))
            passed = b""
    passed += b'"'
    for field, name in fields:
        passed += b',"%b":' % field.name.encode()
        if name in groups:
            columns.append(Column(passed, groups[name], b'"' if field.kind == TEXT else b"", nulls[name]))
            passed = b""
        else:
            passed += b"null"
    return Rule(hour, re.compile(line, re.MULTILINE), tuple(columns), passed + b"}\n")
