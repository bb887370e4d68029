"""supervisord, in this process: keeps the programs of supervisord.conf running until this process is told to stop, or
one of them cannot be kept running.

supervisord itself would go on with the rest, and exit with 0. It would also look once a second: it starts and restarts
programs at a look, and stops each priority in two, so that this was half of the time until nginx answered, and several
of the ten seconds of `docker stop`. Here a signal wakes it, and it looks ten times a second while something goes on.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from common.emulator import PR_SET_PDEATHSIG
from common.log import handler_for
from common.unused import unused

with unused("supervisor.xmlrpc", "xmlrpc.client"):  # for its server and supervisorctl
    from supervisor import events, loggers, options, poller
    from supervisor.medusa.asyncore_25 import ExitNow
    from supervisor.supervisord import Supervisor

LOOK_EVERY, LOOK_EVERY_IN_PEACE = 0.1, 1.0  # seconds
GOES_ON = 3.0  # seconds after a signal, such as that of a child's end
LEVELS = {
    loggers.LevelsByName.CRIT: logging.CRITICAL,
    loggers.LevelsByName.ERRO: logging.ERROR,
    loggers.LevelsByName.WARN: logging.WARNING,
}

log = logging.getLogger("supervisord")


class Poller(poller.SelectPoller):  # type: ignore[misc]
    """Reads besides the pipe that a signal writes to: poll(2) itself would go on after one."""

    def initialize(self) -> None:
        super().initialize()
        self._woken, waking = os.pipe()
        for end in (self._woken, waking):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        self._lively_until = time.monotonic() + GOES_ON

    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        self.readables.add(self._woken)
        lively = time.monotonic() < self._lively_until
        readable, writable = super().poll(min(timeout, LOOK_EVERY if lively else LOOK_EVERY_IN_PEACE))
        if self._woken in readable:
            with suppress(BlockingIOError):
                os.read(self._woken, 4096)
            self._lively_until = time.monotonic() + GOES_ON
        return [each for each in readable if each != self._woken], list(writable)


class Options(options.ServerOptions):  # type: ignore[misc]
    def get_signal(self) -> int | None:
        number: int | None = super().get_signal()
        # it would speak of a restart at a hang-up
        return signal.SIGTERM if number == signal.SIGHUP else number

    def openhttpservers(self, supervisord: object) -> None:
        """None is configured, and the code of it is much."""

    def setpgrp(self) -> None:
        """In a program's process, before it becomes the program, which is to end when this one is killed."""
        super().setpgrp()
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Supervised(Supervisor):  # type: ignore[misc]
    """`fatal`: the program that could not be kept running. `ended`: called with one that has ended by itself."""

    def __init__(self, settings: Options, ended: Callable[[str, datetime], None]) -> None:
        super().__init__(settings)
        self.fatal = ""
        self._ended = ended

    def runforever(self) -> None:
        events.subscribe(events.ProcessStateFatalEvent, self._gave_up)
        events.subscribe(events.ProcessStateExitedEvent, self._exited)
        super().runforever()

    def _gave_up(self, event: events.ProcessStateFatalEvent) -> None:
        self.fatal = event.process.config.name
        os.kill(os.getpid(), signal.SIGTERM)

    def _exited(self, event: events.ProcessStateExitedEvent) -> None:
        if not event.expected:
            self._ended(event.process.config.name, datetime.now(UTC))


class Handler(loggers.Handler):  # type: ignore[misc]
    """Hands supervisord's own messages to this project's log."""

    def emit(self, record: loggers.LogRecord) -> None:
        message = record.asdict()["message"]
        if message.endswith("(terminated by SIGKILL; not expected)"):
            message += "; a kernel that is short of memory does that. Mend it with more of it: docker run -m 256m"
        # warnings to it, and to a user what was asked for
        asked = message.endswith(("indicating exit request", "(terminated by SIGTERM)"))
        log.log(logging.INFO if asked else LEVELS.get(record.level, logging.INFO), "%s", message)

    def reopen(self) -> None:
        """Standard output stays what it is."""

    def remove(self) -> None:
        """Nothing to remove."""


def _log_here(logger: loggers.Logger, _format: str) -> None:
    handler = Handler(sys.stdout)
    handler.setLevel(logger.level)
    logger.addHandler(handler)


_prctl = ctypes.CDLL(None).prctl  # looked up here, as little should be done between fork and exec


def supervise(configuration: Path, log_format: str, ended: Callable[[str, datetime], None]) -> str:
    """Run the programs until a signal ends them all; the one that could not be kept running, empty if there is none.

    They get this process's environment. As a container's first process it inherits every orphan, and collects them.
    """
    log.handlers, log.propagate = [handler_for(log_format, "supervisord", tag=True)], False
    poller.Poller = Poller
    loggers.handle_stdout = _log_here
    given = Options()
    # said on purpose: it would warn that it runs as root otherwise
    user = ["--user", "root"] if os.geteuid() == 0 else []
    given.realize(["--configuration", str(configuration), *user])
    given.first, given.test = True, False
    supervised = Supervised(given, ended)
    with suppress(ExitNow):
        supervised.main()
    given.close_logger()
    return supervised.fatal
