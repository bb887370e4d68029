"""Time as an argument: code that waits or stamps takes a Clock, and a test hands it one of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start; never goes backwards."""

    def sleep(self, seconds: float) -> None:
        """Block for `seconds`."""


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def iso(moment: datetime | None) -> str | None:
    """As JSON has it, to the millisecond: 2026-11-23T16:05:00.123Z."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def backoff(rng: random.Random, base: float, cap: float) -> Iterator[float]:
    """Endless waits in seconds: exponential from `base`, limited to `cap`, each with full jitter.

    Full jitter (a uniform draw from 0 to the limit) is the variant with the least total work under contention in the
    AWS Architecture Blog's "Exponential Backoff And Jitter".
    """
    limit = base
    while True:
        yield rng.uniform(0, limit)
        limit = min(cap, limit * 2)
