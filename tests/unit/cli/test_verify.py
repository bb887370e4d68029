from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from cli import firehose_steps, kinesis_steps, steps, verify
from cli.__main__ import main
from common import aws
from common.delivery import FIREHOSE, KINESIS
from common.settings import Settings
from common.status import ProducerStatus
from entrypoint import delivery
from tests.statuses import say


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
def journey(said: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> steps.Journey:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HTTP_HOST", "127.0.0.1")
    monkeypatch.setenv("S3_PREFIX", "logs/")
    one = steps.Journey(Settings(), Clock(), said.append, run="abc")
    one.sent_at = one.clock.now()
    return one


def test_lines_of_every_kind_of_record() -> None:
    assert kinesis_steps.lines_of(b"one") == [b"one"]
    assert kinesis_steps.lines_of(b"one\ntwo\n") == [b"one", b"two"]
    assert kinesis_steps.lines_of(gzip.compress(b"one\ntwo\n")) == [b"one", b"two"]
    assert kinesis_steps.lines_of(b"\x1f\x8bbroken") == []


def test_waiting_ends_at_the_deadline(journey: steps.Journey) -> None:
    with pytest.raises(steps.StepError, match=r"not within 120 s\. Look there"):
        journey.until(lambda: None, "Look there.")
    assert journey.clock.monotonic() >= 120


def test_looks_into_every_hour_since_the_requests(journey: steps.Journey) -> None:
    assert steps.hours(journey) == ["2026/11/23/10"]
    journey.clock.sleep(5)
    assert steps.hours(journey) == ["2026/11/23/10", "2026/11/23/11"]


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


def test_requests_remember_what_was_answered(journey: steps.Journey, web_port: int) -> None:
    journey.settings = journey.settings.model_copy(update={"http_port": web_port})
    steps.requests(journey)
    assert [one["status"] for one in journey.sent.values()] == [404] * 3
    assert list(journey.sent) == ["/verify-abc/0", "/verify-abc/1", "/verify-abc/2"]


def test_an_nginx_that_is_down_fails_the_step(journey: steps.Journey) -> None:
    journey.settings = journey.settings.model_copy(update={"http_port": 1})
    with pytest.raises(steps.StepError, match="port 1 does not answer"):
        steps.requests(journey)


def _acknowledgement(at: datetime) -> dict[str, Any]:
    place = {"shard": "shardId-0", "sequence_number": "49"}
    return {"at": at.isoformat(), "lines": 3, "records": 3, "first": place}


def test_only_an_acknowledgement_after_the_requests_counts(journey: steps.Journey) -> None:
    early, late = journey.sent_at - timedelta(seconds=1), journey.sent_at + timedelta(seconds=1)
    say(journey.settings.status_dir, ProducerStatus, {"acknowledged": [_acknowledgement(early)]})
    with pytest.raises(steps.StepError, match="not within"):
        steps.acknowledged(journey)
    say(journey.settings.status_dir, ProducerStatus, {"acknowledged": [_acknowledgement(late)]})
    assert "shardId-0, sequence number 49" in steps.acknowledged(journey)


def test_an_error_of_the_producer_ends_the_wait(journey: steps.Journey) -> None:
    say(journey.settings.status_dir, ProducerStatus, {"error": "403 from PutRecords"})
    with pytest.raises(steps.StepError, match="403 from PutRecords"):
        steps.acknowledged(journey)
    (journey.settings.status_dir / "producer.json").write_text('{"version": 2}')
    with pytest.raises(steps.StepError, match="has version 2"):
        steps.acknowledged(journey)
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
def test_wrong_entries_fail_the_last_step(journey: steps.Journey, lines: list[str], message: str) -> None:
    journey.sent = {"/verify-abc/0": json.loads(_entry())}
    journey.found = {"logs/2026/11/23/10/web-access.log": lines}
    with pytest.raises(steps.StepError, match=message):
        kinesis_steps.entries(journey)


def test_right_entries_pass(journey: steps.Journey) -> None:
    journey.sent = {"/verify-abc/0": json.loads(_entry())}
    journey.found = {"logs/2026/11/23/10/web-access.log": [_entry()]}
    assert "exactly those 1 requests" in kinesis_steps.entries(journey)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (steps.StepError("it is DELETING. Wait."), "✗ stream: it is DELETING. Wait."),
        (
            ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket"),
            "✗ stream: HeadBucket was refused with 403 (Forbidden). Allow s3:ListBucket",
        ),
        (EndpointConnectionError(endpoint_url="http://there:4566"), "✗ stream: http://there:4566 does not answer"),
    ],
)
def test_a_failed_step_is_named_and_ends_the_walk(
    journey: steps.Journey, monkeypatch: pytest.MonkeyPatch, failure: Exception, message: str
) -> None:
    def fail(_: steps.Journey) -> str:
        raise failure

    monkeypatch.setitem(verify.STEPS, KINESIS, [("bucket", lambda _: "my-bucket"), ("stream", fail), ("role", fail)])
    first, last = verify.walk(journey)
    assert str(first) == "✓ bucket: my-bucket"
    assert message in str(last)
    assert (first.ok, last.ok) == (True, False)


