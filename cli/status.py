"""`appliance status`: every part's state, what is behind, and what was done since the start."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from appliance.health import Check, check
from cli.screen import OK, PROBLEM, CommandError, columns, console, printable, table
from common.clock import Clock, SystemClock, iso
from common.settings import Settings
from common.status import (
    EntrypointStatus,
    LogStatus,
    ProducerStatus,
    RepairStatus,
    State,
    StatusError,
    read_all,
    read_status,
)
from journal.logs import logs_of

PROBLEMS = ("degraded", "failing")
# What `--json` says of the comparison with the bucket
COMPARED = ("checked_at", "archived", "pending", "missing")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True)
class LogReport:
    """What was said of one log, or of the only one, whose `name` is empty."""

    name: str
    lag: ProducerStatus | LogStatus
    repair: RepairStatus | None
    repair_error: str | None
    format_error: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """What the processes have said. `producer`: without what is of the past."""

    now: datetime
    checks: list[Check]
    producer: ProducerStatus
    entrypoint: EntrypointStatus | None
    logs: list[LogReport]


def gather(settings: Settings, clock: Clock) -> Report:
    """Raises CommandError when nothing runs."""
    if not settings.run_dir.exists():
        raise CommandError(
            f"nothing runs on DATA_DIR {settings.data_dir}: start the appliance (script/up), or name another folder "
            "with DATA_DIR"
        )
    now, said = clock.now(), read_all(settings.status_dir)
    producer = said.producer or ProducerStatus()
    if producer.stale(now):
        state: State = "stopped" if producer.state == "stopped" else "starting"
        producer = ProducerStatus(state=state, last_tick=producer.last_tick, counters=producer.counters)
    logs = [_gather_log(one, producer, now) for one in logs_of(settings)]
    return Report(now, check(settings, said, now), producer, said.entrypoint, logs)


def _gather_log(one: Settings, producer: ProducerStatus, now: datetime) -> LogReport:
    repair, repair_error = None, None
    try:
        repair = read_status(one.status_dir / one.log_name, RepairStatus)
    except StatusError as error:
        repair_error = str(error)
    if repair:
        repair_error = repair.error
        if not repair_error and repair.stale(now):
            compared = f"last compared with the bucket {_ago(repair.checked_at, now)}"
            repair_error = f"{compared}; the producer's lines in the log say why"
    lag = producer.logs.get(one.log_name, producer if not one.log_name else ProducerStatus())
    return LogReport(one.log_name, lag, repair, repair_error, producer.formats.get(one.log_name))


def as_json(settings: Settings, report: Report) -> dict[str, Any]:
    """What `--json` prints. What a process has not said (yet) is null."""
    producer, entrypoint = report.producer, report.entrypoint
    logs = {one.name: _log_as_json(one) for one in report.logs}
    found = {
        "now": report.now,
        "ready": all(one.state == "ok" for one in report.checks),
        "delivery": settings.delivery.name,
        "endpoint": entrypoint and entrypoint.endpoint,
        "bucket": _bucket(settings),
        "checks": [asdict(one) for one in report.checks],
        "poll": {
            "interval": settings.poll_interval,
            "state": _state(producer),
            "last": producer.last_tick,
            "next": producer.next_poll,
        },
        "behind": _lag_as_json(producer),
        **logs.get("", {"logs": logs}),
        "counters": producer.counters and asdict(producer.counters),
    }
    shown: dict[str, Any] = json.loads(json.dumps(found, default=iso))
    return shown


def _log_as_json(one: LogReport) -> dict[str, Any]:
    return {
        "behind": _lag_as_json(one.lag),
        "format": {"error": one.format_error},
        "archive": {name: getattr(one.repair, name, None) for name in COMPARED} | {"error": one.repair_error},
    }


def _lag_as_json(lag: ProducerStatus | LogStatus) -> dict[str, Any]:
    return {"bytes": lag.lag_bytes, "lines": lag.lag_lines, "since": lag.lag_since}


def rows(settings: Settings, report: Report) -> list[tuple[str, str, str]]:
    """The table: part, state, what there is to say."""
    now, producer, counters = report.now, report.producer, report.producer.counters
    found = [("part", "state", "")]
    found += [(one.part, one.state, printable(one.reason)) for one in report.checks]
    found.append(("poll", _state(producer) or "unknown", _poll(settings, producer, now)))
    for one in report.logs:
        of = f" {one.name}" if one.name else ""
        found.append((f"log{of}", *_behind(one.lag, now)))
        if one.format_error:
            found.append((f"format{of}", "degraded", printable(one.format_error)))
        if settings.delivery.has_ledger:
            found.append((f"archive{of}", *_archive(settings, one, now)))
    if not settings.delivery.has_ledger:
        title = settings.delivery.title
        found.append(("archive", "unknown", f"{title} keeps no ledger: acknowledged is all that can be known"))
    if counters:
        retried = sum(counters.retries.values())
        shipped = f"{counters.lines:,} lines, {counters.bytes:,} bytes in {counters.records:,} records"
        trouble = f"; {retried:,} sent again, {counters.throttled:,} throttled" if retried else ""
        found.append(("shipped", "", f"{shipped} since {_ago(counters.started_at, now)}{trouble}"))
    return found


def _bucket(settings: Settings) -> str:
    return f"s3://{settings.s3_bucket}/{settings.s3_prefix}"


def _state(producer: ProducerStatus) -> str | None:
    return None if producer.state == "starting" else producer.state


def _poll(settings: Settings, producer: ProducerStatus, now: datetime) -> str:
    due = producer.next_poll
    upcoming = f"; the next in {_span(max(0.0, (due - now).total_seconds()))}" if due else ""
    return f"every {settings.poll_interval:g} s, the last {_ago(producer.last_tick, now)}{upcoming}"


def _behind(lag: ProducerStatus | LogStatus, now: datetime) -> tuple[str, str]:
    if lag.lag_bytes is None:
        return "unknown", ""
    if not lag.lag_bytes:
        return "ok", "everything that was read is acknowledged"
    lines = "" if lag.lag_lines is None else f"{lag.lag_lines:,} lines, "
    since = f", since {_ago(lag.lag_since, now)}" if lag.lag_since else ""
    return "behind", f"{lines}{lag.lag_bytes:,} bytes not acknowledged{since}"


def _archive(settings: Settings, one: LogReport, now: datetime) -> tuple[str, str]:
    repair = one.repair
    if one.repair_error:
        return "degraded", printable(one.repair_error)
    if repair is None:
        return (
            "unknown",
            f"the producer compares it every {settings.repair_interval:g} s; `appliance audit` does it now",
        )
    amounts = f"{repair.archived:,} bytes archived, {repair.pending:,} pending, {repair.missing:,} missing"
    return "degraded" if repair.missing else "ok", f"{amounts}, {_ago(repair.checked_at, now)}"


def _ago(moment: datetime | None, now: datetime) -> str:
    return f"{_span(max(0.0, (now - moment).total_seconds()))} ago" if moment else "never"


def _span(seconds: float) -> str:
    """A length of time, roughly."""
    for size, unit in UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def show(settings: Settings, report: Report, found: Sequence[Sequence[str]], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(as_json(settings, report)), flush=True)
        return
    endpoint = report.entrypoint and report.entrypoint.endpoint
    if not settings.owns_log:  # no entrypoint looks for one
        endpoint = settings.localstack_host or settings.target
    title = f"{_bucket(settings)} at {endpoint or 'an endpoint that was not reached yet'}"
    terminal = console(sys.stdout)
    if terminal:
        if options.watch:
            terminal.clear()
        terminal.print(title, style="bold")
        terminal.print(table(found))
        return
    print("\n".join([title, *columns(found)]), flush=True)


def main(settings: Settings, options: argparse.Namespace) -> int:
    clock = SystemClock()
    try:
        while True:
            report = gather(settings, clock)
            found = rows(settings, report)
            show(settings, report, found, options)
            if not options.watch:
                return PROBLEM if any(state in PROBLEMS for _, state, _ in found) else OK
            clock.sleep(options.watch)
    except KeyboardInterrupt:
        if options.watch:
            return OK  # the way to end it
        raise
