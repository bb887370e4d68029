"""A real nginx with the configuration that the settings make, and an application behind it that a test writes."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance import health
from appliance.site import render
from common.settings import Settings
from tests.waiting import eventually, free_port

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; enable with: script/bootstrap")


class Web:
    """nginx on a port of its own; its files are below `data`."""

    def __init__(self, data: Path, files: int | None = None, **settings: str) -> None:
        self.port = free_port()
        self.data = data
        with pytest.MonkeyPatch.context() as patch:
            given = {"DATA_DIR": str(data), "HTTP_HOST": "127.0.0.1", "HTTP_PORT": str(self.port), **settings}
            for name, value in given.items():
                patch.setenv(name, value)
            self.settings = Settings()
            if files:
                patch.setattr(resource, "getrlimit", lambda _what: (files, files))
            self.settings.log_file.parent.mkdir(parents=True)
            render(self.settings)
        self.errors = data / "errors"
        assert NGINX is not None
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [NGINX, "-e", "stderr", "-c", str(data / "run" / "nginx" / "nginx.conf")],
                stderr=errors,
                preexec_fn=(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None,
            )
        eventually(lambda: self.healthy() or self._ended(), within=10, every=0.01, why="nginx answers")

    def _ended(self) -> bool:
        if self._process.poll() is not None:
            pytest.fail(self.errors.read_text())
        return False

    def healthy(self) -> bool:
        return health.check_nginx(self.settings).state == "ok"

    def workers(self) -> list[int]:
        master = self._process.pid
        return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]

    def lines(self) -> list[str]:
        return self.settings.log_file.read_text().splitlines()

    def wait(self, count: int) -> list[str]:
        """The lines, when there are that many: nginx writes them after its answers."""
        return eventually(lambda: len(found := self.lines()) >= count and found, within=5, every=0.01) or []

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def send(self, request: bytes) -> bytes:
        """All that is answered until nginx closes."""
        with self.connect() as client:
            client.sendall(request)
            return rest(client)

    def get(self, path: str, *headers: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", "Host: a", "Connection: close", *headers, "", ""]
        return self.send("\r\n".join(lines).encode())

    def stop(self) -> None:
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)


def rest(client: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    while part := client.recv(65536):
        found += part
    return found


class Application(socketserver.ThreadingTCPServer):
    """Notes the head of each request, and answers as `answer` does; it gets the head and the connection's file."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answer: Callable[[bytes, socket.socket], None]) -> None:
        self.heads: list[bytes] = []
        application = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    byte = self.request.recv(1)
                    if not byte:
                        return
                    head += byte
                application.heads.append(head)
                answer(head, self.request)

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def paths(self) -> list[str]:
        return [head.split()[1].decode() for head in self.heads]


@contextmanager
def application(answer: Callable[[bytes, socket.socket], None]) -> Iterator[Application]:
    with Application(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def hello(_head: bytes, client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
