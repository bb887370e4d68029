"""What the start hands on: this process's environment, with what the programs need besides."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from common.settings import Settings

HOME = Path(__file__).resolve().parent.parent


def for_programs(settings: Settings, emulator: bool) -> dict[str, str]:
    """What supervisord.conf and the programs read, on top of this process's own environment."""
    paths = [str(HOME), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "DATA_DIR": str(settings.data_dir),
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "LOG_FORMAT": settings.log_format,
        # the function in the embedded emulator calls it back; a proxy in between could not
        "NO_PROXY": ",".join(filter(None, ("127.0.0.1,localhost", os.environ.get("NO_PROXY")))),
        "EMULATOR_AUTOSTART": str(emulator).lower(),
        "EMULATOR_HOST": settings.emulator_host,
        "EMULATOR_PORT": str(settings.emulator_port),
        "DASHBOARD_AUTOSTART": str(settings.dashboard_port > 0).lower(),
        "EMULATOR_LOG_LEVEL": "INFO" if settings.log_level == "DEBUG" else "WARNING",
    }


def exports() -> str:
    """The settings that were given, as a shell reads them."""
    given = {name: value for name in Settings.model_fields if (value := os.environ.get(name.upper()))}
    return "".join(f"export {name.upper()}={shlex.quote(value)}\n" for name, value in given.items())
