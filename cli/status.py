"""`appliance status`: every part's state, what is behind, and what was done since the start."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from appliance.health import check
from cli.screen import OK, PROBLEM, CommandError, columns, console, printable, table
from common.clock import Clock, SystemClock
from common.settings import Settings
from common.status import read_status

PROBLEMS = ("degraded", "failing")
UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def gather(settings: Settings, clock: Clock) -> dict[str, Any]:
    """What `--json` prints. What a process has not said (yet) is null. Raises CommandError when nothing runs."""
    if not settings.run_dir.exists():
        raise CommandError(
            f"nothing runs on DATA_DIR {settings.data_dir}: start the appliance (script/up), or name another folder "
            "with DATA_DIR"
        )
    checks = check(settings, clock)
    producer = read_status(settings.status_dir, "producer") or {}
    entrypoint = read_status(settings.status_dir, "entrypoint") or {}
    repair = read_status(settings.status_dir, "repair") or {}
    return {
        "now": clock.now().isoformat(timespec="seconds"),
        "ready": all(one.state == "ok" for one in checks),
        "delivery": settings.delivery,
        "endpoint": entrypoint.get("endpoint"),
        "bucket": f"s3://{settings.s3_bucket}/{settings.s3_prefix}",
        "checks": [asdict(one) for one in checks],
        "poll": {
            "interval": settings.poll_interval,
            "state": producer.get("state"),
            "last": producer.get("last_tick"),
            "next": producer.get("next_poll"),
        },
        "behind": {
            "bytes": producer.get("lag_bytes"),
            "lines": producer.get("lag_lines"),
            "since": producer.get("lag_since"),
        },
        "archive": {name: repair.get(name) for name in ("checked_at", "archived", "pending", "missing", "error")},
        "counters": producer.get("counters"),
    }


def rows(facts: dict[str, Any], now: datetime) -> list[tuple[str, str, str]]:
    """The table: part, state, what there is to say."""
    found = [("part", "state", "")]
    found += [(one["part"], one["state"], printable(one["reason"])) for one in facts["checks"]]
    found.append(("poll", facts["poll"]["state"] or "unknown", _poll(facts["poll"], now)))
    found.append(("log", *_behind(facts["behind"], now)))
    if facts["delivery"] == "firehose":
        found.append(("archive", "unknown", "Firehose keeps no ledger: acknowledged is all that can be known"))
    else:
        found.append(("archive", *_archive(facts["archive"], now)))
    counters = facts["counters"]
    if counters:
        retried = sum(counters.get("retries", {}).values())
        shipped = f"{counters['lines']:,} lines, {counters['bytes']:,} bytes in {counters['records']:,} records"
        trouble = f"; {retried:,} sent again, {counters.get('throttled', 0):,} throttled" if retried else ""
        found.append(("shipped", "", f"{shipped} since {_ago(counters.get('started_at'), now)}{trouble}"))
    return found


def _poll(poll: dict[str, Any], now: datetime) -> str:
    due = _moment(poll["next"])
    upcoming = f"; the next in {_span(max(0.0, (due - now).total_seconds()))}" if due else ""
    return f"every {poll['interval']:g} s, the last {_ago(poll['last'], now)}{upcoming}"


def _behind(behind: dict[str, Any], now: datetime) -> tuple[str, str]:
    if behind["bytes"] is None:
        return "unknown", ""
    if not behind["bytes"]:
        return "ok", "everything that was read is acknowledged"
    lines = "" if behind["lines"] is None else f"{behind['lines']:,} lines, "
    since = f", since {_ago(behind['since'], now)}" if behind["since"] else ""
    return "behind", f"{lines}{behind['bytes']:,} bytes not acknowledged{since}"


def _archive(archive: dict[str, Any], now: datetime) -> tuple[str, str]:
    if archive["checked_at"] is None:
        return "unknown", "not compared with the bucket yet; `appliance audit` does it now"
    if archive["error"]:
        return "degraded", printable(archive["error"])
    amounts = f"{archive['archived'] or 0:,} bytes archived, {archive['pending'] or 0:,} pending"
    return (
        "degraded" if archive["missing"] else "ok",
        f"{amounts}, {archive['missing'] or 0:,} missing, {_ago(archive['checked_at'], now)}",
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _ago(text: str | None, now: datetime) -> str:
    moment = _moment(text)
    return f"{_span(max(0.0, (now - moment).total_seconds()))} ago" if moment else "never"


def _span(seconds: float) -> str:
    """A length of time, roughly."""
    for size, unit in UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def show(facts: dict[str, Any], found: Sequence[Sequence[str]], options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps(facts), flush=True)
        return
    title = f"{facts['bucket']} at {facts['endpoint'] or 'an endpoint that was not reached yet'}"
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
            facts = gather(settings, clock)
            found = rows(facts, clock.now())
            show(facts, found, options)
            if not options.watch:
                return PROBLEM if any(state in PROBLEMS for _, state, _ in found) else OK
            clock.sleep(options.watch)
    except KeyboardInterrupt:
        if options.watch:
            return OK  # the way to end it
        raise
