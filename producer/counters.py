"""What a producer has done since it was started, as numbers that only grow. The status carries them to /metrics."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime

from common import status
from producer.put import Traffic
from producer.ship import Shipped

# Upper bounds in seconds, as Prometheus' histograms have them: from an idle tick to a throttled one
TICK_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


@dataclass(slots=True)
class Counters:
    """`bytes` of the log and `records` are what was acknowledged; `traffic` is what went over the wire for it.

    A tick adds what it has shipped while it runs; repair adds from another thread.
    """

    started_at: datetime
    ticks: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * len(TICK_SECONDS))
    lines: int = 0
    records: int = 0
    bytes: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    rotations: int = 0
    deleted_logs: int = 0
    repaired_bytes: int = 0
    repaired_lines: int = 0
    _counted: Shipped = field(default_factory=Shipped)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ship(self, report: Shipped) -> None:
        """Count what `report` says beyond what it said the last time; a tick begins with an empty one."""
        with self._lock:
            before = self._counted
            self.lines += report.lines - before.lines
            self.records += report.records - before.records
            self.bytes += report.bytes - before.bytes
            self.traffic.add(report.traffic.since(before.traffic))
            self._counted = Shipped(report.lines, report.records, report.bytes, traffic=report.traffic.copy())

    def tick(self, seconds: float) -> None:
        """A tick has ended, and took so long."""
        with self._lock:
            self.ticks += 1
            self.seconds += seconds
            self.buckets = [count + (seconds <= bound) for count, bound in zip(self.buckets, TICK_SECONDS, strict=True)]
            self._counted = Shipped()

    def repair(self, sent: int, lines: int, traffic: Traffic) -> None:
        with self._lock:
            self.repaired_bytes += sent
            self.repaired_lines += lines
            self.traffic.add(traffic)

    def facts(self) -> status.Counters:
        """As the status has them."""
        with self._lock:
            buckets = {str(bound): count for bound, count in zip(TICK_SECONDS, self.buckets, strict=True)}
            return status.Counters(
                started_at=self.started_at,
                lines=self.lines,
                records=self.records,
                bytes=self.bytes,
                sent_bytes=self.traffic.bytes,
                calls=self.traffic.calls,
                retries=dict(self.traffic.refused),
                throttled=self.traffic.throttled,
                shards=dict(self.traffic.shards),
                ticks=self.ticks,
                tick_seconds=status.TickSeconds(buckets=buckets, sum=round(self.seconds, 6), count=self.ticks),
                rotations=self.rotations,
                deleted_logs=self.deleted_logs,
                repaired_bytes=self.repaired_bytes,
                repaired_lines=self.repaired_lines,
            )
