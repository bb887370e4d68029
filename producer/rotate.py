"""Keeps the appliance's own log bounded: rotation by rename and reopen, deletion of what is acknowledged.

Only the scheduled producer does this. A host's log belongs to logrotate.
"""

from __future__ import annotations

import logging
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

from appliance.clock import Clock
from producer.checkpoint import Checkpoint, CheckpointError, CheckpointFile, FileId
from producer.processes import held_open, nginx_pid

log = logging.getLogger(__name__)

# A file of which nobody can say who holds it open counts as released when it was not written to for so long
RELEASED_AFTER = 600.0


class Rotator:
    """`log_file`: what nginx writes; `pid_file`: nginx's; `limit`: bytes at which the log is renamed."""

    def __init__(
        self,
        log_file: Path,
        pid_file: Path,
        limit: int,
        clock: Clock,
        *,
        held: Callable[[int, int], bool | None] = held_open,
        find_nginx: Callable[[Path], int | None] = nginx_pid,
        kill: Callable[[int, int], None] = os.kill,
    ) -> None:
        self._log = log_file
        self._pid_file = pid_file
        self._limit = limit
        self._clock = clock
        self._held = held
        self._find_nginx = find_nginx
        self._kill = kill

    def run(self, checkpoint_file: CheckpointFile) -> None:
        """Rotate if it is time, delete what may go. Converges: whatever did not work is tried at the next call."""
        try:
            fresh = self._rotate()
            self._delete(checkpoint_file, fresh)
        except (OSError, CheckpointError) as error:
            log.error("rotation of %s failed: %s", self._log, error)

    def _rotate(self) -> Path | None:
        """The name the log has now, if it was renamed."""
        try:
            size = self._log.stat().st_size
        except FileNotFoundError:
            self._reopen()  # renamed before, but nginx has not made a new one yet
            return None
        if size < self._limit or self._find_nginx(self._pid_file) is None:
            return None  # without nginx the log does not grow, and nobody would make a new one
        stamp = self._clock.now().strftime("%Y%m%dT%H%M%SZ")
        number = 0
        while (target := self._log.with_name(f"{self._log.name}.{stamp}-{number}")).exists():
            number += 1
        self._log.rename(target)
        log.info("rotated %s at %d bytes to %s", self._log.name, size, target.name)
        self._reopen()
        return target

    def _reopen(self) -> None:
        """Have nginx make a new log. Only nginx is ever signalled: a stale pid file may name any process."""
        pid = self._find_nginx(self._pid_file)
        if pid is not None:
            self._kill(pid, signal.SIGUSR1)

    def _delete(self, checkpoint_file: CheckpointFile, fresh: Path | None) -> None:
        """Delete what was renamed here, is acknowledged to its last byte, and can get no further byte.

        `fresh` waits for the next call: nginx's workers may be about to reopen.
        """
        own = re.compile(re.escape(self._log.name) + r"\.\d{8}T\d{6}Z-\d+")
        rotated = [path for path in self._log.parent.iterdir() if own.fullmatch(path.name) and path != fresh]
        if not rotated or not self._log.exists():
            return
        # What is on disk counts, not what this process believes
        checkpoint = checkpoint_file.load()
        for path in rotated:
            if (
                checkpoint
                and _acknowledged(checkpoint, path)
                and self._released(path)
                and _acknowledged(checkpoint, path)
            ):
                # asked twice: only once nobody holds it open is its size its last one
                size = path.stat().st_size
                path.unlink()
                log.info("deleted %s: all of its %d bytes are acknowledged", path.name, size)

    def _released(self, path: Path) -> bool:
        status = path.stat()
        held = self._held(status.st_dev, status.st_ino)
        return held is False or (held is None and self._clock.now().timestamp() - status.st_mtime >= RELEASED_AFTER)


def _acknowledged(checkpoint: Checkpoint, path: Path) -> bool:
    status = path.stat()
    here = FileId(status.st_dev, status.st_ino)
    return any(here in each.files and each.position == status.st_size for each in checkpoint.generations)
