"""What the pipeline needs at a rate of lines: shards, calls, invocations, commits of each hourly object. Arithmetic.

The constants are limits of AWS, with their source, and figures that `script/bench` measures. docs/scaling.md has the
table that this prints (a test compares), and says how to read it.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from bench.cost import Prices, Traffic, firehose, kinesis

RATES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)  # lines a second

# Kinesis Data Streams, "Quotas and limits": a shard takes 1 MB/s and 1,000 records/s
SHARD_BYTES = 1_000_000
SHARD_RECORDS = 1_000
# Lambda, "Lambda quotas": an event is at most 6 MB; base64 leaves three quarters of it for data
EVENT_BYTES = 6_000_000 * 3 // 4
# Lambda, "Configure Lambda function memory": 1,769 MB have one vCPU, less has less in proportion
CPU_MB = 1769
FUNCTION_MB = 256
FUNCTION_CPU = FUNCTION_MB / CPU_MB
FUNCTION_LINES = 250_000  # a CPU second, whole handler: less than bench/RESULTS.md has (a test compares)
PARALLELIZATION = 10  # Lambda, "Polling and batching streams": at most so many batches of a shard at a time
# S3 User Guide, "Performance design patterns": 100 to 200 ms for a small request. An append to a large object is five
# requests one after the other; and S3 copies what is there, in parts side by side (lambda/archiver/archive.py). How
# fast it copies is an assumption: nobody has measured it here.
REQUESTS_SECONDS = 0.75
COPY_BYTES = 100_000_000  # a second
COPY_PART = 5 * 2**29
# Writers of one object lose half of their rounds when commits fill half of the time (bench/contention.py)
BUSY = 0.5
POLL_SECONDS = 60
# A web server's own limit is met before the producer's 700,000 lines a second: nginx on a few cores
LINES_OF_A_SERVER = 50_000


@dataclass(frozen=True)
class Needs:
    """At `rate` lines a second. `single_shards`: were each line a record of its own. Bytes are a second's.

    `functions`: invocations at work at the same time. `commits`: a second, of all hourly objects together.
    `objects`: into how many hourly objects an hour has to be divided so that their writers do not stand in each
    other's way. `hour`: bytes of an hour's entries. `kinesis` and `firehose`: USD a day, by the model of docs/costs.md.
    """

    rate: int
    servers: int
    log_bytes: int
    wire_bytes: int
    single_shards: int
    shards: int
    functions: float
    commits: float
    objects: int
    hour: int
    kinesis: float
    firehose: float

    @property
    def way(self) -> str:
        if self.objects == 1:
            return "one hourly object"
        if self.objects <= 32:
            return f"{self.objects} pipelines, each with its S3_PREFIX"
        return "Firehose"


def needs(rate: int) -> Needs:
    day = Traffic(requests=rate * 24 * 3600, hours=24)
    wire = rate * day.line * day.gzip  # packed; a line of a browser, and what gzip leaves of it
    objects = next(count for count in itertools.count(1) if busy(rate / count, day) <= BUSY)
    each = rate / objects
    part = Traffic(requests=round(each * 24 * 3600), hours=24)
    return Needs(
        rate=rate,
        servers=math.ceil(rate / LINES_OF_A_SERVER),
        log_bytes=rate * day.line,
        wire_bytes=round(wire),
        single_shards=max(1, math.ceil(max(rate / SHARD_RECORDS, rate * day.line / SHARD_BYTES))),
        shards=objects * shards(wire / objects),
        functions=rate / (FUNCTION_LINES * FUNCTION_CPU) + objects * busy(each, day),
        commits=objects * commits(each * day.line * day.gzip),
        objects=objects,
        hour=rate * 3600 * day.entry,
        kinesis=objects * kinesis(Prices(), part, packed=True).total,
        firehose=firehose(Prices(), day, packed=True).total,
    )


def shards(wire: float) -> int:
    """For so many bytes a second."""
    return max(1, math.ceil(wire / SHARD_BYTES))


def commits(wire: float) -> float:
    """A second, to one hourly object: a batch for each poll and shard, or as many as the bytes fill."""
    return max(shards(wire) / POLL_SECONDS, wire / EVENT_BYTES)


def busy(rate: float, day: Traffic) -> float:
    """The share of the time in which one hourly object with so many lines a second is being written to."""
    half_an_hour = rate * 1800 * day.entry  # how large it is on average
    took = REQUESTS_SECONDS + min(half_an_hour, COPY_PART) / COPY_BYTES
    return commits(rate * day.line * day.gzip) * took


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def table() -> str:
    """Markdown."""
    lines = [
        "| lines/s | web servers | log | on the wire | shards (a line a record) | functions | commits/s | an hour "
        "in S3 | filed as | USD a day: Kinesis | Firehose |",
        "|---|---|---|---|---|---|---|---|---|--:|--:|",
    ]
    for rate in RATES:
        one = needs(rate)
        lines.append(
            f"| {rate:,} | {one.servers:,} | {_bytes(one.log_bytes)}/s | {_bytes(one.wire_bytes)}/s "
            f"| {one.shards:,} ({one.single_shards:,}) | {max(1, math.ceil(one.functions)):,} | {one.commits:.2g} "
            f"| {_bytes(one.hour)} | {one.way} | {one.kinesis:,.2f} | {one.firehose:,.2f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
