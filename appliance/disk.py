"""The room for log lines: is there some, and what is to be said of it.

A line is written after the answer, so without room an answer would have none. The first process therefore looks often
enough to close the door (common/door.py) before the room ends: nginx then refuses with 503.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass

from common import door
from common.log import event
from common.settings import Settings
from common.status import Endpoint

log = logging.getLogger("appliance")

MIB = 1024 * 1024
# Kept for the lines of answers that were under way when the door closed, 64 KiB each at most (4 headers of 4 KiB, each
# byte written as \xHH), and for what comes in before it closes; on a small disk, an eighth of it
HEADROOM = 32 * MIB
# Looks come before nginx can have filled the room that the last one found: 128 MB/s of log were measured on two CPUs
FASTEST = 512 * MIB
OFTENEST, RAREST = 0.01, 2.0  # seconds
# Health complains of less free space than this, or than a quarter of a small disk, and of logs that take this share of
# their limit
LOW = 256 * MIB
LOW_FILES = 1000  # or a quarter: checkpoint, status and object are written as new files
LOUD_FROM = 0.8


@dataclass(frozen=True, slots=True)
class Room:
    """In bytes: `free` of the disk's `total`; all `logs` together, and their `limit`. `files` of `most` may be made."""

    free: int
    total: int
    logs: int
    limit: int
    files: int
    most: int

    @property
    def left(self) -> int:
        """How much nginx may write before the door closes; below zero it is time."""
        return min(self.free - _headroom(self.total), self.limit - self.logs - _headroom(self.limit))

    @property
    def again(self) -> bool:
        """Whether there is enough for a closed door to open, so that it does not flap."""
        return self.left > _headroom(min(self.total, self.limit)) // 2

    @property
    def low(self) -> str | None:
        """What will be full soon; None while there is room."""
        if self.free < min(LOW, self.total // 4):
            return f"{self.free // MIB} MiB of {self.total // MIB} MiB are free"
        if self.files < min(LOW_FILES, self.most // 4):
            return f"{self.files} more files can be made (inodes of {self.most})"
        if self.logs >= LOUD_FROM * self.limit:
            return f"the logs take {self.logs} bytes, {100 * self.logs // self.limit} % of {self.limit}"
        return None


def _headroom(size: int) -> int:
    return min(HEADROOM, size // 8)


def look(settings: Settings, endpoint: Endpoint) -> Room:
    """Raises OSError."""
    folder, name = settings.log_file.parent, settings.log_file.name
    disk = os.statvfs(folder)
    total = disk.f_blocks * disk.f_frsize or sys.maxsize  # a file system that does not tell
    free = disk.f_bavail * disk.f_frsize if disk.f_blocks else sys.maxsize
    logs = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name == name or entry.name.startswith((f"{name}.", f"{name}-")):
                try:
                    logs += entry.stat().st_size
                except FileNotFoundError:
                    continue  # renamed or deleted meanwhile
    # the embedded emulator's bucket, on the same disk, must have room for what is in the logs
    limit = min(settings.log_disk_bytes, total // 2) if endpoint == "embedded" else settings.log_disk_bytes
    return Room(free, total, logs, limit, disk.f_favail, disk.f_files)


def complaint(settings: Settings, room: Room) -> str | None:
    """What is wrong with the room, and what mends it; None: nothing."""
    full = door.is_full(settings.run_dir)
    what = room.low or (f"{room.free // MIB} MiB are free" if full else None)
    if what is None:
        return None
    if full:
        done = "answered without a line" if settings.log_full == "answer" else "refused with 503"
        what = f"there is no room for log lines, so requests are {done}: {what}"
    return (
        f"{what}; make room in {settings.data_dir}, or mend what keeps lines from being archived, which `audit` names. "
        f"The logs' own limit: -e LOG_DISK_BYTES={settings.log_disk_bytes}"
    )


class Doorkeeper:
    """Opens and closes the door by itself."""

    def __init__(self, settings: Settings, endpoint: Endpoint) -> None:
        self._settings = settings
        self._endpoint = endpoint
        self._failed = ""
        self._said = (False, False)

    def watch(self) -> None:
        """Look for ever."""
        while True:
            time.sleep(self.look())

    def look(self) -> float:
        """Turn the door if it is time. Returns the seconds until the next look; never raises."""
        run_dir = self._settings.run_dir
        try:
            room, full = look(self._settings, self._endpoint), door.is_full(run_dir)
            if room.left <= 0 and not full:
                door.turn(run_dir, "full")
            elif full and room.again:
                door.turn(run_dir, "open")
            self._say(complaint(self._settings, room), door.is_full(run_dir))
        except OSError as error:
            if str(error) != self._failed:
                log.error("the disk cannot be looked at: %s", error, extra=event("failed", part="disk"))
            self._failed = str(error)
            return RAREST
        self._failed = ""
        return min(RAREST, max(OFTENEST, room.left / FASTEST))

    def _say(self, problem: str | None, full: bool) -> None:
        """Log what is new: that there is little room, none, or enough again."""
        before, self._said = self._said, (problem is not None, full)
        if problem and self._said > before:
            level = logging.ERROR if full else logging.WARNING
            log.log(level, "%s", problem, extra=event("concern", part="disk", problem=problem))
        elif self._said < before and not problem:
            log.info("there is room for log lines again", extra=event("resolved", part="disk"))
