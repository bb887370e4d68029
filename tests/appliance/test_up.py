"""script/up natively, as a person uses it; the emulator is outside, which works where Python is closed to others."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.drivers import ROOT, folder, get
from tests.emulator import Emulator
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.emulator

UP = [str(ROOT / "script" / "up"), "--native"]


@pytest.fixture
def settings(emulator: Emulator) -> Iterator[dict[str, str]]:
    emulator.start()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    ports = {name: str(free_port()) for name in ("HTTP_PORT", "DASHBOARD_PORT", "EMULATOR_PORT")}
    with folder() as directory:
        yield kept | ports | {"LOCALSTACK_HOST": f"127.0.0.1:{emulator.port}", "DATA_DIR": str(directory / "data")}


def test_ctrl_c_shows_the_last_words_and_a_second_one_is_refused(settings: dict[str, str], tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    with (
        printed.open("wb") as output,
        subprocess.Popen(UP, env=settings, stdout=output, stderr=output, start_new_session=True) as up,
    ):
        try:
            eventually(lambda: "Ready after" in printed.read_text(), within=60)
            get(int(settings["HTTP_PORT"]), "/last")
            other = settings | {"HTTP_PORT": str(free_port()), "DASHBOARD_PORT": str(free_port())}
            second = subprocess.run(UP, env=other, capture_output=True, text=True, timeout=60, check=False)
            assert second.returncode == 2
            assert f"script/up: an appliance runs already, natively on {settings['DATA_DIR']}\n" in second.stderr
            assert "Ready" not in second.stdout
        finally:
            os.killpg(up.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
        assert up.wait(30) == 0
    shown = printed.read_text()
    assert "1 line" in shown.partition("Stopping:")[2]
    assert "everything is acknowledged" in shown.partition("Stopping:")[2]
    assert shown.endswith("Stopped.\n")
