"""Which object the bytes of a record belong to, and as what. Pure, and the same for every re-send of the same bytes.

That sameness is what lets the ledger of one object suffice: a line sent twice meets the ledger it met before.

A record that cannot be read (a broken gzip) has an unknown extent in the log, so it must not claim any range of it:
its lines, if they come again in a sound record, still have to be archived. It is entered in the ledger under
`~<generation>` as the single point that its SHA-256 names: a re-send of these very bytes is removed, other bytes from
the same offset are kept, and who asks which ranges of the log are archived never sees it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

from archiver import event
from archiver.layout import HourlyObject
from archiver.parse import NotCombinedError, hour_of, parse, readable_hour, rejected

# What is rejected is kept in pieces of this size, which is what one record can carry: a piece grows sixfold as JSON
# when it is all control characters, so memory must not follow the length of a line.
MAX_REJECTED = 1024 * 1024
_DIGEST_BYTES = 6  # 48 bits tell apart far more broken records than one hour can hold


class Item(NamedTuple):
    """One line of an object, ended by a newline, and what the ledger calls it: [start, end) of `owner`.

    `owner` is a generation, or `~<generation>` for a record that could not be read, or None for a foreign line,
    which no ledger knows: it is archived at least once.
    """

    owner: str | None
    start: int
    end: int
    text: bytes


def file_record(record: event.Record, prefix: str) -> Iterator[tuple[HourlyObject, Item]]:
    """Every line of the record with the object it goes to. Never raises; nothing of the record is left out."""
    generation = record.generation
    # Hour of what carries no time: a generation's id begins with the second in which it was first seen
    fallback = hour_of(int(generation[:8], 16) if generation else record.arrived)
    try:
        lines = event.lines(record)
    except event.BadRecordError as error:
        offset = None if generation is None else record.offset
        text = rejected(record.data, str(error), generation, offset)
        digest = int.from_bytes(hashlib.sha256(record.data).digest()[:_DIGEST_BYTES], "big")
        owner = None if generation is None else f"~{generation}"
        yield HourlyObject(prefix, fallback, True), Item(owner, digest, digest + 1, text)
        return
    for line in lines:
        problem, hour = line.problem, fallback  # a fragment may show a time, but all fragments of a line stay together
        if problem is None:
            try:
                entry = parse(line.raw)
            except NotCombinedError as error:
                problem, hour = str(error), readable_hour(line.raw) or fallback
            else:
                yield HourlyObject(prefix, entry.hour), Item(generation, line.start, line.end, entry.text)
                continue
        for start, end, raw in _pieces(line):
            reason = problem if len(raw) == len(line.raw) else event.FRAGMENT
            text = rejected(raw, reason, generation, None if generation is None else start)
            yield HourlyObject(prefix, hour, True), Item(generation, start, end, text)


def _pieces(line: event.Line) -> Iterator[tuple[int, int, bytes]]:
    """(start, end, raw) of a line in pieces; the last one has the line's newline in its range."""
    start = line.start
    for at in range(0, max(1, len(line.raw)), MAX_REJECTED):
        raw = line.raw[at : at + MAX_REJECTED]
        end = line.end if at + len(raw) == len(line.raw) else start + len(raw)
        yield start, end, raw
        start = end
