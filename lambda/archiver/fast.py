r"""The entries that `parse` makes, for many lines at a time. Pure.

A regular expression, made of the format (rule.py), rewrites a whole block of lines. It takes those of one hour that are
printable ASCII without a `"` of their own. The hour is a literal in the expression and in what it writes, so a time is
converted once an hour. What follows an escape of nginx's (`\xHH`) in a field is rewritten field by field, and only
where a block has any. Requests that are no whole request line (none at all, TLS on the plain port, HTTP/0.9) have
expressions of their own. Every other line is left to `parse`: one of another hour, and whatever is in the least
unusual.

Whether a field is null, a template cannot ask. A few lines of a record tell which fields are always null, or never; the
lines that differ are taken by an expression that decides for each line, which costs more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from archiver.event import count_lines
from archiver.format import COMBINED, Format
from archiver.parse import Entry, first, quoted, visible
from archiver.rule import (
    BEGINS,
    EITHER,
    ESCAPED,
    NULL,
    OTHERS,
    PLAIN,
    SUFFIX,
    VALUE,
    Clock,
    Shape,
    clock_of,
    rule,
    shape_of,
)

# From a field's first escape to its end: the only raw quotes in an entry are those around its fields
_FROM_ESCAPE = re.compile(rb'\\x[^"]*+')
# A line that was left as it is shows by its beginning: an entry begins in one way, with a mark if need be. A literal is
# searched for; `^` would be tried at every byte.
_LEFT = {begins: re.compile(rb"\n(?!%b|\Z)" % re.escape(begins)) for begins in (BEGINS, b"\1")}
_TAKEN = {begins: re.compile(rb"\n(?=%b|\Z)" % re.escape(begins)) for begins in (BEGINS, b"\1")}
# An expression costs as much as parsing some hundred lines, and serves all blocks of its hour
FEWEST = 32
SAMPLES = 8
MANY = 8  # if more than one of so many is left, the whole block anew costs less than the left ones between the others

Runs = Iterator[tuple[bytes, Entry | None]]


class Sample(NamedTuple):
    """What some lines have in common: shape and hour of the first of them that has any, and what is null of them. It
    decides how fast lines are read, not what becomes of them."""

    shape: Shape
    clock: Clock
    nulls: tuple[str, ...]


def sample(data: bytes, format_: Format) -> Sample | None:
    """Of whole lines. None: `parse` has to read them."""
    shape: Shape | None = None
    clock: Clock | None = None
    seen: list[dict[str, bytes]] = []
    for number in range(SAMPLES):
        begin = data.rfind(b"\n", 0, len(data) * number // SAMPLES) + 1
        line = data[begin : data.find(b"\n", begin)]
        values = format_.values(line)
        if values is None:
            continue
        seen.append(values)
        if clock is None:
            shape = shape_of(line, format_)
            clock = clock_of(values) if shape else None
        if clock and not format_.fields:
            break
    if shape is None or clock is None:
        return None
    nulls = []
    for field in format_.fields:
        absent = {first(values, field.variables)[1] in (b"", b"-") for values in seen}
        nulls.append(EITHER if len(absent) > 1 else NULL if absent.pop() else VALUE)
    return Sample(shape, clock, tuple(nulls))


def runs(block: bytes, format_: Format = COMBINED, around: Sample | None = None) -> Runs:
    """The lines of a block, in order: (lines, their entries, all of one hour), or (lines, None) for `parse` to do.

    The block consists of whole lines, each ended by a newline; so do the lines that are handed out, and the entries.
    `around`: of more lines than those of the block. To take one of each block costs a tenth of all.
    """
    if count_lines(block) < FEWEST:
        yield block, None
        return
    if around is None or around.clock.stem not in block[: block.find(b"\n")]:
        around = sample(block, format_)
    if around is None:
        yield block, None
        return
    yield from _rewritten(block, *around)


def _rewritten(block: bytes, shape: Shape, clock: Clock, nulls: tuple[str, ...]) -> Runs:
    total = count_lines(block)
    escapes = shape.escapes and b"\\" in block
    source = block.replace(b"\n", SUFFIX) if EITHER in nulls else block
    made = rule(shape, clock, ESCAPED if escapes else PLAIN, nulls)
    entries, count = made.line.subn(made.entry, source)
    begins = shape.mark or BEGINS
    if count < total - total // MANY and {*nulls} - {EITHER}:  # it is not as the lines around it
        yield from _rewritten(block, shape, clock, (EITHER,) * len(nulls))
        return
    if count < total:
        if block.startswith(begins) or b"\n" + begins in block:
            yield block, None
            return
        for form in OTHERS if shape.no_request and (escapes or shape.no_request in block) else ():
            if count < total:
                other = rule(shape, clock, form, nulls)
                entries, more = other.line.subn(other.entry, entries)
                count += more

    def entry(start: int, end: int) -> Entry:
        text = entries[start:end]
        if shape.mark:
            text = text.replace(shape.mark, b"")
        return Entry(made.hour, _FROM_ESCAPE.sub(_shown, text) if escapes else text)

    at = taken = 0  # how far in the block, in the entries
    if count < total:
        for start, end in _left(entries, begins):
            lines = entries[start:end]
            if EITHER in nulls:
                lines = lines.replace(SUFFIX, b"\n")
            begin = at if block.startswith(lines, at) else block.index(b"\n" + lines, at) + 1
            if begin > at:
                yield block[at:begin], entry(taken, start)
            if {*nulls} <= {EITHER}:
                yield lines, None
            else:
                yield from _rewritten(lines, shape, clock, (EITHER,) * len(nulls))
            at, taken = begin + len(lines), end
    if at < len(block):
        yield block[at:], entry(taken, len(entries))


def _left(entries: bytes, begins: bytes) -> Iterator[tuple[int, int]]:
    """Where lines that were left as they are begin and end, those that follow one another together."""
    left, taken = _LEFT[begins], _TAKEN[begins]
    start = 0
    if entries.startswith(begins):
        found = left.search(entries)
        start = found.end() if found else len(entries)
    while start < len(entries):
        last = taken.search(entries, start)
        end = last.end() if last else len(entries)
        yield start, end
        following = left.search(entries, end)
        start = following.end() if following else len(entries)


def _shown(match: re.Match[bytes]) -> bytes:
    r"""The rest of a field, in which every backslash begins a `\xHH`, as JSON shows what it stands for."""
    text = match[0].decode("unicode_escape")
    if "\\x" in text or not text.isascii():
        text = visible(text.encode("latin-1"))
    return quoted(text)[1:-1]
