r"""The entries that `parse` makes, for many lines at a time. Pure.

A regular expression rewrites a whole block of lines. It takes those of one hour that are printable ASCII without a `"`
of their own. The hour is a literal in the expression and in what it writes, so a time is converted once an hour. What
follows an escape of nginx's (`\xHH`) in a field is rewritten field by field, and only where a block has any. Requests
that are no whole request line (none at all, TLS on the plain port, HTTP/0.9) have expressions of their own. Every other
line is left to `parse`: one of another hour, and whatever is in the least unusual.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from archiver.event import count_lines
from archiver.format import ADDRESS
from archiver.parse import Entry, quoted, visible
from archiver.times import MONTHS, in_utc

_WORD = rb"[!#-\[\]-~]++"  # printable ASCII without space, `"` and `\`
_TEXT = rb"[ !#-\[\]-~]*+"
# The same with escapes as nginx writes them
_ESCAPED_WORD = rb"(?=[!#-~])[!#-\[\]-~]*+(?:\\x[0-9A-F]{2}[!#-\[\]-~]*+)*+"
_ESCAPED_TEXT = rb"[ !#-\[\]-~]*+(?:\\x[0-9A-F]{2}[ !#-\[\]-~]*+)*+"
_REQUEST = rb"([A-Z]++) (%b) (HTTP/\d\.\d)"
_SIMPLE_REQUEST = rb"([A-Z]++) (/[!#-\[\]-~]*+(?:\\x(?!20)[0-9A-F]{2}[!#-\[\]-~]*+)*+)"
# Nothing, or it begins with a byte that no method begins with
_NO_REQUEST = rb"((?:\\x(?:[01][0-9A-F]|22|5C|7F|[89A-F][0-9A-F])%b)?+)" % _ESCAPED_TEXT
# From a field's first escape to its end: the only raw quotes in an entry are those around its fields
_FROM_ESCAPE = re.compile(rb'\\x[^"]*+')
# nginx's time: up to the hour, tens of minutes, zone. `] "` ends it: no client can write a raw quote.
_TIME = re.compile(rb'\[(\d\d/(?:%b)/\d{4}:\d\d:)([0-5])\d:\d\d ([+-]\d\d)(\d0)\] "' % b"|".join(MONTHS))
_UP_TO_HOUR = len("18/Apr/2020:01:")
# A line that was left as it is shows by its beginning: it has no brace there, and an entry has
_LEFT = re.compile(rb"\n(?!\{|\Z)")  # a literal is searched for; `^` would be tried at every byte
_TAKEN = re.compile(rb"\n(?=\{|\Z)")
# An expression costs as much as parsing some hundred lines, and serves all blocks of its hour
FEWEST = 32


class _Form(NamedTuple):
    """A kind of line: its words, its other texts, its request, and method, path and version in the entry."""

    word: bytes
    text: bytes
    request: bytes
    shown: tuple[bytes, bytes, bytes]
    next_group: int = 6


class _Rule(NamedTuple):
    hour: str
    line: re.Pattern[bytes]
    entry: bytes


_PLAIN = _Form(_WORD, _TEXT, _REQUEST % _WORD, (rb"\3", rb"\4", rb"\5"))
_ESCAPED = _Form(_ESCAPED_WORD, _ESCAPED_TEXT, _REQUEST % _ESCAPED_WORD, (rb"\3", rb"\4", rb"\5"))
_OTHERS = (
    _Form(_ESCAPED_WORD, _ESCAPED_TEXT, _NO_REQUEST, (b"", rb"\3", b""), 4),
    _Form(_ESCAPED_WORD, _ESCAPED_TEXT, _SIMPLE_REQUEST, (rb"\3", rb"\4", b""), 5),
)


def runs(block: bytes) -> Iterator[tuple[bytes, Entry | None]]:
    """The lines of a block, in order: (lines, their entries, all of one hour), or (lines, None) for `parse` to do.

    The block consists of whole lines, each ended by a newline; so do the lines that are handed out, and the entries.
    """
    total = count_lines(block)
    time = None if total < FEWEST or block.startswith(b"{") or b"\n{" in block else _time_of(block)
    if time is None:
        yield block, None
        return
    escapes = b"\\" in block
    rule = _rule(*time, _ESCAPED if escapes else _PLAIN)
    entries, count = rule.line.subn(rule.entry, block)
    others = _OTHERS if escapes or b'] "" ' in block else ()
    for form in others:
        if count < total:
            rule = _rule(*time, form)
            entries, more = rule.line.subn(rule.entry, entries)
            count += more

    def entry(start: int, end: int) -> Entry:
        text = entries[start:end]
        return Entry(rule.hour, _FROM_ESCAPE.sub(_shown, text) if escapes else text)

    at = taken = 0  # how far in the block, in the entries
    if count < total:
        for start, end in _left(entries):
            lines = entries[start:end]
            begin = at if block.startswith(lines, at) else block.index(b"\n" + lines, at) + 1
            if begin > at:
                yield block[at:begin], entry(taken, start)
            yield lines, None
            at, taken = begin + len(lines), end
    if at < len(block):
        yield block[at:], entry(taken, len(entries))


def _left(entries: bytes) -> Iterator[tuple[int, int]]:
    """Where lines that were left as they are begin and end, those that follow one another together."""
    start = 0
    if entries.startswith(b"{"):
        first = _LEFT.search(entries)
        start = first.end() if first else len(entries)
    while start < len(entries):
        last = _TAKEN.search(entries, start)
        end = last.end() if last else len(entries)
        yield start, end
        following = _LEFT.search(entries, end)
        start = following.end() if following else len(entries)


def _shown(match: re.Match[bytes]) -> bytes:
    r"""The rest of a field, in which every backslash begins a `\xHH`, as JSON shows what it stands for."""
    text = match[0].decode("unicode_escape")
    if "\\x" in text or not text.isascii():
        text = visible(text.encode("latin-1"))
    return quoted(text)[1:-1]


def _time_of(block: bytes) -> tuple[bytes, bytes] | None:
    """What the times of one UTC hour begin with, and the zone, by the first line that shows a time that there is."""
    found = _TIME.search(block)
    if found is None:
        return None
    hour, tens, zone, minutes = found.groups()
    # In a zone that is not a whole number of hours away from UTC, only ten minutes stay together
    stem, zone = hour if minutes == b"00" else hour + tens, zone + minutes
    return (stem, zone) if in_utc(_first(stem, zone)) else None


def _first(stem: bytes, zone: bytes) -> bytes:
    """The first time that begins so."""
    return stem + b"00:00"[len(stem) - _UP_TO_HOUR :] + b" " + zone


@lru_cache(maxsize=256)
def _rule(stem: bytes, zone: bytes, form: _Form) -> _Rule:
    """For the times that begin with `stem`, which ends at the hour or at the tens of minutes."""
    hour, time = in_utc(_first(stem, zone)) or ("", "")
    within = rb"[0-5]\d:[0-5]\d" if len(stem) == _UP_TO_HOUR else rb"\d:[0-5]\d"
    line = rb"^(%b) - %b \[%b(%b) %b\] " % (ADDRESS, form.word, stem, within, re.escape(zone))
    line += rb'"%b" ([1-9]\d\d) (?:\d++|-) "%b" "(%b)"\n' % (form.request, form.text, form.text)
    entry = rb'{"host":"\1","time":"%b\2.000Z",' % time[: len(stem) - 1].encode()
    entry += rb'"method":"%b","path":"%b","httpVersion":"%b",' % form.shown
    entry += rb'"status":\%d,"userAgent":"\%d"}' % (form.next_group, form.next_group + 1) + b"\n"
    return _Rule(hour, re.compile(line, re.MULTILINE), entry)
