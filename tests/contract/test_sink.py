"""One body over every stream there is here, the bucket among them: what is put is there, and its limits are theirs."""

from __future__ import annotations

import base64
import json
import random
import re
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
from common.delivery import FIREHOSE, KINESIS, S3
from producer import hourly
from producer.batch import (
    APPENDED_BYTES,
    MAX_APPENDED_RECORDS,
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_FIREHOSE_BYTES,
    MAX_FIREHOSE_RECORDS,
)
from producer.bucket import BucketSink
from producer.record import MAX_RECORD_BYTES, Piece, Record, singles
from producer.retrying import RetryingSink
from producer.signed import SIGNATURE_BYTES
from producer.sink import FirehoseSink, KinesisSink
from tests.checker import entries, judge
from tests.fake_kinesis import FakeFirehose, FakeKinesis
from tests.keys import KEY

if TYPE_CHECKING:
    from mypy_boto3_firehose import FirehoseClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

GENERATION = "5e9a0000" + "0123456789abcdef"
CREDENTIALS = {"region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test"}


class Backend:
    """A stream, a way to read the lines of all of its records, and its size in bytes, if that is not theirs."""

    def __init__(
        self,
        sink: type[RetryingSink],
        connect: Callable[[], Any],
        stream: str,
        read: Callable[[], bytes],
        size: Callable[[], int] | None = None,
    ) -> None:
        self._sink, self._connect, self._stream = sink, connect, stream
        self.sink = self.another()
        self.read = read
        self.size = size or (lambda: len(read()))
        self.delivery = sink.delivery

    def another(self, stream: str = "") -> RetryingSink:
        """A sink that knows nothing of what this one has sent."""
        own: dict[str, Any] = {"key": lambda: KEY} if self._sink is KinesisSink else {}
        make: Any = self._sink
        made: RetryingSink = make(
            self._connect, stream or self._stream, SystemClock(), random.Random(1), retry_seconds=1, **own
        )
        return made

    @property
    def limits(self) -> tuple[int, int, int]:
        """Records and bytes of a call, bytes of a record."""
        return {
            KINESIS: (MAX_BATCH_RECORDS, MAX_BATCH_BYTES, MAX_RECORD_BYTES),
            FIREHOSE: (MAX_FIREHOSE_RECORDS, MAX_FIREHOSE_BYTES, hourly.MAX_RECORD_BYTES),
            S3: (MAX_APPENDED_RECORDS, APPENDED_BYTES, MAX_RECORD_BYTES),
        }[self.delivery]


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


def bucket(**options: Any) -> Iterator[Backend]:
    """What is rejected in it is what was put, as no line of these tests is one of a web server."""
    client: S3Client = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}), **options)
    name = f"sink-{secrets.token_hex(4)}"
    client.create_bucket(Bucket=name)

    def bodies() -> list[bytes]:
        there = client.list_objects_v2(Bucket=name).get("Contents", [])
        return [client.get_object(Bucket=name, Key=each["Key"])["Body"].read() for each in there]

    def read() -> bytes:
        texts = [json.loads(line)["raw"] for body in bodies() for line in body.splitlines()]
        return b"\n".join(
            re.sub(rb"\\x(..)", lambda it: bytes.fromhex(it[1].decode()), text.encode()) for text in texts
        )

    yield Backend(BucketSink, lambda: client, name, read, lambda: sum(map(len, bodies())))
    for each in client.list_objects_v2(Bucket=name).get("Contents", []):
        client.delete_object(Bucket=name, Key=each["Key"])
    client.delete_bucket(Bucket=name)
    client.close()


REAL = {"kinesis": kinesis, "firehose": firehose, "s3": bucket}


STREAMS = [
    pytest.param((name, where), marks=marks, id=f"{name}-{where}")
    for name in REAL
    for where, marks in (
        ("fake", ()),
        ("moto", ()),
        ("ministack", pytest.mark.emulator),
        ("localstack", pytest.mark.localstack),
    )
    # moto's S3 is refused, see below; the fake one is that of the sink's own tests
    if name != "s3" or marks
]
REAL_BUCKETS = [each for each in STREAMS if "s3" in str(each.id)]


