"""The appliance as a user starts it: natively, or as the real image; one interface, so one test body serves both."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import boto3
from botocore.config import Config

from common.emulator import NAMES, read_key
from tests.waiting import eventually, free_port

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGE = "kinesis-lambda-logging-test"
EMULATOR_PYTHON = "/opt/venv/emulator/bin/python"  # in the image


@overload
def client(where: str | Appliance, service: Literal["s3"]) -> S3Client: ...
@overload
def client(where: str | Appliance, service: Literal["kinesis"]) -> KinesisClient: ...
@overload
def client(where: str | Appliance, service: Literal["lambda"]) -> LambdaClient: ...
@overload
def client(where: str | Appliance, service: str) -> Any: ...
def client(where: str | Appliance, service: str) -> Any:
    """A client for the emulator inside an appliance, with its key; or for one outside, by its URL."""
    if isinstance(where, str):
        url, key = where, dict.fromkeys(NAMES, "test")
    else:
        url, key = where.emulator_url, {name.lower(): value for name, value in where.emulator_key().items()}
    config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}, read_timeout=60)
    make: Any = boto3.client
    return make(service, endpoint_url=url, region_name="us-east-1", config=config, **key)


def s3_client(where: str | Appliance) -> S3Client:
    return client(where, "s3")


class Appliance(Protocol):
    http_port: int
    dashboard_port: int
    emulator_url: str

    def start(self, **settings: str) -> None:
        """Start with these settings; what was written before is kept. Does not wait."""

    def stop(self) -> int:
        """Stop as `docker stop` does; the exit status."""

    def kill(self) -> None:
        """End everything at once, as a power cut does."""

    def wait(self) -> int:
        """Wait until it ends by itself; the exit status."""

    def run(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """A command of the appliance's (appliance, aws), run where it runs."""

    def output(self) -> str:
        """All it has printed."""

    def emulator_key(self) -> dict[str, str]:
        """The embedded emulator's access key, by the names of the environment."""


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for a native appliance: its emulator, which is never root, may enter it, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="web-log-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def python() -> str:
    """The Python of the tests, or where its emulator could not enter the way to it, as below /root, the system's."""
    path = Path(sys.executable).resolve()
    if os.geteuid() != 0 or all(each.stat().st_mode & 0o001 for each in path.parents):
        return sys.executable
    return shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin") or sys.executable


