from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from appliance import verify
from appliance.settings import Settings
from appliance.status import write_status


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 23, 10, 59, 58, tzinfo=UTC)
        self.slept = 0.0

    def now(self) -> datetime:
        return self.at + timedelta(seconds=self.slept)

    def monotonic(self) -> float:
        return self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def journey(said: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> verify.Journey:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HTTP_HOST", "127.0.0.1")
    monkeypatch.setenv("S3_PREFIX", "logs/")
    one = verify.Journey(Settings(), Clock(), said.append, run="abc")
    one.sent_at = one.clock.now()
    return one


def test_lines_of_every_kind_of_record() -> None:
    assert verify.lines_of(b"one") == [b"one"]
    assert verify.lines_of(b"one\ntwo\n") == [b"one", b"two"]
    assert verify.lines_of(gzip.compress(b"one\ntwo\n")) == [b"one", b"two"]
    assert verify.lines_of(b"\x1f\x8bbroken") == []


def test_waiting_ends_at_the_deadline(journey: verify.Journey) -> None:
    with pytest.raises(verify.StepError, match=r"not within 120 s\. Look there"):
        journey.until(lambda: None, "Look there.")
    assert journey.clock.monotonic() >= 120


def test_looks_into_every_hour_since_the_requests(journey: verify.Journey) -> None:
    assert verify.keys(journey) == ["logs/2026/11/23/10/web-access.log"]
    journey.clock.sleep(5)
    assert verify.keys(journey) == ["logs/2026/11/23/10/web-access.log", "logs/2026/11/23/11/web-access.log"]


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def web_port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), _Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_requests_remember_what_was_answered(journey: verify.Journey, web_port: int) -> None:
    journey.settings = journey.settings.model_copy(update={"http_port": web_port})
    verify.requests(journey)
    assert [one["status"] for one in journey.sent.values()] == [404] * 3
    assert list(journey.sent) == ["/verify-abc/0", "/verify-abc/1", "/verify-abc/2"]


def test_an_nginx_that_is_down_fails_the_step(journey: verify.Journey) -> None:
    journey.settings = journey.settings.model_copy(update={"http_port": 1})
    with pytest.raises(verify.StepError, match="port 1 does not answer"):
        verify.requests(journey)


def _acknowledgement(at: datetime) -> dict[str, Any]:
    return {"at": at.isoformat(), "lines": 3, "records": 3, "first": {"shard": "shardId-0", "sequence_number": "49"}}


def test_only_an_acknowledgement_after_the_requests_counts(journey: verify.Journey) -> None:
    early, late = journey.sent_at - timedelta(seconds=1), journey.sent_at + timedelta(seconds=1)
    write_status(journey.settings.status_dir, "producer", {"acknowledged": [_acknowledgement(early)]})
    with pytest.raises(verify.StepError, match="not within"):
        verify.acknowledged(journey)
    write_status(journey.settings.status_dir, "producer", {"acknowledged": [_acknowledgement(late)]})
    assert "shardId-0, sequence number 49" in verify.acknowledged(journey)


def test_an_error_of_the_producer_ends_the_wait(journey: verify.Journey) -> None:
    write_status(journey.settings.status_dir, "producer", {"error": "403 from PutRecords"})
    with pytest.raises(verify.StepError, match="403 from PutRecords"):
        verify.acknowledged(journey)
    assert journey.clock.monotonic() == 0


def _entry(**changes: object) -> str:
    return json.dumps({"method": "GET", "path": "/verify-abc/0", "status": 404, "userAgent": "verify"} | changes)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([_entry(), _entry()], "doubled"),
        ([_entry(status=200)], "is not what was requested"),
        ([_entry(path="/verify-abc/7")], "is not what was requested"),
        ([_entry(userAgent="other")], "is not what was requested"),
    ],
)
def test_wrong_entries_fail_the_last_step(journey: verify.Journey, lines: list[str], message: str) -> None:
    journey.sent = {"/verify-abc/0": json.loads(_entry())}
    journey.found = {"logs/2026/11/23/10/web-access.log": lines}
    with pytest.raises(verify.StepError, match=message):
        verify.entries(journey)


def test_right_entries_pass(journey: verify.Journey) -> None:
    journey.sent = {"/verify-abc/0": json.loads(_entry())}
    journey.found = {"logs/2026/11/23/10/web-access.log": [_entry()]}
    assert "exactly those 1 requests" in verify.entries(journey)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (verify.StepError("it is DELETING. Wait."), "✗ stream: it is DELETING. Wait."),
        (
            ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket"),
            "✗ stream: HeadBucket answered 403: Forbidden",
        ),
        (EndpointConnectionError(endpoint_url="http://there:4566"), "Check LOCALSTACK_HOST"),
    ],
)
def test_a_failed_step_is_named_and_ends_the_walk(
    journey: verify.Journey,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    message: str,
) -> None:
    def fail(_: verify.Journey) -> str:
        raise failure

    monkeypatch.setattr(verify, "STEPS", [("bucket", lambda _: "my-bucket"), ("stream", fail), ("role", fail)])
    assert not verify.verify(journey)
    assert said[0] == "✓ bucket: my-bucket"
    assert message in said[1]
    assert len(said) == 2
