r"""What a line of the log is made of: a named format, or any `log_format` string of nginx's, taken apart. Pure.

A format is literals with variables between. nginx escapes `"`, `\`, control characters and bytes beyond ASCII in what a
variable holds, so such a character of a literal ends whatever stands before it, and cuts the line into stretches. In a
stretch at most one variable may hold anything (what a client sent); those on its left must end at a character that they
cannot hold, those on its right begin behind one. Then a line can be read in one way only. A format that leaves a choice
is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from archiver.fields import TABLE, TEXT, Field, FormatError, chosen
from archiver.json_line import members
from archiver.kinds import (
    ADDRESSES,
    ANY,
    EMPTY_AT_TIMES,
    HOST,
    LIST,
    NUMBERS,
    PORT,
    PRINTABLE,
    PROTOCOL,
    UNKNOWN,
    WORD,
    Part,
    alike,
    kind_of,
    lists_of,
)
from archiver.times import TIMES

if TYPE_CHECKING:
    from archiver.kept import Kept

_COMMON = '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent'
_COMBINED = _COMMON + ' "$http_referer" "$http_user_agent"'
NAMED = {
    "combined": _COMBINED,
    "main": _COMBINED + ' "$http_x_forwarded_for"',
    "common": _COMMON,
    "vhost_combined": "$host:$server_port " + _COMBINED,
}
JSON = "json"
# What the target of a request is taken from: the first that a format has
TARGETS = ("request_uri", "uri", "document_uri")
AGENT = "http_user_agent"

# As nginx's configuration has it: strings that belong together; in double quotes they could be a format, too
_ONE, _TWO = r"'((?:[^'\\]|\\.)*)'", r'"((?:[^"\\]|\\.)*)"'
_DIRECTIVE = re.compile(
    rf"\s*(log_format\s+\S+\s+)?(escape=\w+\s+)?((?:\s*(?:{_ONE}|(?(1){_TWO}|(?!))))+)\s*;?\s*", re.DOTALL
)
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)


@dataclass(frozen=True, eq=False)
class Format:
    """Of text: `parts`, and what stands `behind` the last one. Of JSON (`line` is None): `keys`, the variable of each
    key; None where a key is called like its variable.

    `lists`: those that have to be alike. `tail`, `end`: what the container's own log has behind the combined format; a
    line may lack it. `goes_on`: anything may follow, after a space. `kept`: what is changed in its entries.
    """

    name: str
    fields: tuple[Field, ...]
    line: re.Pattern[bytes] | None
    parts: tuple[Part, ...] = ()
    behind: bytes = b""
    keys: Mapping[str, str] | None = None
    goes_on: bool = False
    lists: tuple[str, ...] = ()
    tail: tuple[Part, ...] = ()
    end: bytes = b""
    rest: re.Pattern[bytes] | None = None
    kept: Kept | None = None

    def values(self, line: bytes) -> dict[str, bytes] | None:
        """The variables of a line, as they are written; those of JSON, as they were sent. None: not in this format."""
        if self.line is None:
            return members(line, self.keys)
        match = self.line.fullmatch(line)
        if match is None:
            return None
        found = {part.variable: value for part, value in zip(self.parts, match.groups(), strict=False)}
        if self.lists and not alike([found[name] for name in self.lists]):
            return None
        rest = self.rest.fullmatch(match[len(self.parts) + 1] or b"") if self.rest else None
        if rest:
            found |= {part.variable: value for part, value in zip(self.tail, rest.groups(), strict=True)}
        return found

    @property
    def problem(self) -> str:
        """Why a line is rejected."""
        return f"not in the {self.name} format" if self.name else "not in the format of ACCESS_LOG_FORMAT"


@lru_cache(maxsize=64)
def compiled(text: str = "combined", fields: tuple[str, ...] = ()) -> Format:
    """The format of a name, of `json:{"key":"variable",...}`, or of a log_format string. Raises FormatError.

    `fields`: the names of those that its entries are to have.
    """
    if directive := _DIRECTIVE.fullmatch(text):
        text = (directive[2] or "") + "".join(map("".join, re.findall(f"{_ONE}|{_TWO}", directive[3], re.DOTALL)))
    escape = re.match(r"escape=(\w*)\s+|", text)
    source = text[escape.end() :] if escape else text
    if escape and escape[1] not in (None, "default", "json"):
        raise FormatError(f"with escape={escape[1]} a client could write what it likes; log with escape=default")
    if text == JSON or text.startswith(f"{JSON}:") or (escape and escape[1] == JSON):
        return _json(source, fields)
    if text not in NAMED and "$" not in text:
        raise FormatError(f"use {', '.join((*NAMED, JSON))}, or a log_format of nginx's")
    parts, behind = _parts(NAMED.get(text, source))
    there = {part.variable for part in parts}
    _check_needs(there)
    goes_on = text == "combined"
    own = [field for field in chosen(fields) if not there.intersection(field.variables)]
    for field in own:
        if not goes_on or field not in TABLE:
            raise FormatError(f"the field {field.name} needs ${field.variables[0]}, which the format lacks")
    tail, end = _parts(_pairs(own)) if own else ((), b"")
    return Format(
        name=text if text in NAMED else "",
        fields=chosen(fields),
        line=re.compile(_expression(parts, behind) + (rb"( .*)?+" if goes_on else b""), re.DOTALL),
        parts=parts,
        behind=behind,
        goes_on=goes_on,
        lists=lists_of(parts),
        tail=tail,
        end=end,
        rest=re.compile(_expression(tail, end), re.DOTALL) if tail else None,
    )


def own_format(fields: tuple[str, ...]) -> str:
    """The log_format string of the container's nginx: combined, then the fields that it lacks, each with its name."""
    has = {part.variable for part in _parts(_COMBINED)[0]}
    return _COMBINED + _pairs([field for field in chosen(fields) if not has.intersection(field.variables)])


