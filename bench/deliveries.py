"""What a million lines cost by each delivery: requests, CPU and memory of the producer and of the function.

The log is shipped at once, and in polls by a producer that runs on. Producer and function are processes of their own,
with boto3; the streams are the local server of bench/producer.py, S3 is MiniStack. The function gets the very records
that the producer's cut makes of the same log. Firehose's own requests to S3 are not counted.
"""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import index
from archiver.archive import Archive
from archiver.event import Key
from archiver.firehose import Transform
from bench import emulator
from bench.backlog import write_backlog
from bench.function import PlentyOfTime
from bench.memory import peak
from bench.pipeline import judge
from bench.producer import stream
from common.clock import SystemClock
from common.delivery import DELIVERIES, Delivery, delivery_of
from common.settings import Settings
from journal.checkpoint import CheckpointFile
from producer.bucket import BucketSink
from producer.put import Put, Sink
from producer.record import Record
from producer.ship import ship_once
from producer.signed import signed
from producer.sink import make_sink, sink_of
from producer.source import Source
from tests.appliance.drivers import ROOT, s3_client
from tests.fake_kinesis import NullSink
from tests.keys import KEY

LINES, POLLS, HOURS = 1_000_000, 100, 6
MIB = 2**20
# An event has at most so many records (BATCH_SIZE), or so many bytes before base64: Lambda takes 6 MB, and a transform
# gets what Firehose buffers for it
BATCH_SIZE, EVENT_BYTES, BUFFER_BYTES = 100, 4_400_000, 200_000


@dataclass(frozen=True)
class Part:
    """Of a process: CPU seconds, requests that it made, bytes held at most, and invocations, if it is the function."""

    cpu: float
    requests: int
    rss: int = 0
    invocations: int = 0


@dataclass(frozen=True)
class Cost:
    """`wrong`: lines that are not in the bucket exactly once; None: Firehose's are not written."""

    delivery: Delivery
    polls: int
    producer: Part
    function: Part
    wrong: int | None


class Recorder(NullSink):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Record] = []

    def put(self, batch: Sequence[Record]) -> Put:
        self.sent += batch
        return super().put(batch)


def measure(runs: int, lines: int = LINES, polls: int = POLLS) -> list[list[Cost]]:
    """For each delivery, at once and in polls, its runs, which take turns."""
    with tempfile.TemporaryDirectory(prefix="bench-deliveries-") as folder, stream() as port, emulator.bucket() as url:
        log = Path(folder) / "backlog"
        write_backlog(log, lines, hours=HOURS)
        ways = [(delivery, count) for count in (1, polls) for delivery in DELIVERIES.values()]
        rounds = [[cost(*way, log, lines, port, url) for way in ways] for _ in range(runs)]
    return [list(each) for each in zip(*rounds, strict=True)]


def cost(delivery: Delivery, polls: int, log: Path, lines: int, port: int, url: str) -> Cost:
    bucket = f"bench-{secrets.token_hex(4)}"
    with closing(s3_client(url)) as s3:
        s3.create_bucket(Bucket=bucket)
        to = url if delivery.is_direct else f"http://127.0.0.1:{port}"
        producer = _in_a_process("produce", delivery, polls, log, to, bucket)
        function = Part(0.0, 0)
        if not delivery.is_direct:
            function = _in_a_process("transform", delivery, polls, log, url, bucket)
        wrong = judge(s3, bucket, lines) if delivery.has_ledger else None
    return Cost(delivery, polls, producer, function, wrong)


def _in_a_process(what: str, delivery: Delivery, polls: int, *arguments: Path | str) -> Part:
    done = subprocess.run(
        [sys.executable, "-m", "bench.deliveries", what, delivery.name, str(polls), *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'lambda'}"},
        capture_output=True,
        text=True,
        timeout=3600,
        check=True,
    )
    return Part(**json.loads(done.stdout.splitlines()[-1]))


