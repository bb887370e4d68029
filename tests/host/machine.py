"""A host as a user has it: Debian in a container, and an emulator outside of it with the whole pipeline."""

from __future__ import annotations

import itertools
import secrets
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.appliance.drivers import get, s3_client
from tests.checker import entries, judge
from tests.emulator import Emulator
from tests.waiting import free_port

DEBIAN = "debian:trixie-slim"
# how a container calls the machine it runs on: podman's name, which Docker is told
HOST = "host.containers.internal"
STREAM = "web-log-stream"


@dataclass
class Pipeline:
    """Bucket, stream and function at the emulator, and the archive a host is set up from."""

    emulator: Emulator
    bucket: str
    archive: Path

    @property
    def url_inside(self) -> str:
        """The emulator's, as a container calls it."""
        return f"http://{HOST}:{self.emulator.port}"

    def archived(self) -> list[tuple[str, dict[str, Any]]]:
        return entries(s3_client(self.emulator.url), self.bucket)


class Debian:
    """A Debian in a container: bare and without a service manager, unless `image` and `options` say otherwise."""

    def __init__(
        self, engine: str, *options: str, image: str = DEBIAN, command: Sequence[str] = ("sleep", "infinity")
    ) -> None:
        self.name = f"web-server-{secrets.token_hex(4)}"
        self.http_port = free_port()
        self._engine = engine
        hosts = ["--add-host", f"{HOST}:host-gateway"] if engine == "docker" else []
        publish = ["--publish", f"127.0.0.1:{self.http_port}:80"]
        self._call("run", "--detach", "--name", self.name, *hosts, *publish, *options, image, *command)

    def _call(self, *arguments: str, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [self._engine, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=True, **options)

    def write(self, path: str, content: str) -> None:
        self._call("exec", "--interactive", self.name, "sh", "-c", f"umask 077; cat >{path}", input=content)

    def run(self, script: str, timeout: float = 300, status: int = 0) -> str:
        command = [self._engine, "exec", self.name, "bash", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == status, f"{script}: {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout + done.stderr

    def remove(self) -> None:
        self._call("rm", "--force", "--time", "0", self.name)


class Requests:
    """Requests that can be told apart in the archive."""

    def __init__(self, machine: Debian) -> None:
        self._machine = machine
        self._numbers = itertools.count(1)
        self._mark = secrets.token_hex(4)
        self.sent: list[str] = []

    def send(self, count: int) -> None:
        paths = [f"/{self._mark}/{next(self._numbers)}" for _ in range(count)]
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda path: get(self._machine.http_port, path), paths)) == {404}
        self.sent += paths

    def arrived(self, pipeline: Pipeline) -> bool:
        """Whether all are archived, each once; an AssertionError says what is not."""
        verdict = judge(
            self.sent,
            pipeline.archived(),
            lambda entry: entry["path"] if entry["path"].startswith(f"/{self._mark}/") else None,
        )
        assert verdict.exactly_once, verdict
        return True
