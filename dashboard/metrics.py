"""/metrics: the counters of the processes, and what the looks have found, in Prometheus' words.

docs/metrics.md says what each one means; a test holds both together. What nobody has said yet is left out, and not 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector as Source

from dashboard.periodic import Seen
from dashboard.state import VERSION, Views

if TYPE_CHECKING:
    from datetime import datetime

    from common.settings import Settings
    from dashboard.collector import Collector

PREFIX = "weblog_"
# name -> (the producer's counter, meaning)
PRODUCER = {
    "producer_lines": ("lines", "Acknowledged lines of the log."),
    "producer_records": ("records", "Acknowledged records."),
    "producer_bytes": ("bytes", "Acknowledged bytes of the log."),
    "producer_sent_bytes": ("sent_bytes", "Bytes of record data that were sent, packed or not."),
    "producer_calls": ("calls", "Calls that sent records."),
    "producer_throttled_records": ("throttled", "Records that the stream has throttled."),
    "producer_ticks": ("ticks", "Polls of the log."),
    "log_rotations": ("rotations", "Times the log was rotated."),
    "log_deleted_files": ("deleted_logs", "Rotated logs that were deleted because all of them is archived."),
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
    """The text and its media type: Prometheus' format, or OpenMetrics for who accepts that."""
    registry = CollectorRegistry()
    registry.register(Metrics(collector.views, collector.settings, collector.clock.now()))
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class Metrics(Source):
    """One scrape."""

    def __init__(self, views: Views, settings: Settings, now: datetime) -> None:
        self._views = views
        self._settings = settings
        self._now = now

    def collect(self) -> Iterator[Metric]:
        build = {"version": VERSION, "delivery": self._settings.delivery.name}
        yield InfoMetricFamily(f"{PREFIX}build", "Version and way of delivery.", build)
        yield from self._up()
        yield from self._log()
        yield from self._producer()
        yield from self._provisioning()
        yield from self._function()
        yield from self._bucket()
        yield from self._audit()

    def _up(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(f"{PREFIX}up", "Whether the last look at a part succeeded.", labels=["part"])
        views = self._views
        parts: list[Seen[Any]] = [views.local, views.stream, views.function, views.bucket, views.proof]
        for part, seen in zip(PARTS, parts, strict=True):
            if seen.looked is not None:
                family.add_metric([part], seen.error is None)
        yield family
        local = views.local.value
        if local:
            family = GaugeMetricFamily(f"{PREFIX}healthy", "Whether a process is as it should be.", labels=["part"])
            for check in local.checks:
                family.add_metric([check.part], check.state == "ok")
            yield family

    def _log(self) -> Iterator[Metric]:
        disk = self._views.local.value.disk if self._views.local.value else None
        if disk is None:
            return
        yield gauge("log_size_bytes", "Bytes of all logs on disk.", disk.bytes)
        yield gauge("log_files", "Logs on disk, the rotated ones included.", disk.files)
        if disk.lines is not None:
            yield gauge("log_lines", "Complete lines of all logs on disk.", disk.lines)
        yield gauge("checkpoint_lag_bytes", "Bytes of complete lines that are not acknowledged.", disk.new_bytes)
        if disk.new_lines is not None:
            yield gauge("checkpoint_lag_lines", "Complete lines that are not acknowledged.", disk.new_lines)
        age = 0.0 if disk.new_since is None else max(0.0, (self._now - disk.new_since).total_seconds())
        yield gauge("checkpoint_lag_seconds", "Age of the oldest line that is not acknowledged; 0: none.", age)

    def _producer(self) -> Iterator[Metric]:
        local = self._views.local.value
        producer = local.said.producer if local else None
        counters = producer.counters if producer else None
        if counters:
            for name, (field, meaning) in PRODUCER.items():
                yield counter(name, meaning, getattr(counters, field))
            yield labelled(
                "producer_retried_records", "Records that were sent again, by reason.", "reason", counters.retries
            )
            if counters.shards:
                yield labelled("producer_shard_records", "Acknowledged records, by shard.", "shard", counters.shards)
            if counters.tick_seconds:
                found = counters.tick_seconds
                duration = HistogramMetricFamily(
                    f"{PREFIX}producer_tick_duration_seconds", "How long a poll of the log took, all sending included."
                )
                buckets = [
                    *((bound, float(count)) for bound, count in found.buckets.items()),
                    ("+Inf", float(found.count)),
                ]
                duration.add_metric([], buckets, sum_value=found.sum)
                yield duration
        if producer and producer.last_tick:
            last = producer.last_tick.timestamp()
            yield gauge("producer_last_tick_timestamp_seconds", "When the last poll ended (Unix time).", last)

    def _provisioning(self) -> Iterator[Metric]:
        local = self._views.local.value
        entrypoint = local.said.entrypoint if local else None
        if entrypoint is None or entrypoint.stale(self._now):
            return
        family = GaugeMetricFamily(
            f"{PREFIX}provisioning_state",
            "1 for the state that provisioning is in, 0 for the others.",
            labels=["state"],
        )
        for each in PROVISIONING:
            family.add_metric([each], entrypoint.state == each)
        yield family

    def _function(self) -> Iterator[Metric]:
        batches = self._views.function.value
        if batches is None:
            return
        for name, (field, meaning) in FUNCTION.items():
            yield counter(name, meaning, batches.counts.get(field, 0))
        yield counter("function_batch_seconds", "Time that batches took.", batches.seconds)
        if batches.last:
            stamp = batches.last.timestamp()
            yield gauge("function_last_batch_timestamp_seconds", "When the last batch was archived (Unix time).", stamp)

    def _bucket(self) -> Iterator[Metric]:
        inventory = self._views.bucket.value
        if inventory is None or not inventory.whole:
            return
        yield gauge("bucket_objects", "Hourly objects, those of rejected lines included.", len(inventory.objects))
        yield gauge("bucket_size_bytes", "Bytes of the hourly objects.", inventory.bytes)
        if inventory.archived_lines is not None:
            yield gauge("bucket_lines", "Lines in the hourly objects.", inventory.archived_lines)
        if inventory.rejected_lines is not None:
            yield gauge("bucket_rejected_lines", "Lines in the objects of rejected lines.", inventory.rejected_lines)

    def _audit(self) -> Iterator[Metric]:
        seen = self._views.proof
        if seen.value is None or seen.error:
            return
        family = GaugeMetricFamily(
            f"{PREFIX}audit_{seen.value.unit}",
            f"What became of the {seen.value.unit} of the logs on disk.",
            labels=["what"],
        )
        for what, count in seen.value.totals.items():
            family.add_metric([what], count)
        yield family
        yield gauge(
            "unarchived_bytes",
            "Acknowledged bytes that are not archived yet.",
            seen.value.unarchived_bytes,
        )
        if seen.value.unarchived_lines is not None:
            yield gauge(
                "unarchived_lines",
                "Acknowledged lines that are not archived yet.",
                seen.value.unarchived_lines,
            )
        since = seen.value.since
        age = 0.0 if since is None else max(0.0, (self._now - since).total_seconds())
        yield gauge("unarchived_seconds", "Age of the oldest acknowledged line that is not archived; 0: none.", age)


def gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", meaning, value)


def counter(name: str, meaning: str, value: float) -> Metric:
    """Its samples are called `name`_total."""
    family = CounterMetricFamily(f"{PREFIX}{name}", meaning)
    family.add_metric([], value)
    return family


def labelled(name: str, meaning: str, label: str, counts: Mapping[str, float]) -> Metric:
    """A counter for each value of `label`."""
    family = CounterMetricFamily(f"{PREFIX}{name}", meaning, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
