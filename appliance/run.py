"""Runs supervisord as the container's first process does: hands signals on, collects orphans, and ends with it."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import signal
import stat
import subprocess
import sys
from types import FrameType

from appliance.environment import HOME
from common.log import event
from common.settings import Settings

log = logging.getLogger("appliance")

PR_SET_PDEATHSIG = 1  # prctl.h


def _end_with_parent() -> None:
    # prctl(2): when this process is killed, supervisord is told to stop, so that no program is left running alone
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def run(settings: Settings, variables: dict[str, str]) -> int:
    """Run supervisord until it ends; returns the exit status for the whole. Signals to stop are handed on."""
    if stat.S_ISREG(os.fstat(1).st_mode):
        # supervisord opens /dev/stdout anew for each program: in a plain file all of them must append
        fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_APPEND)
    stopping = False
    command = [sys.executable, "-m", "appliance.supervise", settings.log_format]
    command += ["--configuration", str(HOME / "supervisord.conf")]
    if os.geteuid() == 0:
        command += ["--user", "root"]  # said on purpose: it would warn that nobody said so
    supervisord = subprocess.Popen(
        command,
        env=variables,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the programs in their order
        preexec_fn=_end_with_parent,
    )

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
        log.error(
            "%s could not be kept running; its lines above say why. The appliance has ended.",
            name,
            extra=event("failed", part=name),
        )
        return 1
    if not stopping:
        ended = supervisord.returncode
        log.error("supervisord ended by itself with status %s.", ended, extra=event("failed", part="supervisord"))
        return 1
    return 0
