"""Which of several logs a command is about."""

from __future__ import annotations

from cli.screen import UNUSABLE, CommandError
from common.settings import Settings
from journal.logs import logs_of, problems_of


def log_called(settings: Settings, name: str) -> Settings:
    """The settings of the log of this name; of the only one, without a name. Raises CommandError."""
    logs = {one.log_name: one for one in logs_of(settings)}
    if name not in logs:
        there = ", ".join(filter(None, logs)) or "; ".join(problems_of(settings)) or "there is none"
        raise CommandError(f"--log {name or 'is missing'}: name one of LOG_FILES: {there}", UNUSABLE)
    return logs[name]


def log_of_key(settings: Settings, key: str) -> Settings:
    """The settings of the log that an object of this key is of."""
    return next((one for one in logs_of(settings) if key.startswith(one.s3_prefix)), settings)