# --- DELIVERY=firehose, against a bucket and a delivery stream in this process


@pytest.fixture
def delivering(journey: steps.Journey) -> Iterator[steps.Journey]:
    """A journey whose requests are sent, and an endpoint that has what DELIVERY=firehose needs."""
    settings = journey.settings.model_copy(update={"delivery": FIREHOSE, "target": "aws"})
    journey.settings = settings
    journey.sent = {f"/verify-abc/{number}": json.loads(_entry(path=f"/verify-abc/{number}")) for number in range(2)}
    with mock_aws():
        aws.client(settings, "s3").create_bucket(Bucket=settings.s3_bucket)
        aws.client(settings, "firehose").create_delivery_stream(
            DeliveryStreamName=settings.firehose_stream,
            ExtendedS3DestinationConfiguration=cast(
                Any,
                delivery.destination(
                    stream=settings.firehose_stream,
                    bucket=settings.s3_bucket,
                    prefix=settings.s3_prefix,
                    role_arn="arn:aws:iam::123456789012:role/firehose-ex",
                    function_arn=f"arn:aws:lambda:us-east-1:123456789012:function:{settings.lambda_function}",
                ),
            ),
        )
        # what moto writes bears the real time; the requests were sent a moment before
        journey.sent_at = datetime.now(UTC)
        journey.clock = Clock()
        journey.clock.at = journey.sent_at
        yield journey


def put(journey: steps.Journey, name: str, *lines: str) -> str:
    """An object below the hour of the requests; its key."""
    key = f"{journey.settings.s3_prefix}{steps.hours(journey)[0]}/{name}"
    body = "".join(f"{line}\n" for line in lines).encode()
    aws.client(journey.settings, "s3").put_object(Bucket=journey.settings.s3_bucket, Key=key, Body=body)
    return key


def _timed(journey: steps.Journey, number: int, moment: datetime | None = None) -> str:
    time = (moment or journey.sent_at).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return _entry(path=f"/verify-abc/{number}", time=time)


def test_the_delivery_stream_is_looked_at_and_how_long_it_buffers(delivering: steps.Journey) -> None:
    before = delivering.deadline
    assert firehose_steps.delivery_stream(delivering) == "web-log-delivery is ACTIVE, buffers up to 64 MiB or 60 s"
    assert delivering.deadline == before + 90


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lambda_function": "stream"}, "is not transformed by stream"),
        ({"s3_bucket": "elsewhere"}, "not to elsewhere. Check S3_BUCKET"),
    ],
)
def test_a_delivery_stream_of_somebody_else_is_told(
    delivering: steps.Journey, change: dict[str, str], message: str
) -> None:
    delivering.settings = delivering.settings.model_copy(update=change)
    with pytest.raises(steps.StepError, match=message):
        firehose_steps.delivery_stream(delivering)


def test_lines_in_any_object_of_the_hour_count_and_doubling_is_no_fault(
    delivering: steps.Journey, said: list[str]
) -> None:
    firehose_steps.delivery_stream(delivering)
    put(delivering, "web-access.log", _timed(delivering, 0), _timed(delivering, 1))  # another delivery's
    one = put(delivering, "a/web-log-delivery-1", _timed(delivering, 0), _entry(path="/other"))
    other = put(delivering, "web-log-delivery-2", _timed(delivering, 1), _timed(delivering, 1))
    assert one in firehose_steps.delivered(delivering)
    assert said == ["  … waiting for Firehose: it may buffer for 90 s"]
    assert sorted(delivering.found) == [one, other]
    assert firehose_steps.delivered_entries(delivering).startswith(
        "those 2 requests in 3 lines, 1 of them delivered again; "
    )


