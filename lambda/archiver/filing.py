"""The object that each line of a record belongs to. Pure: the same for every re-send of the same bytes.

So the ledger of one object suffices: a line sent twice meets the ledger it met before, unless the format was changed in
between; then it meets one of the `others` of its item.

A record that cannot be read (a broken gzip) has an unknown extent in the log, so it claims no range of it: its lines,
if they come again in a sound record, still have to be archived. The ledger has it under `~<generation>`, as the single
point that its SHA-256 names. So a re-send of these very bytes is removed, other bytes from the same offset are kept,
and the archived ranges of the log do not include it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, pairwise
from typing import NamedTuple

from archiver import event, fast
from archiver.format import COMBINED, Format
from archiver.layout import HourlyObject
from archiver.parse import NotInFormatError, parse, rejected
from archiver.times import hour_of, hours_in, readable_hour

# Rejected lines are kept in pieces of this size, as much as one record can carry: a piece of control characters grows
# sixfold as JSON, so memory must not follow the length of a line
MAX_REJECTED = 1024 * 1024
# Large enough that a block costs little beyond its lines, small enough for the processor's cache; where the hour
# changes, at most this much is parsed line by line
BLOCK_BYTES = 64 * 1024
# An item beside its bytes: tuple, numbers, headers, its place in a list; rounded up
ITEM_BYTES = 400
_DIGEST_BYTES = 6  # enough to tell apart all broken records of an hour
_LINE = re.compile(rb".*\n")


class Item(NamedTuple):
    """One line of an object, ended by a newline, with its place in the ledger: [start, end) of `owner`.

    Or a run of `lines` that follow one another in the log: then `raw` is the log's bytes [start, end), and `text` has
    as many lines. Of lines that are skipped (kept.py) there is a place without text. `owner`: a generation,
    `~<generation>` for an unreadable record, or None for a foreign line, which is in no ledger and archived at least
    once. `others`: the hours of the objects where these lines may be when another format was in force: of rejected
    lines for an entry, of entries for a rejected line.
    """

    owner: str | None
    start: int
    end: int
    text: bytes
    raw: bytes = b""
    lines: int = 1
    others: tuple[str, ...] = ()

    @property
    def memory(self) -> int:
        """How many bytes it takes."""
        return len(self.text) + len(self.raw) + ITEM_BYTES

    def singly(self) -> Iterator[Item]:
        """Its lines, an item each."""
        if not self.raw:
            yield self
            return
        start = self.start
        for raw, text in zip(_LINE.findall(self.raw), _LINE.findall(self.text), strict=True):
            yield Item(self.owner, start, start + len(raw), text, others=self.others)
            start += len(raw)


Filed = tuple[HourlyObject, Item]


def file_runs(record: event.Record, prefix: str, format_: Format = COMBINED) -> Iterator[Filed]:
    """What `file_record` yields, in the same order, with many lines in one item wherever possible."""
    for _, filed in file_blocks(record, prefix, format_):
        yield from filed


def file_blocks(
    record: event.Record, prefix: str, format_: Format = COMBINED, at: int = 0
) -> Iterator[tuple[int, Iterator[Filed]]]:
    """What `file_runs` yields, a block at a time, each with the byte of the record's content that it begins at.

    `at` is where to begin: 0, or where a block began before; the blocks from there on are the same again.
    """
    if record.length is not None or (b"\n" not in record.data and not record.data.startswith(event.GZIP_MAGIC)):
        yield 0, file_record(record, prefix, format_)
        return
    prefix += record.folder
    try:
        data = event.content(record)
    except event.BadRecordError as error:
        yield 0, iter([_unreadable(record, str(error), prefix)])
        return
    fallback = _fallback(record)
    around = fast.sample(data, format_) if len(data) > BLOCK_BYTES else None
    while at < len(data):
        # at least one line; bytes behind the last newline count as one
        end = data.rfind(b"\n", at, at + BLOCK_BYTES) + 1 or data.find(b"\n", at) + 1
        block = data[at:end] if end else data[at:] + b"\n"
        filed = _file_block(block, record.offset + at, record.generation, fallback, prefix, format_, around)
        yield at, format_.kept.filed(filed) if format_.kept else filed
        at += len(block)


def _file_block(
    block: bytes,
    start: int,
    generation: str | None,
    fallback: str,
    prefix: str,
    format_: Format,
    around: fast.Sample | None,
) -> Iterator[Filed]:
    bracketed = _in_brackets(format_)
    for raw, entry in fast.runs(block, format_, around):
        stop = start + len(raw)
        if entry is None or not (bracketed or readable_hour(raw) is None):
            yield from _file_lines(raw, start, generation, fallback, prefix, format_)
        else:
            lines, others = event.count_lines(raw), (entry.hour if bracketed else fallback,)
            yield HourlyObject(prefix, entry.hour), Item(generation, start, stop, entry.text, raw, lines, others)
        start = stop


@lru_cache(maxsize=8)
def _in_brackets(format_: Format) -> bool:
    """Whether `readable_hour` is that of an entry's own time, for all lines that `fast` takes."""
    between = pairwise([*((part.variable, part.before) for part in format_.parts), ("", format_.behind)])
    return any(
        name == "time_local" and before.endswith(b"[") and after.startswith(b"]")
        for (name, before), (_, after) in between
    )


