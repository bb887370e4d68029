"""Looking again and again, each look in a thread of its own: one that hangs keeps no other waiting.

Often while a page is open, rarely otherwise, and never more than half of the time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from common.clock import Clock
from common.log import Event, event, redact

log = logging.getLogger("dashboard")

T = TypeVar("T")

# How long after its last question a page counts as open: longer than a browser needs to connect again
WATCHED_SECONDS = 10.0


class LookError(Exception):
    """A look has failed in a way that was foreseen; the message names the remedy. `unanswered`: there was no answer."""

    unanswered = False


class Audience:
    """Whether a page is open. `changed` is notified when that begins, or when something is to be looked at."""

    def __init__(self, clock: Clock) -> None:
        self.changed = threading.Condition()
        self._clock = clock
        self._asked = float("-inf")

    def ask(self) -> None:
        with self.changed:
            began = not self.watching
            self._asked = self._clock.monotonic()
            if began:
                self.changed.notify_all()

    @property
    def came(self) -> bool:
        """Whether a page was ever open."""
        return self._asked > float("-inf")

    @property
    def watching(self) -> bool:
        return self._clock.monotonic() - self._asked <= WATCHED_SECONDS


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """What the looks have found. `value` is the last that succeeded, at `at`; `error` is that of the last look, and
    `error_since` when it first was there. `looked`: monotonic time at which the last look began. `unanswered`: the
    error is that there was no answer."""

    value: T | None = None
    at: datetime | None = None
    error: str | None = None
    error_since: datetime | None = None
    looked: float | None = None
    unanswered: bool = False


@dataclass(eq=False)
class Periodic(Generic[T]):
    """Calls `look` every `busy` seconds while a page is open, else every `idle` seconds. `waits`: not before the first
    page, or a scrape; until then it costs no client either."""

    name: str
    look: Callable[[], T]
    clock: Clock
    audience: Audience
    _: KW_ONLY
    busy: float
    idle: float
    waits: bool = False

    def __post_init__(self) -> None:
        self.seen: Seen[T] = Seen()
        self._changed = self.audience.changed
        self._wanted = float("-inf")  # a look is needed that began at or after this
        self._ended = False
        self._said = ""
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Let the thread end after the look at hand; does not wait."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def fresh(self, age: float, timeout: float) -> bool:
        """Wait until there was a look that began at most `age` seconds ago; whether there was one in `timeout`."""
        with self._changed:
            wanted = self.clock.monotonic() - age
            self._wanted = max(self._wanted, wanted)
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._ended or (self.seen.looked or 0) >= wanted, timeout)

    def once(self) -> None:
        """Look now, in this thread."""
        begun = self.clock.monotonic()
        try:
            seen = Seen(value=self.look(), at=self.clock.now(), looked=begun)
        except Exception as error:
            known = isinstance(error, LookError)
            unanswered = isinstance(error, LookError) and error.unanswered
            text = redact(str(error) if known else f"{type(error).__name__}: {error}")
            # at the start everything else comes up too: what the first look misses is said if the second one does
            early = known and self.seen.looked is None
            if text != self._said and not early:
                self._said = text
                name: Event = "unreachable" if unanswered else "concern" if known else "failed"
                facts: dict[str, Any] = event(name, part=self.name, error=text)
                log.warning("%s: %s", self.name, text, extra=facts, exc_info=not known)
            since = self.seen.error_since if self.seen.error else self.clock.now()
            seen = Seen(self.seen.value, self.seen.at, text, since, begun, unanswered)
        else:
            if self._said:
                log.info("%s: no longer: %s", self.name, self._said, extra=event("resolved", part=self.name))
                self._said = ""
        with self._changed:
            self.seen = seen
            self._changed.notify_all()

    def _run(self) -> None:
        if self.waits:
            with self._changed:
                self._changed.wait_for(lambda: self._ended or self.audience.came or self._wanted > float("-inf"))
        while not self._ended:
            begun = self.clock.monotonic()
            self.once()
            rested = 2 * self.clock.monotonic() - begun  # rest as long as the look took
            with self._changed:
                while not self._ended:
                    due = begun + (self.busy if self.audience.watching else self.idle)
                    if self._wanted > begun:
                        due = begun
                    pause = max(due, rested) - self.clock.monotonic()
                    if pause <= 0:
                        break
                    self._changed.wait(pause)
