"""What goes into a data stream: pieces of a log become records (pure; no files, no network, no clock).

PartitionKey                      Data                                        covers
`<generation>:<offset>`           one line without its newline                [offset, offset + len(line) + 1)
`<generation>:<offset>`           gzip of whole lines, each ended by newline  [offset, offset + len(lines))
`<generation>:<offset>:<length>`  raw bytes of a line that fits no record     [offset, offset + length)

Where several logs are shipped, the name of the log and a slash stand before each. With a key, the sink appends a
signature (producer/signed.py), for which the sizes here leave room.

The newline of a file's last, unterminated line is virtual: the record covers it although no file holds it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum

from isal import isal_zlib

from producer.signed import SIGNATURE_BYTES

# Kinesis, PutRecordsRequestEntry: data blob before base64 plus partition key, "must not exceed ... 1 MiB" by default
MAX_RECORD_BYTES = 1024 * 1024
# Raw bytes of lines in one packed record. Half a record, so that even lines that do not compress fit without a second
# try. Access logs shrink 5 to 10 times: 50 to 100 KiB on the wire, so Lambda's event of 6 MB (4.5 MB before base64,
# and Lambda itself cuts a batch there) holds some 50 of them, about 25 MiB of lines; an emulator that does not cut
# hands over at most BATCH_SIZE (100) x 512 KiB = 50 MiB. Far above the 25 KB that a PUT payload unit is billed by.
PACK_BYTES = 512 * 1024
# The partition key of a fragment is at most 24 + 1 + 20 + 1 + 7 bytes long, with its signature 76; a name takes more
FRAGMENT_BYTES = MAX_RECORD_BYTES - 80
# What a tick packs goes as small as gzip can up to SMALL_BACKLOG bytes, 20,000 lines, and as fast as it can beyond, and
# where more than LARGE_BACKLOG bytes wait. A million lines of bench/backlog.py take 2.7 s of CPU and 28 MB with zlib's
# level 6, and 0.17 s and 31 MB with ISA-L's level 1 (docs/decisions/0014): the usual load has the fewest bytes.
SMALL_BACKLOG, LARGE_BACKLOG = 4 * 1024 * 1024, 16 * 1024 * 1024
SMALL_LEVEL, GZIP_LEVEL = 6, 1
GZIP_MAGIC = b"\x1f\x8b"
# How much of what stands before an offset is remembered to recognise the file by (several log lines)
WINDOW_BYTES = 1024


class Kind(Enum):
    LINES = "whole lines, each ended by its newline"
    LAST_LINE = "one line whose newline is virtual"
    FRAGMENT = "part of a line that fits no record"


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bytes of a generation, as read.

    `before` holds what stands in the file just before `start`, at most WINDOW_BYTES. `goes_on` is for fragments: the
    line has not ended with this piece. `folder`: what stands before the generation in the keys, `shop/` or nothing.
    `backlog`: bytes that are to be read with it.
    """

    generation: str
    start: int
    data: bytes
    before: bytes = b""
    kind: Kind = Kind.LINES
    goes_on: bool = False
    folder: str = ""
    backlog: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a call. It covers the bytes [start, end) of its generation.

    `key`: its place, which a data stream gets as the partition key. `lines`: complete lines that end in it. `window`:
    the last bytes of the file before `end` (before the virtual newline, if `closed`). `inside_line`: `end` is no line's
    end, more fragments follow.
    """

    generation: str
    start: int
    end: int
    key: str
    data: bytes
    lines: int
    window: bytes
    inside_line: bool = False
    closed: bool = False

    @property
    def size(self) -> int:
        """Bytes that count towards the stream's limits; unsigned ones are cut the same way."""
        return len(self.key) + SIGNATURE_BYTES + len(self.data)


def singles(piece: Piece) -> Iterator[Record]:
    """One record a line."""
    if piece.kind is not Kind.LINES:
        yield from _special(piece)
        return
    begin = 0
    while begin < len(piece.data):
        end = piece.data.index(b"\n", begin) + 1
        yield from _line(piece, begin, end)
        begin = end


