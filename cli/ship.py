"""`appliance ship-now`: have the producer poll at once, and say what it shipped."""

from __future__ import annotations

import argparse
import json
import secrets
from typing import Any

from cli.screen import OK, PROBLEM, CommandError, say
from common.atomic import write_atomic
from common.clock import Clock, SystemClock
from common.settings import Settings
from common.status import Counters, ProducerStatus, read_status

LOOK_AGAIN = 0.2
COUNTED = ("lines", "records", "bytes")


def ship_now(settings: Settings, clock: Clock, timeout: float) -> dict[str, Any]:
    """Ask, wait for the answer, and compare the producer's counts. Raises CommandError, StatusError."""
    before = read_status(settings.status_dir, ProducerStatus)
    if before is None or before.state == "stopped":
        raise CommandError(
            f"no producer runs on DATA_DIR {settings.data_dir}: start the appliance, then ship; `appliance status` "
            "shows its parts"
        )
    asked = secrets.token_hex(8)
    begun = clock.monotonic()
    wanted: set[str] = set()
    try:
        # an earlier request, as of the dashboard's button, must get its answer, too; what answers ours comes after it
        pending = _pending(settings)
        while True:
            # read in this order: the producer answers first and removes the request after that
            after = read_status(settings.status_dir, ProducerStatus) or before
            if after.ship_request in wanted:
                break
            if clock.monotonic() - begun >= timeout:
                if pending == asked:
                    settings.ship_request.unlink(missing_ok=True)
                raise CommandError(
                    f"the producer did not answer within {timeout:g} s: its lines in the log say why; --timeout waits "
                    "longer, as a long backlog takes"
                )
            if pending is None:
                # not asked yet, or removed together with an earlier request that was answered
                write_atomic(settings.ship_request, asked.encode(), durable=False)
                wanted.add(asked)
            clock.sleep(LOOK_AGAIN)
            pending = _pending(settings)
            if pending and wanted:  # another request replaced ours: the answer to that one answers ours too
                wanted.add(pending)
    except OSError as error:
        raise CommandError(f"{settings.ship_request} cannot be written: {error}: run as the appliance's user") from None
    return {
        **_shipped(before.counters, after.counters),
        "behind_bytes": after.lag_bytes,
        "error": after.error,
        "seconds": round(clock.monotonic() - begun, 2),
    }


def _pending(settings: Settings) -> str | None:
    try:
        return settings.ship_request.read_text()
    except FileNotFoundError:
        return None


def _shipped(before: Counters | None, after: Counters | None) -> dict[str, int]:
    """What was counted in between; a producer that was started in between has begun to count anew."""
    same = before and after and before.started_at == after.started_at
    return {name: getattr(after, name, 0) - (getattr(before, name) if same else 0) for name in COUNTED}


def main(settings: Settings, options: argparse.Namespace) -> int:
    answer = ship_now(settings, SystemClock(), options.timeout)
    if options.json:
        print(json.dumps(answer))
    else:
        shipped = "shipped {lines:,} lines, {bytes:,} bytes in {records:,} records".format_map(answer)
        lag = answer["behind_bytes"]
        behind = "what is behind is not known" if lag is None else f"{lag:,} bytes are behind"
        print(f"{shipped if answer['lines'] else 'nothing was to be shipped'}; {behind}")
        if answer["error"]:
            say(answer["error"])
    return PROBLEM if answer["error"] or answer["behind_bytes"] else OK
