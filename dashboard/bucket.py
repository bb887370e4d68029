"""The bucket, read sparingly: its tree, its newest lines, and charts of them.

Of an object that has grown only what is new is read.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from common.aws import S3Client
from common.clock import Clock
from common.settings import Settings
from dashboard.charts import Minutes, add, chart, entry, status_class
from dashboard.endpoint import explaining
from dashboard.inventory import Inventory, Lister
from journal import hourly
from journal.hourly import HOUR, REJECTED, ChangedError, Object, changed, hour_of, object_key
from journal.logs import logs_of

# S3 lists up to 1,000 names a call, and so does one level of the tree
LEVEL = 1000
# One read of an object's end
CHUNK = 256 * 1024
# What one question for lines, and one for charts, may read
LINES_BYTES = 8 * 1024 * 1024
CHARTS_BYTES = 16 * 1024 * 1024
# … and how many seconds it may take before it answers with what it has
ANSWER_SECONDS = 8.0
# How often an object is read anew because it was replaced meanwhile: a busy one is, once a second
READS = 4
# A line has at most some 200 KB as JSON (nginx takes 4 headers of 8 KiB, a byte may take 6); a longer one is left out
MAX_LINE = 1024 * 1024

_TOP = re.compile(r"\d{4}/|rejected/")
# What is shown: other keys may belong to others. Firehose files what it rejects itself by the reason first.
_FOLDER = re.compile(r"(rejected/([^/]+/)?)?(\d{4}/(\d\d/(\d\d/(\d\d/(.+/)?)?)?)?)?", re.ASCII)
_SHOWN = re.compile(rf"(rejected/([^/]+/)?)?{HOUR}/.+", re.ASCII)
# Folders whose objects are all in the inventory
_COUNTED = re.compile(r"(rejected/)?\d{4}/.*")

T = TypeVar("T")


class NotOursError(Exception):
    """The key is none of the log's."""


@dataclass(slots=True)
class _Charted:
    """What was counted of an object: [start, end) of it."""

    etag: str
    start: int
    end: int
    minutes: Minutes