def _pairs(own: list[Field]) -> str:
    """Numbers bare, text in quotes, which no value can end."""
    return "".join(
        f' {field.name}="${variable}"' if field.kind == TEXT else f" {field.name}=${variable}"
        for field, variable in ((field, field.own or field.variables[0]) for field in own)
    )


def _check_needs(there: set[str], how: str = "") -> None:
    """Raise FormatError when one of the seven keys cannot be had from these variables. A user agent may be missing."""
    for names in (ADDRESSES, tuple(TIMES), ("status",)):
        if not there.intersection(names):
            raise FormatError(f"it lacks ${' or $'.join(names)}{how}")
    whole = {"request_method", "server_protocol"} <= there and there.intersection(TARGETS)
    if "request" not in there and not whole:
        raise FormatError(f"it lacks $request, or $request_method, $request_uri and $server_protocol{how}")


def _parts(text: str) -> tuple[tuple[Part, ...], bytes]:
    """The parts of a log_format string, and what stands behind the last one. Raises FormatError."""
    text = text.replace(r"\t", "\t").replace(r"\"", '"').replace(r"\'", "'")
    pieces = _VARIABLE.split(text)
    literals = [piece.encode() for piece in pieces[::3]]
    names = [bare or braced for bare, braced in zip(pieces[1::3], pieces[2::3], strict=True)]
    for literal in literals:
        if b"$" in literal or b"\\" in literal or b"\n" in literal:
            raise FormatError(f"{literal.decode()!r} of it can be no part of a line")
    for one, literal, other in zip(names, literals[1:], names[1:], strict=False):
        if not literal:
            raise FormatError(f"nothing separates ${one} from ${other}")
    parts = [
        Part(before, name, kind_of(name, after), _quoted(before, after))
        for before, name, after in zip(literals, names, literals[1:], strict=False)
    ]
    settled: list[Part] = []
    for stretch in _stretches(parts):
        settled += _settled(stretch, literals[len(settled) + len(stretch)] or b"\n")
    return tuple(settled), literals[-1]


def _quoted(before: bytes, after: bytes) -> bool:
    return before.endswith(b'"') and after.startswith(b'"')


def _ends_stretch(byte: int) -> bool:
    return byte not in PRINTABLE or byte == ord('"')


def _stretches(parts: list[Part]) -> list[list[Part]]:
    found: list[list[Part]] = []
    for part in parts:
        if not found or any(map(_ends_stretch, part.before)):
            found.append([])
        found[-1].append(part)
    return found


