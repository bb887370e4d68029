"""Real LocalStack, as a process of a test's own or as the image; the same interface as tests/emulator.py."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.waiting import eventually, free_port

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "script" / "localstack"
# Seconds. A first installation downloads 100 MB and compiles them to bytecode.
INSTALL_WITHIN = 900.0
START_WITHIN = 90.0
# It stops its services one after the other; a kill is for those who cannot wait.
STOP_WITHIN = 90.0
VERSION = "4.14.0"


def unavailable() -> str | None:
    """Install it, unless that is done; why it cannot be had here, with the command that mends it, or None."""
    if by_image():
        return None if shutil.which("docker") else "no Docker here; without it: script/test -m localstack"
    try:
        done = subprocess.run(
            [str(SCRIPT), "install"], capture_output=True, text=True, timeout=INSTALL_WITHIN, check=False
        )
    except subprocess.TimeoutExpired:
        return f"not installed within {INSTALL_WITHIN:g} s; see why with: script/localstack install"
    if done.returncode == 0:
        return None
    last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
    return f"{last} (see all of it with: script/localstack install)"


def by_image() -> bool:
    """Whether `script/test --localstack-image` asks for the image instead of the process."""
    return bool(os.environ.get("TEST_LOCALSTACK_IMAGE"))


class LocalStack:
    """Listens on a free port of the loopback interface; keeps nothing over a restart, as each start has a new folder.

    Its functions run as processes: tests/localstack/plugin/process_executor.py.
    """

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._starts += 1
        folder = self._directory / f"start-{self._starts}"
        with (self._directory / "localstack.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(SCRIPT), "run", str(self.port), str(folder)], stdout=log, stderr=log, start_new_session=True
            )
        eventually(self._healthy, within=START_WITHIN, why="LocalStack answers")

    def _healthy(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"LocalStack ended with {self._process.returncode}:\n{self.output()[-3000:]}")
        return healthy(self.port)

    def output(self) -> str:
        return (self._directory / "localstack.log").read_text(errors="replace")

    def pids(self, program: str) -> list[int]:
        """Its processes whose command line holds `program`: `awslambdaric` is a function, `kinesis-local` Kinesis."""
        assert self._process is not None
        found = []
        for pid in descendants(self._process.pid):
            with suppress(OSError):
                if program in Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "):
                    found.append(pid)
        return found

    def stop(self, *, kill: bool = False) -> None:
        if self._process is None:
            return
        family = descendants(self._process.pid)
        if not kill:
            self._process.terminate()
            try:
                self._process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                kill = True
        # its Kinesis and its functions are processes of their own, which would outlive it
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(60)
        self._process = None


class LocalStackImage:
    """The real image by compose.yaml, its port and Docker socket included; functions run in containers of its own."""

    port = 4566
    url = f"http://127.0.0.1:{port}"

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._started = False

    def _compose(self, *arguments: str) -> str:
        command = ["docker", "compose", "--file", str(ROOT / "compose.yaml"), "--project-name", "web-log-test"]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=INSTALL_WITHIN, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def start(self) -> None:
        self._compose("up", "--detach", "localstack")
        self._started = True
        eventually(lambda: healthy(self.port), within=START_WITHIN, every=0.5, why="LocalStack answers")

    def output(self) -> str:
        return self._compose("logs", "localstack") if self._started else ""

    def stop(self, *, kill: bool = False) -> None:
        if not self._started:
            return
        self._compose("kill" if kill else "stop", "localstack")
        self._compose("rm", "--force", "--volumes", "localstack")
        self._started = False


def healthy(port: int) -> bool:
    """Whether it is LocalStack of the right version that answers there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=90)
    try:
        connection.request("GET", "/_localstack/health")
        return bool(json.load(connection.getresponse())["version"] == VERSION)
    except (http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()


def descendants(pid: int) -> list[int]:
    """The process and all below it, from /proc."""
    found = [pid]
    for parent in found:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            children = " ".join((task / "children").read_text() for task in tasks)
        except OSError:
            continue
        found.extend(map(int, children.split()))
    return found
