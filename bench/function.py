"""What the function costs: lines per CPU second, a batch of a million lines, and its cold import.

Each figure that depends on what the process did before is measured in a process of its own. S3 is a stand-in that keeps
sizes only, so what is measured is the function with its JSON, not a network. Where memory is measured, boto3 and a
client of S3 are loaded too.
"""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import index
from archiver import connect
from archiver import event as events
from archiver.archive import Archive
from archiver.filing import file_record, file_runs
from bench import backlog
from bench.memory import peak
from bench.sizes import SizesS3
from tests.keys import KEY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ROOT = Path(__file__).resolve().parents[1]
GENERATION = "5e9a0000" + "0" * 16
PACK_BYTES = 512 * 1024  # as the producer packs
GZIP_LEVEL = 1
LINES_A_SECOND = 500
# Lambda, "Configure Lambda function memory": 1,769 MB have one vCPU, less has less in proportion
CPU_MB = 1769
START = 1587171600  # 2020-04-18T01:00:00Z
AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_4) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0.3987.163 "
    "Safari/537.36"
)


@dataclass(frozen=True)
class Rates:
    """Lines per CPU second: line by line, the fast way, and the whole handler from gzip'd records to S3's client."""

    python: str
    plain: float
    fast: float
    handler: float


@dataclass(frozen=True)
class Event:
    """One invocation with `lines` lines in `event_bytes` of records, base64 included; `peak_mib`: resident memory."""

    lines: int
    event_bytes: int
    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


def alike(count: int) -> Iterator[bytes]:
    """Lines of that length that gzip makes so little of that a million of them fit in an event of Lambda's 6 MB."""
    for number in range(count):
        stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(START + number // LINES_A_SECOND))
        yield (
            f'192.168.99.1 - - [{stamp}] "GET /a/path/{number // 100 % 1000:06}?q=1 HTTP/1.1" 200 12345 '
            f'"https://example.org/page" "{AGENT}"\n'
        ).encode()


def packed(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Whole lines in packs, each with the offset of its first byte."""
    offset, held, size = 0, list[bytes](), 0
    for line in lines:
        if size + len(line) > PACK_BYTES:
            yield offset, b"".join(held)
            offset, held, size = offset + size, [], 0
        held.append(line)
        size += len(line)
    yield offset, b"".join(held)


def kinesis_event(packs: Iterator[tuple[int, bytes]]) -> dict[str, Any]:
    from producer.signed import signed  # not where the function's memory is measured

    packed_up = ((offset, zlib.compress(pack, GZIP_LEVEL, wbits=31)) for offset, pack in packs)
    return {
        "Records": [
            {
                "kinesis": {
                    "partitionKey": signed(f"{GENERATION}:{offset}", data, KEY),
                    "data": base64.b64encode(data).decode(),
                    "approximateArrivalTimestamp": float(START),
                }
            }
            for offset, data in packed_up
        ]
    }


class PlentyOfTime:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def invoke(event: dict[str, Any]) -> SizesS3:
    """One invocation of the handler, the printing of its log line left out."""
    s3 = SizesS3()
    archive = Archive(cast("S3Client", s3), "bench", rng=random.Random(1), sleep=time.sleep)
    run = index.Run(archive, "", PlentyOfTime(), events.Key.of(KEY))
    run._file(event)
    assert run.counts["written"] == run.counts["lines"], run.counts
    return s3


def rates(python: str = sys.executable, unusual: int = 0) -> Rates:
    """`rates_here`, in a fresh process of that Python."""
    done = subprocess.run(
        [python, "-m", "bench.function", str(unusual)],
        capture_output=True,
        check=True,
        text=True,
        env=environment(),
        timeout=600,
    )
    return Rates(**json.loads(done.stdout))


def rates_here(count: int = 100_000, unusual: int = 0) -> Rates:
    """`unusual`: so many of a thousand lines the fast way leaves to the parser."""
    packs = list(packed(backlog.lines(count, seconds=count // LINES_A_SECOND, unusual=unusual)))
    event = kinesis_event(iter(packs))
    records = [
        events.Record(pack, GENERATION, offset, None, 0.0, None) for offset, pack in packs
    ]  # not gzip'd: this is about the parsing

    def plain() -> None:
        for record in records:
            for _ in file_record(record, ""):
                pass

    def fast() -> None:
        for record in records:
            for _ in file_runs(record, ""):
                pass

    def per_second(what: Any) -> float:
        begun = time.process_time()
        what()
        return count / (time.process_time() - begun)

    return Rates(
        python=sys.version.split()[0],
        plain=per_second(plain),
        fast=per_second(fast),
        handler=per_second(lambda: invoke(event)),
    )


def million(python: str = sys.executable, count: int = 1_000_000) -> Event:
    """One event of `count` lines, in a fresh process, which gets it as Lambda's runtime does: as JSON, 6 MB at most."""
    event = event_of(count)
    done = subprocess.run(
        [python, "-m", "bench.function", "invoke"],
        input=event,
        capture_output=True,
        check=True,
        env=environment(),
        timeout=600,
    )
    found = json.loads(done.stdout)
    return Event(lines=count, event_bytes=len(event), **found)


@cache
def event_of(count: int) -> bytes:
    """JSON; the same for each run."""
    return json.dumps(kinesis_event(packed(alike(count)))).encode()


def _invoked() -> None:
    """In the fresh process: read the event, invoke, print the figures."""
    _client = connect.client()  # not asked anything: it is here for the memory that it takes on Lambda
    event = json.loads(sys.stdin.buffer.read())
    wall, cpu = time.monotonic(), time.process_time()
    invoke(event)
    found = {
        "wall_seconds": time.monotonic() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": peak() / 2**20,
    }
    print(json.dumps(found))


def cold_import(python: str = sys.executable) -> float:
    """Milliseconds that `import index` takes after boto3, in a fresh process.

    The byte code of everything is at hand, as the layers of a zip have it.
    """
    code = "import time, boto3; begun = time.perf_counter(); import index; print((time.perf_counter() - begun) * 1000)"
    done = subprocess.run(
        [python, "-c", code], capture_output=True, check=True, text=True, env=environment(), timeout=60
    )
    return float(done.stdout)


def environment() -> dict[str, str]:
    # with credentials nobody looks for any, and none are used
    aws = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return {**os.environ, **aws, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "lambda")])}


if __name__ == "__main__":
    if sys.argv[1:] == ["invoke"]:
        _invoked()
    else:
        print(json.dumps(asdict(rates_here(unusual=int(sys.argv[1])))))
