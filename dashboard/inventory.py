"""What objects of the log are in the bucket, and how many lines they have: each is asked once a version."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from common.aws import S3Client
from common.clock import Clock
from common.settings import Settings
from dashboard.disk import total
from journal import hourly
from journal.hourly import REJECTED, Object, changed

LINES_KEY = "lines"
# as the function's; another program may have written it
LINES = re.compile(r"[0-9]{1,15}")
# The newest objects, which are known: more than two years of hours, or, with an object a minute by Firehose, two weeks.
# Of a larger bucket the sums are unknown, its tree is not.
MAX_OBJECTS = 20_000
# Seconds that one look may spend on asking objects for their lines; the next look goes on from there
ASK_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Inventory:
    """The objects of the log, the newest hour first. `lines`: by key, where it is known. `whole`: none is left out;
    else these are the newest MAX_OBJECTS."""

    objects: list[Object] = field(default_factory=list)
    lines: dict[str, int | None] = field(default_factory=dict)
    whole: bool = True

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.objects)

    def sum(self, prefix: str) -> tuple[int, int, int | None] | None:
        """Objects, bytes and lines (None: unknown) below `prefix`; None when not all objects are known."""
        if not self.whole:
            return None
        found = [one for one in self.objects if one.key.startswith(prefix)]
        return len(found), sum(one.size for one in found), self.total_lines(found)

    def total_lines(self, objects: list[Object]) -> int | None:
        return total(self.lines.get(one.key) for one in objects)

    @property
    def archived_lines(self) -> int | None:
        """Lines of the hourly objects, without those that were rejected."""
        return self.total_lines([one for one in self.objects if not one.rejected]) if self.whole else None

    @property
    def rejected_lines(self) -> int | None:
        return self.total_lines([one for one in self.objects if one.rejected]) if self.whole else None


class _Asked(NamedTuple):
    version: tuple[str, datetime]
    lines: int | None


class Lister:
    """Remembers what it has asked. Used by one thread. `prefixes`: of each log."""

    def __init__(self, settings: Settings, clock: Clock, prefixes: Callable[[], list[str]]) -> None:
        self._settings = settings
        self._prefixes = prefixes
        self._clock = clock
        self._asked: dict[str, _Asked] = {}
        # folders that held more than MAX_OBJECTS: they are not listed in vain again
        self._large: set[str] = set()

    def look(self, s3: S3Client) -> Inventory:
        """List the objects, and ask those that are new for their lines. Raises AWS_ERRORS."""
        bases = [base for prefix in self._prefixes() for base in (prefix, prefix + REJECTED)]
        objects = [one for base in bases for one in self._newest(s3, base, base)]
        objects.sort(key=lambda one: (one.hour, one.modified, one.key), reverse=True)
        whole = len(objects) <= MAX_OBJECTS
        del objects[MAX_OBJECTS:]
        self._ask(s3, objects)
        lines = {one.key: self._asked[one.key].lines for one in objects if self._known(one)}
        return Inventory(objects, lines, whole)

    def _newest(self, s3: S3Client, base: str, folder: str, level: int = 0) -> list[Object]:
        """The objects of the log below a folder. Where they are more than MAX_OBJECTS: those of the newest hours, and
        still more than MAX_OBJECTS. `level`: 0 above the years, at `base`, 4 an hour."""
        if level == 4:
            # Firehose's names begin with the time
            return list(deque(self._objects(s3, base, folder), MAX_OBJECTS + 1))
        # above the years there may be more than the log: that is not even listed
        if level and folder not in self._large:
            found = list(islice(self._objects(s3, base, folder), MAX_OBJECTS + 1))
            if len(found) <= MAX_OBJECTS:
                return found
            self._large.add(folder)
        found = []
        shape = re.compile(r"\d\d/" if level else r"\d{4}/")
        below = hourly.folders(self._pages(s3, Prefix=folder, Delimiter="/"))
        for each in sorted((each for each in below if shape.fullmatch(each, len(folder))), reverse=True):
            found += self._newest(s3, base, each, level + 1)
            if len(found) > MAX_OBJECTS:
                break
        return found

    def _objects(self, s3: S3Client, base: str, folder: str) -> Iterator[Object]:
        """The objects of the log below a folder of a year, or of less, the oldest first."""
        return hourly.objects(self._pages(s3, Prefix=folder), base, any_name=not self._settings.delivery.has_ledger)

    def _pages(self, s3: S3Client, **request: Any) -> Iterator[Any]:
        return hourly.pages(s3, self._settings.s3_bucket, **request)

    def _known(self, one: Object) -> bool:
        asked = self._asked.get(one.key)
        return asked is not None and asked.version == one.version

    def _ask(self, s3: S3Client, objects: list[Object]) -> None:
        keys = {one.key for one in objects}
        self._asked = {key: asked for key, asked in self._asked.items() if key in keys}
        end = self._clock.monotonic() + ASK_SECONDS
        for one in objects:
            if self._known(one):
                continue
            if self._clock.monotonic() > end:
                return
            try:
                head = s3.head_object(Bucket=self._settings.s3_bucket, Key=one.key)
            except ClientError as error:
                if changed(error):
                    continue  # deleted since it was listed
                raise
            if head["ETag"] == one.etag:
                text = hourly.metadata(head).get(LINES_KEY, "")
                lines = int(text) if LINES.fullmatch(text) else None
                self._asked[one.key] = _Asked(one.version, lines)
