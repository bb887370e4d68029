"""The archived lines of a bucket as they come: what is new of the newest hourly objects, read by Range.

An object that has grown is read from where it ended, and only if the bytes before that are still the ones that were
seen: one that was rewritten is read from its beginning, and `notice` says so. Nothing is ever written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from itertools import islice

from common.aws import S3Client
from common.delivery import KINESIS, Delivery
from journal import hourly
from journal.hourly import REJECTED, YEAR, ChangedError, Object, hour_of

# Bytes of one GET when an object is read forwards; and of the first one when its last lines are wanted
BLOCK = 4 * 1024**2
TAIL_BLOCK = 64 * 1024
# How many bytes the search for the last lines goes through at most, so that a filter nothing passes comes to an end
SCAN_BYTES = 64 * 1024**2
# Bytes before the end of what was read that must still be there when it is read on
OVERLAP = 64
# Lines get into the object of their own hour, however late: how many hours back objects are watched. Firehose makes
# many objects an hour, so there it is the hour that just ended only.
WATCHED = timedelta(hours=24)
WATCHED_WITHOUT_LEDGER = timedelta(hours=1)


@dataclass(slots=True)
class Position:
    """How far an object was read: up to `offset`, and `before` stands before it. `etag`: the version that was read to
    its end; empty while it was not."""

    offset: int = 0
    before: bytes = b""
    etag: str = ""


@dataclass
class Follower:
    """Lines come without their newline, those of one object in its order. All methods raise ClientError,
    BotoCoreError and ResponseParserError; what was not returned then comes the next time."""

    s3: S3Client
    bucket: str
    prefix: str
    _: KW_ONLY
    delivery: Delivery = KINESIS
    rejected: bool = False
    notice: Callable[[str], None] = lambda _: None

    def __post_init__(self) -> None:
        self._base = self.prefix + (REJECTED if self.rejected else "")
        self._watched = WATCHED if self.delivery.has_ledger else WATCHED_WITHOUT_LEDGER
        self._positions: dict[str, Position] = {}

    def newest(self, now: datetime, count: int, wanted: Callable[[bytes], bool]) -> list[bytes]:
        """The last `count` wanted lines, oldest first; everything that is there now counts as seen."""
        listed = self._list(now - self._watched, now)
        self._positions = {one.key: Position(one.size, b"\n" if one.size else b"", one.etag) for one in listed}
        found: list[bytes] = []
        budget = SCAN_BYTES
        for one in reversed(listed):
            if len(found) >= count or budget <= 0:
                break
            found += islice(filter(wanted, self._backwards(one, budget)), count - len(found))
            budget -= one.size
        return found[::-1]

    def since(self, moment: datetime, now: datetime) -> Iterator[bytes]:
        """All lines of the hours from `moment`'s on; what is there now counts as seen."""
        first = hour_of(moment)
        for one in self._list(min(moment, now - self._watched), now):
            if one.hour < first:
                self._positions[one.key] = Position(one.size, b"\n" if one.size else b"", one.etag)
            else:
                yield from self._forwards(one)

    def fresh(self, now: datetime) -> Iterator[bytes]:
        """What was added since the last call, in this hour's object or, late, in an earlier one's."""
        listed = self._list(now - self._watched, now)
        self._positions = {one.key: self._positions.get(one.key, Position()) for one in listed}
        for one in listed:
            yield from self._forwards(one)

    def _list(self, first: datetime, now: datetime) -> list[Object]:
        """The objects of these hours, oldest hour first."""
        oldest, newest = hour_of(first), hour_of(now)
        # names sort as hours do, so one listing has them, however long ago the first one is
        shared = os.path.commonprefix([oldest, newest])  # noqa: RUF071 - the characters, not the folders, narrow it
        found = []
        for base in self._bases():
            pages = hourly.pages(self.s3, self.bucket, Prefix=f"{base}{shared}", StartAfter=f"{base}{oldest}")
            for one in hourly.objects(pages, base, any_name=True):
                if one.hour > newest:
                    break
                if one.hour >= oldest:
                    found.append(one)
        return sorted(found)

    def _bases(self) -> list[str]:
        """What stands before the hour in a key. Firehose files what it rejects by the reason first; its transform does
        not."""
        if not self.rejected or self.delivery.has_ledger:
            return [self._base]
        folders = hourly.folders(hourly.pages(self.s3, self.bucket, Prefix=self._base, Delimiter="/"))
        return [self._base, *(one for one in folders if not YEAR.fullmatch(one, len(self._base)))]

    def _forwards(self, one: Object) -> Iterator[bytes]:
        """The complete lines from the object's position to its end, and the position with them."""
        position = self._positions.setdefault(one.key, Position())
        if position.etag == one.etag:
            return
        position.etag = ""
        if one.size < position.offset:
            self._rewritten(one, position)
        rest = b""
        while position.offset + len(rest) < one.size:
            start = position.offset + len(rest)
            overlap = position.before if not rest else b""
            try:
                end = min(start + BLOCK, one.size)
                data = hourly.read(self.s3, self.bucket, one.key, start - len(overlap), end, one.etag)
            except ChangedError:
                return  # it has changed since it was listed: the next look sees it as it is then
            if not data.startswith(overlap):
                self._rewritten(one, position)
                continue
            data = rest + data[len(overlap) :]
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if end:
                position.offset += end
                position.before = data[max(0, end - OVERLAP) : end]
                yield from filter(None, data[:end].split(b"\n"))
        position.etag = one.etag

    def _rewritten(self, one: Object, position: Position) -> None:
        self.notice(f"s3://{self.bucket}/{one.key} was rewritten: it is shown from its beginning")
        position.offset, position.before = 0, b""

    def _backwards(self, one: Object, budget: int) -> Iterator[bytes]:
        """The object's complete lines, the last one first."""
        end, block, rest = one.size, TAIL_BLOCK, b""
        while end > 0 and one.size - end < budget:
            start = max(0, end - block)
            try:
                data = hourly.read(self.s3, self.bucket, one.key, start, end, one.etag)
            except ChangedError:
                return
            lines = (data + rest).split(b"\n")
            if end == one.size:
                lines.pop()  # what follows the last newline: nothing, or a line that is not complete
            rest = lines.pop(0) if start and lines else b""
            yield from filter(None, reversed(lines))
            end, block = start, min(4 * block, BLOCK)
