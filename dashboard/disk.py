"""The log on disk: its files, how many lines they have, and how much of them is not acknowledged yet.

Lines are counted once, as they are written: a look reads what is new, and at most READ_BYTES of it.
"""

from __future__ import annotations

import os
import re
import threading
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from journal.checkpoint import FileId, Generation
from journal.files import Key, files_of
from journal.ranges import Ranges

# Newlines are remembered for each block, so that any range costs at most two blocks to count
BLOCK = 64 * 1024
# At most this much of the logs is read in one look: 0.1 s from the page cache
READ_BYTES = 64 * 1024 * 1024
# nginx limits a request line to 8 KiB (large_client_header_buffers), and the time stands before it
TIME_WITHIN = 1024

_TIME = re.compile(rb"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]")


@dataclass(slots=True)
class LogFile:
    """One file, as far as it was read. `complete`: behind its last newline; `counted`: behind the last byte read."""

    path: Path
    size: int = 0
    counted: int = 0
    complete: int = 0
    lines: int = 0
    blocks: array[int] = field(default_factory=lambda: array("Q", [0]))  # newlines before each block

    @property
    def up_to_date(self) -> bool:
        return self.counted == self.size


@dataclass(frozen=True, slots=True)
class Disk:
    """`grown_*`: bytes and lines that were seen to be added since the first look. `lines` and `grown_lines` are None
    until all that is there has been counted. `new_*`: complete lines that are not acknowledged; `new_since`: the time
    of the first of them. Compressed logs count for `new_bytes` only; `new_lines` is None as long as they do."""

    bytes: int
    files: int
    lines: int | None
    grown_bytes: int
    grown_lines: int | None
    new_bytes: int
    new_lines: int | None
    new_since: datetime | None


def total(counts: Iterable[int | None]) -> int | None:
    """Their sum; None when one of them is not known."""
    known = list(counts)
    return None if None in known else sum(filter(None, known))


