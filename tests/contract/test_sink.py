"""One body over every stream there is here: what is put is there, and its limits are the stream's."""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from appliance.clock import SystemClock
from producer.batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from producer.record import MAX_RECORD_BYTES, Piece, Record, singles
from producer.sink import KinesisSink
from tests.fake_kinesis import FakeKinesis, Stored

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

GENERATION = "5e9a0000" + "0123456789abcdef"


class Backend:
    """A stream and a way to read all of it."""

    def __init__(self, connect: Callable[[], Any], stream: str, read: Callable[[], list[Stored]]) -> None:
        self.sink = KinesisSink(connect, stream, SystemClock(), random.Random(1), retry_seconds=1)
        self.elsewhere = KinesisSink(connect, "nowhere", SystemClock(), random.Random(1), retry_seconds=1)
        self.read = read


def real(**options: Any) -> Iterator[Backend]:
    client: KinesisClient = boto3.client(
        "kinesis",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
        **options,
    )
    stream = f"sink-{secrets.token_hex(4)}"
    client.create_stream(StreamName=stream, ShardCount=2)
    client.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 20})

    def read() -> list[Stored]:
        found: list[Stored] = []
        for shard in client.list_shards(StreamName=stream)["Shards"]:
            position: str | None = client.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while position:
                answer = client.get_records(ShardIterator=position)
                if not answer["Records"]:
                    break
                found += [Stored(record["PartitionKey"], record["Data"]) for record in answer["Records"]]
                position = answer.get("NextShardIterator")
        return found

    backend = Backend(lambda: client, stream, read)
    yield backend
    client.delete_stream(StreamName=stream)
    client.close()


@pytest.fixture(
    params=[
        "fake",
        "moto",
        pytest.param("ministack", marks=pytest.mark.emulator),
        pytest.param("localstack", marks=pytest.mark.localstack),
    ]
)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param == "fake":
        fake = FakeKinesis()
        yield Backend(lambda: fake, "sink", lambda: fake.records)
    elif request.param == "moto":
        with mock_aws():
            yield from real()
    else:
        yield from real(endpoint_url=request.getfixturevalue(request.param))


def records(lines: list[bytes]) -> list[Record]:
    return list(singles(Piece(GENERATION, 0, b"".join(line + b"\n" for line in lines))))


def test_every_record_is_acknowledged_and_there(backend: Backend) -> None:
    batch = records([b"first", b"", b"\xff\x00 no text", "한국어".encode()])
    put = backend.sink.put(batch)
    assert put.error is None
    assert all(ack and ack.shard.startswith("shardId-") and ack.sequence_number.isdigit() for ack in put.acknowledged)
    assert sorted((stored.key, stored.data) for stored in backend.read()) == sorted(
        (record.key, record.data) for record in batch
    )


def test_as_many_records_as_a_call_takes(backend: Backend) -> None:
    batch = records([b"line %d" % number for number in range(MAX_BATCH_RECORDS)])
    assert backend.sink.put(batch).error is None
    assert len(backend.read()) == MAX_BATCH_RECORDS


def test_as_many_bytes_as_a_call_takes(backend: Backend) -> None:
    largest = MAX_RECORD_BYTES - len(f"{GENERATION}:1000000")
    batch = records([b"a" * largest] * 4)
    room = MAX_BATCH_BYTES - sum(record.size for record in batch)
    for start, size in ((8_000_000, room // 2), (9_000_000, room - room // 2)):
        key = f"{GENERATION}:{start}"
        batch.append(Record(GENERATION, start, start + size, key, b"b" * (size - len(key)), 1, b""))
    assert max(record.size for record in batch) == MAX_RECORD_BYTES
    assert sum(record.size for record in batch) == MAX_BATCH_BYTES
    put = backend.sink.put(batch)
    assert put.error is None
    assert None not in put.acknowledged


def test_a_stream_that_is_not_there_is_an_answer_with_a_remedy(
    backend: Backend,
) -> None:
    put = backend.elsewhere.put(records([b"line"]))
    assert put.acknowledged == [None]
    assert put.error
    assert "entrypoint" in put.error
