"""What the page shows: the facts of all looks, put together as the JSON of GET /api/state. Pure.

    {"now": time, "version": text, "delivery": "kinesis"|"firehose",
     "endpoint": {"kind": "embedded"|"endpoint"|"aws", "url", "reachable", "error"},
     "poll": {"interval": s, "next": time|null, "last": time|null, "shipping": bool, "answered": id|null, "error"},
     "behind": {"bytes", "lines", "since", "unarchived_bytes", "unarchived_lines", "unarchived_since"},
     "nodes": [{"id", "name", "state", "facts": [{"key", "value", "unit"}], "error", "error_at",
                "shards" (stream): [{"id", "records"}]}],
     "edges": [{"from", "to", "lines_per_second", "bytes_per_second"}],
     "audit": {"written", "acknowledged", "archived", "missing", "pending", "unit", "at", "verdict", "error"}|null}

Times are ISO 8601 in UTC. What is not known is null. The states of a node: `ok`; `busy`, it works on something right
now; `degraded`, lines wait; `failing`; `unknown`, it cannot be seen. `answered` is the last "ship now" that the
producer has answered, and the `error` beside it says why its last poll left lines in the log. `records` are those that
the shard has acknowledged since the producer started.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
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
from dashboard.proof import COLUMNS, Proof
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

    checks: list[Check]
    said: Statuses
    disk: Disk | None
    disk_error: str | None
    answers: bool  # something accepts connections at the endpoint
    requested: bool  # somebody has pressed "ship now", and it is not answered yet


@dataclass(frozen=True, slots=True)
class Views:
    """The last look of each kind."""

    local: Seen[Local]
    stream: Seen[Stream]
    function: Seen[Batches]
    bucket: Seen[Inventory]
    proof: Seen[Proof]


Rates = dict[str, tuple[float | None, float | None]]  # by the edge's end: lines and bytes per second

ORDER = ("nginx", "log", "producer", "stream", "function", "bucket")


def state(settings: Settings, views: Views, rates: Rates, now: datetime, url: str) -> dict[str, Any]:
    local = views.local.value
    producer = (local.said.producer if local else None) or ProducerStatus()
    if producer.stale(now) and producer.state != "stopped":
        producer = replace(producer, state="starting", next_poll=None)
    found = endpoint(settings, views, url)
    return {
        "now": iso(now),
        "version": VERSION,
        "delivery": settings.delivery.name,
        "endpoint": found,
        "poll": poll(settings, producer, local.requested if local else False, now),
        "behind": behind(views),
        "nodes": nodes(settings, views, producer, url, now),
        "edges": [
            {"from": before, "to": after, "lines_per_second": rates[after][0], "bytes_per_second": rates[after][1]}
            for before, after in pairwise(ORDER)
        ],
        "audit": proof(settings, views.proof),
    }


def endpoint(settings: Settings, views: Views, url: str) -> dict[str, Any]:
    local = views.local.value
    appliance = local.said.appliance if local else None
    errors = [seen.error for seen in (views.bucket, views.stream) if seen.error and seen.unanswered]
    if settings.target == "aws":
        kind, reachable = "aws", len(errors) < 2
    else:
        kind = "endpoint" if settings.localstack_host else appliance.endpoint if appliance else "embedded"
        # a port that is open may belong to somebody who does not answer
        reachable = bool(local and local.answers) and len(errors) < 2
    error = None
    if not reachable and local is not None:
        error = (
            errors[0]
            if errors and local.answers
            else f"{url} does not answer. {RESTARTED if kind == 'embedded' else REACH[settings.target]}"
        )
    return {"kind": kind, "url": url, "reachable": reachable, "error": error}


def poll(settings: Settings, producer: ProducerStatus, requested: bool, now: datetime) -> dict[str, Any]:
    coming = producer.next_poll
    stopped = producer.state == "stopped"
    return {
        "interval": settings.poll_interval,
        "next": None if stopped or coming is None else iso(max(coming, now)),
        "last": iso(producer.last_tick),
        "shipping": producer.state == "shipping" or (requested and not stopped),
        "answered": producer.ship_request,
        "error": producer.error,
    }


def behind(views: Views) -> dict[str, Any]:
    disk = views.local.value.disk if views.local.value else None
    seen = views.proof.value if views.proof.error is None else None
    return {
        "bytes": disk.new_bytes if disk else 0,
        "lines": disk.new_lines if disk else None,
        "since": iso(disk.new_since) if disk else None,
        "unarchived_bytes": seen.unarchived_bytes if seen else None,
        "unarchived_lines": seen.unarchived_lines if seen else None,
        "unarchived_since": iso(seen.since) if seen else None,
    }


def proof(settings: Settings, seen: Seen[Proof]) -> dict[str, Any] | None:
    if not settings.delivery.has_ledger:
        return None
    if seen.error is None:
        return seen.value.as_json() if seen.value else None
    last = seen.value.as_json() if seen.value else {"unit": "lines", "at": iso(seen.error_since)}
    return dict.fromkeys(COLUMNS, 0) | last | {"verdict": "unknown", "error": seen.error}


def nodes(settings: Settings, views: Views, producer: ProducerStatus, url: str, now: datetime) -> list[dict[str, Any]]:
    local = views.local.value
    found = [
        _nginx(settings, local),
        _log(settings, views.local, now),
        _producer(local, producer),
        _stream(settings, views.stream, producer.counters.shards if producer.counters else {}),
        _function(settings, views.function),
        _bucket(settings, views.bucket),
    ]
    entrypoint = local.said.entrypoint if local else None
    making = entrypoint and entrypoint.state in MAKING and not entrypoint.stale(now)
    for each, seen in ((found[3], views.stream), (found[5], views.bucket)):
        if seen.error and seen.value is None and making:
            creating = [{"key": "status", "value": "CREATING", "unit": "text"}]
            each |= {"state": "busy", "facts": creating, "error": None, "error_at": None}
    if local and not local.answers:
        # some are not looked at as often as the endpoint itself
        known = [seen.error_since for seen in (views.bucket, views.stream, views.function) if seen.error_since]
        since = iso(min(known, default=views.local.at))
        for each in found[3:]:
            each |= {"state": "failing", "error": f"{url} does not answer", "error_at": since}
    return found


def _node(
    id_: str,
    name: str,
    condition: str,
    facts: list[tuple[str, Any, str]],
    error: str | None = None,
    error_at: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    return {
        "id": id_,
        "name": name,
        "state": condition,
        "facts": [{"key": key, "value": value, "unit": unit} for key, value, unit in facts if value is not None],
        "error": error,
        "error_at": error_at,
        **more,
    }


def _nginx(settings: Settings, local: Local | None) -> dict[str, Any]:
    check = next((one for one in local.checks if one.part == "nginx"), None) if local else None
    disk = local.disk if local else None
    facts = [("port", str(settings.http_port), "text"), ("requests", disk.grown_lines if disk else None, "count")]
    if settings.upstream:
        facts.append(("upstream", settings.upstream, "text"))
    if check is None:
        return _node("nginx", "nginx", "unknown", facts)
    problem = None if check.state == "ok" else f"nginx {check.reason}; its lines in the container's log say why"
    return _node("nginx", "nginx", check.state, facts, problem)


def _log(settings: Settings, seen: Seen[Local], now: datetime) -> dict[str, Any]:
    name = settings.log_file.name
    local = seen.value
    if local is None or local.disk is None:
        problem = local.disk_error if local else seen.error
        return _node("log", name, "failing" if problem else "unknown", [], problem)
    disk = local.disk
    wait = timedelta(seconds=settings.poll_interval) + LATE
    late = disk.new_since is not None and now - disk.new_since > wait
    facts = [
        ("bytes", disk.bytes, "bytes"),
        ("lines", disk.lines, "lines"),
        ("files", disk.files, "count"),
        ("waiting_bytes", disk.new_bytes, "bytes"),
        ("waiting_lines", disk.new_lines, "lines"),
    ]
    return _node("log", name, "degraded" if late else "busy" if disk.new_bytes else "ok", facts)


def _producer(local: Local | None, producer: ProducerStatus) -> dict[str, Any]:
    check = next((one for one in local.checks if one.part == "producer"), None) if local else None
    counters = producer.counters
    facts: list[tuple[str, Any, str]] = [
        ("state", None if producer.state == "starting" else producer.state, "text"),
        ("last_poll", iso(producer.last_tick), "time"),
        ("last_shipped", iso(producer.shipped_at), "time"),
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
    error = None if check.state == "ok" else check.reason
    condition = "busy" if check.state == "ok" and producer.state == "shipping" else check.state
    since = iso(producer.lag_since) if error else None
    return _node("producer", "producer", condition, facts, error, since)


def _stream(settings: Settings, seen: Seen[Stream], taken: dict[str, int]) -> dict[str, Any]:
    stream = seen.value
    open_ = [{"id": each, "records": taken.get(each)} for each in stream.shards] if stream else []
    facts: list[tuple[str, Any, str]] = []
    if stream:
        facts = [("status", stream.status, "text"), ("shards", len(open_) or None, "count")]
        if stream.retention_hours is not None:
            facts.append(("retention", stream.retention_hours * 3600, "seconds"))
    condition = "unknown" if stream is None else "ok" if stream.status == "ACTIVE" else "busy"
    if seen.error:
        condition = "failing"
    return _node("stream", settings.stream, condition, facts, seen.error, iso(seen.error_since), shards=open_)


def _function(settings: Settings, seen: Seen[Batches]) -> dict[str, Any]:
    name = settings.lambda_function
    batches = seen.value
    if batches is None:
        return _node("function", name, "unknown", [], seen.error, iso(seen.error_since))
    counts = batches.counts
    facts = [
        ("batches", counts.get("batches", 0), "count"),
        ("records", counts.get("records"), "records"),
        ("lines", counts.get("lines"), "lines"),
        ("duplicates", counts.get("duplicates"), "lines"),
        ("rejected", counts.get("rejected"), "lines"),
        ("failed", counts.get("failed"), "count"),
        ("last_batch", iso(batches.last), "time"),
    ]
    if seen.error:
        # its log cannot be read; whether it runs is not known
        return _node("function", name, "unknown", facts, seen.error, iso(seen.error_since))
    condition = "failing" if batches.failing else "ok"
    return _node("function", name, condition, facts, batches.error, iso(batches.failed_at) if batches.error else None)


def _bucket(settings: Settings, seen: Seen[Inventory]) -> dict[str, Any]:
    inventory = seen.value
    facts: list[tuple[str, Any, str]] = []
    if inventory:
        newest = max((one.modified for one in inventory.objects), default=None)
        facts = [
            ("objects", len(inventory.objects) if inventory.whole else None, "count"),
            ("newest_objects", None if inventory.whole else len(inventory.objects), "count"),
            ("bytes", inventory.bytes if inventory.whole else None, "bytes"),
            ("lines", inventory.archived_lines, "lines"),
            ("rejected", inventory.rejected_lines or None, "lines"),
            ("newest", iso(newest), "time"),
        ]
    condition = "failing" if seen.error else "ok" if inventory else "unknown"
    return _node("bucket", settings.s3_bucket, condition, facts, seen.error, iso(seen.error_since))
