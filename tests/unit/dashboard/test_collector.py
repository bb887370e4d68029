from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common.clock import SystemClock
from common.delivery import S3
from common.settings import Settings
from common.status import ProducerStatus
from dashboard.collector import Collector
from dashboard.metrics import exposition
from dashboard.periodic import Seen
from tests.fake_kinesis import FakeClock
from tests.statuses import say
from tests.waiting import eventually, free_port


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Nobody answers at the endpoint."""
    found = Settings(data_dir=tmp_path, localstack_host=f"127.0.0.1:{free_port()}", s3_bucket="a-bucket")
    found.log_file.parent.mkdir()
    found.run_dir.mkdir()
    return found


@pytest.fixture
def collector(settings: Settings) -> Iterator[Collector]:
    found = Collector(settings, SystemClock())
    found.start()
    yield found
    found.end()


def node(state: Any, name: str) -> Any:
    return next(one for one in state["nodes"] if one["id"] == name)


def test_what_is_here_is_shown_though_the_endpoint_is_not(settings: Settings, collector: Collector) -> None:
    settings.log_file.write_bytes(b'127.0.0.1 - - [23/Nov/2026:12:00:00 +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n')
    collector.fresh(0, 10)
    state = collector.state()
    assert state["behind"]["lines"] == 1
    assert state["endpoint"]["reachable"] is False
    for name in ("stream", "function", "bucket"):
        assert node(state, name)["state"] == "failing"
        assert "does not answer" in node(state, name)["error"]
    assert "LOCALSTACK_HOST" in state["endpoint"]["error"]
    assert node(state, "producer")["error"] == "has not polled yet"
    # the processes come up, and the log grows
    now = datetime.now(UTC)
    later = (now + timedelta(days=365)).isoformat()
    say(settings.status_dir, ProducerStatus, {"state": "idle", "due": later, "last_tick": now.isoformat()})
    with settings.log_file.open("ab") as log:
        log.write(b"another line\n")

    def seen() -> bool:
        collector.watch()
        found = collector.state()
        return (node(found, "producer")["state"], found["behind"]["lines"]) == ("ok", 2)

    eventually(seen, within=10)
    assert (collector.state()["edges"][0]["lines_per_second"] or 0) > 0


def test_a_damaged_checkpoint_is_shown_at_the_log(settings: Settings, collector: Collector) -> None:
    settings.checkpoint_file.write_text("{")
    collector.fresh(0, 10)
    found = node(collector.state(), "log")
    assert found["state"] == "failing"
    assert "is damaged" in found["error"]
    assert "put back a good one" in found["error"]


def test_a_format_that_is_rejected_is_shown_at_the_log(settings: Settings, collector: Collector) -> None:
    settings.log_file.touch()
    say(settings.status_dir, ProducerStatus, {"formats": {"": "20 of the newest 20 lines …"}})
    collector.fresh(0, 10)
    found = node(collector.state(), "log")
    assert (found["state"], found["error"]) == ("degraded", "20 of the newest 20 lines …")


def test_ship_now_leaves_a_request(settings: Settings, collector: Collector) -> None:
    name = collector.ship_now()
    assert settings.ship_request.read_text() == name
    assert collector.ship_now() == name  # one answer is an answer to all who have asked
    assert collector.state()["poll"]["shipping"]


def test_with_s3_the_bucket_takes_what_the_producer_appends_and_nothing_else_is_looked_at(settings: Settings) -> None:
    clock = FakeClock()
    collector = Collector(settings.model_copy(update={"delivery": S3}), clock)
    for count in (0, 10):
        counters = {
            "started_at": "2026-11-23T10:00:00Z",
            "lines": count,
            "bytes": 200 * count,
            "sent_bytes": 300 * count,
        }
        say(settings.status_dir, ProducerStatus, {"state": "idle", "counters": counters})
        collector.look()
        clock.sleep(5)
    collector.fresh(0, 0)
    state = collector.state()
    assert [edge["to"] for edge in state["edges"]] == ["log", "producer", "bucket"]
    assert state["edges"][-1] == {
        "from": "producer",
        "to": "bucket",
        "lines_per_second": 1,
        "bytes_per_second": 300,
    }
    assert (collector.views.stream, collector.views.function) == (Seen(), Seen())
    assert "weblog_function" not in exposition(collector, "")[0].decode()


@pytest.mark.emulator  # it takes 15 s of waiting
def test_an_endpoint_that_listens_and_says_nothing_keeps_nobody_waiting(settings: Settings) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        silent = settings.model_copy(update={"localstack_host": f"127.0.0.1:{port}"})
        collector = Collector(silent, SystemClock())
        collector.start()
        collector.fresh(0, 0.5)
        assert collector.state()["behind"]["lines"] == 0
        collector.fresh(0, 15)
        assert not collector.state()["endpoint"]["reachable"]
        collector.end()
