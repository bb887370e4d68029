"""A stream in memory that fails as told, and the few things every test of the producer needs."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from common import status
from journal.checkpoint import CheckpointFile
from producer.put import Put, Traffic
from producer.record import MAX_RECORD_BYTES, Record
from producer.sink import FirehoseSink, KinesisSink
from producer.source import Source

# What one call of put_records may be told to do
Fault = Callable[["FakeKinesis", list[dict[str, Any]]], dict[str, Any]]


@dataclass
class Stored:
    key: str
    data: bytes


@dataclass
class FakeKinesis:
    """The client's `put_records`, as Kinesis answers it. `script` holds a fault for each of the next calls."""

    script: list[Fault | None] = field(default_factory=list)
    records: list[Stored] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)
    closed: int = 0

    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        if StreamName == "nowhere":
            return error("ResourceNotFoundException")(self, Records)
        assert 1 <= len(Records) <= 500
        sizes = [len(record["Data"]) + len(record["PartitionKey"].encode()) for record in Records]
        assert max(sizes) <= MAX_RECORD_BYTES
        assert sum(sizes) <= 5 * 1024 * 1024
        self.calls.append(len(Records))
        fault = self.script.pop(0) if self.script else None
        return fault(self, Records) if fault else self.accept(Records)

    def close(self) -> None:
        self.closed += 1

    def accept(self, records: Iterable[dict[str, Any]]) -> dict[str, Any]:
        entries = [self.store(record) for record in records]
        return {"FailedRecordCount": 0, "Records": entries}

    def store(self, record: dict[str, Any]) -> dict[str, Any]:
        self.records.append(Stored(record["PartitionKey"], record["Data"]))
        return {"ShardId": "shardId-000000000000", "SequenceNumber": str(len(self.records))}


@dataclass
class FakeFirehose(FakeKinesis):
    """The same as a delivery stream: `put_record_batch`, its limits and its answers. The records have no keys."""

    def put_record_batch(self, *, DeliveryStreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        if DeliveryStreamName == "nowhere":
            return error("ResourceNotFoundException")(self, Records)
        assert 1 <= len(Records) <= 500
        assert all(list(record) == ["Data"] for record in Records)
        assert max(len(record["Data"]) for record in Records) <= 1000 * 1024
        assert sum(len(record["Data"]) for record in Records) <= 4 * 1024 * 1024
        self.calls.append(len(Records))
        fault = self.script.pop(0) if self.script else None
        answer = fault(self, Records) if fault else self.accept(Records)
        names = {"FailedRecordCount": "FailedPutCount", "Records": "RequestResponses"}
        return {names.get(name, name): value for name, value in answer.items()}

    def store(self, record: dict[str, Any]) -> dict[str, Any]:
        self.records.append(Stored("", record["Data"]))
        return {"RecordId": f"record-{len(self.records)}"}


def refuse(positions: Iterable[int], code: str = "ProvisionedThroughputExceededException", lie: int = 1) -> Fault:
    """Refuse the entries at these positions; FailedRecordCount says `lie`."""
    refused = set(positions)

    def fault(stream: FakeKinesis, records: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "FailedRecordCount": lie,
            "Records": [
                {"ErrorCode": code, "ErrorMessage": "Rate exceeded"} if at in refused else stream.store(record)
                for at, record in enumerate(records)
            ],
        }

    return fault


def refuse_all(stream: FakeKinesis, records: list[dict[str, Any]]) -> dict[str, Any]:
    return refuse(range(len(records)))(stream, records)


def lose_answer(stream: FakeKinesis, records: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything is stored, nobody hears of it."""
    stream.accept(records)
    raise ReadTimeoutError(endpoint_url="http://stream")


def unreachable(_stream: FakeKinesis, _records: list[dict[str, Any]]) -> dict[str, Any]:
    raise EndpointConnectionError(endpoint_url="http://stream")


def answer_short(stream: FakeKinesis, records: list[dict[str, Any]]) -> dict[str, Any]:
    """All are stored, the answer names the first half."""
    answer = stream.accept(records)
    return {**answer, "Records": answer["Records"][: len(records) // 2]}


def answer_nonsense(stream: FakeKinesis, records: list[dict[str, Any]]) -> dict[str, Any]:
    stream.accept(records)
    return {"message": "<html>"}


def error(code: str, status: int = 400) -> Fault:
    """The whole call is refused."""

    def fault(stream: FakeKinesis, _records: list[dict[str, Any]]) -> dict[str, Any]:
        raise ClientError(
            {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
            "PutRecordBatch" if isinstance(stream, FakeFirehose) else "PutRecords",
        )

    return fault


class FakeClock:
    """Stands still but for `sleep` and `advance`. `now` starts at the real time, to compare with files."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


@dataclass
class NullSink:
    """Acknowledges everything and keeps nothing but the count."""

    records: int = 0
    bytes: int = 0

    def put(self, batch: Sequence[Record]) -> Put:
        self.records += len(batch)
        self.bytes += sum(record.size for record in batch)
        traffic = Traffic(1, sum(len(record.data) for record in batch))
        place = status.Place(shard="shardId-000000000000", sequence_number=str(self.records))
        return Put([place] * len(batch), traffic=traffic)


def sink_of(stream: FakeKinesis, clock: FakeClock, **options: Any) -> KinesisSink:
    return KinesisSink(lambda: stream, "web-log-stream", clock, random.Random(1), **options)


def firehose_sink_of(stream: FakeFirehose, clock: FakeClock, **options: Any) -> FirehoseSink:
    return FirehoseSink(lambda: stream, "web-log-delivery", clock, random.Random(1), **options)


def source_of(log: Path, clock: FakeClock, *, held: bool | None = False, seed: int = 1, **options: Any) -> Source:
    return Source(log, clock, random.Random(seed), held=lambda _device, _inode: held, **options)


def checkpoint_of(log: Path) -> CheckpointFile:
    return CheckpointFile(log.with_name("checkpoint.json"))


Place = tuple[str, int]


def delivered(records: Iterable[Stored]) -> dict[Place, bytes]:
    """What an exactly-once reader makes of the stream: each line once, by generation and offset; fragments as lines.

    Asserts that whatever came twice came with the same bytes.
    """
    lines: dict[Place, bytes] = {}

    def put(place: Place, line: bytes) -> None:
        assert lines.setdefault(place, line) == line, f"{place} names two lines"

    for record in records:
        generation, *numbers = record.key.split(":")
        offset = int(numbers[0])
        if len(numbers) == 2:
            assert int(numbers[1]) == len(record.data)
            put((generation, offset), record.data)
        elif record.data.startswith(b"\x1f\x8b"):
            for line in gzip.decompress(record.data).split(b"\n")[:-1]:
                put((generation, offset), line)
                offset += len(line) + 1
        else:
            put((generation, offset), record.data)
    return lines


def lines_in(data: bytes) -> list[bytes]:
    """What the transform makes of a record of whole lines."""
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    assert data.endswith(b"\n")
    return data.split(b"\n")[:-1]


def covered(record: Record) -> bytes:
    """The bytes of the log a record stands for, the virtual newline included."""
    if record.key.count(":") == 2:
        return record.data
    if record.data.startswith(b"\x1f\x8b"):
        return zlib.decompress(record.data, wbits=31)
    return record.data + b"\n"
