"""DATA_DIR: reserved for one appliance, and prepared for its programs."""

from __future__ import annotations

import fcntl
import os
import shutil
from datetime import UTC, datetime

from appliance.checks import StartError
from appliance.environment import exports
from appliance.site import render
from common.settings import Settings
from common.status import ApplianceStatus, Endpoint, write_status


def lock(settings: Settings) -> int:
    """Reserve DATA_DIR for this appliance; returns the descriptor that holds it. Raises StartError."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(settings.data_dir / "appliance.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unwritable(settings, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StartError(
            f"an appliance already runs on DATA_DIR {settings.data_dir}. Mend it by stopping that one, "
            "or give this one a folder of its own, -e DATA_DIR=/data2"
        ) from None
    return descriptor


def _unwritable(settings: Settings, error: OSError) -> StartError:
    return StartError(
        f"cannot write to DATA_DIR {settings.data_dir}: {error.strerror}. Mend it with a folder or volume with "
        f"free space that user {os.geteuid()} may write to, e.g. -v web-log:/data"
    )


def prepare(settings: Settings) -> None:
    """Make the folders; everything under run/ is made anew. Raises StartError."""
    try:
        shutil.rmtree(settings.run_dir, ignore_errors=True)
        for folder in (settings.log_file.parent, settings.run_dir / "nginx", settings.data_dir / "emulator"):
            folder.mkdir(parents=True, exist_ok=True)
        # for script/appliance and script/aws, which are started in another environment than this
        (settings.run_dir / "environment").write_text(exports())
        render(settings)
    except OSError as error:
        raise _unwritable(settings, error) from None


def announce(settings: Settings, emulator: bool) -> None:
    """Leave for the dashboard when the appliance started, and what it works with. Raises StartError."""
    kind: Endpoint = "aws" if settings.target == "aws" else "embedded" if emulator else "endpoint"
    try:
        write_status(settings.status_dir, ApplianceStatus(started_at=datetime.now(UTC), endpoint=kind))
    except OSError as error:
        raise _unwritable(settings, error) from None
