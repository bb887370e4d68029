"""A log that was set back to what it was some time ago, checkpoint and all, or that a clone of the machine carries on.

Then other bytes than this log's were sent under its generation, from some offset on; to the ledgers this log's own are
repetitions of those. It shows where the bucket holds more of a generation than was ever sent from here. The log goes on
as a new generation from the last line that was there before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, suppress
from typing import TYPE_CHECKING

from common.clock import Clock
from common.settings import Settings
from journal.archived import Archived
from journal.checkpoint import Checkpoint, CheckpointError, CheckpointFile
from journal.ledgers import Ledgers, LedgersError
from journal.ranges import Ranges

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The first tick waits so long for the ledgers
READ_SECONDS = 10.0


class SetBack:
    """Made at the start, and before anything is sent. `turn` keeps ticks out; `say(level, message)` tells the user."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        ledgers: Ledgers,
        connect: Callable[[], S3Client],
        turn: Callable[[], AbstractContextManager[object]],
        say: Callable[[int, str], None],
    ) -> None:
        self._clock = clock
        self._ledgers = ledgers
        self._connect = connect
        self._turn = turn
        self._say = say
        self._file = CheckpointFile(settings.checkpoint_file)
        self._sent_before = {each.id: each.sent for each in self._load().generations}

    def _load(self) -> Checkpoint:
        with suppress(CheckpointError, OSError):  # a tick will say it
            return self._file.load() or Checkpoint()
        return Checkpoint()

    def look_back(self) -> None:
        """Look before the first tick. If the bucket cannot be read now, repair's runs look."""
        generations = self._load().generations
        if not generations:
            return
        known, now = Archived(), self._clock.now().timestamp()
        known.note(generations, now, 0, saved=now)
        deadline = self._clock.monotonic() + READ_SECONDS
        with suppress(LedgersError), closing(self._connect()) as s3:
            read = self._ledgers.read(s3, known.horizon(now), lambda: self._clock.monotonic() >= deadline)
            self.check(read.ranges)

    def check(self, ledgers: Mapping[str, Ranges]) -> None:
        """Let the generations end of which `ledgers`, read before this, hold what was never sent from here.

        Raises CheckpointError, OSError.
        """
        with self._turn():
            checkpoint = self._file.load() or Checkpoint()
            parted = [each for each in checkpoint.generations if each.limit is None and each.exceeded_by(ledgers)]
            for each in parted:
                each.limit = min(self._sent_before.get(each.id, each.sent), each.sent)
                self._say(
                    logging.ERROR,
                    f"{each.name} was set back, or a clone of this machine carries it on: the bucket holds bytes up to "
                    f"{ledgers[each.id].end} of generation {each.id}, and only {each.sent} were sent from here. From "
                    f"the line at byte {each.limit} on it goes on as a new generation; nothing of it is lost, lines "
                    "that were sent since this start may be doubled",
                )
            if parted:
                self._file.save(checkpoint)
