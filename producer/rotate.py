"""Keeps the appliance's own log bounded: rotation by rename and reopen, deletion of what is archived.

Only the scheduled producer does this. A host's log belongs to logrotate. A stream may lose what it acknowledged, so
only archived logs are deleted. The others may grow beyond their budget, which is logged early.
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
from journal.archived import ArchivedError, ArchivedFile
from journal.checkpoint import CheckpointError, CheckpointFile, FileId, Generation
from journal.files import files_of
from producer.processes import held_open, nginx_pid, released

log = logging.getLogger(__name__)

# The share of the budget from which on a warning is logged
LOUD_FROM = 0.8


@dataclass(slots=True)
class Rotator:
    """`log`: what nginx writes; `pid_file`: nginx's; `limit`: bytes at which the log is renamed.

    `archived_file`: what was seen archived; without it (a delivery that keeps no ledgers) acknowledged has to do.
    `budget`: bytes all logs together may take. `rotations` and `deleted` count what was done.
    """

    log: Path
    pid_file: Path
    limit: int
    clock: Clock
    _: KW_ONLY
    archived_file: ArchivedFile | None = None
    budget: int | None = None
    held: Callable[[int, int], bool | None] = held_open
    find_nginx: Callable[[Path], int | None] = nginx_pid
    kill: Callable[[int, int], None] = os.kill
    rotations: int = 0
    deleted: int = 0

    def run(self, checkpoint_file: CheckpointFile) -> str | None:
        """Rotate if it is time, delete what may go. What fails is tried again at the next call.

        Returns what the user should know: that the logs are about to outgrow their budget.
        """
        try:
            fresh = self._rotate()
            self._delete(checkpoint_file, fresh)
        except (OSError, CheckpointError, ArchivedError) as error:
            message = f"rotation of {self.log} failed: {error}"
            log.error("%s", message, extra=event("failed", part="rotation", error=str(error)))
        return self._full()

    def _full(self) -> str | None:
        if self.budget is None:
            return None
        try:
            size = sum(seen.size for seen in files_of(self.log))
        except OSError:
            return None
        if size < LOUD_FROM * self.budget:
            return None
        return (
            f"the logs in {self.log.parent} take {size} bytes, {100 * size // self.budget} % of LOG_DISK_BYTES="
            f"{self.budget}; what is not archived is not deleted, so they grow until the disk is full. `audit` says "
            "what keeps each of them: mend that, or give them more room with -e LOG_DISK_BYTES=…"
        )

    def _rotate(self) -> Path | None:
        """The name the log has now, if it was renamed."""
        try:
            size = self.log.stat().st_size
        except FileNotFoundError:
            self._reopen()  # renamed before, but nginx has not made a new one yet
            return None
        if size < self.limit or self.find_nginx(self.pid_file) is None:
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

    def _reopen(self) -> None:
        """Have nginx make a new log. Only nginx is ever signalled: a stale pid file may name any process."""
        pid = self.find_nginx(self.pid_file)
        if pid is not None:
            self.kill(pid, signal.SIGUSR1)

    def _delete(self, checkpoint_file: CheckpointFile, fresh: Path | None) -> None:
        """Delete what was renamed here, is archived to its last byte, and can get no further byte.

        `fresh` waits for the next call: nginx's workers may be about to reopen.
        """
        own = re.compile(re.escape(self.log.name) + r"\.\d{8}T\d{6}Z-\d+")
        rotated = [seen.path for seen in files_of(self.log) if own.fullmatch(seen.path.name) and seen.path != fresh]
        if not rotated or not self.log.exists():
            return
        # the checkpoint on disk counts, not the one in memory
        checkpoint = checkpoint_file.load()
        archived = self.archived_file.load() if self.archived_file else None
        for path in rotated:
            generation = (
                next((each for each in checkpoint.generations if _holds(each, path)), None) if checkpoint else None
            )
            if generation is None or (archived and not archived.covers(generation.id, *generation.acknowledged)):
                continue
            status = path.stat()
            age = self.clock.now().timestamp() - status.st_mtime
            # asked twice: only a file that no process holds open has its last size
            if released(self.held(status.st_dev, status.st_ino), age) and _holds(generation, path):
                path.unlink()
                self.deleted += 1
                reason = "archived" if archived else "acknowledged"
                log.info(
                    "deleted %s: all of its %d bytes are %s",
                    *(path.name, status.st_size, reason),
                    extra=event("deleted", file=path.name, bytes=status.st_size, reason=reason),
                )


def _holds(generation: Generation, path: Path) -> bool:
    """Whether this is the generation's file, and acknowledged to its last byte."""
    status = path.stat()
    here = FileId(status.st_dev, status.st_ino)
    return here in generation.files and generation.position == status.st_size
