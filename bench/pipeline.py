"""A backlog from the start of the producer to its last line in S3, exactly once: the whole pipeline on an emulator.

Beside it the way of 2020, one line a record and 100 records an invocation, through the same function and the same
archive. It is measured on fewer lines, as it is slow, and scaled where it is compared.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.backlog import write_backlog
from common.clock import SystemClock
from common.settings import Settings
from producer.record import Piece, singles
from producer.sink import make_sink
from tests.appliance.drivers import ROOT, s3_client
from tests.emulator import Emulator
from tests.localstack_process import LocalStack, unavailable
from tests.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LINES = 1_000_000
LOCALSTACK = "LocalStack 4.14.0"
# One line a record: enough to see its speed, few enough to wait for
LINES_OF_2020 = {"MiniStack": 5_000, LOCALSTACK: 1_000}
BATCH_SIZE = 100
HOURS = 6
WITHIN = 900.0
BACKENDS = {"MiniStack": Emulator, LOCALSTACK: LocalStack}
NUMBER = re.compile(rb'"path":"/line-(\d{8})/')


@dataclass(frozen=True)
class Drained:
    """`shipped`, `archived`: seconds from the producer's start to its end, and to the last line in S3.

    `wrong`: lines that are not in the bucket exactly once.
    """

    backend: str
    packed: bool
    lines: int
    shipped: float
    archived: float
    wrong: int

    @property
    def lines_per_second(self) -> float:
        return self.lines / self.archived


@contextmanager
def backend(name: str) -> Iterator[str]:
    """The URL of an emulator of one's own."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        server = BACKENDS[name](Path(directory))
        try:
            server.start()
            yield server.url
        finally:
            server.stop(kill=True)


def drain(name: str, url: str, lines: int, *, packed: bool) -> Drained:
    """Provision names of one's own, ship a backlog of `lines`, wait for all of it, and judge it."""
    suffix = secrets.token_hex(4)
    variables = {
        "LOCALSTACK_HOST": url,
        "S3_BUCKET": f"bench-{suffix}",
        "KINESIS_DATA_STREAM": f"bench-{suffix}",
        "LAMBDA_FUNCTION": f"bench-{suffix}",
        "LAMBDA_ROLE": f"bench-{suffix}",
        "BATCH_SIZE": str(BATCH_SIZE),
    }
    with TemporaryDirectory() as directory:
        variables["DATA_DIR"] = directory
        log = Path(directory) / "log" / "access.log"
        log.parent.mkdir()
        write_backlog(log, lines, hours=HOURS)
        program("entrypoint", variables)
        s3 = s3_client(url)
        begin = time.monotonic()
        if packed:
            program("producer", variables)
        else:
            line_by_line(variables, log.read_bytes())
        shipped = time.monotonic() - begin
        eventually(lambda: archived_lines(s3, variables["S3_BUCKET"]) >= lines, within=WITHIN, every=0.2)
        archived = time.monotonic() - begin
        wrong = judge(s3, variables["S3_BUCKET"], lines)
        s3.close()
        return Drained(name, packed, lines, shipped, archived, wrong)


def program(name: str, variables: dict[str, str]) -> None:
    """`python -m NAME --once`. Raises CalledProcessError."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    subprocess.run(
        [sys.executable, "-m", name, "--once"],
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        timeout=WITHIN,
        check=True,
    )


def line_by_line(variables: dict[str, str], data: bytes) -> None:
    """Every line a record of its own, 500 a call, as the producer does while no more than that wait."""
    settings = Settings(**{name.lower(): value for name, value in variables.items()})
    sink = make_sink(settings, SystemClock(), random.Random(1), stop=lambda: False)
    records = list(singles(Piece("5e9a0000" + "0" * 16, 0, data)))
    for begin in range(0, len(records), 500):
        put = sink.put(records[begin : begin + 500])
        assert all(put.acknowledged), put.error
    sink.close()


def archived_lines(s3: S3Client, bucket: str) -> int:
    """The lines of all hourly objects, by what their metadata says."""
    listed = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
    keys = [item["Key"] for item in listed if item["Key"].endswith("web-access.log")]
    return sum(int(s3.head_object(Bucket=bucket, Key=key)["Metadata"].get("lines", "0")) for key in keys)


def judge(s3: S3Client, bucket: str, lines: int) -> int:
    """How many of the lines 0 … lines - 1 are not there exactly once, those that nobody wrote included."""
    seen: Counter[int] = Counter()
    for item in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        if item["Key"].endswith("web-access.log"):
            body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
            seen.update(map(int, NUMBER.findall(body)))
    return sum(seen[number] != 1 for number in range(lines)) + sum(number >= lines for number in seen)


def measure(runs: int, lines: int = LINES) -> tuple[list[list[Drained]], str]:
    """For each backend and way its runs; each round has one of each. And why LocalStack was not measured, if so."""
    reason = unavailable()
    names = [name for name in BACKENDS if name != LOCALSTACK or not reason]
    rounds = [[one for name in names for one in both_ways(name, lines)] for _ in range(runs)]
    return [list(each) for each in zip(*rounds, strict=True)], f"{LOCALSTACK}: not measured: {reason}" if reason else ""


def both_ways(name: str, lines: int) -> list[Drained]:
    """Packed, and one line a record, each on a backend that is new and empty."""
    return [fresh(name, lines, packed=True), fresh(name, LINES_OF_2020[name], packed=False)]


def fresh(name: str, lines: int, *, packed: bool) -> Drained:
    with backend(name) as url:
        drain(name, url, 600, packed=True)  # an emulator loads each service when it is first asked for
        return drain(name, url, lines, packed=packed)
