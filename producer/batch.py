"""Which records travel in one call (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TypeAlias

from producer.hourly import hourly
from producer.record import Piece, Record, TickGzip, count_lines, packs, plain, singles

Cut: TypeAlias = Callable[[Iterable[Piece]], Iterator[list[Record]]]

# Kinesis, PutRecords: "Each PutRecords request can support up to 500 records"
MAX_BATCH_RECORDS = 500
# AWS takes 10 MiB by now, but LocalStack, MiniStack and moto still refuse more than the 5 MiB of old
MAX_BATCH_BYTES = 5 * 1024 * 1024
# Firehose, PutRecordBatch: "supports up to 500 records ... up to a limit of 4 MB for the entire request", before base64
MAX_FIREHOSE_RECORDS = 500
MAX_FIREHOSE_BYTES = 4 * 1024 * 1024
# What is packed goes in calls of this size: what one shard takes in a second, so that a single shard need not refuse
# most of a call; measured with boto3, it also takes least CPU time a line, and 25 MiB less memory than 5 MiB do
PACKED_BATCH_BYTES = 1024 * 1024
# What is appended to the bucket at a time. A part of a multipart upload has at least 5 MiB, and each append above that
# takes four requests; the entries of so many bytes are held in memory.
APPENDED_BYTES = 8 * 1024 * 1024
MAX_APPENDED_RECORDS = 4096
# Upper limit of a partition key of ours, but for a log's name: generation, colon, 20 digits, signature
KEY_BYTES = 72


def batches(pieces: Iterable[Piece]) -> Iterator[list[Record]]:
    """The records of each call, in the order of the log; at most one call's worth of pieces is held in memory.

    What fits in one call goes one line a record, readable in the stream. More is packed.
    """
    rest = iter(pieces)
    held: deque[Piece] = deque()
    lines = size = 0
    for piece in rest:
        held.append(piece)
        lines += max(1, count_lines(piece.data))
        size += len(piece.data)
        if lines > MAX_BATCH_RECORDS or size + lines * KEY_BYTES > MAX_BATCH_BYTES:
            gzip = TickGzip(held[0].backlog)
            emptied = (held.popleft() for _ in range(len(held)))  # each piece is let go of once it is used
            packed = (record for piece in chain(emptied, rest) for record in packs(piece, gzip))
            yield from _fill(packed, MAX_BATCH_RECORDS, min(PACKED_BATCH_BYTES, MAX_BATCH_BYTES))
            return
    yield from _fill((record for piece in held for record in singles(piece)), MAX_BATCH_RECORDS, MAX_BATCH_BYTES)


def hourly_batches(pieces: Iterable[Piece]) -> Iterator[list[Record]]:
    """The same for Firehose: always packed, an hour a record."""
    packed = (record for piece in pieces for record in hourly(piece))
    yield from _fill(packed, MAX_FIREHOSE_RECORDS, min(PACKED_BATCH_BYTES, MAX_FIREHOSE_BYTES))


def appended_batches(pieces: Iterable[Piece]) -> Iterator[list[Record]]:
    """The same for the bucket: cut as for Kinesis, so that a line has the same place in both, and not compressed."""
    whole = (record for piece in pieces for record in packs(piece, plain))
    yield from _fill(whole, MAX_APPENDED_RECORDS, APPENDED_BYTES)


def _fill(records: Iterable[Record], most: int, limit: int) -> Iterator[list[Record]]:
    """Batches of at most `most` records and `limit` bytes."""
    batch: list[Record] = []
    size = 0
    for record in records:
        if batch and (len(batch) == most or size + record.size > limit):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += record.size
    if batch:
        yield batch