class Bucket:
    """The hourly objects of one bucket. `look` is called by one thread; the others may be called by several."""

    def __init__(self, settings: Settings, clock: Clock, connect: Callable[[], S3Client]) -> None:
        self._settings = settings
        self._clock = clock
        self._connect = connect
        self._lister = Lister(settings, clock, self._prefixes)
        self._charted: dict[str, _Charted] = {}
        self._charting = threading.Lock()
        self.inventory = Inventory()

    @property
    def _s3(self) -> S3Client:
        return self._connect()

    def _prefixes(self) -> list[str]:
        """That of each log, and that of all, below which there may be what was shipped before."""
        return list(dict.fromkeys([*(one.s3_prefix for one in logs_of(self._settings)), self._settings.s3_prefix]))

    @property
    def _name(self) -> str:
        return f"the bucket {self._settings.s3_bucket}"

    def look(self) -> Inventory:
        """List the objects, and ask those that are new for their lines. Raises LookError."""
        with explaining(self._name, self._settings):
            self.inventory = self._lister.look(self._s3)
        return self.inventory

    def tree(self, prefix: str) -> dict[str, Any]:
        """One level of the hourly objects, the newest first. `newest`: how many objects are known, when that is not all
        of them. Raises LookError, NotOursError."""
        prefix, prefixes = prefix or self._settings.s3_prefix, self._prefixes()
        below = self._ours(prefix, _FOLDER)
        with explaining(self._name, self._settings):
            page = self._s3.list_objects_v2(
                Bucket=self._settings.s3_bucket, Prefix=prefix, Delimiter="/", MaxKeys=LEVEL
            )
        inventory = self.inventory
        entries: list[dict[str, Any]] = []
        for folder in page.get("CommonPrefixes", []):
            key = folder["Prefix"]
            name = key[len(prefix) :]
            if not below and not _TOP.fullmatch(name) and key not in prefixes:
                continue  # ledger/, and what is not the log's
            known = self._settings.delivery.has_ledger or _COUNTED.fullmatch(below + name)
            objects, size, lines = (inventory.sum(key) if known else None) or (None, None, None)
            entries.append(
                {"name": name, "key": key, "kind": "folder", "objects": objects, "bytes": size, "lines": lines}
            )
        etags = {one.key: one.etag for one in inventory.objects}
        for item in page.get("Contents", []):
            key = item["Key"]
            same = etags.get(key) == item["ETag"]
            entries.append(
                {
                    "name": key[len(prefix) :],
                    "key": key,
                    "kind": "object",
                    "bytes": item["Size"],
                    "lines": inventory.lines.get(key) if same else None,
                    "modified": item["LastModified"].isoformat(),
                }
            )
        entries.sort(key=lambda one: (one["name"] == REJECTED, [-ord(letter) for letter in one["name"]]))
        return {
            "prefix": prefix,
            "entries": entries,
            "more": bool(page.get("IsTruncated")),
            "newest": None if inventory.whole else len(inventory.objects),
        }

    def _ours(self, key: str, shape: re.Pattern[str]) -> str:
        """The key, or prefix, without the prefix of its log. Raises NotOursError unless it has the shape."""
        prefix = next((one for one in self._prefixes() if key.startswith(one)), self._settings.s3_prefix)
        below = key.removeprefix(prefix)
        if not key.startswith(prefix) or not key.isprintable() or not shape.fullmatch(below):
            raise NotOursError(
                f"only keys below s3://{self._settings.s3_bucket}/{prefix} are shown, and of those the hourly objects: "
                f"{object_key('', '2026/11/23/10')}"
            )
        return below

    def raw(self, key: str, tail: int) -> str:
        """The last `tail` bytes of an object, but whole lines. Raises LookError, NotOursError."""
        self._ours(key, _SHOWN)
        with explaining(f"s3://{self._settings.s3_bucket}/{key}", self._settings):
            size = self._s3.head_object(Bucket=self._settings.s3_bucket, Key=key)["ContentLength"]
            start = max(0, size - tail)
            # one byte more tells whether a line begins there
            data = self._read(key, max(0, start - 1), size)
        if start:
            data = data.partition(b"\n")[2]
        return data.decode(errors="replace")

    def lines(self, limit: int, *, status: str, path: str, host: str) -> dict[str, Any]:
        """The newest archived lines that match, the newest first. Raises LookError."""
        found: list[dict[str, Any]] = []
        keys: list[str] = []
        scanned = 0
        end = self._clock.monotonic() + ANSWER_SECONDS

        def newest(one: Object) -> list[dict[str, Any]]:
            nonlocal scanned
            matching: list[dict[str, Any]] = []
            for line, read in self._backwards(one, LINES_BYTES - scanned):
                scanned += read
                each = entry(line) if line else None
                if each is not None and matches(each, status, path, host):
                    matching.append(each | {"key": one.key})
                    if len(found) + len(matching) == limit:
                        break
            return matching

        for one in self.inventory.objects:
            if one.rejected:
                continue
            if len(found) >= limit or scanned >= LINES_BYTES or self._clock.monotonic() > end:
                break
            keys.append(one.key)
            found += self._as_it_is_now(one, newest) or []
        found.sort(key=lambda each: str(each.get("time")), reverse=True)
        return {"lines": found, "scanned_bytes": scanned, "from": keys}

    def charts(self, minutes: int) -> dict[str, Any]:
        """Counts of the last `minutes`. Raises LookError."""
        with self._charting:
            return self._chart(minutes)

    def _chart(self, minutes: int) -> dict[str, Any]:
        now = self._clock.now()
        begin = now - timedelta(minutes=minutes)
        first, last = hour_of(begin), hour_of(now)
        inventory = self.inventory
        objects = [one for one in inventory.objects if not one.rejected and first <= one.hour <= last]
        budget = CHARTS_BYTES
        complete = inventory.whole or inventory.objects[-1].hour < first
        end = self._clock.monotonic() + ANSWER_SECONDS
        for one in objects:
            if self._clock.monotonic() > end:
                complete = False
                break
            budget -= self._as_it_is_now(one, partial(self._count, budget)) or 0
            counted = self._charted.get(one.key)
            earliest = min(counted.minutes, default="9") if counted else "9"
            if not counted or counted.end < one.size or (counted.start and earliest >= f"{begin:%Y-%m-%dT%H:%M}"):
                complete = False
        keys = {one.key for one in objects}
        self._charted = {key: counted for key, counted in self._charted.items() if key in keys}
        parts = [counted.minutes for counted in self._charted.values()]
        return chart(parts, now, minutes) | {"complete": complete}

    def _as_it_is_now(self, one: Object, read: Callable[[Object], T]) -> T | None:
        """read(one), or of its next version when it was replaced since it was listed; None when it is gone, or is
        replaced again and again. Raises LookError."""
        with explaining(f"s3://{self._settings.s3_bucket}/{one.key}", self._settings):
            for _ in range(READS):
                try:
                    return read(one)
                except ChangedError:
                    pass
                try:
                    head = self._s3.head_object(Bucket=self._settings.s3_bucket, Key=one.key)
                except ClientError as error:
                    if not changed(error):
                        raise
                    return None
                one = one._replace(etag=head["ETag"], size=head["ContentLength"])
        return None

    def _read(self, key: str, start: int, end: int, etag: str | None = None) -> bytes:
        return hourly.read(self._s3, self._settings.s3_bucket, key, start, end, etag)

    def _backwards(self, one: Object, budget: int) -> Iterator[tuple[bytes, int]]:
        """The lines from the last to the first, and how many bytes were read for each; an empty one ends a chunk."""
        end, rest = one.size, b""
        while end > 0 and budget > 0:
            start = max(0, end - CHUNK)
            data = self._read(one.key, start, end, one.etag)
            budget -= len(data)
            yield b"", len(data)
            first, newline, whole = (data + rest).partition(b"\n")
            if start == 0:
                first, newline, whole = b"", b"\n", data + rest
            if newline:
                for line in reversed(whole.splitlines()):
                    yield line, 0
            rest = first + newline if len(first) < MAX_LINE else b""
            end = start

    def _count(self, budget: int, one: Object) -> int:
        """Count what is new of an object, or else the end of it; the bytes read."""
        before = self._charted.get(one.key)
        if before and before.etag == one.etag:
            return 0
        start = 0
        counted = _Charted(one.etag, 0, 0, {})
        # lines are only ever appended; what has become shorter was made by another program
        if before and one.size >= before.end and before.end:
            start, counted = before.end, _Charted(one.etag, before.start, before.end, before.minutes)
        if one.size - start > budget:
            start = one.size - budget
            counted = _Charted(one.etag, start, start, {})
        data = self._read(one.key, start, one.size, one.etag)
        if start and start != (before.end if before else -1):
            data = data.partition(b"\n")[2]
        add(counted.minutes, data.splitlines())
        counted.end = one.size
        self._charted[one.key] = counted
        return one.size - start


def matches(one: dict[str, Any], status: str, path: str, host: str) -> bool:
    """`status`: 404, or 4xx; `path`, `host`: parts of them, in any case. What is empty matches all."""
    code = one.get("status")
    return (
        (not status or status in (str(code), status_class(code)))
        and path.casefold() in str(one.get("path") or "").casefold()
        and host.casefold() in str(one.get("host") or "").casefold()
    )
