"""Is the appliance healthy, and is it ready? `appliance health` for people, `--ready` for scripts.

HEALTHCHECK (appliance/healthy) reads what the appliance itself has found a moment ago.

Unhealthy (exit 1): nginx does not answer, or a poll is overdue. A pipeline behind them that is down, or a disk that is
about to be full, is *degraded* (exit 0): lines are kept in the log and nothing is lost by waiting, while a restart
would not help.
"""

from __future__ import annotations

import argparse
import http.client
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from appliance.disk import complaint, look
from common import web
from common.atomic import write_atomic
from common.clock import SystemClock, iso
from common.delivery import Delivery
from common.settings import Settings
from common.status import HONOURED, EntrypointStatus, ProducerStatus, Statuses, WatchdogStatus, read_all

TIMEOUT = 2.0
# A program that has ended by itself so often within so many minutes is not ok, although it answers in between
ENDED, WITHIN = 3, 10
# Seconds between two looks for HEALTHCHECK, and for how long one counts
LOOK_EVERY, COUNTS = 5.0, 15


@dataclass(frozen=True)
class Check:
    part: str
    state: Literal["ok", "degraded", "failing"]
    reason: str


def check_nginx(settings: Settings) -> Check:
    """Ask nginx where clients do, so that what shuts them out is seen; at a path of its own, which is never logged."""
    try:
        path = settings.health_path.read_text()
    except FileNotFoundError:
        return Check("nginx", "failing", "is not started yet")
    except OSError as error:
        return Check("nginx", "failing", f"cannot be asked: {error}: run as the appliance's user")
    connection = web.Connection(settings, TIMEOUT)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return Check("nginx", "failing", f"does not answer on port {settings.http_port}: {error}")
    finally:
        connection.close()
    if status != 200:
        return Check("nginx", "failing", f"answers with status {status}")
    return Check("nginx", "ok", "answers")


def check_producer(status: ProducerStatus | None, now: datetime, delivery: Delivery) -> Check:
    if status is None:
        return Check("producer", "failing", "has not polled yet")
    if status.stale(now):
        return Check("producer", "failing", f"a poll is overdue since {iso(status.due)}")
    if status.error:
        return Check("producer", "degraded", status.error)
    polled = f"last poll at {iso(status.last_tick)}" if status.last_tick else "the first poll is under way"
    known = "" if delivery.has_ledger else f"; acknowledged by {delivery.title} is all that can be known"
    formats = "".join(f"; {wrong}" for wrong in status.formats.values())
    return Check("producer", "ok", f"{polled}{known}{formats}")


def check_entrypoint(status: EntrypointStatus | None, now: datetime) -> Check:
    if status is None:
        return Check("entrypoint", "degraded", "has not said anything yet")
    if status.stale(now):
        since = iso(status.checked_at)
        return Check("entrypoint", "degraded", f"has not looked since {since}; its lines in the log say what keeps it")
    if status.state != "ready":
        where = f"{status.state} {'for' if status.state == 'waiting' else 'at'} {status.endpoint}"
        return Check("entrypoint", "degraded", f"{where}: {status.error}" if status.error else where)
    if status.conditional_writes not in (None, HONOURED):
        return Check("entrypoint", "degraded", status.conditional_writes)
    return Check("entrypoint", "ok", f"provisioned at {status.endpoint}")


def check_disk(settings: Settings, statuses: Statuses) -> Check:
    try:
        room = look(settings, statuses.appliance.endpoint if statuses.appliance else "endpoint")
    except FileNotFoundError:
        return Check("disk", "degraded", f"{settings.log_file.parent} is not there (yet)")
    except OSError as error:
        return Check("disk", "degraded", f"cannot be looked at: {error}")
    problem = complaint(settings, room)
    return Check("disk", "degraded" if problem else "ok", problem or "has room for log lines")


def check_programs(status: WatchdogStatus | None, now: datetime) -> list[Check]:
    """A Check for each program that ends again and again."""
    found = []
    for name, times in (status.ended if status else {}).items():
        count = sum(now - each < timedelta(minutes=WITHIN) for each in times)
        if count >= ENDED:
            reason = f"has ended by itself {count} times within {WITHIN} minutes; its lines in the log may say why"
            found.append(Check(name, "degraded", reason))
    return found


def check(settings: Settings, statuses: Statuses, now: datetime) -> list[Check]:
    """One Check a part, in the order of a line's way, the disk, and those of check_programs."""
    found = [check_producer(statuses.producer, now, settings.delivery)]
    if settings.owns_log:  # else there is a producer by itself
        found = [
            check_nginx(settings),
            *found,
            check_entrypoint(statuses.entrypoint, now),
            check_disk(settings, statuses),
            *check_programs(statuses.watchdog, now),
        ]
    return [replace(one, reason=statuses.unusable.get(one.part, one.reason)) for one in found]


def lines(checks: list[Check]) -> str:
    return "".join(f"{one.part}: {one.state}: {one.reason}\n" for one in checks)


def status(checks: list[Check], bad: tuple[str, ...] = ("failing",)) -> int:
    return 1 if any(one.state in bad for one in checks) else 0


def note(settings: Settings) -> None:
    """Look, and write run/health: until when (Unix time) this counts, the exit status, and the lines below them."""
    checks = check(settings, read_all(settings.status_dir), SystemClock().now())
    text = f"{time.time() + COUNTS:.0f} {status(checks)}\n{lines(checks)}"
    with suppress(OSError):  # then it is too old soon, and HEALTHCHECK looks by itself
        write_atomic(settings.run_dir / "health", text.encode(), durable=False)


def watch(settings: Settings) -> None:
    """Look for ever."""
    while True:
        time.sleep(LOOK_EVERY)
        note(settings)


def main(settings: Settings, options: argparse.Namespace) -> int:
    checks = check(settings, read_all(settings.status_dir), SystemClock().now())
    print(json.dumps([asdict(one) for one in checks]) + "\n" if options.json else lines(checks), end="")
    return status(checks, ("degraded", "failing") if options.ready else ("failing",))