class LogDirectory:
    """The log and its rotated siblings. Used by several threads."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._generations: list[Generation] = []  # which say where rotation has moved their files
        self._ignored: set[tuple[Key, str]] = set()
        self._files: dict[Key, LogFile] = {}
        self._lock = threading.Lock()
        self._first = True
        self._grown_bytes = 0
        self._grown_lines = 0

    def look(self, generations: list[Generation], ignored: Iterable[FileId] = ()) -> Disk:
        """`ignored`: files that hold no lines. Raises OSError."""
        with self._lock:
            self._generations = generations
            self._ignored = {(file.key, file.stamp) for file in ignored}
            self._update()
            files = self._files.values()
            complete = all(file.up_to_date for file in files)
            new_bytes, new_lines, since = self._new(generations)
            packed = self._packed(generations)
            return Disk(
                bytes=sum(file.size for file in files),
                files=len(self._files),
                lines=sum(file.lines for file in files) if complete else None,
                grown_bytes=self._grown_bytes,
                grown_lines=self._grown_lines if complete else None,
                new_bytes=new_bytes + packed,
                new_lines=new_lines if complete and not packed else None,
                new_since=since,
            )

    def names(self) -> dict[str, Key]:
        """Count what is new, and say which file has which name now. Raises OSError."""
        with self._lock:
            self._update()
            return {file.path.name: key for key, file in self._files.items()}

    def lines_in(self, name: str, ranges: Ranges) -> int | None:
        """Newlines within `ranges` of the file of that name; None when it is not there or not counted so far."""
        with self._lock:
            try:
                file = self._named(name)
                if file is not None and file.up_to_date and ranges.end > file.counted:
                    self._update()  # the log has grown since the last look
                    file = self._named(name)
                # the newline that ends a file's last line in the ledgers may be missing on disk
                if file is None or ranges.end > file.counted + 1:
                    return None
                with file.path.open("rb") as opened:
                    return sum(
                        self._before(opened.fileno(), file, end) - self._before(opened.fileno(), file, start)
                        for start, end in ranges
                    )
            except OSError:
                return None

    def time_at(self, name: str, offset: int) -> datetime | None:
        """When the line that begins there was logged."""
        with self._lock:
            file = self._named(name)
        return None if file is None else _time(file.path, offset)

    def _named(self, name: str) -> LogFile | None:
        return next((file for file in self._files.values() if file.path.name == name), None)

    def _update(self) -> None:
        found: dict[Key, LogFile] = {}
        budget = READ_BYTES
        packed = {file.key for each in self._generations for file in each.files if file.stamp}
        listed = [seen for seen in files_of(self._log, self._generations) if (seen.key, seen.look) not in self._ignored]
        for path in [seen.path for seen in listed if not (seen.compressed or seen.key in packed)]:
            try:
                with path.open("rb") as opened:
                    status = os.fstat(opened.fileno())
                    key = status.st_dev, status.st_ino
                    file = self._files.get(key) or LogFile(path)
                    if status.st_size < file.counted:
                        file = LogFile(path)  # emptied, and perhaps filled anew
                    if not self._first:
                        self._grown_bytes += status.st_size - file.size
                    file.path, file.size = path, status.st_size
                    budget -= self._count(opened.fileno(), file, budget)
            except FileNotFoundError:
                continue  # rotated or deleted meanwhile
            found[key] = file
        self._files = found
        if all(file.up_to_date for file in found.values()):
            self._first = False

    def _count(self, descriptor: int, file: LogFile, budget: int) -> int:
        """Count the lines of what is new, up to `budget` bytes; the bytes read."""
        begun = file.counted
        while file.counted < file.size and file.counted - begun < budget:
            within = BLOCK - file.counted % BLOCK
            data = os.pread(descriptor, min(within, file.size - file.counted), file.counted)
            if not data:
                file.size = file.counted  # it was cut just now
                break
            newlines = data.count(b"\n")
            file.lines += newlines
            if not self._first:
                self._grown_lines += newlines
            if newlines:
                file.complete = file.counted + data.rindex(b"\n") + 1
            file.counted += len(data)
            if file.counted % BLOCK == 0:
                file.blocks.append(file.lines)
        return file.counted - begun

    def _before(self, descriptor: int, file: LogFile, offset: int) -> int:
        """Newlines before `offset`."""
        if offset > file.counted:
            return file.lines + 1
        block = offset // BLOCK
        return file.blocks[block] + os.pread(descriptor, offset - block * BLOCK, block * BLOCK).count(b"\n")

    def _new(self, generations: list[Generation]) -> tuple[int, int, datetime | None]:
        """Bytes and lines that are complete and not acknowledged, and the time of the first."""
        unclaimed = dict(self._files)
        rests: list[tuple[LogFile, int]] = []
        for generation in generations:
            keys = {file.key for file in generation.files} & self._files.keys()
            unclaimed = {key: file for key, file in unclaimed.items() if key not in keys}
            if held := [self._files[key] for key in keys if self._files[key].size >= generation.position]:
                # of copies, the one that goes on
                rests.append((max(held, key=lambda each: each.size), generation.position))
        rests += [(file, 0) for file in unclaimed.values()]
        found = [self._behind(*rest) for rest in rests]
        first = min((time for _, _, time in found if time), default=None)
        return sum(size for size, _, _ in found), sum(lines for _, lines, _ in found), first

    def _packed(self, generations: list[Generation]) -> int:
        """Bytes that are not acknowledged of logs that are compressed by now, as the producer has seen them."""
        return sum(
            each.unread
            for each in generations
            if any(file.stamp for file in each.files) and not any(file.key in self._files for file in each.files)
        )

    def _behind(self, file: LogFile, position: int) -> tuple[int, int, datetime | None]:
        if file.complete <= position:
            return 0, 0, None
        try:
            with file.path.open("rb") as opened:
                lines = file.lines - self._before(opened.fileno(), file, position)
        except FileNotFoundError:
            return 0, 0, None
        return file.complete - position, lines, _time(file.path, position)


def _time(path: Path, offset: int) -> datetime | None:
    """The time of the line at `offset`; None when it has none that can be read."""
    try:
        with path.open("rb") as opened:
            found = _TIME.search(os.pread(opened.fileno(), TIME_WITHIN, offset).partition(b"\n")[0])
        return found and datetime.strptime(found[1].decode(), "%d/%b/%Y:%H:%M:%S %z").astimezone(UTC)
    except (OSError, ValueError):
        return None
