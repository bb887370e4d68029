"""Keeps the appliance's own log bounded: rotation by rename and reopen, deletion of what is archived.

Only the scheduled producer does this. A host's log belongs to logrotate. A stream may lose what it acknowledged, so
only archived logs are deleted, unless the user prefers requests to lines (LOG_FULL=drop).
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import signal
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from common.clock import Clock
from common.log import event
from journal.archived import Archived, ArchivedError, ArchivedFile
from journal.checkpoint import Checkpoint, CheckpointError, CheckpointFile, FileId, Generation
from journal.files import files_of
from journal.ranges import Ranges
from producer.processes import nginx_pid, released, written_to

log = logging.getLogger(__name__)

# The share of LOG_DISK_BYTES from which on logs are dropped, with LOG_FULL=drop: before requests are refused
DROP_FROM = 0.8
# The same error again is logged only so often
REPEAT_SECONDS = 60.0


@dataclass(slots=True)
class Rotator:
    """`log`: what nginx writes; `pid_file`: nginx's; `limit`, `age`: bytes and seconds at which the log is renamed.

    `is_full`: whether there is no room for lines, so that the log is renamed, however small, to be deleted soon.
    `archived_file`: what was seen archived; without it (a delivery that keeps no ledgers) acknowledged has to do.
    `drop_at`: bytes of all logs together from which on the oldest are deleted, archived or not; None: never.
    `rotations`, `deleted` and `dropped` count what was done.
    """

    log: Path
    pid_file: Path
    limit: int
    age: float
    clock: Clock
    checkpoint_file: CheckpointFile
    _: KW_ONLY
    is_full: Callable[[], bool] = lambda: False
    archived_file: ArchivedFile | None = None
    drop_at: float | None = None
    held: Callable[[Path], bool | None] = written_to
    find_nginx: Callable[[Path], int | None] = nginx_pid
    kill: Callable[[int, int], None] = os.kill
    rotations: int = 0
    deleted: int = 0
    dropped: int = 0
    _begun: tuple[FileId, float] | None = None
    _said: tuple[str, float] = ("", 0.0)

    def look(self) -> None:
        """Rotate if it is time, delete what may go. What fails is tried again at the next look."""
        try:
            fresh = self._rotate()
            self._delete(fresh)
        except (OSError, CheckpointError, ArchivedError) as error:
            message, now = f"rotation of {self.log} failed: {error}", self.clock.monotonic()
            if message != self._said[0] or now - self._said[1] >= REPEAT_SECONDS:
                log.error("%s", message, extra=event("failed", part="rotation", error=str(error)))
                self._said = message, now

    def _rotate(self) -> Path | None:
        """The name the log has now, if it was renamed."""
        try:
            status = self.log.stat()
        except FileNotFoundError:
            self._reopen()  # renamed before, but nginx has not made a new one yet
            return None
        size = status.st_size
        due = size >= self.limit or (size > 0 and (self.is_full() or self._is_old(status)))
        if not due or self.find_nginx(self.pid_file) is None:
            return None  # without nginx the log does not grow, and no new one would be made
        stamp = self.clock.now().strftime("%Y%m%dT%H%M%SZ")
        names = (self.log.with_name(f"{self.log.name}.{stamp}-{number}") for number in itertools.count())
        target = next(path for path in names if not path.exists())
        self.log.rename(target)
        self.rotations += 1
        log.info(
            "rotated %s at %d bytes to %s",
            *(self.log.name, size, target.name),
            extra=event("rotated", file=target.name, bytes=size),
        )
        self._reopen()
        return target

    def _is_old(self, status: os.stat_result) -> bool:
        """Whether it is `age` since the log's first line was seen, which is the second in its generation's id."""
        here = FileId(status.st_dev, status.st_ino)
        if self._begun is None or self._begun[0] != here:
            checkpoint = self.checkpoint_file.load() or Checkpoint()
            ids = [each.parts[0].id for each in checkpoint.generations if here in each.files]
            if not ids:
                return False  # not polled yet
            self._begun = here, float(int(ids[-1][:8], 16))
        return self.clock.now().timestamp() - self._begun[1] >= self.age

    def _reopen(self) -> None:
        """Have nginx make a new log. Only nginx is ever signalled: a stale pid file may name any process."""
        pid = self.find_nginx(self.pid_file)
        if pid is not None:
            self.kill(pid, signal.SIGUSR1)

    def _delete(self, fresh: Path | None) -> None:
        """Delete what was renamed here, is archived to its last byte, and can get no further byte.

        `fresh` waits for the next look: nginx's workers may be about to reopen.
        """
        own = re.compile(re.escape(self.log.name) + r"\.(\d{8}T\d{6}Z)-(\d+)")
        found = files_of(self.log)
        # oldest first
        rotated = sorted(
            (match[1], int(match[2]), seen.path)
            for seen in found
            if (match := own.fullmatch(seen.path.name)) and seen.path != fresh
        )
        if not rotated or not self.log.exists():
            return
        # the checkpoint on disk counts, not the one in memory
        checkpoint = self.checkpoint_file.load() or Checkpoint()
        archived = self.archived_file.load() if self.archived_file else None
        total = sum(seen.size for seen in found)
        kept: list[tuple[Path, Generation | None]] = []
        for *_, path in rotated:
            status = path.stat()
            here = FileId(status.st_dev, status.st_ino)
            generation = next((each for each in checkpoint.generations if here in each.files), None)
            if generation is None or not self._may_go(generation, path, archived):
                kept.append((path, generation))
                continue
            path.unlink()
            self.deleted += 1
            total -= status.st_size
            reason = "archived" if archived else "acknowledged"
            log.info(
                "deleted %s: all of its %d bytes are %s",
                *(path.name, status.st_size, reason),
                extra=event("deleted", file=path.name, bytes=status.st_size, reason=reason),
            )
        if self.drop_at is not None:
            self._drop(kept, total, self.drop_at, archived)

    def _drop(
        self, kept: list[tuple[Path, Generation | None]], total: int, limit: float, archived: Archived | None
    ) -> None:
        """Delete the oldest until all logs together are below `limit`; one a look while the disk itself is full."""
        full = self.is_full()
        for path, generation in kept:
            if total < limit and not full:
                break
            full = False
            size = path.stat().st_size
            path.unlink()
            self.dropped += 1
            total -= size
            lost = size - _archived_bytes(generation, archived)
            log.error(
                "dropped %s, as LOG_FULL=drop says: %d of its %d bytes are not archived, and lost",
                *(path.name, lost, size),
                extra=event("deleted", file=path.name, bytes=size, reason="full", lost=lost),
            )

    def _may_go(self, generation: Generation, path: Path, archived: Archived | None) -> bool:
        # a poll has seen it under this name, or it would take the log for deleted unread
        if generation.name != path.name or not _holds(generation, path):
            return False
        if archived and not all(archived.covers(part.id, *part.acknowledged) for part in generation.parts):
            return False
        status = path.stat()
        # a rename changes st_ctime: nginx had the time to reopen since then
        age = self.clock.now().timestamp() - max(status.st_mtime, status.st_ctime)
        # asked twice: only a file that no process holds open has its last size
        return released(self.held(path), age) and _holds(generation, path)


def _holds(generation: Generation, path: Path) -> bool:
    """Whether all of the file is acknowledged."""
    return generation.position == path.stat().st_size


def _archived_bytes(generation: Generation | None, archived: Archived | None) -> int:
    """How many of a file's bytes are archived, or acknowledged where no more can be known."""
    if generation is None:
        return 0
    if archived is None:
        return generation.position
    return sum(
        (archived.generations[part.id].archived & Ranges.of(part.acknowledged[0], part.position)).total
        for part in generation.parts
        if part.id in archived.generations
    )
