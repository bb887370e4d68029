"""Lambda around one invocation: its requests take simulated time; it is killed at its time-out, or for memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

import index
from tests.simulation.bucket import Bucket
from tests.simulation.faults import Crash, Faults

# Milliseconds of a request, give or take a half; parts are copied eight at a time
TAKES = {"head_object": 25, "get_object": 25, "upload_part_copy": 5}
TAKES_ELSE = 40
SLOWER = 10
# Of the CPU between two looks at the time, at most
PARSING = 10
# Before each request, one of those in flight whose invocation is dead may arrive
ARRIVES = 0.3


class Invocation:
    """Lambda's context, and the S3 client of the function that it runs."""

    def __init__(
        self,
        bucket: Bucket,
        rng: random.Random,
        faults: Faults,
        say: Callable[[str], None],
        *,
        milliseconds: float,
        records: int,
    ) -> None:
        """`milliseconds`: its time-out. The more records it holds the sooner it runs out of memory."""
        self._bucket = bucket
        self._rng = rng
        self._faults = faults
        self._say = say
        self._left = milliseconds
        self._steps_left = rng.randrange(1 + 30 // max(records, 1)) if rng.random() < faults.out_of_memory else None

    def get_remaining_time_in_millis(self) -> int:
        if self._is_out_of_memory():
            self._die("no memory is left")
        self._pass(self._rng.uniform(0, PARSING))
        if self._rng.random() < self._faults.out_of_time:
            self._left = min(self._left, self._rng.uniform(0, 2 * index.TIME_MARGIN_MS))
        return int(self._left)

    def sleep(self, seconds: float) -> None:
        self._bucket.pause()
        self._pass(1000 * seconds)

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        return partial(self._request, name)

    def _request(self, name: str, **request: Any) -> dict[str, Any]:
        rng, late = self._rng, self._bucket.late
        while late and rng.random() < ARRIVES:
            self._say("    late:")
            with suppress(ClientError, BotoCoreError, Crash):
                late.pop(0)()
        act: Callable[[], dict[str, Any]] = partial(getattr(self._bucket, name), **request)
        takes = TAKES.get(name, TAKES_ELSE) * rng.uniform(0.5, 1.5)
        if rng.random() < self._faults.s3_slow:
            takes *= SLOWER
        out_of_memory = self._is_out_of_memory()
        if out_of_memory or takes > self._left:
            if rng.random() < self._faults.s3_late:
                late.append(act)
            elif rng.random() < 0.5:
                with suppress(ClientError, BotoCoreError):
                    act()
            self._die(f"{'no memory is left' if out_of_memory else 'the time is over'} at {name} {request['Key']}")
        self._left -= takes
        return act()

    def _pass(self, milliseconds: float) -> None:
        self._left -= milliseconds
        if self._left <= 0:
            self._die("the time is over")

    def _is_out_of_memory(self) -> bool:
        if self._steps_left is None:
            return False
        self._steps_left -= 1
        return self._steps_left < 0

    def _die(self, why: str) -> None:
        self._say(f"    {why}")
        raise Crash(why)
