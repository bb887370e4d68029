"""One body over every stream there is here: what is put is there, and its limits are the stream's."""

from __future__ import annotations

import base64
import random
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from archiver.event import Key, kinesis_record
from common.clock import SystemClock
from producer import hourly
from producer.batch import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_FIREHOSE_BYTES, MAX_FIREHOSE_RECORDS
from producer.record import MAX_RECORD_BYTES, Piece, Record, singles
from producer.signed import SIGNATURE_BYTES
from producer.sink import FirehoseSink, KinesisSink
from tests.fake_kinesis import FakeFirehose, FakeKinesis
from tests.keys import KEY

if TYPE_CHECKING:
    from mypy_boto3_firehose import FirehoseClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

GENERATION = "5e9a0000" + "0123456789abcdef"
CREDENTIALS = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}


class Backend:
    """A stream and a way to read the data of all of its records."""

    def __init__(
        self, sink: type[KinesisSink | FirehoseSink], connect: Callable[[], Any], stream: str, read: Callable[[], bytes]
    ) -> None:
        signing: dict[str, Any] = {"key": lambda: KEY} if sink is KinesisSink else {}
        self.sink = sink(connect, stream, SystemClock(), random.Random(1), retry_seconds=1, **signing)
        self.elsewhere = sink(connect, "nowhere", SystemClock(), random.Random(1), retry_seconds=1, **signing)
        self.read = read
        self.firehose = sink is FirehoseSink

    @property
    def limits(self) -> tuple[int, int, int]:
        """Records and bytes of a call, bytes of a record."""
        if self.firehose:
            return MAX_FIREHOSE_RECORDS, MAX_FIREHOSE_BYTES, hourly.MAX_RECORD_BYTES
        return MAX_BATCH_RECORDS, MAX_BATCH_BYTES, MAX_RECORD_BYTES


def kinesis(**options: Any) -> Iterator[Backend]:
    client: KinesisClient = boto3.client("kinesis", config=Config(retries={"total_max_attempts": 1}), **options)
    stream = f"sink-{secrets.token_hex(4)}"
    client.create_stream(StreamName=stream, ShardCount=2)
    client.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1, "MaxAttempts": 20})

    def read() -> bytes:
        found: list[tuple[int, bytes]] = []
        for shard in client.list_shards(StreamName=stream)["Shards"]:
            position: str | None = client.get_shard_iterator(
                StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            while position:
                answer = client.get_records(ShardIterator=position)
                if not answer["Records"]:
                    break
                for record in answer["Records"]:
                    found.append((verified(record["PartitionKey"], record["Data"]), record["Data"]))
                position = answer.get("NextShardIterator")
        return b"".join(data for _, data in sorted(found))

    yield Backend(KinesisSink, lambda: client, stream, read)
    client.delete_stream(StreamName=stream)
    client.close()


def firehose(**options: Any) -> Iterator[Backend]:
    """A delivery stream into a bucket; what is in the bucket is what was put."""
    client: FirehoseClient = boto3.client("firehose", config=Config(retries={"total_max_attempts": 1}), **options)
    s3: S3Client = boto3.client("s3", **options)
    stream = f"sink-{secrets.token_hex(4)}"
    s3.create_bucket(Bucket=stream)
    client.create_delivery_stream(
        DeliveryStreamName=stream,
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::000000000000:role/firehose-ex",
            "BucketARN": f"arn:aws:s3:::{stream}",
        },
    )

    def keys() -> list[str]:
        return [each["Key"] for each in s3.list_objects_v2(Bucket=stream).get("Contents", [])]

    def read() -> bytes:
        return b"".join(s3.get_object(Bucket=stream, Key=key)["Body"].read() for key in sorted(keys()))

    yield Backend(FirehoseSink, lambda: client, stream, read)
    client.delete_delivery_stream(DeliveryStreamName=stream)
    for key in keys():
        s3.delete_object(Bucket=stream, Key=key)
    s3.delete_bucket(Bucket=stream)
    client.close()
    s3.close()


@pytest.fixture(
    params=[
        pytest.param((name, where), marks=marks)
        for name in ("kinesis", "firehose")
        for where, marks in (
            ("fake", ()),
            ("moto", ()),
            ("ministack", pytest.mark.emulator),
            ("localstack", pytest.mark.localstack),
        )
    ],
    ids=lambda parameter: "-".join(parameter),
)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    name, where = request.param
    if where == "fake":
        if name == "kinesis":
            stream = FakeKinesis()
            yield Backend(KinesisSink, lambda: stream, "sink", lambda: joined(stream))
        else:
            delivery = FakeFirehose()
            yield Backend(FirehoseSink, lambda: delivery, "sink", lambda: joined(delivery))
        return
    real = kinesis if name == "kinesis" else firehose
    if where == "moto":
        with mock_aws():
            yield from real(**CREDENTIALS)
    else:
        yield from real(endpoint_url=request.getfixturevalue(where), **CREDENTIALS)


def verified(key: str, data: bytes) -> int:
    """The offset, which the function believes: what it verifies comes through as it was signed."""
    record = kinesis_record({"kinesis": {"partitionKey": key, "data": base64.b64encode(data)}}, Key.of(KEY))
    assert record.generation == GENERATION
    return record.offset


def joined(stream: FakeKinesis) -> bytes:
    return b"".join(stored.data for stored in stream.records)


def records(texts: list[bytes]) -> list[Record]:
    """One a line, with a newline to tell them apart by where they are put one behind the other."""
    piece = Piece(GENERATION, 0, b"".join(text + b"\n" for text in texts))
    return [replace(record, data=record.data + b"\n") for record in singles(piece)]


def lines(data: bytes) -> list[bytes]:
    """In no order: neither stream keeps that of a call."""
    return sorted(data.split(b"\n"))


def test_every_record_is_acknowledged_and_there(backend: Backend) -> None:
    batch = records([b"first", b"second", b"\xff\x00 no text", "한국어".encode()])
    put = backend.sink.put(batch)
    assert put.error is None
    for ack in put.acknowledged:
        assert ack
        if backend.firehose:
            assert ack.record_id
        else:
            assert (ack.shard or "").startswith("shardId-")
            assert (ack.sequence_number or "").isdigit()
    assert lines(backend.read()) == lines(b"".join(record.data for record in batch))
    assert (put.traffic.calls, put.traffic.bytes, put.traffic.refused) == (1, len(backend.read()), {})


def test_as_many_records_as_a_call_takes(backend: Backend) -> None:
    most, _, _ = backend.limits
    batch = records([b"line %03d" % number for number in range(most)])
    assert backend.sink.put(batch).error is None
    assert lines(backend.read()) == lines(b"".join(record.data for record in batch))


def test_as_many_bytes_as_a_call_takes(backend: Backend) -> None:
    _, most, largest = backend.limits
    batch: list[Record] = []
    while most:
        size = min(largest, most)
        key = f"{GENERATION}:{1_000_000 * len(batch)}"
        data = bytes([97 + len(batch)]) * (size if backend.firehose else size - len(key) - SIGNATURE_BYTES)
        batch.append(Record(GENERATION, 0, size, key, data, 1, b""))
        most -= size
    put = backend.sink.put(batch)
    assert put.error is None
    assert None not in put.acknowledged
    assert len(backend.read()) == sum(len(record.data) for record in batch)


def test_a_stream_that_is_not_there_is_an_answer_with_a_remedy(backend: Backend) -> None:
    put = backend.elsewhere.put(records([b"line"]))
    assert put.acknowledged == [None]
    assert put.error
    assert "entrypoint" in put.error
    assert put.traffic.refused == {"ResourceNotFoundException": 1}