def file_record(record: event.Record, prefix: str, format_: Format = COMBINED) -> Iterator[Filed]:
    """Every line of the record with the object it goes to. Never raises; nothing of the record is left out.

    The reference for `file_runs`, line by line.
    """
    prefix += record.folder
    try:
        lines = event.lines(record)
    except event.BadRecordError as error:
        yield _unreadable(record, str(error), prefix)
        return
    fallback = _fallback(record)
    filed = chain.from_iterable(_file_line(line, record.generation, fallback, prefix, format_) for line in lines)
    yield from format_.kept.filed(filed) if format_.kept else filed


def _fallback(record: event.Record) -> str:
    """The hour of lines without a time: a generation's id begins with the second in which it was first seen."""
    return hour_of(int(record.generation[:8], 16) if record.generation else record.arrived)


def _unreadable(record: event.Record, reason: str, prefix: str) -> Filed:
    generation = record.generation
    text = rejected(record.data, reason, generation, None if generation is None else record.offset)
    digest = int.from_bytes(hashlib.sha256(record.data).digest()[:_DIGEST_BYTES], "big")
    owner = None if generation is None else f"~{generation}"
    return HourlyObject(prefix, _fallback(record), True), Item(owner, digest, digest + 1, text)


def _file_lines(
    block: bytes, start: int, generation: str | None, fallback: str, prefix: str, format_: Format
) -> Iterator[Filed]:
    """Whole lines, each looked at by itself; those that follow one another to the same object in one item."""
    texts: list[bytes] = []
    target: HourlyObject | None = None
    others: tuple[str, ...] = ()
    at = begun = start

    def run() -> Iterator[Filed]:
        if target and texts:
            raw = block[begun - start : at - start]
            yield target, Item(generation, begun, at, b"".join(texts), raw, len(texts), others)

    for line in block.split(b"\n")[:-1]:
        judged = _judged(line, generation, at, fallback, format_)
        there = HourlyObject(prefix, judged.hour, bool(judged.problem))
        if there != target or judged.others != others or len(line) > MAX_REJECTED:
            yield from run()
            texts, begun, target, others = [], at, there, judged.others
        end = at + len(line) + 1
        if judged.problem and len(line) > MAX_REJECTED:
            yield from _reject(event.Line(line, at, end, judged.problem), generation, there, others)
            target = None
        else:
            texts.append(judged.text)
        at = end
    yield from run()


class _Judged(NamedTuple):
    """The hour of a line, what is kept of it, the problem that makes it a rejected one, and `others` as in Item."""

    hour: str
    text: bytes
    problem: str | None
    others: tuple[str, ...]


def _judged(line: bytes, generation: str | None, start: int, fallback: str, format_: Format) -> _Judged:
    readable = readable_hour(line) or fallback
    try:
        entry = parse(line, format_)
    except NotInFormatError as error:
        problem = str(error)
        text = rejected(line[:MAX_REJECTED], problem, generation, None if generation is None else start)
        return _Judged(readable, text, problem, hours_in(line) if generation else ())
    return _Judged(entry.hour, entry.text, None, (readable,))


def _file_line(
    line: event.Line, generation: str | None, fallback: str, prefix: str, format_: Format
) -> Iterator[Filed]:
    if line.problem:  # a fragment may show a time, but all fragments of a line stay together, in any format
        yield from _reject(line, generation, HourlyObject(prefix, fallback, True))
        return
    hour, text, problem, others = _judged(line.raw, generation, line.start, fallback, format_)
    target = HourlyObject(prefix, hour, bool(problem))
    if problem:
        yield from _reject(line._replace(problem=problem), generation, target, others)
    else:
        yield target, Item(generation, line.start, line.end, text, others=others)


def _reject(
    line: event.Line, generation: str | None, target: HourlyObject, others: tuple[str, ...] = ()
) -> Iterator[Filed]:
    for start, end, raw in _pieces(line):
        reason = line.problem if len(raw) == len(line.raw) else event.FRAGMENT
        text = rejected(raw, reason or "", generation, None if generation is None else start)
        yield target, Item(generation, start, end, text, others=others)


def _pieces(line: event.Line) -> Iterator[tuple[int, int, bytes]]:
    """(start, end, raw) of a line in pieces; the last one has the line's newline in its range."""
    start = line.start
    for at in range(0, max(1, len(line.raw)), MAX_REJECTED):
        raw = line.raw[at : at + MAX_REJECTED]
        end = line.end if at + len(raw) == len(line.raw) else start + len(raw)
        yield start, end, raw
        start = end
