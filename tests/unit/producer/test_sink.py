"""How long the sink tries, what it gives up on at once, and what it says then."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)
from botocore.parsers import ResponseParserError

from common.settings import Settings
from producer.hourly import hourly
from producer.record import Piece, Record, singles
from producer.retrying import BACKOFF_CAP, RETRY_SECONDS
from producer.signed import key_of, signed
from producer.sink import KinesisSink, make_sink
from tests.fake_kinesis import (
    FakeClock,
    FakeFirehose,
    FakeKinesis,
    Fault,
    answer_nonsense,
    answer_short,
    error,
    firehose_sink_of,
    lose_answer,
    refuse,
    refuse_all,
    sink_of,
    unreachable,
)
from tests.keys import KEY, OTHER_KEY

GENERATION = "5e9a0000" + "0123456789abcdef"


def batch(count: int) -> list[Record]:
    return list(singles(Piece(GENERATION, 0, b"line\n" * count)))


@pytest.mark.parametrize(
    "fault",
    [
        refuse_all,
        answer_nonsense,
        error("ProvisionedThroughputExceededException"),
        error("KMSThrottlingException"),
        error("LimitExceededException"),
        error("ResourceInUseException"),
        error("Whatever", 429),
        error("Whatever", 500),
        error("Whatever", 503),
    ],
)
def test_what_passes_is_tried_until_the_deadline(fault: Fault) -> None:
    clock, stream = FakeClock(), FakeKinesis([fault] * 10_000)
    put = sink_of(stream, clock).put(batch(3))
    assert put.acknowledged == [None] * 3
    assert put.error
    assert "\n" not in put.error
    assert RETRY_SECONDS - BACKOFF_CAP <= clock.monotonic() < RETRY_SECONDS
    assert 5 < len(stream.calls) < 100


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("ResourceNotFoundException", "KINESIS_DATA_STREAM"),
        ("AccessDeniedException", "kinesis:PutRecords"),
        ("ExpiredTokenException", "renew"),
        ("UnrecognizedClientException", "AWS_ACCESS_KEY_ID"),
        ("InvalidSignatureException", "clock"),
        ("ValidationException", "ValidationException"),
    ],
)
def test_what_does_not_pass_is_said_at_once(code: str, remedy: str) -> None:
    clock, stream = FakeClock(), FakeKinesis([error(code)])
    put = sink_of(stream, clock).put(batch(1))
    assert put.error
    assert remedy in put.error
    assert (len(stream.calls), clock.monotonic()) == (1, 0)
    assert sink_of(stream, clock).put(batch(1)).error is None


def test_progress_gives_more_time() -> None:
    """A throttled shard that takes one record at a time gets all it needs; the deadline is for standing still."""
    clock = FakeClock()
    stream = FakeKinesis([refuse(range(1, 500))] * 399)
    put = sink_of(stream, clock).put(batch(400))
    assert put.error is None
    assert None not in put.acknowledged
    assert clock.monotonic() > RETRY_SECONDS


@pytest.mark.parametrize("lie", [0, 1, 3])
def test_the_entries_count_not_their_sum(lie: int) -> None:
    stream = FakeKinesis([refuse(range(3), lie=lie)])
    put = sink_of(stream, FakeClock()).put(batch(3))
    assert put.error is None
    assert stream.calls == [3, 3]


def test_an_answer_for_half_of_the_records_acknowledges_half() -> None:
    stream = FakeKinesis([answer_short])
    put = sink_of(stream, FakeClock()).put(batch(4))
    assert stream.calls == [4, 2]
    assert None not in put.acknowledged


@pytest.mark.parametrize(
    "entry",
    [None, {}, "text", {"ShardId": "s"}, {"ShardId": "s", "SequenceNumber": 7}, {"ErrorCode": "InternalFailure"}],
)
def test_an_entry_that_says_nothing_acknowledges_nothing(entry: object) -> None:
    stream = FakeKinesis([lambda _stream, records: {"Records": [entry] * len(records)}])
    assert sink_of(stream, FakeClock()).put(batch(2)).error is None
    assert stream.calls == [2, 2]


@pytest.mark.parametrize(
    "failure",
    [
        EndpointConnectionError(endpoint_url="http://stream"),
        ConnectTimeoutError(endpoint_url="http://stream"),
        ConnectionResetError(104, "reset"),
        ResponseParserError("no\nXML"),
    ],
)
def test_after_a_lost_connection_the_endpoint_is_looked_up_again(failure: Exception) -> None:
    first, second = FakeKinesis(), FakeKinesis()

    def fail(_stream: FakeKinesis, _records: object) -> dict[str, object]:
        raise failure

    first.script = [fail]
    clients = [first, second]
    sink = KinesisSink(lambda: clients.pop(0), "stream", FakeClock(), random.Random(1))
    assert sink.put(batch(2)).error is None
    assert (first.closed, second.calls) == (1, [2])


@pytest.mark.parametrize("failure", [NoCredentialsError(), NoRegionError(), ValueError("Invalid endpoint")])
def test_a_client_that_cannot_be_made_is_an_answer(failure: Exception) -> None:
    def connect() -> FakeKinesis:
        raise failure

    clock = FakeClock()
    put = KinesisSink(connect, "stream", clock, random.Random(1)).put(batch(1))
    assert put.error
    assert str(failure) in put.error
    assert clock.monotonic() == 0


def test_stop_ends_the_trying() -> None:
    stream = FakeKinesis([refuse_all] * 100)
    put = sink_of(stream, FakeClock(), stop=lambda: len(stream.calls) == 2).put(batch(2))
    assert put.error
    assert stream.calls == [2, 2]


def test_what_went_over_the_wire_is_counted() -> None:
    stream = FakeKinesis([refuse([1, 2]), error("ThrottlingException"), lose_answer])
    put = sink_of(stream, FakeClock()).put(batch(3))
    assert (put.error, put.traffic.calls, put.traffic.bytes) == (None, 4, 4 * (3 + 2 + 2 + 2))
    assert put.traffic.refused == {
        "ProvisionedThroughputExceededException": 2,
        "ThrottlingException": 2,
        "no answer": 2,
    }
    assert put.traffic.throttled == 4
    assert sum(put.traffic.shards.values()) == 3


# The same for the delivery stream


def hour(count: int) -> list[Record]:
    return [record for n in range(count) for record in hourly(Piece(GENERATION, 5 * n, b"line\n"))]


@pytest.mark.parametrize(
    "fault",
    [refuse_all, answer_nonsense, error("ServiceUnavailableException"), error("Whatever", 500), unreachable],
)
def test_firehose_tries_what_passes_until_the_deadline(fault: Fault) -> None:
    clock, stream = FakeClock(), FakeFirehose([fault] * 10_000)
    put = firehose_sink_of(stream, clock).put(hour(3))
    assert put.acknowledged == [None] * 3
    assert put.error
    assert put.error.startswith("delivery stream web-log-delivery: ")
    assert RETRY_SECONDS - BACKOFF_CAP <= clock.monotonic() < RETRY_SECONDS


@pytest.mark.parametrize("fault", [refuse([1]), lose_answer, answer_short, unreachable])
def test_firehose_sends_again_what_was_refused_and_nothing_else(fault: Fault) -> None:
    stream = FakeFirehose([fault])
    put = firehose_sink_of(stream, FakeClock()).put(hour(3))
    assert put.error is None
    assert all(ack and ack.record_id for ack in put.acknowledged)
    assert stream.calls[1:] in ([1], [2], [3])
    assert stream.calls != [3, 3] or fault in (lose_answer, unreachable)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("ResourceNotFoundException", "FIREHOSE_STREAM"),
        ("AccessDeniedException", "firehose:PutRecordBatch"),
        ("InvalidSourceException", "Direct PUT"),
        ("ExpiredTokenException", "renew"),
    ],
)
def test_firehose_says_at_once_what_does_not_pass(code: str, remedy: str) -> None:
    clock, stream = FakeClock(), FakeFirehose([error(code)])
    put = firehose_sink_of(stream, clock).put(hour(1))
    assert put.error
    assert remedy in put.error
    assert (len(stream.calls), clock.monotonic()) == (1, 0)


@pytest.mark.parametrize("entry", [None, {}, "text", {"RecordId": ""}, {"RecordId": 7}, {"ErrorCode": "x"}])
def test_a_firehose_entry_that_says_nothing_acknowledges_nothing(entry: object) -> None:
    stream = FakeFirehose([lambda _stream, records: {"Records": [entry] * len(records)}])
    assert firehose_sink_of(stream, FakeClock()).put(hour(2)).error is None
    assert stream.calls == [2, 2]


def test_nothing_is_sent_before_the_key_is_known(tmp_path: Path) -> None:
    """As calmly as while there is no stream. The key is read anew for each call: the function may get another one."""
    settings = Settings(data_dir=tmp_path)
    stream, clock = FakeKinesis(), FakeClock()
    sink = sink_of(stream, clock, key=key_of(settings))
    two = batch(2)
    put = sink.put(two)
    assert stream.calls == []
    assert put.acknowledged == [None, None]
    assert put.error
    assert "The entrypoint writes it" in put.error
    assert list(put.traffic.refused) == ["no key"]
    assert clock.monotonic() > RETRY_SECONDS / 2
    settings.shared_key.parent.mkdir()
    for key in (KEY, OTHER_KEY):
        settings.shared_key.write_text(key)
        assert sink.put(two).error is None
        assert [each.key for each in stream.records[-2:]] == [signed(one.key, one.data, key) for one in two]


@pytest.mark.parametrize("more", [{"target": "aws"}, {"log_file": "/var/log/nginx/access.log"}])
@pytest.mark.parametrize("key", ["", KEY])
def test_where_no_entrypoint_makes_a_key_the_setting_says_it(tmp_path: Path, more: dict[str, Any], key: str) -> None:
    assert key_of(Settings(data_dir=tmp_path, record_key=key, **more))() == key


def test_a_sink_gets_its_key_and_firehose_none(tmp_path: Path) -> None:
    sink = make_sink(Settings(data_dir=tmp_path, record_key=KEY), FakeClock(), random.Random(1))
    assert isinstance(sink, KinesisSink)
    assert sink.key() == KEY
    given: dict[str, Any] = {"data_dir": tmp_path, "record_key": KEY, "delivery": "firehose"}
    assert not hasattr(make_sink(Settings(**given), FakeClock(), random.Random(1)), "key")
