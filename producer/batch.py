"""Which records travel in one call (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from producer.record import Piece, Record, packs, singles

# Kinesis, PutRecords: "Each PutRecords request can support up to 500 records"
MAX_BATCH_RECORDS = 500
# AWS takes 10 MiB by now, but LocalStack, MiniStack and moto still refuse more than the 5 MiB of old
MAX_BATCH_BYTES = 5 * 1024 * 1024
# Upper limit of a partition key of ours: generation, colon, 20 digits
KEY_BYTES = 48


def batches(pieces: Iterable[Piece]) -> Iterator[list[Record]]:
    """The records of each call, in the order of the log; at most one call's worth of pieces is held in memory.

    What fits in one call goes one line a record, readable by anybody who looks into the stream. More is packed.
    """
    rest = iter(pieces)
    held: list[Piece] = []
    lines = size = 0
    for piece in rest:
        held.append(piece)
        lines += max(1, piece.data.count(b"\n"))
        size += len(piece.data)
        if lines > MAX_BATCH_RECORDS or size + lines * KEY_BYTES > MAX_BATCH_BYTES:
            yield from _fill(record for piece in chain(_emptying(held), rest) for record in packs(piece))
            return
    yield from _fill(record for piece in held for record in singles(piece))


def _emptying(held: list[Piece]) -> Iterator[Piece]:
    """Let go of each piece once it is used."""
    held.reverse()
    while held:
        yield held.pop()


def _fill(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and (len(batch) == MAX_BATCH_RECORDS or size + record.size > MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield batch
