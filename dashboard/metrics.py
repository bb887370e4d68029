"""/metrics: the counters of the processes, and what the looks have found, in Prometheus' words.

docs/metrics.md lists the names; a test holds both together. What is not known yet is left out, and not 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector as Source

from common.settings import Settings
from common.status import LogStatus, ProducerStatus
from dashboard.collector import Collector
from dashboard.disk import Disk
from dashboard.periodic import Seen
from dashboard.proof import Proof
from dashboard.state import VERSION, Views

PREFIX = "weblog_"
Row: TypeAlias = tuple[str, str, float | None]  # name, meaning, value
OPENMETRICS = "application/openmetrics-text"
# name -> (the producer's counter, meaning)
PRODUCER = {
    "producer_lines": ("lines", "Acknowledged lines of the log."),
    "producer_records": ("records", "Acknowledged records."),
    "producer_bytes": ("bytes", "Acknowledged bytes of the log."),
    "producer_sent_bytes": ("sent_bytes", "Bytes of record data that were sent, packed or not."),
    "producer_calls": ("calls", "Calls that sent records."),
    "producer_throttled_records": ("throttled", "Records that were throttled."),
    "producer_ticks": ("ticks", "Polls of the log."),
    "log_rotations": ("rotations", "Times the log was rotated."),
    "log_deleted_files": ("deleted_logs", "Rotated logs that were deleted because all of them is archived."),
    "log_dropped_files": ("dropped_logs", "Rotated logs that were deleted to make room, archived or not."),
    "repair_bytes": ("repaired_bytes", "Bytes of the log that repair sent again."),
}
# name -> (the field of the function's lines, meaning)
FUNCTION = {
    "function_batches": ("batches", "Batches that were archived."),
    "function_failed_batches": ("failed", "Batches that failed, and come again."),
    "function_records": ("records", "Records in the batches."),
    "function_lines": ("lines", "Lines in the records, rejected and duplicate ones included."),
    "function_written_lines": ("written", "Lines that were added to objects."),
    "function_duplicate_lines": ("duplicates", "Lines that their object had already."),
    "function_rejected_lines": ("rejected", "Lines that were rejected."),
    "function_commits": ("objects", "Conditional writes that added lines to an object."),
    "function_conflicts": ("conflicts", "Conditional writes that another writer was faster at."),
    "function_written_bytes": ("bytes", "Bytes that were added to objects."),
}
PROVISIONING = ("waiting", "provisioning", "ready", "failed")
PARTS = ("log", "stream", "function", "bucket", "audit")


def exposition(collector: Collector, accept: str) -> tuple[bytes, str]:
    """The text and its media type: Prometheus' format, or OpenMetrics where that is accepted."""
    registry = CollectorRegistry()
    registry.register(Metrics(collector.views, collector.settings, collector.clock.now()))
    # nothing else of the header counts: a version that is no number is an error of the library's
    encode, kind = choose_encoder(OPENMETRICS if OPENMETRICS in accept else "")
    return encode(registry), kind