def _settled(stretch: list[Part], after: bytes) -> list[Part]:
    """The parts with their final kinds. Raises FormatError when a line could be read in two ways."""
    for part, literal in zip(stretch, [*(part.before for part in stretch[1:]), after], strict=True):
        # for no number, and within brackets only
        taken = part.kind.holds - set(b"-" if part.kind in NUMBERS else b":" if part.kind is HOST else b"")
        if part.kind in (HOST, LIST, *NUMBERS) and literal[0] in taken:
            raise FormatError(
                f"${part.variable} cannot be told from {literal.decode()!r} behind it: put it into quotes"
            )
    if len(stretch) == 1:
        only = stretch[0]
        free = only.kind is UNKNOWN or (only.quoted and only.kind in (WORD, HOST, LIST))
        return [only._replace(kind=ANY) if free else only]
    befores = [b"\n" + stretch[0].before, *(part.before for part in stretch[1:])]
    afters = [*befores[1:], after]
    ends = [*afters]
    for at, (part, other) in enumerate(pairwise(stretch)):
        before_port = part.kind.name in ("address", "host") and other.kind is PORT  # it ends where both do: no colon
        # where that is empty, ` :` would go on with the list
        before_nothing = part.kind is LIST and other.variable in EMPTY_AT_TIMES
        if before_port or before_nothing:
            ends[at] += afters[at + 1]
        elif part.kind is PROTOCOL and other.variable in EMPTY_AT_TIMES:  # the space behind that looks like its own
            ends[at] = b""
    free = any(part.kind is ANY for part in stretch)
    lists = [part.kind is LIST for part in stretch]

    def clear(at: int, literal: bytes, to_the_left: bool) -> bool:
        kind = stretch[at].kind
        # with `x,` it would begin a list behind it; of one before it, see lists_of
        if kind in (ANY, UNKNOWN) and (kind is ANY or free or any(lists[0 if to_the_left else at :])):
            return False
        if kind is LIST and (free or to_the_left or literal.startswith((b",", b" :"))):
            return False
        return not set(literal) <= kind.holds

    left = next((at for at in range(len(stretch)) if not clear(at, ends[at], False)), len(stretch) - 1)
    for at in range(left + 1, len(stretch)):
        if not clear(at, befores[at], True):
            raise FormatError(
                f"${stretch[left].variable} and ${stretch[at].variable} cannot be told apart: put both into quotes"
            )
    return [part._replace(kind=WORD) if part.kind is UNKNOWN else part for part in stretch]


def _expression(parts: tuple[Part, ...], behind: bytes) -> bytes:
    """What a whole line looks like, a group for each part. Linear: no stretch is tried again, and each has one text."""
    literals = [*(part.before for part in parts), behind]
    barred = re.escape(bytes(sorted({*filter(_ends_stretch, b"".join(literals)), ord('"')})))
    anything = rb"[^%b\\]*+(?:\\.[^%b\\]*+)*+" % (barred, barred)
    found = b"(?>"
    around = [*parts, Part(behind, "", ANY), Part(b"", "", ANY)]
    for part, after, other in zip(parts, around[1:], around[2:], strict=False):
        last = max((at for at, byte in enumerate(part.before, 1) if _ends_stretch(byte)), default=0)
        found += re.escape(part.before[:last]) + (b")(?>" if last else b"") + re.escape(part.before[last:])
        if part.kind is ANY:
            shape = anything if part.quoted else b"[^%b]*" % barred
        else:
            follows = after.before[:1] or b"\n"
            shape = part.kind.shape or (b"[^%b\\s]%b" % (barred, b"*" if follows[0] in part.kind.holds else b"*+"))
        joint = after.before + (other.before if after.variable in EMPTY_AT_TIMES else b"")
        if part.kind is LIST and not joint.startswith((b",", b" :")):
            shape = b"(?>%b)" % shape
        found += b"(%b)" % shape
    return found + re.escape(behind) + b")"


def _json(text: str, fields: tuple[str, ...]) -> Format:
    """`json`, `json:` with a map, or the template of a log_format with escape=json. Raises FormatError."""
    keys: dict[str, str] | None = None
    if text != JSON:
        text = re.sub(r"(:\s*)(\$\w+|\$\{\w+\})", r'\1"\2"', text.removeprefix(f"{JSON}:"))  # a bare number
        try:
            pairs = json.loads(text, object_pairs_hook=list)
            keys = {key: str(value).strip("${}") for key, value in pairs}
        except (ValueError, TypeError) as error:
            raise FormatError(f"it is no JSON object of keys and variables: {error}") from None
        if len(keys) < len(pairs):
            raise FormatError("it has a key twice")
        _check_needs(set(keys.values()), ", as the whole value of a key that is in no inner object")
    there = set((keys or {}).values())
    for field in chosen(fields):
        if keys is not None and not there.intersection(field.variables):
            raise FormatError(f"the field {field.name} needs ${field.variables[0]}, which the format lacks")
    return Format(name=JSON if text == JSON else "", fields=chosen(fields), line=None, keys=keys)


COMBINED = compiled()
