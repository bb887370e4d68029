"""One pass over the resources: whether it may change anything, and until when it waits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from botocore.exceptions import ClientError

from common.clock import Clock
from entrypoint.errors import UnavailableError

T = TypeVar("T")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0


class Run:
    """Waits for `seconds` at most, all its waits together. With `apply=False` it only looks."""

    def __init__(self, clock: Clock, seconds: float, *, apply: bool = True) -> None:
        self.apply = apply
        self._clock = clock
        self._at = clock.monotonic() + seconds

    def within(self, seconds: float) -> Run:
        """The same, for `seconds` from now at most."""
        return Run(self._clock, min(seconds, self.left), apply=self.apply)

    @property
    def now(self) -> datetime:
        return self._clock.now()

    @property
    def left(self) -> float:
        return max(0.0, self._at - self._clock.monotonic())

    def until(self, wanted: str, attempt: Callable[[], T | None]) -> T:
        """Call `attempt` until it returns something. Raises UnavailableError, naming what was `wanted`, when late."""
        pause = FIRST_PAUSE
        while True:
            result = attempt()
            if result is not None:
                return result
            self._pause(pause, UnavailableError(f"gave up waiting for {wanted}"))
            pause = min(LONGEST_PAUSE, pause * 2)

    def retry(self, call: Callable[[], T], passing: Callable[[ClientError], bool]) -> T:
        """Call `call` until it answers; errors that are `passing` are waited out, and raised as they are when late."""
        pause = FIRST_PAUSE
        while True:
            try:
                return call()
            except ClientError as error:
                if not passing(error):
                    raise
                self._pause(pause, error)
            pause = min(LONGEST_PAUSE, pause * 2)

    def _pause(self, seconds: float, late: Exception) -> None:
        if self.left <= 0:
            raise late
        self._clock.sleep(min(seconds, self.left))
