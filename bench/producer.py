"""What the producer costs: CPU, wall time, memory and bytes for a backlog; CPU for a tick without work.

Each figure comes from a process of its own, so that its CPU time and its largest memory are its own. The floor is what
any shipper of gzip'd lines has to pay: read the log and compress it. The stream is a local HTTP server in another
process, which also counts what arrives: the bodies of the requests, so with base64 and JSON, without headers.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from bench.backlog import write_backlog
from bench.memory import peak
from common.clock import SystemClock
from common.delivery import delivery_of
from common.settings import Settings
from journal.checkpoint import CheckpointFile
from producer.logs import Log
from producer.put import Sink
from producer.record import PACK_BYTES, count_lines, gzipped
from producer.schedule import next_poll
from producer.ship import ship_once
from producer.sink import make_sink, sink_of
from producer.source import Source
from producer.tick import Producer
from tests.appliance.drivers import ROOT
from tests.fake_kinesis import NullSink
from tests.keys import KEY

IDLE_TICKS = 200
# the loop that everybody writes first is slow: it is measured on this part of the backlog, and scaled
LOOP_PART = 10
LOOP_LINES = 500
FLOOR = "floor: read + gzip -1"
LOOP = "boto3 loop, 500 lines a call"


@dataclass(frozen=True)
class Cost:
    """`cpu` and `wall` in seconds for these lines. In bytes: `rss`, the most memory held; `data`, the Data sent, before
    base64; `wire`, the bodies of the requests, 0 for what goes nowhere.
    """

    lines: int
    cpu: float
    wall: float
    rss: int
    data: int
    wire: int = 0

    @property
    def cpu_per_million(self) -> float:
        return self.cpu / self.lines * 1e6

    @property
    def lines_per_second(self) -> float:
        return self.lines / self.wall


def measure(lines: int = 1_000_000, runs: int = 5) -> dict[str, list[Cost]]:
    """Each way to send a backlog of that many lines -> a Cost for each run; the runs are interleaved."""
    found: dict[str, list[Cost]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory(prefix="bench-producer-") as folder, stream() as port:
        log = Path(folder) / "log" / "access.log"
        log.parent.mkdir()
        write_backlog(log, lines)
        for _ in range(runs):
            for name in WAYS:
                found[name].append(in_a_process(name, log, port))
    return found


def idle(runs: int = 5) -> float:
    """Median CPU seconds of a tick that finds nothing to do."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="bench-producer-") as folder:
        log = Path(folder) / "log" / "access.log"
        log.parent.mkdir()
        log.write_bytes(b"a line\n" * 1000)
        for _ in range(runs):
            cost = in_a_process("idle", log, 0)
            taken.append(cost.cpu / IDLE_TICKS)
    return statistics.median(taken)


def in_a_process(way: str, log: Path, port: int) -> Cost:
    for left in log.parent.glob("*.json"):
        left.unlink()
    before = received(port) if port else 0
    done = subprocess.run(
        [sys.executable, "-m", "bench.producer", way, str(log), str(port)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'lambda'}"},
        capture_output=True,
        text=True,
        timeout=3600,
        check=True,
    )
    wire = received(port) - before if port else 0
    return replace(Cost(**json.loads(done.stdout.splitlines()[-1])), wire=wire)


# The ways: what each does with (log, port); returns lines and bytes of Data


def zlib_floor(log: Path, _port: int) -> tuple[int, int]:
    return floor(log, lambda block: zlib.compress(block, 1, wbits=31))


def isal_floor(log: Path, _port: int) -> tuple[int, int]:
    return floor(log, gzipped)


def floor(log: Path, compress: Callable[[bytes], bytes]) -> tuple[int, int]:
    lines = data = 0
    with log.open("rb", buffering=0) as file:
        while block := file.read(PACK_BYTES):
            data += len(compress(block))
            lines += count_lines(block)
    return lines, data


def to_nowhere(log: Path, _port: int) -> tuple[int, int]:
    return ship(log, NullSink(), "kinesis")


def to_nowhere_hourly(log: Path, _port: int) -> tuple[int, int]:
    return ship(log, NullSink(), "firehose")


def to_kinesis(log: Path, port: int) -> tuple[int, int]:
    return over_http(log, port, "kinesis")


def to_firehose(log: Path, port: int) -> tuple[int, int]:
    return over_http(log, port, "firehose")


