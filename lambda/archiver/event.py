"""The event of a Kinesis batch, as records and as the lines they carry, each with its place in the log.

The partition key tells what a record is:

    <generation>:<offset>           whole lines, from byte `offset` of that generation of the log on
    <generation>:<offset>:<length>  a fragment: `length` bytes of a line that is too long for one record
    anything else                   a foreign record, of another program: lines without a place

Before each of the first two stands `<name>/` when its producer ships several logs: the folder of that log's objects.
Behind each of the first two stands `:<tag>`, the signature: the first 128 bits, in base64url, of the HMAC-SHA-256 of
the place, a newline and the data, with the key that producer and function share. With a key, a record whose signature
is missing or wrong is foreign, whatever its place says; only what arrived before the time in the key may lack one, as
older producers sent none. Without a key no signature is looked at.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

# 1 MiB of deflate can become 1 GiB (at most 1032:1), and the function would run out of memory at each retry. The
# producer packs 512 KiB and holds lines of at most 4 MiB.
MAX_INFLATED = 16 * 1024 * 1024
# As many empty lines as 512 KiB can hold; more could keep the function busy beyond its time-out at each retry
MAX_LINES = 512 * 1024
FRAGMENT = "fragment of a line longer than a record"
GZIP_MAGIC = b"\x1f\x8b"

_GZIP_WBITS = 31  # zlib: 15 bits of window, +16 for the gzip container
_LATEST = 253402300799  # 9999-12-31T23:59:59Z, the last second datetime can tell
# a name that is a folder of the archive itself is none
_FOLDER = r"((?!rejected/|ledger/)[A-Za-z][A-Za-z0-9._-]{0,31}/)?"
_PLACE = re.compile(
    rf"({_FOLDER}([0-9a-f]{{24}}):(0|[1-9][0-9]{{0,17}})(?::([1-9][0-9]{{0,17}}))?)(?::([A-Za-z0-9_-]{{22}}))?"
)
_KEY = re.compile(r"(\d{8}T\d{6}Z)-[0-9a-f]{64}")
_TAG_BYTES = 16


class BadRecordError(ValueError):
    """The record as a whole cannot be read; the message is the reason."""


class Key(NamedTuple):
    """What places are signed with. `since`: Unix seconds; records that arrived before may lack a signature."""

    secret: bytes
    since: float

    @classmethod
    def of(cls, text: str | None) -> Key | None:
        """Of `<time>-<64 hexadecimal digits>`, such a time as 20261130T000000Z; None of nothing. Raises ValueError."""
        if not text:
            return None
        match = _KEY.fullmatch(text)
        if not match:
            raise ValueError("RECORD_KEY is no key: the entrypoint, or terraform/, gives the function one")
        return cls(text.encode(), datetime.fromisoformat(match[1]).timestamp())

    def holds(self, place: str, tag: str | None, data: bytes, arrived: float) -> bool:
        """Whether the holder of the key has put this data at this place."""
        if tag is None:
            return 0 < arrived < self.since
        digest = hmac.digest(self.secret, b"%b\n%b" % (place.encode(), data), "sha256")[:_TAG_BYTES]
        return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"="), tag.encode())


class Record(NamedTuple):
    """One record of the batch. `arrived`: Unix seconds. `problem`: why `data` could not be decoded. `folder`: what the
    prefix of its objects ends with, `shop/` or nothing."""

    data: bytes
    generation: str | None
    offset: int
    length: int | None
    arrived: float
    problem: str | None
    folder: str = ""


class Line(NamedTuple):
    """One line without its newline: bytes [start, end) of its generation, the newline included.

    `problem` is set for a piece of a line.
    """

    raw: bytes
    start: int
    end: int
    problem: str | None


def kinesis_record(entry: Mapping[str, Any], key: Key | None = None) -> Record:
    """A record of a Kinesis event. Nothing in it makes this raise."""
    kinesis = entry.get("kinesis") or {}
    data, problem = _data(kinesis.get("data"))
    arrived = _seconds(kinesis.get("approximateArrivalTimestamp"))
    match = _PLACE.fullmatch(str(kinesis.get("partitionKey")))
    if match and key and not key.holds(match[1], match[6], data, arrived):
        match = None
    folder, generation, offset, length = match.group(2, 3, 4, 5) if match else (None, None, "0", None)
    return Record(
        data=data,
        generation=generation,
        offset=int(offset),
        length=int(length) if length else None,
        arrived=arrived,
        problem=problem,
        folder=folder or "",
    )


def firehose_record(entry: Mapping[str, Any]) -> Record:
    """A record of a Firehose event: lines without a place. Nothing in it makes this raise."""
    data, problem = _data(entry.get("data"))
    arrived = _seconds(entry.get("approximateArrivalTimestamp"), a_second=1000)  # unlike Kinesis' own
    return Record(data, None, 0, None, arrived, problem)


def _data(sent: Any) -> tuple[bytes, str | None]:
    """(the decoded data, None), or (the data as it came, the reason why it cannot be decoded)."""
    try:
        return base64.b64decode(sent or "", validate=True), None
    except (binascii.Error, ValueError, TypeError):
        return str(sent).encode("utf-8", "surrogatepass"), "broken base64"


def lines(record: Record) -> Iterator[Line]:
    """The lines of a record in order, or its fragment. Raises BadRecordError before the first one, or not at all."""
    if record.problem:
        raise BadRecordError(record.problem)
    if record.length is not None:
        end = record.offset + record.length
        return iter([Line(_fragment(record, record.length), record.offset, end, FRAGMENT)])
    data = content(record)
    if not data and record.data:
        return iter(())
    return _split(data, record.offset)


def content(record: Record) -> bytes:
    """What a record of whole lines carries. Raises BadRecordError."""
    if record.problem:
        raise BadRecordError(record.problem)
    data = inflated(record.data)
    if count_lines(data) > MAX_LINES:
        raise BadRecordError(f"more than {MAX_LINES} lines in one record")
    return data


def count_lines(data: bytes) -> int:
    """The number of newlines. `replace` searches with memchr, 4 times faster than `bytes.count`."""
    return len(data) - len(data.replace(b"\n", b""))


def inflated(data: bytes) -> bytes:
    """The data, unpacked if it is gzip. Raises BadRecordError."""
    return _inflate(data) if data.startswith(GZIP_MAGIC) else data


def _split(data: bytes, offset: int) -> Iterator[Line]:
    """Cut at the newlines; a last line without one counts as having it, as at the end of a closed log."""
    at, size = 0, len(data)
    while True:
        newline = data.find(b"\n", at)
        end = newline if newline >= 0 else size
        yield Line(data[at:end], offset + at, offset + end + 1, None)
        at = end + 1
        if at >= size:
            return


def _fragment(record: Record, length: int) -> bytes:
    """A fragment's own bytes. They may start like gzip by chance, so its length decides, then the content."""
    data = record.data
    if len(data) != length and data.startswith(GZIP_MAGIC):
        data = _inflate(data)
    if len(data) != length:
        raise BadRecordError(f"fragment of {length} bytes that carries {len(data)}")
    return data


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(_GZIP_WBITS)
    try:
        inflated = inflater.decompress(data, MAX_INFLATED + 1)
    except zlib.error:
        raise BadRecordError("broken gzip") from None
    if len(inflated) > MAX_INFLATED:
        raise BadRecordError(f"gzip that inflates to more than {MAX_INFLATED} bytes")
    if not inflater.eof:
        raise BadRecordError("gzip cut short")
    if inflater.unused_data:
        raise BadRecordError("gzip with trailing bytes")
    return inflated


def _seconds(value: object, a_second: int = 1) -> float:
    """A time stamp in Unix seconds; 0 for what is none. `a_second`: how many of its units a second has."""
    if isinstance(value, int | float) and 0 <= value <= _LATEST * a_second:  # an integer may be too large for a float
        return value / a_second
    return 0.0
