"""The logs that a producer ships, each with what it remembers of its files from one poll to the next."""

from __future__ import annotations

import logging
import random
from contextlib import suppress
from dataclasses import dataclass

from common.clock import Clock
from common.log import event
from common.settings import Settings
from journal.checkpoint import CheckpointFile
from journal.logs import logs_of, problems_of
from producer.ship import Shipped
from producer.source import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Log:
    """`name`: empty, but for one of LOG_FILES. `found`: in a folder of LOG_FILES, where it may be gone."""

    name: str
    source: Source
    checkpoint_file: CheckpointFile
    found: bool = False

    @property
    def told(self) -> str:
        """What stands before a message of it."""
        return f"{self.name}: " if self.name else ""


def wrong_format(each: Log, settings: Settings) -> str | None:
    """What is wrong with the format of its newest lines; empty: nothing, None: it cannot be told."""
    if not settings.owns_log:  # the appliance's nginx logs in the right one
        from common.formats import format_of  # few need it
        from journal.formats import complaint

        with suppress(OSError):
            return complaint(each.source.log, format_of(settings.access_log_format, settings.fields))
    return None


def log_shipped(each: Log, report: Shipped) -> None:
    """The log line of a tick that shipped something."""
    extra = event("shipped", lines=report.lines, records=report.records, bytes=report.bytes, lag=report.lag)
    if each.name:
        extra["facts"]["log"] = each.name
    log.info(
        "%sshipped %d lines in %d records, %d bytes; first %s, last %s; lag %d bytes",
        *(each.told, report.lines, report.records, report.bytes),
        *(report.first, report.last, report.lag),
        extra=extra,
    )


class Logs:
    def __init__(self, settings: Settings, clock: Clock, rng: random.Random) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._known: dict[str, Log] = {}

    def look(self) -> tuple[list[Log], list[str]]:
        """Those that there are or were, and the problems with others.

        In any order: one that the stream refuses must not keep the same others waiting each time.
        """
        problems, logs = problems_of(self._settings), logs_of(self._settings)
        for one in logs:
            name = one.log_name
            # in a folder, shop-access.log may come instead of shop.access.log
            if name not in self._known or self._known[name].source.log != one.log_file:
                try:
                    one.checkpoint_file.parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    problems.append(f"{name} is not shipped: {error}")
                    continue
                source = Source.of(one, self._clock, self._rng)
                found = bool(name) and (name, one.log_file) not in self._settings.named_logs
                self._known[name] = Log(name, source, CheckpointFile(one.checkpoint_file), found)
        for each in self._known.values():
            each.source.whereabouts.others = {one.log_file for one in logs if one.log_name != each.name}
        return self._rng.sample([*self._known.values()], len(self._known)), problems
