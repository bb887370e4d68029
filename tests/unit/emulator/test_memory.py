"""What is kept of the traffic, by MiniStack's own code in this process; and the positions, against a model."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.core import persistence
from ministack.services import cloudwatch_logs, firehose, kinesis, lambda_svc

from emulator import memory
from emulator.memory import EACH, FULL, READABLE, tidy, trim

NAME = "web-log-stream"
SHARD = "shardId-000000000000"
LINE = "x" * 300


def record(number: int = 0, data: str = LINE, at: float = 1.0) -> dict[str, Any]:
    return {"SequenceNumber": f"{number:030}", "ApproximateArrivalTimestamp": at, "Data": data, "PartitionKey": "k"}


def test_weeks_of_traffic_are_read_in_bounded_memory() -> None:
    """100 records a second for two weeks, put and read every ten minutes."""
    stream: list[dict[str, Any]] = []
    reader = {SHARD: 0}
    some = [record()] * (100 * 600)
    most = 0
    for _ in range(14 * 24 * 6):
        stream.extend(some)
        most = max(most, len(stream))
        reader[SHARD] = len(stream)
        trim(stream, [reader], SHARD, [], since=0)
    assert most <= len(some) + READABLE // (len(LINE) + EACH) + 1
    assert reader[SHARD] == len(stream)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 8)),
        st.tuples(st.just("read"), st.integers(0, 1), st.integers(1, 6)),
        st.tuples(st.just("get"), st.integers(1, 6)),
        st.tuples(st.just("trim")),
    ),
    max_size=60,
)


@given(steps=steps)
def test_every_mapping_reads_every_record_once_and_an_iterator_none_twice(steps: list[tuple[Any, ...]]) -> None:
    stream: list[dict[str, Any]] = []
    readers: list[dict[str, int]] = [{SHARD: 0}, {SHARD: 0}]
    iterator = {"position": 0}
    read: list[list[str]] = [[], []]
    got: list[str] = []
    numbers = itertools.count()
    big = "x" * (READABLE // 3)
    for kind, *values in steps:
        if kind == "put":
            stream += [record(next(numbers), big) for _ in range(values[0])]
        elif kind == "read":
            which, count = values
            position = readers[which][SHARD]
            batch = stream[position : position + count]
            readers[which][SHARD] += len(batch)
            read[which] += [each["SequenceNumber"] for each in batch]
        elif kind == "get":
            batch = stream[iterator["position"] : iterator["position"] + values[0]]
            iterator["position"] += len(batch)
            got += [each["SequenceNumber"] for each in batch]
        else:
            trim(stream, readers, SHARD, [iterator], since=0)
            read_by_all = min(each[SHARD] for each in readers)
            assert read_by_all * len(big) <= READABLE + len(big) + EACH
    everything = [f"{number:030}" for number in range(next(numbers))]
    for which in (0, 1):
        assert read[which] + [each["SequenceNumber"] for each in stream[readers[which][SHARD] :]] == everything
    assert got == sorted(set(got))


def test_what_is_older_than_the_retention_period_goes_and_the_positions_with_it() -> None:
    stream = [record(number, at=float(number)) for number in range(10)]
    readers = [{SHARD: 2}, {SHARD: 7}]
    iterator = {"position": 9}
    trim(stream, readers, SHARD, [iterator], since=5.0)
    assert [each["ApproximateArrivalTimestamp"] for each in stream] == [5.0, 6.0, 7.0, 8.0, 9.0]
    assert (readers, iterator) == ([{SHARD: 0}, {SHARD: 2}], {"position": 4})


def test_a_mapping_that_has_not_begun_is_to_find_everything() -> None:
    stream = [record(number, "x" * READABLE) for number in range(5)]
    trim(stream, [{SHARD: 5}, {}], SHARD, [], since=0)
    assert len(stream) == 5
    trim(stream, [], SHARD, [], since=0)
    assert len(stream) == 5


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """An ACTIVE stream of MiniStack's, with one mapping that has begun to read it."""
    monkeypatch.setattr(kinesis, "_put_records", memory.bounded(kinesis._put_records))
    monkeypatch.setattr(kinesis, "_expire_records", lambda _stream: None)
    kinesis._create_stream({"StreamName": NAME, "ShardCount": 1})
    made: dict[str, Any] = kinesis._streams[NAME]
    made["StreamStatus"] = "ACTIVE"
    lambda_svc._esms["mapping"] = {"UUID": "mapping", "EventSourceArn": made["StreamARN"]}
    lambda_svc._kinesis_positions["mapping"] = {SHARD: 0}
    yield made
    for module in (kinesis, lambda_svc, firehose, cloudwatch_logs):
        module.reset()
    memory._held.clear()