@pytest.fixture(params=STREAMS)
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
    if where == "moto":
        with mock_aws():
            yield from REAL[name](**CREDENTIALS)
    else:
        yield from REAL[name](endpoint_url=request.getfixturevalue(where), **CREDENTIALS)


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
    return sorted(data.removesuffix(b"\n").split(b"\n"))


def test_every_record_is_acknowledged_and_there(backend: Backend) -> None:
    batch = records([b"first", b"second", b"\xff\x00 no text", "한국어".encode()])
    put = backend.sink.put(batch)
    assert put.error is None
    for ack in put.acknowledged:
        assert ack
        if backend.delivery is FIREHOSE:
            assert ack.record_id
        elif backend.delivery is S3:
            assert (ack.key or "").startswith("rejected/")
        else:
            assert (ack.shard or "").startswith("shardId-")
            assert (ack.sequence_number or "").isdigit()
    assert lines(backend.read()) == lines(b"".join(record.data for record in batch))
    calls = 2 if backend.delivery is S3 else 1  # a look at what is there
    assert (put.traffic.calls, put.traffic.bytes, put.traffic.refused) == (calls, backend.size(), {})


def test_as_many_records_as_a_call_takes(backend: Backend) -> None:
    most, _, _ = backend.limits
    batch = records([b"line %03d" % number for number in range(most)])
    assert backend.sink.put(batch).error is None
    assert lines(backend.read()) == lines(b"".join(record.data for record in batch))


def test_as_many_bytes_as_a_call_takes(backend: Backend) -> None:
    _, most, largest = backend.limits
    batch: list[Record] = []
    start = total = 0
    while most:
        size = min(largest, most)
        key = f"{GENERATION}:{start}"
        data = bytes([97 + len(batch)]) * (size if backend.delivery is FIREHOSE else size - len(key) - SIGNATURE_BYTES)
        batch.append(Record(GENERATION, start, start + len(data) + 1, key, data, 1, b""))
        start, total = start + len(data) + 1, total + len(data)
        most -= size
    put = backend.sink.put(batch)
    assert put.error is None
    assert None not in put.acknowledged
    assert len(backend.read().replace(b"\n", b"")) == total


def test_a_stream_that_is_not_there_is_an_answer_with_a_remedy(backend: Backend) -> None:
    put = backend.another("nowhere").put(records([b"line"]))
    assert put.acknowledged == [None]
    assert put.error
    assert "entrypoint" in put.error
    code = "NoSuchBucket" if backend.delivery is S3 else "ResourceNotFoundException"
    assert put.traffic.refused == {code: 1}


@pytest.mark.parametrize("backend", REAL_BUCKETS, indirect=True)
def test_a_bucket_has_each_line_once_whatever_comes_again(backend: Backend) -> None:
    """Written whole, then above 5 MiB by parts, then all of it by a sink that knows nothing of that."""
    line = '10.0.0.1 - - [18/Apr/2020:01:00:00 +0000] "GET /%05d HTTP/1.1" 200 1 "-" "an agent"\n'
    log = "".join(line % number for number in range(80_000)).encode()
    half = len(log) // 80_000 * 70_000
    pieces = [Piece(GENERATION, 0, log[:half]), Piece(GENERATION, half, log[half:])]
    for sink, each, calls in (
        (backend.sink, pieces[0], 3),
        (backend.sink, pieces[1], 4),
        (backend.another(), Piece(GENERATION, 0, log), 1),
    ):
        (batch,) = sink.cut([each])
        put = sink.put(batch)
        assert (put.error, None in put.acknowledged, put.traffic.calls) == (None, False, calls)
    filed = entries(backend.sink.connect(), backend.sink.stream)
    assert judge([f"/{number:05}" for number in range(80_000)], filed, lambda entry: entry["path"]).exactly_once


def test_a_bucket_that_honours_too_little_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.bucket.is_aws", lambda _: False)  # which moto stands for
    with mock_aws():
        for backend in bucket(**CREDENTIALS):
            put = backend.sink.put(records([b"line"]))
            assert put.acknowledged == [None]
            assert "does not honour If-Match on CompleteMultipartUpload, x-amz-copy-source-if-match" in (
                put.error or ""
            )
            assert put.traffic.refused == {"no conditional writes": 1}
            assert backend.size() == 0
