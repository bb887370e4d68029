"""The traffic claims a line only for a request of which it is certain."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from tests.chaos.traffic import Traffic
from tests.waiting import eventually


class Server(BaseHTTPRequestHandler):
    """Answers, then logs, as nginx does; may die between the two, or before the answer."""

    protocol_version = "HTTP/1.1"
    logged: ClassVar[set[str]] = set()
    port: ClassVar[int] = 0
    dies_before: ClassVar[int] = 0
    dies_between: ClassVar[int] = 0

    def do_GET(self) -> None:
        cls = type(self)
        number = 0 if self.path == "/healthz" else int(self.path.rpartition("/")[2]) + 1
        if self.dies_before and number and number % self.dies_before == 0:
            self.close_connection = True
            return
        self.send_response(404)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"no")
        self.wfile.flush()
        if self.dies_between and number and number % self.dies_between == 0:
            self.close_connection = True
        elif number:
            cls.logged.add(self.path)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's name)
        pass


@pytest.fixture
def server() -> Iterator[type[Server]]:
    class Fresh(Server):
        logged: ClassVar[set[str]] = set()

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Fresh)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Fresh.port = listening.server_address[1]
    yield Fresh
    listening.shutdown()
    listening.server_close()
    thread.join()


def send(server: type[Server], count: int) -> Traffic:
    traffic = Traffic(server.port, 2000, "run")
    traffic.start()
    eventually(lambda: traffic.sent >= count, within=20, every=0.01)
    traffic.stop()
    return traffic


def test_every_request_is_confirmed_when_nothing_breaks(server: type[Server]) -> None:
    traffic = send(server, 200)
    assert traffic.confirmed == server.logged == {f"/run/{number}" for number in range(traffic.sent)}
    assert not traffic.uncertain | traffic.doubted


def test_an_answer_is_no_proof_of_a_line(server: type[Server]) -> None:
    server.dies_between = 10
    traffic = send(server, 200)
    assert len(traffic.confirmed) > 100
    assert traffic.confirmed <= server.logged
    assert {f"/run/{number}" for number in range(9, traffic.sent, 10)} <= traffic.uncertain
    assert len(traffic.confirmed) + len(traffic.uncertain) == traffic.sent


def test_a_request_without_an_answer_is_uncertain(server: type[Server]) -> None:
    server.dies_before = 10
    traffic = send(server, 200)
    assert traffic.confirmed <= server.logged
    assert {f"/run/{number}" for number in range(9, traffic.sent, 10)} <= traffic.uncertain
    assert len(traffic.confirmed) + len(traffic.uncertain) == traffic.sent


def test_in_a_pause_nothing_is_under_way_and_everything_is_logged(server: type[Server]) -> None:
    traffic = Traffic(server.port, 500, "run")
    traffic.start()
    eventually(lambda: traffic.sent > 50, every=0.01)
    with traffic.paused():
        sent = traffic.sent
        assert len(traffic.confirmed) == sent
        assert traffic.confirmed == server.logged
        assert traffic.sent == sent
    eventually(lambda: traffic.sent > sent, every=0.01, why="it goes on")
    with traffic.doubtful():
        sent = traffic.sent
        eventually(lambda: traffic.sent > sent + 20, every=0.01)
    traffic.stop()
    assert len(traffic.doubted) >= 20
    assert not traffic.doubted & (traffic.confirmed | traffic.uncertain)
    assert len(traffic.confirmed | traffic.doubted) == traffic.sent