def put(count: int, data: str = LINE) -> Any:
    records = [{"Data": data, "PartitionKey": "k"} for _ in range(count)]
    status, _, body = kinesis._put_records({"StreamName": NAME, "Records": records})
    return status, json.loads(body)


def test_a_full_stream_takes_no_more_until_it_was_read(stream: dict[str, Any]) -> None:
    chunk = "eA==" * (256 * 1024)
    calls = 0
    while (answer := put(4, chunk))[0] == 200:
        calls += 1
        assert calls * 4 * len(chunk) <= FULL + 4 * len(chunk)
    assert answer[1]["__type"] == "ProvisionedThroughputExceededException"
    tidy()
    assert put(1)[0] == 400
    records = stream["shards"][SHARD]["records"]
    assert len(records) == calls * 4
    lambda_svc._kinesis_positions["mapping"][SHARD] = len(records)
    tidy()
    assert put(1)[0] == 200
    assert lambda_svc._kinesis_positions["mapping"][SHARD] == len(records) - 1


def test_iterators_keep_their_place_and_what_was_read_last_stays_readable(stream: dict[str, Any]) -> None:
    put(100)
    answer = kinesis._get_shard_iterator({"StreamName": NAME, "ShardId": SHARD, "ShardIteratorType": "LATEST"})
    iterator = json.loads(answer[2])["ShardIterator"]
    for _ in range(60):
        put(500)
    lambda_svc._kinesis_positions["mapping"][SHARD] = len(stream["shards"][SHARD]["records"])
    put(1, "bGFzdA==")
    tidy()
    found = json.loads(kinesis._get_records({"ShardIterator": iterator})[2])
    assert found["Records"][-1]["Data"] == "bGFzdA=="
    assert len(found["Records"]) == READABLE // (len(LINE) + EACH) + 2


def test_the_state_that_is_saved_goes_on_where_it_was(
    stream: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(persistence, "PERSIST_STATE", True)
    monkeypatch.setattr(persistence, "STATE_DIR", str(tmp_path))
    for _ in range(30):
        put(500)
    lambda_svc._kinesis_positions["mapping"][SHARD] = 14_990
    tidy()
    unread = stream["shards"][SHARD]["records"][lambda_svc._kinesis_positions["mapping"][SHARD] :]
    assert len(unread) == 10
    persistence.save_all({"kinesis": kinesis.get_state, "lambda": lambda_svc.get_state})
    kinesis.reset()
    lambda_svc._kinesis_positions.clear()
    kinesis.load_persisted_state(persistence.load_state("kinesis"))
    lambda_svc._restore_state(persistence.load_state("lambda"))
    records = kinesis._streams[NAME]["shards"][SHARD]["records"]
    assert records[lambda_svc._kinesis_positions["mapping"][SHARD] :] == unread


def test_a_put_does_not_grow_with_the_stream(stream: dict[str, Any]) -> None:
    def took() -> float:
        begun = time.process_time()
        for _ in range(50):
            put(1)
        return time.process_time() - begun

    first = min(took() for _ in range(5))
    stream["shards"][SHARD]["records"] += [record(at=time.time())] * 500_000
    assert min(took() for _ in range(5)) < 10 * first


def test_log_streams_and_what_firehose_has_delivered_are_forgotten() -> None:
    try:
        cloudwatch_logs._log_groups["/aws/lambda/f"] = {"streams": {str(n): {} for n in range(memory.LOG_STREAMS + 5)}}
        destination = {"type": "ExtendedS3", "records": [{"data": "x"}]}
        firehose._streams["delivery"] = {"destinations": [destination]}
        tidy()
        kept = cloudwatch_logs._log_groups["/aws/lambda/f"]["streams"]
        assert list(kept) == [str(n) for n in range(5, memory.LOG_STREAMS + 5)]
        assert destination["records"] == []
    finally:
        cloudwatch_logs.reset()
        firehose.reset()
