"""`python -m dashboard`: what it does about a port that somebody else has, and that it serves and stops."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast

import pytest
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded
from hypercorn.asyncio import serve

from common.settings import Settings
from dashboard import __main__ as dashboard
from dashboard.app import MAX_WATCHERS, Dashboard
from dashboard.collector import Collector
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]
PAUSE = 0.01


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def settings_of(port: int, host: str = "127.0.0.1") -> Settings:
    return Settings(dashboard_port=port, dashboard_host=host)


def test_a_port_that_is_taken_is_said_once_and_waited_for(
    taken: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_of(taken.getsockname()[1])

    async def waiting() -> socket.socket | None:
        waited = asyncio.ensure_future(dashboard.listening(settings, asyncio.Event(), PAUSE))
        done, _ = await asyncio.wait([waited], timeout=10 * PAUSE)
        assert not done
        taken.close()
        return await asyncio.wait_for(waited, 60)

    listener = asyncio.run(waiting())
    assert listener
    with listener:
        assert listener.getsockname()[1] == settings.dashboard_port
    [said] = caplog.records
    assert (said.levelno, vars(said)["event"], said.exc_info) == (logging.ERROR, "failed", None)
    assert f"DASHBOARD_PORT={settings.dashboard_port} cannot be listened on: Address already in use. " in said.message
    assert "-e DASHBOARD_PORT=8081" in said.message


def test_a_stop_ends_the_wait_for_a_port(taken: socket.socket) -> None:
    async def stopped() -> socket.socket | None:
        ending = asyncio.Event()
        waited = asyncio.ensure_future(dashboard.listening(settings_of(taken.getsockname()[1]), ending, 60))
        await asyncio.sleep(0)
        ending.set()
        return await asyncio.wait_for(waited, 60)

    assert asyncio.run(stopped()) is None


def test_another_reason_is_said_too(
    taken: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    problems: list[OSError] = [
        OSError(13, "Permission denied"),
        OSError(13, "Permission denied"),
        socket.gaierror(-2, "Name or service not known"),
    ]

    def listen(_: Settings) -> socket.socket:
        if problems:
            raise problems.pop(0)
        return taken

    monkeypatch.setattr(dashboard, "listen", listen)
    assert asyncio.run(dashboard.listening(settings_of(1), asyncio.Event(), PAUSE)) is taken
    assert [vars(record)["facts"]["error"] for record in caplog.records] == [
        "Permission denied",
        "Name or service not known",
    ]


def test_a_port_that_is_only_bound_by_another_is_ours() -> None:
    """SO_REUSEADDR lets two bind; the one who listens has it, and it is not found out only when serving."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", 0))
        with dashboard.listen(settings_of(other.getsockname()[1])), pytest.raises(OSError, match="in use"):
            other.listen()


@pytest.mark.parametrize(("host", "family"), [("", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_the_address_is_that_of_the_settings(host: str, family: socket.AddressFamily) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        listener = dashboard.listen(settings_of(port, host))
    except OSError as error:
        if family == socket.AF_INET6:
            pytest.skip(f"no IPv6 here: {error}")
        raise
    with listener:
        assert listener.family == family
        assert listener.getsockname()[:2] == (host or "0.0.0.0", port)


class Http2:
    """A browser's connection, of which many tabs share one."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._connection = H2Connection()
        self._connection.initiate_connection()
        self._open: set[int] = set()
        self.statuses: dict[int, int] = {}

    def ask(self, path: str) -> None:
        headers = [(":method", "GET"), (":path", path), (":scheme", "http"), (":authority", "localhost")]
        stream = self._connection.get_next_available_stream_id()
        self._connection.send_headers(stream, headers, end_stream=True)
        self._open.add(stream)

    def reset(self) -> None:
        """Close every tab."""
        for stream in self._open:
            self._connection.reset_stream(stream)
        self._open, self.statuses = set(), {}

    def answered(self, count: int) -> list[int]:
        """The statuses, sorted, once there are that many."""
        while True:
            self._socket.sendall(self._connection.data_to_send())
            if len(self.statuses) >= count:
                return sorted(self.statuses.values())
            for event in self._connection.receive_data(self._socket.recv(65536)):
                if isinstance(event, ResponseReceived):
                    self.statuses[event.stream_id] = int(dict(event.headers)[b":status"])
                elif isinstance(event, StreamEnded):
                    self._open.discard(event.stream_id)

    def close(self) -> None:
        self._socket.close()


class Silent:
    """A collector that sees nothing."""

    settings = Settings()

    def watch(self) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {}


def test_the_limit_of_watchers_holds_over_http_2() -> None:
    ending = threading.Event()
    listener = dashboard.listen(settings_of(0))
    port = listener.getsockname()[1]

    async def serving() -> None:
        app = Dashboard(cast("Collector", Silent()))
        served = asyncio.create_task(
            serve(app.app(), dashboard.configuration(listener), shutdown_trigger=app.ending.wait)  # type: ignore[arg-type]
        )
        await asyncio.to_thread(ending.wait, 60)
        app.ending.set()
        await served

    thread = threading.Thread(target=asyncio.run, args=[serving()], daemon=True)
    thread.start()
    clients = [Http2(port) for _ in range(6)]
    each = MAX_WATCHERS // 6 + 3

    def watching() -> int:
        for client in clients * each:
            client.ask("/api/events")
        with ThreadPoolExecutor(len(clients)) as pool:
            found: int = sum(pool.map(lambda client: client.answered(each).count(200), clients))
        for client in clients:
            client.reset()
        return found

    try:
        assert watching() == MAX_WATCHERS
        # the places of those that have left are free a moment later
        eventually(lambda: watching() == MAX_WATCHERS, within=20)
    finally:
        for client in clients:
            client.close()
        ending.set()
        thread.join(60)


def test_the_process_waits_serves_and_stops(taken: socket.socket, tmp_path: Path) -> None:
    port = taken.getsockname()[1]
    output = tmp_path / "output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "dashboard"],
            cwd=ROOT,
            env=os.environ
            | {
                "DATA_DIR": str(tmp_path),
                "DASHBOARD_HOST": "127.0.0.1",
                "DASHBOARD_PORT": str(port),
                "LOCALSTACK_HOST": "127.0.0.1:1",
                "LOG_FORMAT": "json",
            },
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        eventually(lambda: "cannot be listened on" in output.read_text(), within=30)
        taken.close()

        def answers() -> bool:
            connection = HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                connection.request("GET", "/healthz")
                return connection.getresponse().status == 503  # nginx does not run here
            except ConnectionError:
                return False
            finally:
                connection.close()

        eventually(answers, within=dashboard.LISTEN_AGAIN_SECONDS + 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(90) == dashboard.STOPPED
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert all("traceback" not in line for line in lines)
    events = [line["event"] for line in lines if line["event"] in ("failed", "started", "stopped")]
    assert events == ["failed", "started", "stopped"]
