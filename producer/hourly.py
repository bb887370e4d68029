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
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from producer.record import GZIP_MAGIC, Kind, Piece, Record, count_lines, fragments, gzipped, key_of, pack_end, window

# Firehose, PutRecord: "The maximum size of a record sent to Firehose, before base64-encoding, is 1,000 KiB"
MAX_RECORD_BYTES = 1000 * 1024
# Firehose pricing: "records are rounded up to the nearest 5KB" (5,120 bytes), so below that gzip saves nothing
BILLED_BYTES = 5 * 1024
# The longest line that is sent whole: gzip adds at most 0.04 % to what it cannot compress
WHOLE_BYTES = MAX_RECORD_BYTES - 1024
FRAGMENT_BYTES = WHOLE_BYTES
# The transform must answer an invocation with less than 6 MB (Lambda: 6,291,456 bytes), base64 included: 4.7 MB of
# JSON lines. Firehose gathers its records by their size on the wire, 0.2 MB at least (BufferSizeInMBs, which the
# entrypoint and Terraform set to that), and may end with one record too many: 512 KiB of lines here, 0.7 MB of JSON.
# So (4.7 - 0.7) MB / 0.2 MB = 19 bytes of JSON for each byte on the wire are the most there may be; 16 leaves room for
# the rest of the answer. An entry takes less than its line and 64 bytes. Access logs come to 5 to 10; what shrinks even
# more is sent plain.
EXPANSION = 16
ENTRY_BYTES = 64

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# as the transform reads it (lambda/archiver/parse.py)
_WRITTEN = rf"\d\d/(?:{'|'.join(_MONTHS)})/\d{{4}}:\d\d:\d\d:\d\d [+-]\d{{4}}\]".encode()
_TIME = re.compile(rb"\[" + _WRITTEN)


def hourly(piece: Piece) -> Iterator[Record]:
    """As few records as the limits and the hours allow; nothing is done line by line."""
    if piece.kind is Kind.FRAGMENT:
        yield from fragments(piece, 0, len(piece.data), piece.goes_on, FRAGMENT_BYTES)
        return
    data = piece.data + b"\n" if piece.kind is Kind.LAST_LINE else piece.data
    begin = 0
    while begin < len(data):
        end = pack_end(data, begin)
        if end - begin > WHOLE_BYTES:
            # a fragment covers its own bytes and no more, so there is no virtual newline here
            yield from fragments(piece, begin, min(end, len(piece.data)), False, FRAGMENT_BYTES)
        else:
            end = hour_end(data, begin, end)
            block = data[begin:end]
            lines = count_lines(block)
            yield Record(
                piece.generation,
                piece.start + begin,
                piece.start + end,
                key_of(piece, begin),
                _packed(block, lines),
                lines,
                window(piece, end),
                closed=end > len(piece.data),
            )
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


def _packed(block: bytes, lines: int) -> bytes:
    """The lines as they travel: gzip where that pays and the transform's answer stays small enough."""
    magic = block.startswith(GZIP_MAGIC)  # no log line does; sent plain it would be taken for gzip
    if len(block) <= BILLED_BYTES and not magic:
        return block
    packed = gzipped(block)
    pays = len(packed) < len(block) and len(block) + ENTRY_BYTES * lines <= EXPANSION * len(packed)
    return packed if pays or magic else block
