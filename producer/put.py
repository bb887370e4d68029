"""What becomes of a batch: what the stream acknowledges, what it refuses, and what that takes. Knows no AWS client."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.status import Place
from producer.record import Record


@dataclass(slots=True)
class Traffic:
    """What went over the wire: calls, bytes of Data in them, how often a record was refused, for each reason, and how
    many records each shard has acknowledged.

    The reason is the error code, of the entry or of the whole call, or words where there was none.
    """

    calls: int = 0
    bytes: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    shards: Counter[str] = field(default_factory=Counter)

    def add(self, other: Traffic) -> None:
        self.calls += other.calls
        self.bytes += other.bytes
        self.refused.update(other.refused)
        self.shards.update(other.shards)

    def since(self, before: Traffic) -> Traffic:
        """What was added to `before` to make this."""
        calls, sent = self.calls - before.calls, self.bytes - before.bytes
        return Traffic(calls, sent, self.refused - before.refused, self.shards - before.shards)

    def copy(self) -> Traffic:
        return Traffic(self.calls, self.bytes, self.refused.copy(), self.shards.copy())

    @property
    def throttled(self) -> int:
        if not self.refused:
            return 0
        from common.errors import throttled  # with botocore, as in sink.py

        return sum(records for reason, records in self.refused.items() if throttled(reason))


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a batch: where each record is, or None if it was not acknowledged; why not, and what it took."""

    acknowledged: Sequence[Place | None]
    error: str | None = None
    traffic: Traffic = field(default_factory=Traffic)


class Sink(Protocol):
    def put(self, batch: Sequence[Record]) -> Put:
        """Send a batch. Failures are part of the answer, not exceptions."""


class ClosableSink(Sink, Protocol):
    def close(self) -> None: ...
