r"""What goes into a delivery stream (Firehose): whole lines of one UTC hour a record (pure).

Firehose files a record as a whole, by the partition keys that the transform gives it, and has no keys of its own. So a
record holds lines whose times are in one UTC hour, in one of these forms:

    lines, each ended by newline (also the last one of a file that lacks it)
    gzip of such lines
    bytes of one line that is too long for a record; the last such fragment ends with the newline

All times in a record count, wherever they stand in a line: only the one before the first `"` is the line's own, but to
tell it from one that a client has put into a URL would take a look at every line. A line without any time goes with
those around it, as the transform rejects it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from producer.record import GZIP_MAGIC, Kind, Piece, Record, count_lines, fragments, gzipped, pack_end, record_of

# Firehose, PutRecord: "The maximum size of a record sent to Firehose, before base64-encoding, is 1,000 KiB"
MAX_RECORD_BYTES = 1000 * 1024
# Firehose pricing: "records are rounded up to the nearest 5KB" (5,120 bytes), so below that gzip saves nothing
BILLED_BYTES = 5 * 1024
# The longest line that is sent whole, and the length of a fragment: gzip adds at most 0.04 % to what it cannot compress
WHOLE_BYTES = MAX_RECORD_BYTES - 1024
# The transform may answer an invocation with 6,000,000 bytes (lambda/archiver/firehose.py), which are 4.5 MB of JSON in
# base64. Firehose gathers its records by their size on the wire, 0.2 MB at least (BufferSizeInMBs, which the
# entrypoint and Terraform set to that), and may end with one record too many. So each byte on the wire may become 16
# bytes of JSON, 16 x 209,716 = 3.36 MB, and a record alone what is left. Access logs come to 5 to 10; what shrinks even
# more is sent plain. A line that alone is longer is the record too many, or within the 16: it crowds out no other.
EXPANSION = 16
ANSWER_BYTES = 1_140_000
# What the answer to a record has besides its entries (192 bytes are 256 of base64), and an entry besides its line
RECORD_BYTES = 192
ENTRY_BYTES = 65
# How much a byte of a line may grow besides. nginx's `\x01` (4 bytes) becomes `\u0001`; others write `\\xFF` (5 bytes),
# which becomes `\\x5CxFF` (8). A control byte as it is may become `\u0001`, one that is no UTF-8 `\\xFF`.
BACKSLASH_BYTES = 2
UNPRINTABLE_BYTES = 5

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# as the transform reads it (lambda/archiver/parse.py)
_WRITTEN = rf"\d\d/(?:{'|'.join(_MONTHS)})/\d{{4}}:\d\d:\d\d:\d\d [+-]\d{{4}}\]".encode()
_TIME = re.compile(rb"\[" + _WRITTEN)
_PRINTABLE = bytes(range(0x20, 0x7F))


def hourly(piece: Piece) -> Iterator[Record]:
    """As few records as the limits and the hours allow; nothing is done line by line."""
    if piece.kind is Kind.FRAGMENT:
        yield from fragments(piece, 0, len(piece.data), piece.goes_on, WHOLE_BYTES)
        return
    data = piece.data + b"\n" if piece.kind is Kind.LAST_LINE else piece.data
    begin = 0
    while begin < len(data):
        end = pack_end(data, begin)
        if end - begin > WHOLE_BYTES:
            # a fragment covers its own bytes and no more, so there is no virtual newline here
            yield from fragments(piece, begin, min(end, len(piece.data)), False, WHOLE_BYTES)
        else:
            end = hour_end(data, begin, end)
            block, lines, answer = _fitting(data[begin:end])
            end = begin + len(block)
            yield record_of(piece, begin, end, _packed(block, answer), lines)
        begin = end


def hour_end(data: bytes, begin: int, end: int) -> int:
    """Up to where the whole lines [begin, end) name one hour: behind the first line, at least."""
    first = _TIME.search(data, begin, end)
    if first is None:
        return end
    text = first[0]
    other = _other_hour(text[1:18], text[22:27]).search(data, first.end(), end)
    if other is None:
        return end
    return data.rfind(b"\n", begin, other.start()) + 1 or data.index(b"\n", begin) + 1


@lru_cache(maxsize=256)
def _other_hour(minute: bytes, offset: bytes) -> re.Pattern[bytes]:
    """What finds a time that is not in the UTC hour of e.g. `18/Apr/2020:01:42` with offset `+0000`.

    The same hour written with another offset counts as another one: that ends a record and costs nothing else.
    """
    same = minute
    away = timedelta(hours=int(offset[1:3]), minutes=int(offset[3:5]))
    day, month, year, hour, past = int(minute[:2]), minute[3:6].decode(), *map(int, re.split(rb"[/:]", minute[7:])[:3])
    try:
        zone = timezone(away if offset.startswith(b"+") else -away)
        moment = datetime(year, _MONTHS.index(month) + 1, day, hour, past, tzinfo=zone).astimezone(UTC)
        start = moment.replace(minute=0).astimezone(zone)
        same = _minutes(start, range(start.minute, 60))
        if start.minute:  # an offset that is no whole hour: the UTC hour begins within a local one
            same += b"|" + _minutes(start + timedelta(hours=1), range(start.minute))
    except (ValueError, OverflowError):  # there is no such time; alike ones may stay together
        pass
    own = rb"(?:" + same + rb"):\d\d " + re.escape(offset) + rb"\]"
    return re.compile(rb"\[(?!" + own + rb")(?=" + _WRITTEN + rb")")


def _minutes(moment: datetime, minutes: range) -> bytes:
    hour = f"{moment.day:02}/{_MONTHS[moment.month - 1]}/{moment.year:04}:{moment.hour:02}:"
    each = r"\d\d" if len(minutes) == 60 else f"(?:{'|'.join(f'{minute:02}' for minute in minutes)})"
    return (hour + each).encode()


def _fitting(block: bytes) -> tuple[bytes, int, int]:
    """Of these lines the first ones, whose answer is no longer than ANSWER_BYTES; how many; and the answer's bytes.

    They are all of them, unless many are escaped or very short; and one at least.
    """
    while True:
        lines, answer = answer_bytes(block)
        if answer <= ANSWER_BYTES or lines == 1:
            return block, lines, answer
        block = block[: block.rfind(b"\n", 0, len(block) // 2) + 1 or block.index(b"\n") + 1]


def answer_bytes(block: bytes) -> tuple[int, int]:
    """How many lines there are, and the most bytes that the transform answers to a record of them, before base64."""
    backslashes = len(block) - len(block.replace(b"\\", b""))  # faster than `count`: see count_lines
    others = block.translate(None, _PRINTABLE)  # a newline, too, so that one pass tells both
    lines = count_lines(others)
    growth = BACKSLASH_BYTES * backslashes + UNPRINTABLE_BYTES * (len(others) - lines)
    return lines, RECORD_BYTES + len(block) + ENTRY_BYTES * lines + growth


def _packed(block: bytes, answer: int) -> bytes:
    """The lines as they travel: gzip where that pays and the transform's answer stays small enough."""
    magic = block.startswith(GZIP_MAGIC)  # no log line does; sent plain it would be taken for gzip
    if len(block) <= BILLED_BYTES and not magic:
        return block
    packed = gzipped(block)
    if len(packed) < len(block) and answer <= EXPANSION * len(packed):
        return packed
    return zlib.compress(block, 0, wbits=31) if magic else block
