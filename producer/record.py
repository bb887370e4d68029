"""What goes on the wire: pieces of a log become records (pure; no files, no network, no clock).

PartitionKey                      Data                                        covers
`<generation>:<offset>`           one line without its newline                [offset, offset + len(line) + 1)
`<generation>:<offset>`           gzip of whole lines, each ended by newline  [offset, offset + len(lines))
`<generation>:<offset>:<length>`  raw bytes of a line that fits no record     [offset, offset + length)

The newline of a file's last, unterminated line is virtual: the record covers it although no file holds it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

# Kinesis, PutRecordsRequestEntry: data blob before base64 plus partition key, "must not exceed ... 1 MiB" by default
MAX_RECORD_BYTES = 1024 * 1024
# Raw bytes of lines in one packed record. Half a record, so that even lines that do not compress fit without a second
# try. Access logs shrink 5 to 10 times: 50 to 100 KiB on the wire, so Lambda's event of 6 MB (4.5 MB before base64,
# and Lambda itself cuts a batch there) holds some 50 of them, about 25 MiB of lines; an emulator that does not cut
# hands over at most BATCH_SIZE (100) x 512 KiB = 50 MiB. Far above the 25 KB that a PUT payload unit is billed by.
PACK_BYTES = 512 * 1024
# The key of a fragment is at most 24 + 1 + 20 + 1 + 7 bytes long
FRAGMENT_BYTES = MAX_RECORD_BYTES - 64
# Level 1 takes a third of the time of level 6 and leaves about 20 % more on access logs
GZIP_LEVEL = 1
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
    line has not ended with this piece.
    """

    generation: str
    start: int
    data: bytes
    before: bytes = b""
    kind: Kind = Kind.LINES
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a PutRecords call. It covers the bytes [start, end) of its generation.

    `lines`: complete lines that end in it. `window`: the last bytes of the file before `end` (before the virtual
    newline, if `closed`). `inside_line`: `end` is no line's end, more fragments follow.
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
        """Bytes that count towards Kinesis' limits."""
        return len(self.key) + len(self.data)


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


def packs(piece: Piece) -> Iterator[Record]:
    """As few records as PACK_BYTES allows; nothing is done line by line."""
    if piece.kind is not Kind.LINES:
        yield from _special(piece)
        return
    data, begin = piece.data, 0
    while begin < len(data):
        end = data.rfind(b"\n", begin, begin + PACK_BYTES) + 1
        if not end:  # the next line alone is longer than a pack
            end = data.index(b"\n", begin) + 1
            yield from _line(piece, begin, end)
        else:
            block = data[begin:end]
            yield Record(
                piece.generation,
                piece.start + begin,
                piece.start + end,
                _key(piece, begin),
                gzipped(block),
                block.count(b"\n"),
                _window(piece, end),
            )
        begin = end


def gzipped(data: bytes) -> bytes:
    return zlib.compress(data, GZIP_LEVEL, wbits=31)


def _special(piece: Piece) -> Iterator[Record]:
    if piece.kind is Kind.LAST_LINE:
        yield from _line(piece, 0, len(piece.data) + 1)
    else:
        yield from _fragments(piece, 0, len(piece.data), piece.goes_on)


def _line(piece: Piece, begin: int, end: int) -> Iterator[Record]:
    """The line at [begin, end) of the piece, its newline included, which may be the virtual one."""
    key = _key(piece, begin)
    line = piece.data[begin : end - 1]
    closed = end > len(piece.data)
    start, stop, window = piece.start + begin, piece.start + end, _window(piece, end)
    if len(line) + len(key) <= MAX_RECORD_BYTES and not line.startswith(GZIP_MAGIC):
        yield Record(piece.generation, start, stop, key, line, 1, window, closed=closed)
        return
    packed = gzipped(line + b"\n")
    if len(packed) + len(key) <= MAX_RECORD_BYTES:
        yield Record(piece.generation, start, stop, key, packed, 1, window, closed=closed)
        return
    # A fragment covers its own bytes and no more, so there is no virtual newline here
    yield from _fragments(piece, begin, min(end, len(piece.data)), goes_on=False)


def _fragments(piece: Piece, begin: int, end: int, goes_on: bool) -> Iterator[Record]:
    """Cut at fixed distances from the line's start, so that whatever is sent again is cut the same way."""
    while begin < end:
        cut = min(begin + FRAGMENT_BYTES, end)
        more = goes_on or cut < end
        yield Record(
            piece.generation,
            piece.start + begin,
            piece.start + cut,
            f"{_key(piece, begin)}:{cut - begin}",
            piece.data[begin:cut],
            0 if more else 1,
            _window(piece, cut),
            inside_line=more,
        )
        begin = cut


def _key(piece: Piece, begin: int) -> str:
    return f"{piece.generation}:{piece.start + begin}"


def _window(piece: Piece, end: int) -> bytes:
    end = min(end, len(piece.data))
    if end >= WINDOW_BYTES:
        return piece.data[end - WINDOW_BYTES : end]
    return (piece.before + piece.data[:end])[-WINDOW_BYTES:]
