r"""The entries that `parse` makes, for many lines at a time. Pure.

One regular expression rewrites a whole block of lines. It takes those of one hour whose fields need neither decoding
nor escaping: printable ASCII without `\` and without a `"` of its own, and a plain request line. The hour is a literal
in the expression and in what it writes, so a time is converted once an hour. Every other line is left to `parse`: one
of another hour, one with an escape of nginx's, and whatever is in the least unusual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from archiver.event import count_lines
from archiver.parse import MONTHS, Entry, in_utc

_WORD = rb"[!#-\[\]-~]++"  # printable ASCII without space, `"` and `\`
_TEXT = rb"[ !#-\[\]-~]*+"
# nginx's time: up to the hour, tens of minutes, zone. `] "` ends it: no client can write a raw quote.
_TIME = re.compile(rb'\[(\d\d/(?:%b)/\d{4}:\d\d:)([0-5])\d:\d\d ([+-]\d\d)(\d0)\] "' % b"|".join(MONTHS))
_UP_TO_HOUR = len("18/Apr/2020:01:")
_LEFT = re.compile(rb"\n(?!\{|\Z)")  # a literal is searched for; `^` would be tried at every byte
_LINE = re.compile(rb".*\n")


class _Rule(NamedTuple):
    hour: str
    line: re.Pattern[bytes]
    entry: bytes


def runs(block: bytes) -> Iterator[tuple[bytes, Entry | None]]:
    """The lines of a block, in order: (lines, their entries, all of one hour), or (a line, None) for `parse` to do.

    The block consists of whole lines, each ended by a newline; so do the lines that are handed out, and the entries.
    """
    rule = _rule_for(block)
    # A line that was left as it is shows by its beginning: it has no brace there, and an entry has
    if rule is None or block.startswith(b"{") or b"\n{" in block:
        yield from ((line[0], None) for line in _LINE.finditer(block))
        return
    entries, count = rule.line.subn(rule.entry, block)
    at = taken = 0  # how far in the block, in the entries
    if count < count_lines(block):
        for start in _left(entries):
            line = entries[start : entries.index(b"\n", start) + 1]
            begin = at if block.startswith(line, at) else block.index(b"\n" + line, at) + 1
            if begin > at:
                yield block[at:begin], Entry(rule.hour, entries[taken:start])
            yield line, None
            at, taken = begin + len(line), start + len(line)
    if at < len(block):
        yield block[at:], Entry(rule.hour, entries[taken:])


def _left(entries: bytes) -> Iterator[int]:
    """Where the lines begin that were left as they are."""
    if not entries.startswith(b"{"):
        yield 0
    for newline in _LEFT.finditer(entries):
        yield newline.end()


def _rule_for(block: bytes) -> _Rule | None:
    """For the hour of the first line that shows a time; None when no line does."""
    found = _TIME.search(block)
    if found is None:
        return None
    hour, tens, zone, minutes = found.groups()
    # In a zone that is not a whole number of hours away from UTC, only ten minutes stay together
    return _rule(hour if minutes == b"00" else hour + tens, zone + minutes)


@lru_cache(maxsize=64)
def _rule(stem: bytes, zone: bytes) -> _Rule | None:
    """For the times that begin with `stem`, which ends at the hour or at the tens of minutes; None: no such time."""
    utc = in_utc(stem + b"00:00"[len(stem) - _UP_TO_HOUR :] + b" " + zone)
    if utc is None:
        return None
    hour, time = utc
    within = rb"[0-5]\d:[0-5]\d" if len(stem) == _UP_TO_HOUR else rb"\d:[0-5]\d"
    line = re.compile(
        rb"^(%b) - %b \[%b(%b) %b\] " % (_WORD, _WORD, stem, within, re.escape(zone))
        + rb'"([A-Z]++) (%b) (HTTP/\d\.\d)" ([1-9]\d\d) (?:\d++|-) "%b" "(%b)"\n' % (_WORD, _TEXT, _TEXT),
        re.MULTILINE,
    )
    entry = (
        rb'{"host":"\1","time":"%b\2.000Z","method":"\3","path":"\4","httpVersion":"\5","status":\6,"userAgent":"\7"}'
    )
    return _Rule(hour, line, entry % time[: len(stem) - 1].encode() + b"\n")
