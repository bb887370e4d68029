"""Without room for lines the real nginx refuses: nothing is answered without a line, nothing more is written."""

from __future__ import annotations

import http.client
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.site import render
from common import door
from common.settings import Settings
from tests.waiting import eventually, free_port

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; enable with: script/bootstrap")


class Site:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.log_file.parent.mkdir(parents=True)
        render(settings)
        door.turn(settings.run_dir, "open")
        assert NGINX
        configuration = settings.run_dir / "nginx" / "nginx.conf"
        # one worker, which has written the line of a request before it answers the next but one
        configuration.write_text(re.sub(r"(?m)^worker_processes .*;", "worker_processes 1;", configuration.read_text()))
        command = [NGINX, "-e", "stderr", "-c", str(configuration)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        eventually(lambda: self.get("/start")[0], within=20, every=0.05)
        self.lines(1)

    def get(self, path: str) -> tuple[int, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.http_port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("Retry-After")
        finally:
            connection.close()

    def send(self, data: bytes) -> bytes:
        """What is answered to these bytes, the client's last ones."""
        with socket.create_connection(("127.0.0.1", self.settings.http_port), timeout=60) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def lines(self, count: int) -> list[str]:
        """All there are, as many as expected; nginx writes them after its answers."""

        def look() -> list[str]:
            found = self.settings.log_file.read_text().splitlines()
            assert len(found) >= count, found
            return found

        found = eventually(look, within=10, every=0.02)
        assert len(found) == count, found
        return found


class _Application(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def application() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Application) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def site(tmp_path: Path, request: pytest.FixtureRequest, application: str) -> Iterator[Site]:
    settings = Settings(
        data_dir=tmp_path / "data",
        http_host="127.0.0.1",
        http_port=free_port(),
        upstream=application if request.param == "proxy" else "",
        log_full="answer" if request.param == "answer" else "refuse",
    )
    one = Site(settings)
    yield one
    one.process.terminate()
    one.process.wait(60)


@pytest.mark.parametrize("site", ["landing", "proxy"], indirect=True)
def test_without_room_requests_are_refused_and_nothing_is_written(site: Site) -> None:
    door.turn(site.settings.run_dir, "full")
    assert [site.get(path) for path in ("/", "/missing", "/start")] == [(503, "10")] * 3
    assert site.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n").startswith(b"HTTP/1.1 503 ")
    assert site.send(b"POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 503 ")
    assert site.get(site.settings.health_path.read_text()) == (200, None), "health sees that nginx works"
    # these are refused before nginx looks for a place that could say 503, and would each be a line of 16 KiB and more
    quotes = b'"' * 4000
    assert b" 400 " in site.send(b"GET /" + quotes + b" HTTP/1.1\r\nReferer: " + quotes + b"\r\n\r\n")
    site.send(b"GET /" + quotes + b" HTTP/1.1\r\nHost: x\r\nReferer: " + quotes)
    site.send(quotes)
    assert [site.get("/")[0] for _ in range(2)] == [503] * 2
    door.turn(site.settings.run_dir, "open")
    status, retry = site.get("/again")
    assert (status, retry) == ((503 if site.settings.upstream else 404), None)
    assert "/again" in site.lines(2)[-1]


@pytest.mark.parametrize("site", ["landing"], indirect=True)
def test_what_was_taken_before_has_its_line(site: Site) -> None:
    """A connection stays: each of its requests is asked about anew."""
    with socket.create_connection(("127.0.0.1", site.settings.http_port), timeout=60) as connection:
        for path, word in (("/a", "full"), ("/b", "open"), ("/c", "open")):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert connection.recv(65536)
            door.turn(site.settings.run_dir, word)
    assert [line.split()[6] for line in site.lines(3)] == ["/start", "/a", "/c"]


@pytest.mark.parametrize("site", ["answer"], indirect=True)
def test_a_user_may_prefer_answers_to_lines(site: Site) -> None:
    door.turn(site.settings.run_dir, "full")
    assert site.get("/") == (200, None)
    door.turn(site.settings.run_dir, "open")
    assert site.get("/") == (200, None)
    site.lines(2)
