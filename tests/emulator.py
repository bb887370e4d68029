"""MiniStack as a process of a test's own, which the test may stop, kill and start again empty."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.waiting import eventually, free_port


class Emulator:
    """Listens on a free port of the loopback interface; keeps nothing over a restart."""

    def __init__(self, directory: Path, variables: dict[str, str] | None = None) -> None:
        self.port = free_port()
        self._variables = variables or {}
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        from common.aws import answers

        self._directory.mkdir(parents=True, exist_ok=True)
        # the network's proxies and the caller's AWS settings are none of its business
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": "127.0.0.1",
            "TMPDIR": str(self._directory),
            "LOG_LEVEL": "WARNING",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "SERVICES": "s3,kinesis,lambda,iam,sts,logs,firehose",
            **self._variables,
        }
        with (self._directory / "emulator.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ministack"], cwd=self._directory, env=environment, stdout=log, stderr=log
            )
        eventually(lambda: answers("127.0.0.1", self.port), why="the emulator listens")

    def stop(self, *, kill: bool = False) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(60)
        self._process = None
