"""supervisord within the first process: what it makes of programs that end, of signals, and of its own end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
RUN = """
import ctypes, logging, sys
from pathlib import Path
from appliance.supervise import supervise
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # inherits orphans, as a container's first process does
logging.getLogger("supervisord").setLevel("INFO")
print("gave up", repr(supervise(Path(sys.argv[1]), "human", lambda name, _: print(name, "ended", flush=True))))
"""


@contextmanager
def supervised(folder: Path, command: str, more: str = "") -> Iterator[subprocess.Popen[str]]:
    file = folder / "supervisord.conf"
    head = f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={folder}/pid\n"
    file.write_text(f"{head}[program:some]\ncommand={command}\nautorestart=true\n{more}\n")
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_stop_that_was_asked_for_is_no_warning(tmp_path: Path) -> None:
    with supervised(tmp_path, "sleep 60", "startsecs=0") as process:
        eventually(lambda: children(process.pid))
        process.terminate()
        assert process.wait(60) == 0
        assert process.stdout
        said = process.stdout.read()
    assert "INFO    received SIGTERM indicating exit request" in said
    assert "WARNING" not in said.partition("received SIGTERM")[2]


def test_a_program_that_cannot_be_kept_running_is_named(tmp_path: Path) -> None:
    with supervised(tmp_path, "false", "startretries=0\nstartsecs=1") as process:
        assert process.wait(60) == 0
        assert process.stdout
        assert process.stdout.read().endswith("gave up 'some'\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP])
def test_a_signal_ends_it_with_all_programs_and_at_once(tmp_path: Path, number: signal.Signals) -> None:
    with supervised(tmp_path, "sleep 100", "startsecs=0") as process:
        # until it is the program, its process would take a signal as this one does
        eventually(lambda: ["sleep" in command(each) for each in children(process.pid)] == [True])
        process.send_signal(number)
        assert process.wait(60) == 0
        assert process.stdout
        said = process.stdout.read()
    assert "indicating exit request" in said
    assert said.endswith("gave up ''\n")


def test_a_program_that_the_kernel_has_killed_may_have_been_short_of_memory(tmp_path: Path) -> None:
    with supervised(tmp_path, "sleep 100", "startsecs=0") as process:
        eventually(lambda: ["sleep" in command(each) for each in children(process.pid)] == [True])
        (first,) = children(process.pid)
        os.kill(first, signal.SIGKILL)
        eventually(lambda: children(process.pid) not in ([], [first]))
        process.terminate()
        assert process.stdout
        assert "short of memory" in process.stdout.read()


def test_what_ends_by_itself_is_told_and_started_again(tmp_path: Path) -> None:
    with supervised(tmp_path, "sleep 100", "startsecs=0") as process:
        first = eventually(lambda: children(process.pid))
        os.kill(first[0], signal.SIGKILL)
        eventually(lambda: set(children(process.pid)) - set(first))
        assert process.stdout
        assert "some ended\n" in iter(process.stdout.readline, "")


def test_orphans_are_collected(tmp_path: Path) -> None:
    left = tmp_path / "left"
    script = tmp_path / "script"
    script.write_text(f"(sh -c 'echo $$ >{left}; sleep 0.5' &)\nexec sleep 100\n")
    with supervised(tmp_path, f"sh {script}", "startsecs=0") as process:
        pid = int(eventually(lambda: left.exists() and left.read_text()))
        assert f"PPid:\t{process.pid}\n" in Path(f"/proc/{pid}/status").read_text()
        eventually(lambda: not Path(f"/proc/{pid}").exists(), within=5)


def test_the_programs_end_with_it_when_it_is_killed(tmp_path: Path) -> None:
    with supervised(tmp_path, "sleep 100", "startsecs=0") as process:
        (child,) = eventually(lambda: children(process.pid))
        eventually(lambda: "sleep" in command(child))
        process.kill()
        eventually(lambda: not Path(f"/proc/{child}").exists())
