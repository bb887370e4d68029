"""Runs the programs, with this process's environment and what they need, and looks after disk and health meanwhile."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import tempfile
import threading
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from appliance import health
from appliance.checks import emulator_python
from appliance.disk import Doorkeeper
from appliance.supervise import supervise
from common.log import event
from common.settings import Settings
from common.status import Endpoint, WatchdogStatus, write_status

log = logging.getLogger("appliance")

HOME = Path(__file__).resolve().parent.parent
KEPT = 10  # times that a program has ended, of each


def for_programs(settings: Settings, endpoint: Endpoint) -> dict[str, str]:
    """What supervisord.conf and the programs read."""
    paths = [str(HOME), os.environ.get("PYTHONPATH", "")]
    given = dict(os.environ)
    if endpoint == "embedded":
        # it has a key of its own, and no use for the user's
        given = {k: v for k, v in given.items() if not k.startswith("AWS_") or k.lower() in Settings.model_fields}
    return given | {
        "DATA_DIR": str(settings.data_dir),
        "PYTHON": sys.executable,
        "EMULATOR_PYTHON": str(emulator_python() or ""),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        # each thread would have an arena of its own, 2 to 4 MiB a process that are mostly free
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_TRIM_THRESHOLD_": "65536",  # what is free goes back to the system, 1 MiB a process after the start
        "TMPDIR": temporary(settings),
        "LOG_FORMAT": settings.log_format,
        "ANONYMIZE_IP": str(settings.anonymize_ip).lower(),
        # the function in the embedded emulator calls it back; a proxy in between could not
        "NO_PROXY": ",".join(filter(None, ("127.0.0.1,localhost", os.environ.get("NO_PROXY")))),
        "EMULATOR_AUTOSTART": str(endpoint == "embedded").lower(),
        "EMULATOR_HOST": settings.emulator_host,
        "EMULATOR_PORT": str(settings.emulator_port),
        "DASHBOARD_AUTOSTART": str(settings.dashboard_port > 0).lower(),
        "EMULATOR_LOG_LEVEL": "INFO" if settings.log_level == "DEBUG" else "WARNING",
    }


def temporary(settings: Settings) -> str:
    """The machine's folder for temporary files; run/, where everything but DATA_DIR is read-only."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return str(settings.run_dir)


def exports() -> str:
    """The settings that were given, as a shell reads them."""
    given = {name: value for name in Settings.model_fields if (value := os.environ.get(name.upper()))}
    return "".join(f"export {name.upper()}={shlex.quote(value)}\n" for name, value in given.items())


def run(settings: Settings, endpoint: Endpoint) -> int:
    """Run the programs until a signal ends them; returns the exit status for the whole."""
    os.environ.update(for_programs(settings, endpoint))
    keeper = Doorkeeper(settings, endpoint)
    keeper.look()  # before nginx serves
    for watch in (keeper.watch, lambda: health.watch(settings)):
        threading.Thread(target=watch, daemon=True).start()
    times: dict[str, list[datetime]] = {}

    def ended(name: str, at: datetime) -> None:
        times[name] = [*times.get(name, []), at][-KEPT:]
        with suppress(OSError):  # the next one says it, too
            write_status(settings.status_dir, WatchdogStatus(ended=times))

    fatal = supervise(HOME / "supervisord.conf", settings.log_format, ended)
    if fatal:
        message = "%s could not be kept running; its lines above say why. The appliance has ended."
        log.error(message, fatal, extra=event("failed", part=fatal))
    return 1 if fatal else 0
