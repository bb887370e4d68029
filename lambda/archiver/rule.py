r"""The regular expression that takes the lines of one hour, and the template of their entries. Pure.

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
from archiver.format import AGENT, TARGETS, Format, Part
from archiver.kinds import ADDRESS, ADDRESSES, ANY, HOST, LIST, WORD, Kind
from archiver.parse import first
from archiver.times import TIMES, in_utc, local

NULL, VALUE, EITHER = "null", "value", "either"
# With EITHER each line ends so while it is looked at: a template can write only what the line has
SUFFIX = b'null"\n'
BEGINS = b'{"host":"'  # each entry
_NUMBERS = {INTEGER: rb"(?:0|[1-9]\d*+)", DECIMAL: rb"(?:0|[1-9]\d*+)(?:\.\d++)?"}
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
OTHERS = (
    # Nothing, or it begins with a byte that no method begins with
    Form(True, rb"((?:\\x(?:[01][0-9A-F]|22|5C|7F|[89A-F][0-9A-F])%(text)b)?+)", (0, 1, 0), 1),
    Form(True, rb"([A-Z]++) (/%(class)b*+(?:\\x(?!20)[0-9A-F]{2}%(class)b*+)*+)", (1, 2, 0), 2),
)


class Shape(NamedTuple):
    """What all lines of a block have in common. `no_request`: how an empty request shows, b"" without `$request`.

    `mark`: begins an entry until the block is done, where a line begins as entries do.
    """

    parts: tuple[Part, ...]
    behind: bytes
    fields: tuple[Field, ...]
    goes_on: bool
    escapes: bool
    mark: bytes
    no_request: bytes


class Clock(NamedTuple):
    """The times of one UTC hour: what they begin with, and the zone behind the minutes and seconds."""

    variable: str
    stem: bytes
    zone: bytes


class Rule(NamedTuple):
    hour: str
    line: re.Pattern[bytes]
    entry: bytes


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
        mark=b"\1" if parts[0].before.startswith(BEGINS) else b"",
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
    barred = b'"\\' + follows + (b"" if quoted else b" ") + {LIST: b",", HOST: b":"}.get(kind, b"")
    return b"[%b]" % re.escape(bytes(byte for byte in range(32, 127) if byte not in barred))


def _text(characters: bytes, form: Form, some: bool) -> bytes:
    """`some`: at least one."""
    if not form.escaped:
        return characters + (b"++" if some else b"*+")
    start = rb"(?=\\x|%b)" % characters if some else b""
    return rb"%b%b*+(?:\\x[0-9A-F]{2}%b*+)*+" % (start, characters, characters)


@lru_cache(maxsize=256)
def rule(shape: Shape, clock: Clock, form: Form, nulls: tuple[str, ...]) -> Rule:
    """For the lines of a shape in an hour; `nulls`: for each field, whether it is null in these lines."""
    there = dict.fromkeys((part.variable for part in shape.parts), b"")
    address, target = first(there, ADDRESSES)[0], first(there, TARGETS)[0]
    fields = {first(there, field.variables)[0]: (field, null) for field, null in zip(shape.fields, nulls, strict=True)}
    shapes = {"status": rb"[1-9]\d\d", address: ADDRESS, AGENT: b"%b"}
    if "request" not in there:
        shapes |= {"request_method": rb"[A-Z]++", target: rb"(?=/)%b", "server_protocol": rb"HTTP/\d\.\d"}
    end = SUFFIX if EITHER in nulls else b"\n"
    # A line's first `[time]` names the hour that it would be rejected to, so a value before it must not look like one
    bracketed = any(part.variable == clock.variable and part.before.endswith(b"[") for part in shape.parts)
    line, groups, closed = b"^", 0, False  # closed: the quote that follows is matched already
    shown: dict[str, bytes] = {}
    undecided: dict[int, tuple[str, bool]] = {}

    def group() -> bytes:
        nonlocal groups
        groups += 1
        return rb"\g<%d>" % groups

    for part, after in pairwise([*shape.parts, Part(shape.behind or end, "", ANY)]):
        name, kind, follows = part.variable, part.kind, after.before[:1]
        barred = follows + (b"[" if bracketed and clock.variable not in shown else b"")
        characters = _class(kind, part.quoted, barred)
        value = kind.shape
        if kind is LIST:
            value = rb"(?!:)%b(?! : |, )" % _text(characters, form, True)
        elif kind is HOST or value is None:
            value = _text(characters, form, kind is not WORD and not part.quoted)
        line += re.escape(part.before[closed:])
        closed = False
        if name == clock.variable:
            whole = len(clock.stem) == _UP_TO_HOUR[name]
            within = rb"[0-5]\d:[0-5]\d" if whole else rb"\d:[0-5]\d"
            line += rb"%b(%b)%b" % (re.escape(clock.stem), within, re.escape(clock.zone))
            shown[name] = group()
        elif name == "request":
            word = _class(ANY, False, barred)
            line += form.request % {b"word": _text(word, form, True), b"text": value, b"class": word}
            made = [b"", *(group() for _ in range(form.groups))]
            shown["request_method"], shown[target], shown["server_protocol"] = (made[at] for at in form.shown)
        elif name in shapes:
            line += b"(%b)" % shapes[name].replace(b"%b", value)
            shown[name] = group()
        elif name in fields:
            field, null = fields[name]
            nothing = rb"(?!)" if kind is _JSON_NUMBER else b"-?" if kind in (ANY, WORD) else b"-"
            stops = re.escape(end if after.before == end else follows)
            is_text = field.kind == TEXT
            given = b"(%b)" % (value if is_text else _NUMBERS[field.kind])
            if null == NULL:
                line += nothing
                shown[name] = b"null"
            elif null == VALUE:
                some = _text(characters, form, True) if kind in (ANY, WORD) else value
                line += rb"(?!-%b)(%b)" % (stops, some) if is_text else given  # no number looks like nothing
                shown[name] = b'"%b"' % group() if is_text else group()
            elif is_text and part.quoted:  # with its quotes
                line, closed = line[:-1] + rb'(?:"%b"|("%b"))' % (nothing, value), True
                shown[name] = group()
                undecided[groups] = name, False
            else:
                line += rb"(?:%b(?=%b)|%b)" % (nothing, stops, given)
                shown[name] = group()
                undecided[groups] = name, is_text
        else:
            line += value
    line += re.escape(shape.behind[closed:])
    if shape.goes_on:
        line += rb'(?: .*(?=null"\n))?+' if end == SUFFIX else rb"(?: .*+)?+"
    for number, (name, bare) in undecided.items():  # a value gets the quotes it lacks; no value, null
        line += rb"(?(%d)%b|(?=(null)))" % (number, rb'(?=null("))' if bare else b"")
        quote = group() if bare else b""
        shown[name] = quote + shown[name] + quote + group()
    hour, time = _first_of(clock)
    entry = b'%b%b%b","time":"%b%b.000Z","method":"%b","path":"%b","httpVersion":"%b","status":%b,"userAgent":"%b"' % (
        *(
            shape.mark,
            BEGINS,
            shown[address],
            time[: len("2020-04-18T01:") + len(clock.stem) - _UP_TO_HOUR[clock.variable]].encode(),
        ),
        *(shown[clock.variable], shown["request_method"], shown[target], shown["server_protocol"], shown["status"]),
        shown.get(AGENT, b""),
    )
    for field in shape.fields:
        entry += b',"%b":%b' % (field.name.encode(), shown.get(first(there, field.variables)[0], b"null"))
    return Rule(hour, re.compile(line + end, re.MULTILINE), entry + b"}\n")
