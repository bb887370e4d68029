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
from common.status import EntrypointStatus, ProducerStatus, RepairStatus, State, read_all
from journal.formats import complaint

PROBLEMS = ("degraded", "failing")
# What `--json` says of the comparison with the bucket
COMPARED = ("checked_at", "archived", "pending", "missing")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True)
class Report:
    """What the processes have said. `producer`: without what is of the past."""

    now: datetime
    checks: list[Check]
    producer: ProducerStatus
    entrypoint: EntrypointStatus | None
    repair: RepairStatus | None
    repair_error: str | None
    format_error: str | None


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
    repair_error = said.repair.error if said.repair else said.unusable.get("repair")
    if not repair_error and said.repair and said.repair.stale(now):
        compared = f"last compared with the bucket {_ago(said.repair.checked_at, now)}"
        repair_error = f"{compared}; the producer's lines in the log say why"
    checks = check(settings, said, now)
    try:
        format_error = complaint(settings.log_file)
    except OSError as error:
        format_error = f"the log cannot be read: {error}: run as the appliance's user"
    return Report(now, checks, producer, said.entrypoint, said.repair, repair_error, format_error)


def as_json(settings: Settings, report: Report) -> dict[str, Any]:
    """What `--json` prints. What a process has not said (yet) is null."""
    producer, entrypoint, repair = report.producer, report.entrypoint, report.repair
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
        "behind": {"bytes": producer.lag_bytes, "lines": producer.lag_lines, "since": producer.lag_since},
        "format": {"error": report.format_error},
        "archive": {name: getattr(repair, name, None) for name in COMPARED} | {"error": report.repair_error},
        "counters": producer.counters and asdict(producer.counters),
    }
    shown: dict[str, Any] = json.loads(json.dumps(found, default=iso))
    return shown


def rows(settings: Settings, report: Report) -> list[tuple[str, str, str]]:
    """The table: part, state, what there is to say."""
    now, producer, counters = report.now, report.producer, report.producer.counters
    found = [("part", "state", "")]
    found += [(one.part, one.state, printable(one.reason)) for one in report.checks]
    found.append(("poll", _state(producer) or "unknown", _poll(settings, producer, now)))
    found.append(("log", *_behind(producer, now)))
    if report.format_error:
        found.append(("format", "degraded", printable(report.format_error)))
    if settings.delivery.has_ledger:
        found.append(("archive", *_archive(settings, report)))
    else:
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


def _behind(producer: ProducerStatus, now: datetime) -> tuple[str, str]:
    if producer.lag_bytes is None:
        return "unknown", ""
    if not producer.lag_bytes:
        return "ok", "everything that was read is acknowledged"
    lines = "" if producer.lag_lines is None else f"{producer.lag_lines:,} lines, "
    since = f", since {_ago(producer.lag_since, now)}" if producer.lag_since else ""
    return "behind", f"{lines}{producer.lag_bytes:,} bytes not acknowledged{since}"


def _archive(settings: Settings, report: Report) -> tuple[str, str]:
    repair = report.repair
    if report.repair_error:
        return "degraded", printable(report.repair_error)
    if repair is None:
        return (
            "unknown",
            f"the producer compares it every {settings.repair_interval:g} s; `appliance audit` does it now",
        )
    amounts = f"{repair.archived:,} bytes archived, {repair.pending:,} pending, {repair.missing:,} missing"
    return "degraded" if repair.missing else "ok", f"{amounts}, {_ago(repair.checked_at, report.now)}"


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