def produce(delivery: Delivery, polls: int, log: Path, url: str, bucket: str) -> Part:
    with tempfile.TemporaryDirectory(prefix="bench-deliveries-") as folder:
        given: Any = {"data_dir": folder, "delivery": delivery, "localstack_host": url, "s3_bucket": bucket}
        settings = Settings(**given, record_key=KEY)
        sink = make_sink(settings, SystemClock(), random.Random(1))
        if isinstance(sink, BucketSink):
            sink.trusted = True  # as on AWS
        cpu, requests = 0.0, 0
        for calls, spent in _shipped(delivery, polls, log, settings.log_file, sink):
            cpu, requests = cpu + spent, requests + calls
        sink.close()
        return Part(cpu, requests, peak())


def _shipped(delivery: Delivery, polls: int, log: Path, live: Path, sink: Sink) -> Iterator[tuple[int, float]]:
    """Ship so many parts of the log, one after the other; requests and CPU of each."""
    live.parent.mkdir(exist_ok=True)
    source = Source(live, SystemClock(), random.Random(1))
    checkpoint = CheckpointFile(live.with_name("checkpoint.json"))
    size = log.stat().st_size
    with log.open("rb") as whole, live.open("ab", buffering=0) as grows:
        for poll in range(1, polls + 1):
            while (left := size * poll // polls - whole.tell()) > 0:
                grows.write(whole.read(min(left, MIB)))
            grows.write(whole.readline())
            begun = time.process_time()
            report = ship_once(source, checkpoint, sink, cut=sink_of(delivery).cut)
            spent = time.process_time() - begun
            assert not report.lag, report
            yield report.traffic.calls, spent


def transform(delivery: Delivery, polls: int, log: Path, url: str, bucket: str) -> Part:
    """The function's part: what the producer would send, from event to S3."""
    requests = invocations = 0

    def count(**_: Any) -> None:
        nonlocal requests
        requests += 1

    cpu, recorder = 0.0, Recorder()
    with tempfile.TemporaryDirectory() as folder, closing(s3_client(url)) as s3, redirect_stdout(StringIO()):
        s3.meta.events.register("before-send.s3", count)
        archive = Archive(s3, bucket, rng=random.Random(1), sleep=time.sleep)
        for _ in _shipped(delivery, polls, log, Path(folder) / "log" / "access.log", recorder):
            for event in _events(delivery, recorder.sent):
                begun = time.process_time()
                if delivery.has_ledger:
                    index.Run(archive, "", PlentyOfTime(), Key.of(KEY)).archive(event)
                else:
                    Transform(archive.append, "").answer(event)
                cpu, invocations = cpu + time.process_time() - begun, invocations + 1
            recorder.sent.clear()
    return Part(cpu, requests, peak(), invocations)


def _events(delivery: Delivery, records: Sequence[Record]) -> Iterator[dict[str, Any]]:
    most = EVENT_BYTES if delivery.has_ledger else BUFFER_BYTES
    held: list[Record] = []
    for record in [*records, None]:
        if held and (
            record is None or len(held) == BATCH_SIZE or sum(len(each.data) for each in held) + len(record.data) > most
        ):
            yield _event(delivery, held)
            held = []
        if record:
            held.append(record)


def _event(delivery: Delivery, records: Sequence[Record]) -> dict[str, Any]:
    data = [base64.b64encode(record.data).decode() for record in records]
    if not delivery.has_ledger:
        found = [{"recordId": str(number), "data": each} for number, each in enumerate(data)]
        return {"deliveryStreamArn": "arn:aws:firehose:us-east-1:0:deliverystream/s", "records": found}
    keys = [signed(record.key, record.data, KEY) for record in records]
    entries = [{"partitionKey": key, "data": each} for key, each in zip(keys, data, strict=True)]
    return {"Records": [{"kinesis": entry | {"approximateArrivalTimestamp": 0.0}} for entry in entries]}


if __name__ == "__main__":
    what, name, times, *rest = sys.argv[1:]
    work = produce if what == "produce" else transform
    print(json.dumps(asdict(work(delivery_of(name), int(times), Path(rest[0]), rest[1], rest[2]))))
