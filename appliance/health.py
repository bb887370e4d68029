"""Is the appliance healthy, and is it ready? `appliance health` for HEALTHCHECK, `--ready` for scripts.

Unhealthy (exit 1): nginx does not answer, or a poll is overdue. A pipeline behind them that is down is *degraded*
(exit 0): lines are kept in the log and nothing is lost by waiting, while a restart would help nobody.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from common.clock import Clock, SystemClock
from common.settings import Settings
from common.status import read_status

TIMEOUT = 2.0


@dataclass(frozen=True)
class Check:
    part: str
    state: Literal["ok", "degraded", "failing"]
    reason: str


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(str(self._path))


def check_nginx(settings: Settings) -> Check:
    """Ask nginx at its internal socket, so that the question never enters access.log."""
    connection = _UnixConnection(settings.run_dir / "nginx.sock")
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return Check("nginx", "failing", f"does not answer: {error}")
    finally:
        connection.close()
    if status != 200:
        return Check("nginx", "failing", f"answers with status {status}")
    return Check("nginx", "ok", "answers")


def check_producer(facts: dict[str, Any] | None, now: datetime) -> Check:
    if facts is None:
        return Check("producer", "failing", "has not polled yet")
    due = datetime.fromisoformat(facts["next_tick_due"])
    if now > due:
        return Check("producer", "failing", f"a poll is overdue since {facts['next_tick_due']}")
    if facts.get("error"):
        return Check("producer", "degraded", str(facts["error"]))
    known = "; acknowledged by Firehose is all that can be known" if facts.get("delivery") == "firehose" else ""
    return Check("producer", "ok", f"last poll at {facts.get('last_tick')}{known}")


def check_entrypoint(facts: dict[str, Any] | None) -> Check:
    if facts is None:
        return Check("entrypoint", "degraded", "has not said anything yet")
    if facts["state"] != "ready":
        return Check("entrypoint", "degraded", f"{facts['state']}: {facts.get('error') or facts.get('endpoint')}")
    return Check("entrypoint", "ok", f"provisioned at {facts.get('endpoint')}")


def check(settings: Settings, clock: Clock) -> list[Check]:
    """One Check a part, in the order of a line's way."""
    return [
        check_nginx(settings),
        check_producer(read_status(settings.status_dir, "producer"), clock.now()),
        check_entrypoint(read_status(settings.status_dir, "entrypoint")),
    ]


def main(settings: Settings, options: argparse.Namespace) -> int:
    checks = check(settings, SystemClock())
    if options.json:
        print(json.dumps([asdict(one) for one in checks]))
    else:
        for one in checks:
            print(f"{one.part}: {one.state}: {one.reason}")
    bad = {"degraded", "failing"} if options.ready else {"failing"}
    return 1 if any(one.state in bad for one in checks) else 0
