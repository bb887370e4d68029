"""A log that was set back to what it was some time ago, checkpoint and all, or that a clone of the machine carries on.

Then other bytes than this log's were sent under its generation, or will be, from some offset on; to the ledgers this
log's own would be repetitions of those. No file tells. So with each start of the producer a log goes on as a new
generation, from the line on of which nothing was ever sent from here; where cron starts it each minute, with the first
one since the machine's own start.

A machine that is set back with its memory has no start. It shows where the bucket holds more of a generation than was
sent from here: then all that was sent under that name is sent again under a new one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from common.settings import Settings
from journal.checkpoint import Checkpoint, CheckpointError, CheckpointFile
from journal.ranges import Ranges

# Another one with each start of the machine
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def look_back(file: CheckpointFile, *, once: bool = False) -> None:
    """To be called at the start, before the first tick; `once`: of a producer that runs once. Raises CheckpointError,
    OSError."""
    checkpoint, boot = file.load(), boot_id()
    if checkpoint and not (once and checkpoint.boot == boot):
        checkpoint.boot = boot
        for each in checkpoint.generations:
            each.limit = each.sent if each.limit is None else each.limit
        file.save(checkpoint)


def boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


class SetBack:
    """`turn` keeps ticks out; `say(level, message)` tells the user."""

    def __init__(
        self,
        settings: Settings,
        turn: Callable[[], AbstractContextManager[object]],
        say: Callable[[int, str], None],
    ) -> None:
        self._turn = turn
        self._say = say
        self._file = CheckpointFile(settings.checkpoint_file)

    def look_back(self) -> None:
        with suppress(CheckpointError, OSError):  # a tick will say it
            look_back(self._file)

    def check(self, ledgers: Mapping[str, Ranges]) -> None:
        """Let the generations end of which `ledgers`, read before this, hold what was never sent from here.

        Raises CheckpointError, OSError.
        """
        with self._turn():
            checkpoint = self._file.load() or Checkpoint()
            parted = [each for each in checkpoint.generations if each.limit is None and each.exceeded_by(ledgers)]
            for each in parted:
                each.limit = each.start or 0
                self._say(
                    logging.ERROR,
                    f"{each.name} was set back, or a clone of this machine carries it on: the bucket holds bytes up to "
                    f"{ledgers[each.id].end} of generation {each.id}, and only {each.sent} were sent from here. From "
                    f"the line at byte {each.limit} on it goes on as a new generation; nothing of it is lost, lines "
                    "that were sent since this start may be doubled",
                )
            if parted:
                self._file.save(checkpoint)
