"""`appliance audit --deep`: compares what is archived with the bytes of the logs that are on disk.

A ledger says which ranges an object has, not what it was given for them. So each line whose range is claimed is filed
again and looked for in its object, as often as it is there in the log. What else an object has (lines of other
appliances, of logs that are gone, of other programs) cannot be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from cli.filed import digest, digests, filed
from common.archiver import FRAGMENT, HourlyObject, Ledger
from common.aws import S3Client
from common.errors import code_of, status_of
from common.formats import function_format
from common.settings import Settings
from journal.audit import Audit, Row
from journal.files import Found
from journal.ranges import Ranges

# Lines that are looked for at a time, some 300 bytes of memory each. The object of an hour with more is read once for
# each so many, and equal lines are counted within them.
WINDOW = 200_000
# A line that fits no record travels in fragments, whose ends the log does not tell
LONGEST = 1024 * 1024 - 1024

Window = dict[HourlyObject, dict[bytes, list[tuple[int, int]]]]


@dataclass(slots=True)
class Deep:
    """`compared`: lines. `unlike`: row and ranges whose lines are not in their object. `long`: lines left out."""

    compared: int = 0
    long: int = 0
    unlike: list[tuple[Row, Ranges]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(ranges.total for _, ranges in self.unlike)


def compare(audit: Audit, settings: Settings, s3: S3Client, progress: Callable[[Deep], None]) -> Deep:
    """Raises OSError and the errors of S3."""
    deep = Deep()
    for row in audit.rows:
        if not row.file or not row.id:
            continue
        pairs: list[tuple[int, int]] = []
        for window in _windows(row, row.file.found, settings, deep):
            for target, lines in window.items():
                _tick_off(lines, s3, settings.s3_bucket, target.key)
                pairs += [pair for places in lines.values() for pair in places]
            progress(deep)
        if pairs:
            deep.unlike.append((row, Ranges(pairs)))
    return deep


def _windows(row: Row, log: Found, settings: Settings, deep: Deep) -> Iterator[Window]:
    """The lines of the log that the ledgers claim, by object and content, with their places."""
    claimed, window, held = Ledger(), Window(), 0
    for start, end in row.archived - row.removed:
        claimed.add(row.id, start, end)
    begin = next((start for start, _ in row.written), 0)
    format_ = function_format(settings)
    for target, run in filed(log, row.id, begin, row.written.end, settings.s3_prefix, format_):
        for item in run.singly():
            if not item.text or not claimed.covers(row.id, item.start, item.end):
                continue
            if item.end - item.start > LONGEST or item.text.startswith(b'{"reason":"' + FRAGMENT.encode()):
                deep.long += 1
                continue
            window.setdefault(target, {}).setdefault(digest(item.text[:-1]), []).append((item.start, item.end))
            deep.compared += 1
            held += 1
            if held == WINDOW:
                yield window
                window, held = {}, 0
    yield window


def _tick_off(lines: dict[bytes, list[tuple[int, int]]], s3: S3Client, bucket: str, key: str) -> None:
    """Take out of `lines` what the object has."""
    try:
        with closing(digests(s3, bucket, key)) as there:
            for each in there:
                if each in lines:
                    lines[each].pop()
                    if not lines[each]:
                        del lines[each]
                        if not lines:
                            return
    except ClientError as error:
        if status_of(error) != 404 or code_of(error) == "NoSuchBucket":
            raise
