"""Runs supervisord as the container's first process does: with this process's environment and what the programs need
besides; hands signals on, collects orphans, and ends with it."""

from __future__ import annotations

import ctypes
import logging
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from appliance.disk import Doorkeeper
from common.log import event
from common.settings import Settings
from common.status import Endpoint

log = logging.getLogger("appliance")

HOME = Path(__file__).resolve().parent.parent
PR_SET_PDEATHSIG = 1  # prctl.h


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
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": temporary(settings),
        "LOG_FORMAT": settings.log_format,
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


def _end_with_parent() -> None:
    # prctl(2): when this process is killed, supervisord is told to stop, so that no program is left running alone
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def run(settings: Settings, endpoint: Endpoint) -> int:
    """Run supervisord until it ends; returns the exit status for the whole. Signals to stop are handed on."""
    stopping = False
    command = [sys.executable, "-m", "appliance.supervise", settings.log_format]
    command += ["--configuration", str(HOME / "supervisord.conf")]
    if os.geteuid() == 0:
        command += ["--user", "root"]  # said on purpose: it would warn otherwise
    keeper = Doorkeeper(settings, endpoint)
    keeper.look()  # before nginx serves
    supervisord = subprocess.Popen(
        command,
        env=for_programs(settings, endpoint),
        start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the programs in their order
        preexec_fn=_end_with_parent,
    )
    threading.Thread(target=keeper.watch, name="disk", daemon=True).start()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        os.kill(supervisord.pid, signal.SIGTERM)  # Popen.terminate() could collect the status itself

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, stop)
    while True:
        # as a container's first process this one inherits every orphan, and has to collect them all
        pid, status = os.wait()
        if pid == supervisord.pid:
            supervisord.returncode = os.waitstatus_to_exitcode(status)
            break
    fatal = settings.run_dir / "fatal"
    if fatal.exists():
        name = fatal.read_text()
        message = "%s could not be kept running; its lines above say why. The appliance has ended."
        log.error(message, name, extra=event("failed", part=name))
        return 1
    if not stopping:
        ended = supervisord.returncode
        log.error("supervisord ended by itself with status %s.", ended, extra=event("failed", part="supervisord"))
        return 1
    return 0