def get(port: int, path: str, agent: str = "test", method: str = "GET") -> int:
    """One request on a connection of its own; the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, headers={"User-Agent": agent})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def ready(appliance: Appliance, within: float = 60) -> None:
    """Wait until every part is ok."""

    def look() -> bool:
        health = appliance.run("appliance", "health", "--ready")
        assert health.returncode == 0, f"{health.stdout}{health.stderr}\n{appliance.output()[-3000:]}"
        return True

    eventually(look, within=within, every=0.3)


def told(appliance: Appliance, *command: str) -> subprocess.CompletedProcess[str]:
    """What `appliance COMMAND` says: again where the endpoint stood still for longer than a command waits for it."""

    def look() -> subprocess.CompletedProcess[str] | None:
        done = appliance.run("appliance", *command)
        return None if "does not answer (timed out)" in done.stdout + done.stderr else done

    done = eventually(look)
    assert done
    return done


def no_poll_soon() -> str:
    """A POLL_INTERVAL none of whose polls, which keep to the clock, comes within the next half hour."""
    return str(max(range(3000, 3600), key=lambda seconds: -time.time() % seconds))


def polled(appliance: Appliance) -> None:
    """Wait until it is ready, and the poll that its start puts off is over: what is logged now waits for the next."""
    ready(appliance)

    def look() -> bool:
        status = json.loads(appliance.run("appliance", "status", "--json").stdout)
        return bool(status["poll"]["state"] == "idle")

    eventually(look, why="the first poll")


class Native:
    """supervisord.conf on this machine, as `script/up --native` runs it."""

    def __init__(self, directory: Path) -> None:
        self.http_port = free_port()
        self.dashboard_port = free_port()
        self._emulator_port = free_port()
        self.emulator_url = f"http://127.0.0.1:{self._emulator_port}"
        self.directory = directory
        self.prints_to: int | None = None  # a descriptor, instead of a file that `output` reads
        self._log = directory / "common.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}

    def start(self, **settings: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self._environment = kept | {
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self.http_port),
            "DASHBOARD_PORT": str(self.dashboard_port),
            "EMULATOR_PORT": str(self._emulator_port),
            "DATA_DIR": str(self.directory / "data"),
            "POLL_INTERVAL": "1",
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
            "PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}",
            "PYTHON": python(),
            **settings,
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [python(), "-m", "appliance"],
                cwd=self.directory,
                env=self._environment,
                stdout=log if self.prints_to is None else self.prints_to,
                stderr=log if self.prints_to is None else self.prints_to,
                start_new_session=True,
            )

    def stop(self) -> int:
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        return self.wait()

    def kill(self) -> None:
        assert self._process is not None
        for pid in descendants(self._process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(60)
        self._process = None

    def wait(self) -> int:
        assert self._process is not None
        status = self._process.wait(120)
        self._process = None
        return status

    def run(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        path = str(ROOT / "cli" / "bin" / command[0])
        return subprocess.run(
            [path, *command[1:]],
            env=self._environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def begin(self, *command: str) -> subprocess.Popen[str]:
        """A command of the appliance's that goes on; its output is for the caller to read."""
        path = str(ROOT / "cli" / "bin" / command[0])
        return subprocess.Popen(
            [path, *command[1:]],
            env=self._environment,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def emulator_key(self) -> dict[str, str]:
        return read_key(Path(self._environment["DATA_DIR"], "emulator", "credentials"))

    def pids(self, program: str) -> list[int]:
        """The processes whose command line holds `program`."""
        assert self._process is not None
        found = []
        for pid in descendants(self._process.pid):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if program in line:
                found.append(pid)
        return found


def descendants(pid: int) -> list[int]:
    """The process and all below it, from /proc."""
    found = [pid]
    for parent in found:
        try:
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        except OSError:
            continue
        found.extend(map(int, children.split()))
    return found


def engine(*names: str) -> str | None:
    """The first container engine of `names`, or of all, that answers; or None."""
    for name in names or ("docker", "podman"):
        if shutil.which(name):
            info = subprocess.run([name, "info"], capture_output=True, timeout=60, check=False)
            if info.returncode == 0:
                return name
    return None


def build(engine_name: str) -> subprocess.CompletedProcess[str]:
    """The real Dockerfile, as IMAGE."""
    form = ["--format", "docker"] if engine_name == "podman" else []
    command = [engine_name, "build", *form, "--tag", IMAGE, str(ROOT)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


class Container:
    """The real image, with a volume of its own."""

    inner_port = 80

    def __init__(self, engine: str, network: str) -> None:
        self.http_port = free_port()
        self.dashboard_port = free_port()
        self._emulator_port = free_port()
        self.emulator_url = f"http://127.0.0.1:{self._emulator_port}"
        self.name = f"web-log-{secrets.token_hex(4)}"
        self._engine = engine
        self._network = network
        self._volume = self.name
        self._printed = ""
        self._key: dict[str, str] = {}
        self.options: list[str] = []

    def _call(self, *arguments: str, timeout: float = 180, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._engine, *arguments], capture_output=True, text=True, timeout=timeout, check=check, errors="replace"
        )

    def start(self, **settings: str) -> None:
        self._remove()
        inner = settings.get("HTTP_PORT", "80")
        environment = {"POLL_INTERVAL": "1", "DASHBOARD_HOST": "0.0.0.0", **settings}
        ports = ["--publish", f"127.0.0.1:{self.http_port}:{inner}"]
        ports += ["--publish", f"127.0.0.1:{self.dashboard_port}:8080"]
        if "LOCALSTACK_HOST" not in settings:
            ports += ["--env", "EMULATOR_HOST=0.0.0.0", "--publish", f"127.0.0.1:{self._emulator_port}:4566"]
        variables = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
        self._call(
            *("run", "--detach", "--name", self.name, "--volume", f"{self._volume}:/data"),
            *("--network", self._network, *self.options, *ports, *variables, IMAGE),
        )

    def _remove(self) -> None:
        if self._call("container", "inspect", self.name, check=False).returncode == 0:
            logs = self._call("logs", self.name, check=False)
            self._printed += logs.stdout + logs.stderr
            self._call("rm", "--force", self.name, check=False)

    def stop(self) -> int:
        # on a busy machine; tests/docker/test_run.py sees that it needs no more than Docker's own 10 s
        self._call("stop", "--time", "60", self.name)
        return self.wait()

    def kill(self) -> None:
        self._call("kill", "--signal", "KILL", self.name)
        self.wait()

    def wait(self) -> int:
        return int(self._call("wait", self.name, timeout=120).stdout.strip())

    def run(self, *command: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return self._call("exec", self.name, *command, timeout=timeout, check=False)

    def output(self) -> str:
        logs = self._call("logs", self.name, check=False)
        return self._printed + logs.stdout + logs.stderr

    def pid(self) -> int:
        """The first process, as this machine knows it."""
        return int(self._call("inspect", "--format", "{{.State.Pid}}", self.name).stdout)

    def emulator_key(self) -> dict[str, str]:
        if not self._key:  # its volume keeps it
            lines = self.run("sh", "-c", 'cat "$DATA_DIR/emulator/credentials"').stdout.splitlines()
            self._key = {name.upper(): value for name, _, value in (line.partition(" = ") for line in lines[1:])}
        return self._key

    def remove(self) -> None:
        self._remove()
        self._call("volume", "rm", "--force", self._volume, check=False)
