"""Natively, other users of the machine can read neither the log nor the bucket."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.appliance.drivers import Native, get, ready
from tests.waiting import eventually

pytestmark = pytest.mark.emulator


def test_nothing_in_the_folder_is_for_others(native: Native) -> None:
    native.start(LOG_ROTATE_BYTES="1024", REPAIR_INTERVAL="1")
    ready(native)
    data = native.directory / "data"

    def archived() -> bool:
        get(native.http_port, "/" + "x" * 1024)
        return any(data.rglob("web-access.log")) and (data / "log" / "archived.json").exists()

    eventually(archived, within=90, every=0.5, why="something is archived")
    native.stop()
    others = {path.relative_to(data): oct(mode) for path in data.rglob("*") if (mode := _mode(path)) & 0o007}
    assert others == {}
    assert _mode(data / "log") == 0o750
    assert _mode(data / "log" / "access.log") == 0o640


def _mode(path: Path) -> int:
    status = path.lstat()
    # a link has no mode of its own, and nginx opens its socket to all who get through to it
    if stat.S_ISLNK(status.st_mode) or stat.S_ISSOCK(status.st_mode):
        return 0
    return stat.S_IMODE(status.st_mode)
