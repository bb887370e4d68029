r"""The entries that `parse` makes, for many lines at a time. Pure.

A regular expression, made of the format (rule.py), takes a whole block of lines apart. It takes those of one hour that
are printable ASCII without a `"` of their own. The hour is a literal in the expression and in the entries, so a time is
converted once an hour. What follows an escape of nginx's (`\xHH`) in a field is rewritten field by field, and only
where a block has any. Requests that are no whole request line (none at all, TLS on the plain port, HTTP/0.9) have
expressions of their own. Every other line is left to `parse`: one of another hour, and whatever is in the least
unusual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import compress
from typing import NamedTuple

from archiver.event import count_lines
from archiver.format import COMBINED, Format
from archiver.parse import Entry, quoted, visible
from archiver.rule import ESCAPED, OTHERS, PLAIN, Clock, Form, Shape, clock_of, rule, shape_of

# From a field's first escape to its end: the only raw quotes in an entry are those around its fields
_FROM_ESCAPE = re.compile(rb'\\x[^"]*+')
# An expression costs as much as parsing some hundred lines, and serves all blocks of its hour
FEWEST = 32
SAMPLES = 8

Runs = Iterator[tuple[bytes, Entry | None]]


class Sample(NamedTuple):
    """What some lines have in common: shape and hour of the first of them that has any. It decides how fast lines are
    read, not what becomes of them."""

    shape: Shape
    clock: Clock


def sample(data: bytes, format_: Format) -> Sample | None:
    """Of whole lines. None: `parse` has to read them."""
    for number in range(SAMPLES):
        begin = data.rfind(b"\n", 0, len(data) * number // SAMPLES) + 1
        line = data[begin : data.find(b"\n", begin)]
        values = format_.values(line)
        shape = shape_of(line, format_) if values else None
        clock = clock_of(values) if values and shape else None
        if shape and clock:
            return Sample(shape, clock)
    return None


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
    escapes = around.shape.escapes and b"\\" in block
    yield from _taken(block, around, (ESCAPED if escapes else PLAIN, *OTHERS))


def _taken(block: bytes, around: Sample, forms: tuple[Form, ...]) -> Runs:
    """By the first of the forms; the lines that are left, by the others."""
    made = rule(around.shape, around.clock, forms[0])
    found = made.line.split(block)
    text = made.entries(found)
    if forms[0].escaped:
        text = _FROM_ESCAPE.sub(_shown, text)
    left = found[:: made.line.groups + 1]
    if not any(left):
        yield block, Entry(made.hour, text)
        return
    entries = text.splitlines(keepends=True)
    at = taken = 0  # how far in the block, in the entries
    for number in (*compress(range(len(entries)), left), len(entries)):
        lines = left[number]
        begin = at
        if number > taken:
            # the first such lines: others like them would have been left, too
            begin = block.index(b"\n" + lines, at) + 1 if lines else len(block)
            yield block[at:begin], Entry(made.hour, b"".join(entries[taken:number]))
        if lines:
            no_request = around.shape.no_request
            odd = forms[1:] and no_request and (b"\\" in lines or no_request in lines)
            yield from _taken(lines, around, forms[1:]) if odd else [(lines, None)]
        at, taken = begin + len(lines), number


def _shown(match: re.Match[bytes]) -> bytes:
    r"""The rest of a field, in which every backslash begins a `\xHH`, as JSON shows what it stands for."""
    text = match[0].decode("unicode_escape")
    if "\\x" in text or not text.isascii():
        text = visible(text.encode("latin-1"))
    return quoted(text)[1:-1]
