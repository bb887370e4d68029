"""A sink's patience: what a call left unacknowledged is sent again, and nothing else.

Partial success is a value: it goes on until everything is acknowledged or too much time has passed without any
progress. Then the caller gets what there is.
"""

from __future__ import annotations

import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar

from common.clock import Clock, backoff
from common.delivery import Delivery
from common.log import event
from common.settings import Settings
from common.status import Place
from producer.put import Put, Traffic
from producer.record import Piece, Record

log = logging.getLogger(__name__)

# How long a tick goes on trying while nothing at all is acknowledged; with progress the time starts anew
RETRY_SECONDS = 30.0
# Why a call had no answer, as the counters name it
UNSENT = {"unreachable": "no answer", "credentials": "no credentials"}
# A shard's limits are per second (1 MB, 1,000 records), so waits of this order let it breathe
BACKOFF_BASE = 0.2
BACKOFF_CAP = 5.0


@dataclass(frozen=True, slots=True)
class Failure:
    """`reasons`: records that were refused, for each reason."""

    message: str
    passing: bool
    reasons: dict[str, int]


@dataclass(slots=True)
class RetryingSink(ABC):
    """Sends batches to one `stream`, whatever that is for the delivery.

    `connect` makes a client (anew after a lost connection: the endpoint may have moved). `stop` is asked before each
    further attempt. `pause` waits for some seconds, or less when it was woken because of `stop`.
    """

    delivery: ClassVar[Delivery]
    # error code -> what mends it here
    remedies: ClassVar[dict[str, str]] = {}

    connect: Callable[[], Any]
    stream: str
    clock: Clock
    rng: random.Random
    _: KW_ONLY
    target: str = "localstack"
    stop: Callable[[], bool] = lambda: False
    pause: Callable[[float], object] | None = None
    retry_seconds: float = RETRY_SECONDS
    _client: Any = field(default=None, init=False)

    @staticmethod
    @abstractmethod
    def cut(pieces: Iterable[Piece]) -> Iterator[list[Record]]:
        """How the log is cut into batches."""

    def put(self, batch: Sequence[Record]) -> Put:
        acknowledged: list[Place | None] = [None] * len(batch)
        traffic = Traffic()
        pending = list(range(len(batch)))
        waits = backoff(self.rng, BACKOFF_BASE, BACKOFF_CAP)
        deadline = self.clock.monotonic() + self.retry_seconds
        while True:
            failure = self._attempt(batch, pending, acknowledged, traffic)
            traffic.refused.update(failure.reasons)
            left = []
            for index in pending:
                ack = acknowledged[index]
                if ack is None:
                    left.append(index)
                elif ack.shard:
                    traffic.shards[ack.shard] += 1
            if not left:
                return Put(acknowledged, traffic=traffic)
            if len(left) < len(pending):
                waits = backoff(self.rng, BACKOFF_BASE, BACKOFF_CAP)
                deadline = self.clock.monotonic() + self.retry_seconds
            pending = left
            wait = next(waits)
            if not failure.passing or self.stop() or self.clock.monotonic() + wait >= deadline:
                return Put(acknowledged, failure.message, traffic)
            reasons = ", ".join(failure.reasons)
            log.debug("%s", failure.message, extra=event("retrying", records=len(left), reason=reasons, wait=wait))
            (self.pause or self.clock.sleep)(wait)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @staticmethod
    def own(_settings: Settings) -> dict[str, Any]:
        """The fields of this sink alone."""
        return {}

    def _connected(self) -> Any:
        if self._client is None:
            self._client = self.connect()
        return self._client

    def _failed(self, error: Exception, count: int) -> Failure:
        """What an error of a call means for the `count` records it was about."""
        what, setting = f"{self.delivery.kind} {self.stream}", self.delivery.stream_setting
        from common.errors import explain  # as in sink.py

        found = explain(error, what, self.target, setting=setting, remedies=self.remedies)
        if found.kind == "unreachable":
            self.close()
        return Failure(str(found), found.passing, {found.code or UNSENT.get(found.kind, "not sent"): count})

    @abstractmethod
    def _attempt(
        self, batch: Sequence[Record], pending: Sequence[int], acknowledged: list[Place | None], traffic: Traffic
    ) -> Failure:
        """Send the records `pending` names; note the answers. What it returns holds if any is missing."""
