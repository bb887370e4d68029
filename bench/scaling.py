"""What the pipeline needs at a rate of lines: shards, calls, invocations, commits of each hourly object. Arithmetic.

The constants are limits of AWS, with their source, and figures that `script/bench` measures. docs/scaling.md has the
table that this prints (a test compares), and says how to read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

RATES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)  # lines a second

LINE_BYTES = 215  # of the log, newline included: the log that script/bench measures with
ENTRY_BYTES = 265  # of the JSON line that becomes of it
WIRE_BYTES = 48  # of a line in a packed record: gzip level 1 leaves 4 to 5 times less, bench/RESULTS.md
# Kinesis Data Streams, "Quotas and limits": a shard takes 1 MB/s and 1,000 records/s
SHARD_BYTES = 1_000_000
SHARD_RECORDS = 1_000
# Lambda, "Lambda quotas": an event is at most 6 MB; base64 leaves three quarters of it for data
EVENT_BYTES = 6_000_000 * 3 // 4
# Lambda, "Configure Lambda function memory": 1,769 MB have one vCPU; the function is given 256 MB
FUNCTION_CPU = 256 / 1769
FUNCTION_LINES = 250_000  # a CPU second, whole handler: bench/RESULTS.md, rounded down
PARALLELIZATION = 10  # Lambda, "Polling and batching streams": at most so many batches of a shard at a time
# S3 User Guide, "Performance design patterns": 100 to 200 ms for a small request. An append to a large object is five
# requests one after the other, and a copy inside S3.
COMMIT_SECONDS = 1.0
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
    other's way. `hour`: bytes of an hour's entries.
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

    @property
    def way(self) -> str:
        if self.objects == 1:
            return "one hourly object"
        if self.objects <= 32:
            return f"{self.objects} pipelines, each with its S3_PREFIX"
        return "Firehose"


def needs(rate: int) -> Needs:
    wire = rate * WIRE_BYTES
    shards = max(1, math.ceil(wire / SHARD_BYTES))
    # a poll's lines of one shard come together: one batch a minute and shard, or as many as their bytes fill
    commits = max(shards / POLL_SECONDS, wire / EVENT_BYTES) if rate * POLL_SECONDS >= shards else rate
    return Needs(
        rate=rate,
        servers=math.ceil(rate / LINES_OF_A_SERVER),
        log_bytes=rate * LINE_BYTES,
        wire_bytes=wire,
        single_shards=max(1, math.ceil(max(rate / SHARD_RECORDS, rate * LINE_BYTES / SHARD_BYTES))),
        shards=shards,
        functions=rate / (FUNCTION_LINES * FUNCTION_CPU) + commits * COMMIT_SECONDS,
        commits=commits,
        objects=max(1, math.ceil(commits * COMMIT_SECONDS / BUSY)),
        hour=rate * 3600 * ENTRY_BYTES,
    )


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
        "in S3 | filed as |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for rate in RATES:
        one = needs(rate)
        lines.append(
            f"| {rate:,} | {one.servers:,} | {_bytes(one.log_bytes)}/s | {_bytes(one.wire_bytes)}/s "
            f"| {one.shards:,} ({one.single_shards:,}) | {max(1, math.ceil(one.functions)):,} | {one.commits:.2g} "
            f"| {_bytes(one.hour)} | {one.way} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
