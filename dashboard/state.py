"""What the page shows: the facts of all looks, put together as the JSON of GET /api/state. Pure.

    {"now": time, "version": text, "delivery": "kinesis"|"firehose"|"s3",
     "endpoint": {"kind": "embedded"|"endpoint"|"aws", "url", "reachable", "error"},
     "poll": {"interval": s, "next": time|null, "last": time|null, "shipping": bool, "answered": id|null, "error"},
     "behind": {"bytes", "lines", "since", "unarchived_bytes", "unarchived_lines", "unarchived_since"},
     "nodes": [{"id", "name", "state", "facts": [{"key", "value", "unit"}], "error", "error_at",
                "shards" (stream): [{"id", "records"}]}],
     "edges": [{"from", "to", "lines_per_second", "bytes_per_second"}],
     "audit": {"written", "acknowledged", "archived", "missing", "pending", "unit", "at", "verdict", "error"}|null,
     "logs" (of LOG_FILES): [{"name", "bytes", "lines", "audit"}]}

Times are ISO 8601 in UTC. What is not known is null. The states of a node: `ok`; `busy`, it works on something right
now; `degraded`, lines wait; `failing`; `unknown`, it cannot be seen. `answered` is the last "ship now" that the
producer has answered, and the `error` beside it says why its last poll left lines in the log. `records` are those that
the shard has acknowledged since the producer started.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from appliance.health import Check
from common.clock import iso
from common.errors import REACH
from common.settings import Settings
from common.status import ProducerStatus, Statuses
from dashboard.disk import Disk
from dashboard.function import Batches
from dashboard.inventory import Inventory
from dashboard.periodic import Seen
from dashboard.proof import Proof, of_each, shown
from dashboard.stream import Stream

VERSION: str = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"]
# Beyond the time until the next poll, how long lines may wait before it is worth a colour
LATE = timedelta(seconds=60)
# What is said of the embedded emulator when it is down
RESTARTED = "It is started again by itself; its lines in the container's log say why it ended"
# States of the entrypoint in which what is not there is being made
MAKING = ("waiting", "provisioning")


@dataclass(frozen=True, slots=True)
class Local:
    """What can be seen without the endpoint."""

    checks: list[Check] = field(default_factory=list)
    said: Statuses = field(default_factory=Statuses)
    disk: Disk | None = None
    disk_error: str | None = None
    format_error: str | None = None
    answers: bool = True  # something accepts connections at the endpoint
    requested: bool = False  # "ship now" was pressed, and is not answered yet
    logs: dict[str, Disk] = field(default_factory=dict)  # of LOG_FILES


@dataclass(frozen=True, slots=True)
class Views:
    """The last look of each kind."""

    local: Seen[Local]
    stream: Seen[Stream]
    function: Seen[Batches]
    bucket: Seen[Inventory]
    proof: Seen[Proof]

    @property
    def here(self) -> Local:
        return self.local.value or Local()

    def check(self, part: str) -> Check | None:
        return next((one for one in self.here.checks if one.part == part), None)


Rates = dict[str, tuple[float | None, float | None]]  # by the edge's end: lines and bytes per second

ORDER = ("nginx", "log", "producer", "stream", "function", "bucket")


def state(settings: Settings, views: Views, rates: Rates, now: datetime, url: str) -> dict[str, Any]:
    producer = views.here.said.producer or ProducerStatus()
    if producer.stale(now) and producer.state != "stopped":
        producer = replace(producer, state="starting", next_poll=None)
    found = nodes(settings, views, producer, url, now)
    return {
        "now": iso(now),
        "version": VERSION,
        "delivery": settings.delivery.name,
        "endpoint": endpoint(settings, views, url),
        "poll": poll(settings, producer, views.here.requested, now),
        "behind": behind(views),
        "nodes": found,
        "edges": [
            {"from": before, "to": after, "lines_per_second": rates[after][0], "bytes_per_second": rates[after][1]}
            for before, after in pairwise(each["id"] for each in found)
        ],
        "audit": shown(views.proof) if settings.delivery.has_ledger else None,
        "logs": of_each(views.here.logs, views.proof.value),
    }


def endpoint(settings: Settings, views: Views, url: str) -> dict[str, Any]:
    local, appliance = views.local.value, views.here.said.appliance
    errors = [seen.error for seen in (views.bucket, views.stream) if seen.error and seen.unanswered]
    if settings.target == "aws":
        kind, answers = "aws", True
    else:
        kind = "endpoint" if settings.localstack_host else appliance.endpoint if appliance else "embedded"
        answers = bool(local and local.answers)
    # a port that is open may belong to a program that does not answer
    reachable, error = answers and len(errors) < (1 if settings.delivery.is_direct else 2), None
    if not reachable and local is not None:
        remedy = RESTARTED if kind == "embedded" else REACH[settings.target]
        error = errors[0] if errors and local.answers else f"{url} does not answer. {remedy}"
    return {"kind": kind, "url": url, "reachable": reachable, "error": error}


def poll(settings: Settings, producer: ProducerStatus, requested: bool, now: datetime) -> dict[str, Any]:
    coming, stopped = producer.next_poll, producer.state == "stopped"
    return {
        "interval": settings.poll_interval,
        "next": None if stopped or coming is None else iso(max(coming, now)),
        "last": iso(producer.last_tick),
        "shipping": producer.state == "shipping" or (requested and not stopped),
        "answered": producer.ship_request,
        "error": producer.error,
    }


def behind(views: Views) -> dict[str, Any]:
    disk = views.here.disk
    seen = views.proof.value if views.proof.error is None else None
    return {
        "bytes": disk.new_bytes if disk else 0,
        "lines": disk.new_lines if disk else None,
        "since": iso(disk.new_since) if disk else None,
        "unarchived_bytes": seen.unarchived_bytes if seen else None,
        "unarchived_lines": seen.unarchived_lines if seen else None,
        "unarchived_since": iso(seen.since) if seen else None,
    }


def nodes(settings: Settings, views: Views, producer: ProducerStatus, url: str, now: datetime) -> list[dict[str, Any]]:
    stream = _stream(settings, views.stream, producer.counters.shards if producer.counters else {})
    function, bucket = _function(settings, views.function), _bucket(settings, views.bucket)
    entrypoint = views.here.said.entrypoint
    if entrypoint and entrypoint.state in MAKING and not entrypoint.stale(now):
        creating = [{"key": "status", "value": "CREATING", "unit": "text"}]
        for each, seen in ((stream, views.stream), (bucket, views.bucket)):
            if seen.error and seen.value is None:
                each |= {"state": "busy", "facts": creating, "error": None, "error_at": None}
    if not views.here.answers:
        # some are not looked at as often as the endpoint itself
        known = [seen.error_since for seen in (views.bucket, views.stream, views.function) if seen.error_since]
        since = iso(min(known, default=views.local.at))
        for each in (stream, function, bucket):
            each |= {"state": "failing", "error": f"{url} does not answer", "error_at": since}
    between = () if settings.delivery.is_direct else (stream, function)
    return [_nginx(settings, views), _log(settings, views, now), _producer(views, producer), *between, bucket]


Facts = list[tuple[str, Any, str]]  # key, value, unit; those without a value are left out


def _node(
    id_: str,
    name: str,
    condition: str,
    facts: Facts,
    error: str | None = None,
    error_at: datetime | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        "id": id_,
        "name": name,
        "state": condition,
        "facts": [
            {"key": key, "value": iso(value) if unit == "time" else value, "unit": unit}
            for key, value, unit in facts
            if value is not None
        ],
        "error": error,
        "error_at": iso(error_at),
        **more,
    }


def _nginx(settings: Settings, views: Views) -> dict[str, Any]:
    check, disk = views.check("nginx"), views.here.disk
    facts: Facts = [
        ("port", str(settings.http_port), "text"),
        ("requests", disk.grown_lines if disk else None, "count"),
        ("upstream", settings.upstream or None, "text"),
    ]
    if check is None or check.state == "ok":
        return _node("nginx", "nginx", check.state if check else "unknown", facts)
    problem = f"nginx {check.reason}; its lines in the container's log say why"
    return _node("nginx", "nginx", check.state, facts, problem)


def _log(settings: Settings, views: Views, now: datetime) -> dict[str, Any]:
    name, disk = ", ".join(views.here.logs) or settings.log_file.name, views.here.disk
    if disk is None:
        problem = views.here.disk_error if views.local.value else views.local.error
        return _node("log", name, "failing" if problem else "unknown", [], problem)
    wait = timedelta(seconds=settings.poll_interval) + LATE
    late = disk.new_since is not None and now - disk.new_since > wait
    facts: Facts = [
        ("bytes", disk.bytes, "bytes"),
        ("lines", disk.lines, "lines"),
        ("files", disk.files, "count"),
        ("waiting_bytes", disk.new_bytes, "bytes"),
        ("waiting_lines", disk.new_lines, "lines"),
    ]
    state = "degraded" if late or views.here.format_error else "busy" if disk.new_bytes else "ok"
    return _node("log", name, state, facts, views.here.format_error)


def _producer(views: Views, producer: ProducerStatus) -> dict[str, Any]:
    check, counters = views.check("producer"), producer.counters
    facts: Facts = [
        ("state", None if producer.state == "starting" else producer.state, "text"),
        ("last_poll", producer.last_tick, "time"),
        ("last_shipped", producer.shipped_at, "time"),
    ]
    if counters:
        facts += [
            ("lines", counters.lines, "lines"),
            ("records", counters.records, "records"),
            ("retries", sum(counters.retries.values()), "records"),
            ("throttled", counters.throttled, "records"),
        ]
    if check is None:
        return _node("producer", "producer", "unknown", facts)
    if check.state == "ok":
        return _node("producer", "producer", "busy" if producer.state == "shipping" else "ok", facts)
    return _node("producer", "producer", check.state, facts, check.reason, producer.lag_since)


def _stream(settings: Settings, seen: Seen[Stream], taken: dict[str, int]) -> dict[str, Any]:
    stream = seen.value
    open_ = [{"id": each, "records": taken.get(each)} for each in stream.shards] if stream else []
    facts: Facts = []
    if stream:
        kept = None if stream.retention_hours is None else stream.retention_hours * 3600
        facts = [
            ("status", stream.status, "text"),
            ("shards", len(open_) or None, "count"),
            ("retention", kept, "seconds"),
        ]
    active = "unknown" if stream is None else "ok" if stream.status == "ACTIVE" else "busy"
    condition = "failing" if seen.error else active
    return _node("stream", settings.stream, condition, facts, seen.error, seen.error_since, shards=open_)


def _function(settings: Settings, seen: Seen[Batches]) -> dict[str, Any]:
    name, batches = settings.lambda_function, seen.value
    facts: Facts = []
    if batches:
        counts = batches.counts
        facts = [
            ("batches", counts.get("batches", 0), "count"),
            ("records", counts.get("records"), "records"),
            *((each, counts.get(each), "lines") for each in ("lines", "duplicates", "rejected")),
            ("failed", counts.get("failed"), "count"),
            ("last_batch", batches.last, "time"),
        ]
    if batches is None or seen.error:
        # its log cannot be read; whether it runs is not known
        return _node("function", name, "unknown", facts, seen.error, seen.error_since)
    condition = "failing" if batches.failing else "ok"
    return _node("function", name, condition, facts, batches.error, batches.failed_at if batches.error else None)


def _bucket(settings: Settings, seen: Seen[Inventory]) -> dict[str, Any]:
    inventory = seen.value
    facts: Facts = []
    if inventory:
        count = len(inventory.objects)
        facts = [
            ("objects", count if inventory.whole else None, "count"),
            ("newest_objects", None if inventory.whole else count, "count"),
            ("bytes", inventory.bytes if inventory.whole else None, "bytes"),
            ("lines", inventory.archived_lines, "lines"),
            ("rejected", inventory.rejected_lines or None, "lines"),
            ("newest", max((one.modified for one in inventory.objects), default=None), "time"),
        ]
    condition = "failing" if seen.error else "ok" if inventory else "unknown"
    return _node("bucket", settings.s3_bucket, condition, facts, seen.error, seen.error_since)
