"""The logs on disk, one or several: each is looked at by itself, and all of them count as one."""

from __future__ import annotations

import threading
from collections.abc import Collection

from common.errors import unreadable
from common.settings import Settings
from dashboard.disk import Disk, LogDirectory, total
from journal.checkpoint import Checkpoint, CheckpointError, CheckpointFile
from journal.logs import logs_of


class LogDirectories:
    """A directory for each log, kept from when it is first seen. Used by several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, LogDirectory] = {}
        self._lock = threading.Lock()

    def each(self) -> list[tuple[Settings, LogDirectory]]:
        with self._lock:
            logs = logs_of(self._settings)
            return [(one, self._known.setdefault(one.log_name, LogDirectory(one.log_file))) for one in logs]

    def look(self) -> tuple[dict[str, Disk], list[str]]:
        """What is there, by the log's name; and why nothing is told of others."""
        found: dict[str, Disk] = {}
        problems = []
        for one, directory in self.each():
            told = f"{one.log_name}: " if one.log_name else ""
            try:
                checkpoint = CheckpointFile(one.checkpoint_file).load() or Checkpoint()
                found[one.log_name] = directory.look(checkpoint.generations, checkpoint.ignored)
            except CheckpointError as error:
                problems.append(f"{told}{error}")
            except OSError as error:
                problems.append(f"{told}the log cannot be read: {unreadable(error)}")
        return found, problems


def added(disks: Collection[Disk]) -> Disk:
    return Disk(
        bytes=sum(one.bytes for one in disks),
        files=sum(one.files for one in disks),
        lines=total(one.lines for one in disks),
        grown_bytes=sum(one.grown_bytes for one in disks),
        grown_lines=total(one.grown_lines for one in disks),
        new_bytes=sum(one.new_bytes for one in disks),
        new_lines=total(one.new_lines for one in disks),
        new_since=min((one.new_since for one in disks if one.new_since), default=None),
    )