def packs(piece: Piece, pack: Callable[[bytes], bytes] | None = None) -> Iterator[Record]:
    """As few records as PACK_BYTES allows, each `pack`ed (else by gzip); nothing is done line by line."""
    if piece.kind is not Kind.LINES:
        yield from _special(piece)
        return
    begin = 0
    while begin < len(piece.data):
        end = pack_end(piece.data, begin)
        if end - begin > PACK_BYTES:
            yield from _line(piece, begin, end)
        else:
            block = piece.data[begin:end]
            yield record_of(piece, begin, end, (pack or gzipped)(block), count_lines(block))
        begin = end


def pack_end(data: bytes, begin: int) -> int:
    """Where the next pack of lines ends. What is left is cut evenly, as a short pack costs as much as a full one.

    Only a line that alone is longer than PACK_BYTES makes a longer one.
    """
    left = len(data) - begin
    even = math.ceil(left / math.ceil(left / PACK_BYTES))
    return data.rfind(b"\n", begin, begin + even) + 1 or data.index(b"\n", begin) + 1


class TickGzip:
    """gzip for one tick, in which at least `backlog` bytes wait."""

    def __init__(self, backlog: int) -> None:
        self._left = SMALL_BACKLOG if backlog <= LARGE_BACKLOG else 0

    def __call__(self, data: bytes) -> bytes:
        self._left -= len(data)
        return gzipped(data) if self._left < 0 else zlib.compress(data, SMALL_LEVEL, wbits=31)


def gzipped(data: bytes) -> bytes:
    return isal_zlib.compress(data, GZIP_LEVEL, wbits=31)


def plain(data: bytes) -> bytes:
    """The data as it is, unless it would be taken for gzip."""
    return gzipped(data) if data.startswith(GZIP_MAGIC) else data


def count_lines(data: bytes) -> int:
    """The newlines in it. `bytes.count` looks at byte after byte; `replace` searches with memchr, 4 times faster."""
    return len(data) - len(data.replace(b"\n", b""))


def _special(piece: Piece) -> Iterator[Record]:
    if piece.kind is Kind.LAST_LINE:
        yield from _line(piece, 0, len(piece.data) + 1)
    else:
        yield from fragments(piece, 0, len(piece.data), piece.goes_on, FRAGMENT_BYTES - len(piece.folder))


def _line(piece: Piece, begin: int, end: int) -> Iterator[Record]:
    """The line at [begin, end) of the piece, its newline included, which may be the virtual one."""
    line = piece.data[begin : end - 1]
    record = record_of(piece, begin, end, line, 1)
    if record.size > MAX_RECORD_BYTES or line.startswith(GZIP_MAGIC):
        record = replace(record, data=gzipped(line + b"\n"))
        if record.size > MAX_RECORD_BYTES:
            # A fragment covers its own bytes and no more, so there is no virtual newline here
            yield from fragments(piece, begin, min(end, len(piece.data)), False, FRAGMENT_BYTES - len(piece.folder))
            return
    yield record


def fragments(piece: Piece, begin: int, end: int, goes_on: bool, size: int) -> Iterator[Record]:
    """Cut every `size` bytes from the line's start, so that whatever is sent again is cut the same way."""
    while begin < end:
        cut = min(begin + size, end)
        more = goes_on or cut < end
        record = record_of(piece, begin, cut, piece.data[begin:cut], 0 if more else 1)
        yield replace(record, key=f"{record.key}:{cut - begin}", inside_line=more)
        begin = cut


def record_of(piece: Piece, begin: int, end: int, data: bytes, lines: int) -> Record:
    """The record that covers [begin, end) of the piece; a virtual newline is one byte past its end."""
    there = min(end, len(piece.data))
    if there >= WINDOW_BYTES:
        window = piece.data[there - WINDOW_BYTES : there]
    else:
        window = (piece.before + piece.data[:there])[-WINDOW_BYTES:]
    start = piece.start + begin
    key = f"{piece.folder}{piece.generation}:{start}"
    return Record(piece.generation, start, piece.start + end, key, data, lines, window, closed=end > there)