def test_only_what_an_object_did_not_have_before_the_requests_is_read(delivering: steps.Journey) -> None:
    old, new = _timed(delivering, 0), _timed(delivering, 1)
    key = put(delivering, "web-access.log", old)
    steps.bucket(delivering)
    s3 = aws.client(delivering.settings, "s3")
    assert steps.found_lines(s3, delivering, key) == []
    put(delivering, "web-access.log", old, new)
    assert steps.found_lines(s3, delivering, key) == [new]
    put(delivering, "web-access.log", "{}")  # lost, and made again
    put(delivering, "another", old)
    assert steps.found_lines(s3, delivering, key) == []
    assert steps.found_lines(s3, delivering, key.replace("web-access.log", "another")) == [old]
    assert steps.found_lines(s3, delivering, key.replace("web-access.log", "none")) == []


def test_lines_that_never_arrive_end_with_where_to_look(delivering: steps.Journey) -> None:
    firehose_steps.delivery_stream(delivering)
    put(delivering, "web-log-delivery-1", _timed(delivering, 0))
    with pytest.raises(
        steps.StepError, match=r"not within 210 s\. Look below s3://my-bucket/logs/rejected/.*/aws/lambda/"
    ):
        firehose_steps.delivered(delivering)


def test_a_line_below_another_hour_fails_the_last_step(delivering: steps.Journey) -> None:
    put(delivering, "a", _timed(delivering, 0), _timed(delivering, 1, delivering.sent_at - timedelta(hours=3)))
    firehose_steps.delivered(delivering)
    with pytest.raises(steps.StepError, match="not below logs/"):
        firehose_steps.delivered_entries(delivering)


def test_an_acknowledgement_of_firehose_names_the_record(journey: steps.Journey) -> None:
    at = journey.sent_at + timedelta(seconds=1)
    done = _acknowledgement(at) | {"first": {"record_id": "r" * 200}}
    say(journey.settings.status_dir, ProducerStatus, {"acknowledged": [done]})
    assert steps.acknowledged(journey) == f"3 line(s) as 3 record(s), record {'r' * 24}…"


def test_the_steps_are_those_of_the_delivery(journey: steps.Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(verify.STEPS, FIREHOSE, [("delivery stream", lambda _: "there")])
    journey.settings = journey.settings.model_copy(update={"delivery": FIREHOSE})
    assert list(map(str, verify.walk(journey))) == ["✓ delivery stream: there"]


# --- what main prints


def _waits(journey: steps.Journey) -> str:
    journey.say("  … waiting")
    return "안녕"


def _fails(_: steps.Journey) -> str:
    raise steps.StepError("it is DELETING. Wait.")


@pytest.mark.parametrize(("last", "exit_status"), [(_waits, 0), (_fails, 1)])
def test_json_is_an_object_a_step_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], last: Any, exit_status: int
) -> None:
    monkeypatch.setitem(verify.STEPS, KINESIS, [("first", _waits), ("last", last)])
    assert main(["verify"]) == exit_status
    plain = capsys.readouterr()
    assert plain.err == ""
    assert plain.out.startswith("  … waiting\n✓ first: 안녕\n")
    assert main(["verify", "--json"]) == exit_status
    printed = capsys.readouterr()
    assert "waiting" in printed.err
    steps = [json.loads(line) for line in printed.out.splitlines()]
    assert [(step["step"], step["ok"]) for step in steps] == [("first", True), ("last", not exit_status)]
    assert steps[1]["detail"] == ("it is DELETING. Wait." if exit_status else "안녕")
    assert all(step.keys() == {"step", "ok", "detail", "seconds"} and step["seconds"] >= 0 for step in steps)


def test_a_step_says_how_long_it_took(journey: steps.Journey, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(one: steps.Journey) -> str:
        one.clock.sleep(2.5)
        return "done"

    monkeypatch.setitem(verify.STEPS, KINESIS, [("slow", slow)])
    assert list(verify.walk(journey)) == [verify.Step("slow", True, "done", 2.5)]