@dataclass(eq=False)  # the registry keeps it by its identity
class Metrics(Source):
    """One scrape."""

    views: Views
    settings: Settings
    now: datetime

    def collect(self) -> Iterator[Metric]:
        build = {"version": VERSION, "delivery": self.settings.delivery.name}
        yield InfoMetricFamily(f"{PREFIX}build", "Version and way of delivery.", build)
        views = self.views
        looks: list[Seen[Any]] = [views.local, views.stream, views.function, views.bucket, views.proof]
        up = {part: seen.error is None for part, seen in zip(PARTS, looks, strict=True) if seen.looked is not None}
        yield labelled(Gauge, "up", "Whether the last look at a part succeeded.", "part", up)
        if views.here.checks:
            healthy = {check.part: check.state == "ok" for check in views.here.checks}
            yield labelled(Gauge, "healthy", "Whether a process is as it should be.", "part", healthy)
        yield from self._log()
        yield from self._producer()
        entrypoint = views.here.said.entrypoint
        if entrypoint and not entrypoint.stale(self.now):
            meaning = "1 for the state that provisioning is in, 0 for the others."
            states = {each: each == entrypoint.state for each in PROVISIONING}
            yield labelled(Gauge, "provisioning_state", meaning, "state", states)
        yield from self._function()
        yield from self._bucket()
        yield from self._audit()

    def _age(self, since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (self.now - since).total_seconds())

    def _log(self) -> Iterator[Metric]:
        here = self.views.here
        if here.disk:
            yield from by_log({name: self._of_disk(disk) for name, disk in (here.logs or {"": here.disk}).items()})

    def _of_disk(self, disk: Disk) -> list[Row]:
        meaning = "Age of the oldest line that is not acknowledged; 0: none."
        return [
            ("log_size_bytes", "Bytes of all logs on disk.", disk.bytes),
            ("log_files", "Logs on disk, the rotated ones included.", disk.files),
            ("log_lines", "Complete lines of all logs on disk.", disk.lines),
            ("checkpoint_lag_bytes", "Bytes of complete lines that are not acknowledged.", disk.new_bytes),
            ("checkpoint_lag_lines", "Complete lines that are not acknowledged.", disk.new_lines),
            ("checkpoint_lag_seconds", meaning, self._age(disk.new_since)),
        ]

    def _producer(self) -> Iterator[Metric]:
        producer = self.views.here.said.producer or ProducerStatus()
        if counters := producer.counters:
            for name, (field, meaning) in PRODUCER.items():
                if producer.logs and hasattr(LogStatus, field):
                    by_name = {log: getattr(one, field) for log, one in producer.logs.items()}
                    yield labelled(Counter, name, meaning, "log", by_name)
                else:
                    yield counter(name, meaning, getattr(counters, field))
            meaning = "Records that were sent again, by reason."
            yield labelled(Counter, "producer_retried_records", meaning, "reason", counters.retries)
            if counters.shards:
                meaning = "Acknowledged records, by shard."
                yield labelled(Counter, "producer_shard_records", meaning, "shard", counters.shards)
            if ticks := counters.tick_seconds:
                meaning = "How long a poll of the log took, all sending included."
                buckets = [(bound, float(count)) for bound, count in (ticks.buckets | {"+Inf": ticks.count}).items()]
                yield HistogramMetricFamily(f"{PREFIX}producer_tick_duration_seconds", meaning, buckets, ticks.sum)
        meaning = "When the last poll ended (Unix time)."
        yield from gauges(("producer_last_tick_timestamp_seconds", meaning, unix(producer.last_tick)))

    def _function(self) -> Iterator[Metric]:
        if batches := self.views.function.value:
            for name, (field, meaning) in FUNCTION.items():
                yield counter(name, meaning, batches.counts.get(field, 0))
            yield counter("function_batch_seconds", "Time that batches took.", batches.seconds)
            meaning = "When the last batch was archived (Unix time)."
            yield from gauges(("function_last_batch_timestamp_seconds", meaning, unix(batches.last)))

    def _bucket(self) -> Iterator[Metric]:
        found = self.views.bucket.value
        if found and found.whole:
            yield from gauges(
                ("bucket_objects", "Hourly objects, those of rejected lines included.", len(found.objects)),
                ("bucket_size_bytes", "Bytes of the hourly objects.", found.bytes),
                ("bucket_lines", "Lines in the hourly objects.", found.archived_lines),
                ("bucket_rejected_lines", "Lines in the objects of rejected lines.", found.rejected_lines),
            )

    def _audit(self) -> Iterator[Metric]:
        proof = self.views.proof.value
        if proof and not self.views.proof.error:
            for unit in ("lines", "bytes"):
                meaning = f"What became of the {unit} of the logs on disk."
                some = {name: one.totals for name, one in (proof.logs or {"": proof}).items() if one.unit == unit}
                if "" in some:
                    yield labelled(Gauge, f"audit_{unit}", meaning, "what", some[""])
                elif some:
                    family = Gauge(f"{PREFIX}audit_{unit}", meaning, labels=["log", "what"])
                    for log, totals in some.items():
                        for what, total in totals.items():
                            family.add_metric([log, what], total)
                    yield family
            yield from by_log({name: self._of_proof(one) for name, one in (proof.logs or {"": proof}).items()})

    def _of_proof(self, proof: Proof) -> list[Row]:
        meaning = "Age of the oldest acknowledged line that is not archived; 0: none."
        return [
            ("unarchived_bytes", "Acknowledged bytes that are not archived yet.", proof.unarchived_bytes),
            ("unarchived_lines", "Acknowledged lines that are not archived yet.", proof.unarchived_lines),
            ("unarchived_seconds", meaning, self._age(proof.since)),
        ]


def unix(time: datetime | None) -> float | None:
    return None if time is None else time.timestamp()


def gauges(*rows: Row) -> Iterator[Metric]:
    """Those without a value are left out."""
    for name, meaning, value in rows:
        if value is not None:
            yield Gauge(f"{PREFIX}{name}", meaning, value)


def by_log(rows: Mapping[str, Sequence[Row]]) -> Iterator[Metric]:
    """The same with a sample for each of several logs, by its name; of the only one, whose name is empty, without."""
    if "" in rows:
        yield from gauges(*rows[""])
        return
    for each in zip(*rows.values(), strict=True):
        name, meaning, _ = each[0]
        values = {log: value for log, (_, _, value) in zip(rows, each, strict=True) if value is not None}
        if values:
            yield labelled(Gauge, name, meaning, "log", values)


def counter(name: str, meaning: str, value: float) -> Metric:
    """Its samples are called `name`_total."""
    return Counter(f"{PREFIX}{name}", meaning, value)


def labelled(
    kind: type[Counter] | type[Gauge], name: str, meaning: str, label: str, values: Mapping[str, float]
) -> Metric:
    """One sample for each value of `label`."""
    family = kind(f"{PREFIX}{name}", meaning, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family
