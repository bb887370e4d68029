"""`script/localstack run`, as a user starts it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.localstack_process import SCRIPT, START_WITHIN, STOP_WITHIN, by_image, healthy
from tests.waiting import eventually, free_port

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.skipif(by_image(), reason="it is the image that is asked for"),
]


@pytest.mark.usefixtures("localstack_here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_with_the_signal_and_leaves_no_files(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        running = subprocess.Popen(
            [str(SCRIPT), "run", str(port)],
            env=os.environ | {"TMPDIR": str(tmp_path)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        eventually(lambda: healthy(port), within=START_WITHIN, why="LocalStack answers")
        # Ctrl-C reaches the whole group, `kill` only the script
        os.killpg(running.pid, number) if number == signal.SIGINT else running.terminate()
        running.wait(STOP_WITHIN)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait(60)
    assert [path.name for path in tmp_path.iterdir()] == ["log"], (tmp_path / "log").read_text()
    assert not still_there(port)


def still_there(port: int) -> bool:
    try:
        return healthy(port)
    except OSError:
        return False