def over_http(log: Path, port: int, delivery: str) -> tuple[int, int]:
    sink = make_sink(settings(log, port, delivery), SystemClock(), random.Random(1))
    try:
        return ship(log, sink, delivery)
    finally:
        sink.close()


def ship(log: Path, sink: Sink, delivery: str) -> tuple[int, int]:
    source = Source(log, SystemClock(), random.Random(1))
    report = ship_once(
        source, CheckpointFile(log.with_name("checkpoint.json")), sink, cut=sink_of(delivery_of(delivery)).cut
    )
    assert not report.lag, report
    return report.lines, report.traffic.bytes


def boto3_loop(log: Path, port: int) -> tuple[int, int]:
    """Read lines, 500 a call, one a record: what the SDK's documentation leads to."""
    import boto3

    kinesis = boto3.client(
        "kinesis",
        region_name="us-east-1",
        endpoint_url=f"http://127.0.0.1:{port}",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    sent = data = 0
    size = log.stat().st_size // LOOP_PART
    with log.open("rb") as file:
        while file.tell() < size:
            lines = [file.readline().rstrip(b"\n") for _ in range(LOOP_LINES)]
            kinesis.put_records(
                StreamName="s", Records=[{"Data": line, "PartitionKey": str(sent + n)} for n, line in enumerate(lines)]
            )
            sent += len(lines)
            data += sum(map(len, lines))
    return sent, data


def nothing_to_do(log: Path, _port: int) -> tuple[int, int]:
    given = settings(log, 1, "kinesis")
    source = Source(log, SystemClock(), random.Random(1))
    each = Log("", source, CheckpointFile(log.with_name("checkpoint.json")))
    producer = Producer(
        given,
        lambda: ([each], []),
        None,
        SystemClock(),
        next_poll(given.poll_interval),
    )
    sink = NullSink()
    for _ in range(IDLE_TICKS + 1):
        producer.tick(sink, lambda: False)
    return IDLE_TICKS, 0


def settings(log: Path, port: int, delivery: str) -> Settings:
    given: dict[str, Any] = {"data_dir": log.parents[1], "delivery": delivery, "localstack_host": f"127.0.0.1:{port}"}
    given["record_key"] = KEY
    return Settings(**given)


WAYS: dict[str, Callable[[Path, int], tuple[int, int]]] = {
    FLOOR: zlib_floor,
    "floor: read + ISA-L level 1": isal_floor,
    "producer, into nothing": to_nowhere,
    "producer, into nothing, an hour a record": to_nowhere_hourly,
    "producer, PutRecords": to_kinesis,
    "producer, PutRecordBatch": to_firehose,
    LOOP: boto3_loop,
}


def child(way: str, log: Path, port: int) -> Cost:
    """Run it and weigh it; CPU time is that of the work, without the imports."""
    work = nothing_to_do if way == "idle" else WAYS[way]
    before, begin = time.process_time(), time.perf_counter()
    lines, data = work(log, port)
    wall, cpu = time.perf_counter() - begin, time.process_time() - before
    return Cost(lines, cpu, wall, peak(), data)


# The stream


class Answering(BaseHTTPRequestHandler):
    """PutRecords and PutRecordBatch: everything is acknowledged, nothing looked at, so that the caller hardly waits.

    GET answers how many bytes of bodies have come so far. An answer is sent at once: with Nagle's algorithm its
    body would wait, behind its headers, for the client's delayed acknowledgement, some 40 ms.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    received = 0

    def do_GET(self) -> None:
        self.answer(str(Answering.received).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Answering.received += len(body)
        count = body.count(b'"Data"')
        if self.headers["X-Amz-Target"].endswith("PutRecordBatch"):
            answer: dict[str, Any] = {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}] * count}
        else:
            entry = {"ShardId": "shardId-000000000000", "SequenceNumber": "1"}
            answer = {"FailedRecordCount": 0, "Records": [entry] * count}
        self.answer(json.dumps(answer).encode())

    def answer(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def received(port: int) -> int:
    """Bytes of the bodies that the stream has been sent."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return int(connection.getresponse().read())
    finally:
        connection.close()


@contextmanager
def stream() -> Iterator[int]:
    """The port of a stream in another process."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.producer", "serve"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def serve() -> None:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        print(json.dumps(asdict(child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))))
