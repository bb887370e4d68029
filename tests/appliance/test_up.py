"""script/up as a person uses it: natively, with the emulator outside, and by an engine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.drivers import ROOT, folder, get, no_poll_soon
from tests.emulator import Emulator
from tests.waiting import eventually, free_port

SCRIPT = ROOT / "script"
UP = [str(SCRIPT / "up"), "--native"]


def variables() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return kept | {name: str(free_port()) for name in ("HTTP_PORT", "DASHBOARD_PORT", "EMULATOR_PORT")}


@pytest.fixture
def settings(emulator: Emulator) -> Iterator[dict[str, str]]:
    emulator.start()
    with folder() as directory:
        yield (
            variables()
            | {"LOCALSTACK_HOST": f"127.0.0.1:{emulator.port}", "DATA_DIR": str(directory / "data")}
            | {"POLL_INTERVAL": no_poll_soon()}
        )


@pytest.mark.emulator
def test_ctrl_c_shows_the_last_words_and_a_second_one_is_refused(settings: dict[str, str], tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    with (
        printed.open("wb") as output,
        subprocess.Popen(UP, env=settings, stdout=output, stderr=output, start_new_session=True) as up,
    ):
        try:
            eventually(lambda: "Ready after" in printed.read_text(), within=60)
            # the poll that the start puts off is over
            status = Path(settings["DATA_DIR"], "run", "status", "producer.json")
            eventually(lambda: json.loads(status.read_bytes())["state"] == "idle", within=60)
            get(int(settings["HTTP_PORT"]), "/last")
            other = settings | {"HTTP_PORT": str(free_port()), "DASHBOARD_PORT": str(free_port())}
            second = subprocess.run(UP, env=other, capture_output=True, text=True, timeout=120, check=False)
            assert second.returncode == 2
            assert f"script/up: an appliance runs already, natively on {settings['DATA_DIR']}\n" in second.stderr
            assert "Ready" not in second.stdout
        finally:
            os.killpg(up.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
        assert up.wait(90) == 0
    shown = printed.read_text()
    assert "1 line" in shown.partition("Stopping:")[2]
    assert "everything is acknowledged" in shown.partition("Stopping:")[2]
    assert shown.endswith("Stopped.\n")


@pytest.mark.container
@pytest.mark.usefixtures("image")
def test_by_an_engine_it_owns_its_container_and_what_was_called_in_it_ends(
    container_engine: str, tmp_path: Path
) -> None:
    up_command = [str(SCRIPT / "up"), f"--{container_engine}"]
    # without ca.pem, so that the layers of the other tests' image serve
    given = {
        name: value for name, value in variables().items() if not name.endswith(("CERT", "CERTS", "FILE", "BUNDLE"))
    }
    given |= {"POLL_INTERVAL": "1"}

    def call(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=given, capture_output=True, text=True, timeout=120, check=False)

    def containers() -> str:
        return call(container_engine, "ps", "--all", "--format", "{{.Names}}").stdout

    printed = tmp_path / "printed"
    with (
        printed.open("wb") as output,
        subprocess.Popen(up_command, env=given, stdout=output, stderr=output, start_new_session=True) as up,
    ):
        try:
            eventually(lambda: "Ready after" in printed.read_text(errors="replace"), within=300)
            [name] = set(re.findall(r"starting the container (\S+) ", printed.read_text(errors="replace")))
            second = call(*up_command)
            assert second.returncode == 2
            assert f"runs already, by {container_engine} in the container {name}" in second.stderr
            get(int(given["HTTP_PORT"]), "/followed")
            tail = [str(SCRIPT / "appliance"), "tail", "--json", "--path", "/followed"]
            with subprocess.Popen(tail, env=given, stdout=subprocess.PIPE, start_new_session=True) as following:
                assert following.stdout
                assert b"/followed" in following.stdout.readline()
                os.killpg(following.pid, signal.SIGINT)
                following.wait(90)
            look = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"

            def only_its_own() -> bool:
                inside = call(container_engine, "exec", name, "sh", "-c", look).stdout
                return "-m producer" in inside and "tail --json" not in inside

            eventually(only_its_own)
        finally:
            os.killpg(up.pid, signal.SIGINT)
        assert up.wait(120) == 0
    assert "everything is acknowledged" in printed.read_text(errors="replace").partition("Stopping:")[2]
    assert name not in containers()
    call(container_engine, "volume", "rm", name)
    call(container_engine, "image", "rm", name)
