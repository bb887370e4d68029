"""Counts what a producer has done since it was started. The status carries it to /metrics."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime
from typing import Any

from common.status import Counters, TickSeconds
from producer.put import Traffic
from producer.rotate import Rotator
from producer.ship import Shipped

# Upper bounds in seconds, as Prometheus' histograms have them: from an idle tick to a throttled one
TICK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Counting:
    """A tick adds what it has shipped while it runs; repair adds from another thread."""

    def __init__(self, started_at: datetime) -> None:
        ticks = TickSeconds(buckets={str(bound): 0 for bound in TICK_SECONDS}, sum=0.0, count=0)
        self.counters = Counters(started_at=started_at, tick_seconds=ticks)
        self._ticks = ticks
        self._traffic = Traffic()
        self._counted = Shipped()
        self._lock = threading.Lock()

    def ship(self, report: Shipped) -> None:
        """Count what `report` says beyond what it said the last time; `begin` comes before another one."""
        with self._lock:
            before = self._counted
            self._add(
                report.traffic.since(before.traffic),
                lines=report.lines - before.lines,
                records=report.records - before.records,
                bytes=report.bytes - before.bytes,
            )
            self._counted = Shipped(report.lines, report.records, report.bytes, traffic=report.traffic.copy())

    def begin(self) -> None:
        with self._lock:
            self._counted = Shipped()

    def tick(self, seconds: float, rotator: Rotator | None) -> None:
        """A tick has ended, and took so long."""
        with self._lock:
            self._ticks = TickSeconds(
                buckets={bound: count + (seconds <= float(bound)) for bound, count in self._ticks.buckets.items()},
                sum=round(self._ticks.sum + seconds, 6),
                count=self._ticks.count + 1,
            )
            self._add(Traffic(), ticks=1)
            self.counters = replace(self.counters, tick_seconds=self._ticks)
            if rotator:
                self.counters = replace(
                    self.counters,
                    rotations=rotator.rotations,
                    deleted_logs=rotator.deleted,
                    dropped_logs=rotator.dropped,
                )

    def repair(self, sent: int, lines: int, traffic: Traffic) -> None:
        with self._lock:
            self._add(traffic, repaired_bytes=sent, repaired_lines=lines)

    def _add(self, traffic: Traffic, **amounts: int) -> None:
        self._traffic.add(traffic)
        sums: dict[str, Any] = {name: getattr(self.counters, name) + more for name, more in amounts.items()}
        self.counters = replace(
            self.counters,
            **sums,
            sent_bytes=self._traffic.bytes,
            calls=self._traffic.calls,
            retries=dict(self._traffic.refused),
            throttled=self._traffic.throttled,
            shards=dict(self._traffic.shards),
        )
