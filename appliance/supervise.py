"""supervisord, looking at its programs ten times a second instead of once, and logging as LOG_FORMAT says.

It starts and restarts programs at a look, and stops each priority in two: at a second a look that was half of the time
until nginx answered, and several of the ten seconds of `docker stop`.

`python -m appliance.supervise FORMAT [OPTION …]`: the options are supervisord's.
"""

from __future__ import annotations

import logging
import sys

from supervisor import loggers, poller, supervisord

from common.log import configure

LOOK_EVERY = 0.1  # seconds
LEVELS = {
    loggers.LevelsByName.CRIT: logging.CRITICAL,
    loggers.LevelsByName.ERRO: logging.ERROR,
    loggers.LevelsByName.WARN: logging.WARNING,
}

log = logging.getLogger("supervisord")


class AttentivePoller(poller.Poller):  # type: ignore[misc]
    def poll(self, timeout: float) -> tuple[list[int], list[int]]:
        looked: tuple[list[int], list[int]] = super().poll(min(timeout, LOOK_EVERY))
        return looked


class Handler(loggers.Handler):  # type: ignore[misc]
    """Hands supervisord's own messages to this project's log."""

    def emit(self, record: loggers.LogRecord) -> None:
        log.log(LEVELS.get(record.level, logging.INFO), "%s", record.asdict()["message"])

    def reopen(self) -> None:
        """Standard output stays what it is."""

    def remove(self) -> None:
        """Nothing to remove."""


def _log_here(logger: loggers.Logger, _format: str) -> None:
    handler = Handler(sys.stdout)
    handler.setLevel(logger.level)
    logger.addHandler(handler)


def main() -> None:
    configure("INFO", sys.argv.pop(1), "supervisord", tag=True)
    poller.Poller = AttentivePoller
    loggers.handle_stdout = _log_here
    supervisord.main()


if __name__ == "__main__":
    main()
