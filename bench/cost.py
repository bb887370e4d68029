"""What a million requests cost on AWS, by delivery: `script/cost`. A model with its assumptions, not a bill.

Everything that is counted is one of three: what the producer sends, what AWS charges a unit of it, what the function
takes. The first comes from the producer's own limits, the second from the price list below, the third was measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

REGION = "us-east-1"
# AWS's public price pages (Kinesis Data Streams, Data Firehose, Lambda, S3), without free tier and volume discount.
# No page could be fetched when this was written: they are the list prices as they were known for January 2025.
SOURCE = "AWS price pages, list prices"
DATE = "January 2025"

MILLION = 1_000_000
KIB = 1024
GIB = 1024**3


@dataclass(frozen=True)
class Prices:
    """USD a unit."""

    shard_hour: float = 0.015
    retention_shard_hour: float = 0.020  # on top, for records kept longer than 24 hours and up to 7 days
    put_unit: float = 0.014 / MILLION  # 25 KB of a record each
    firehose_gb: float = 0.029  # of records, each rounded up to 5 KB
    partition_gb: float = 0.020  # dynamic partitioning, of what is delivered
    partition_object: float = 0.005 / 1000
    lambda_request: float = 0.20 / MILLION
    lambda_gb_second: float = 0.0000166667
    s3_put: float = 0.005 / 1000  # PUT, COPY, POST, LIST; each request of a multipart upload is one
    s3_get: float = 0.0004 / 1000  # GET, HEAD


@dataclass(frozen=True)
class Traffic:
    """A million requests, spread evenly over `hours`. The rest is what they are assumed, or were measured, to be."""

    requests: int = MILLION
    hours: float = 24.0
    # bytes of a line and of its entry, and what gzip makes of packed lines
    line: int = 215
    entry: int = 240
    gzip: float = 0.15
    # seconds between two polls: what one poll finds is sent together
    poll: float = 60.0
    # MiB and seconds of one CPU for a million lines, at full speed; a function of 256 MB has a seventh of one
    memory: int = 256
    cpu: float = 4.0
    cpu_share: float = 256 / 1769

    @property
    def polls(self) -> float:
        return self.hours * 3600 / self.poll


# Bytes of lines in a record of many (producer/record.py PACK_BYTES), and of records in one invocation of the transform
# (entrypoint/delivery.py TRANSFORM_BUFFER_MB)
PACK = 512 * KIB
TRANSFORM_BUFFER = 0.2 * 1024 * KIB
PUT_UNIT = 25 * KIB
FIREHOSE_UNIT = 5 * KIB
# Seconds for which Firehose buffers (entrypoint/delivery.py BUFFER_SECONDS), and its MiB
BUFFER_SECONDS = 60.0
BUFFER = 64 * 1024 * KIB
BATCH_SIZE = 100
# What an invocation takes besides its lines, in seconds: reading and writing one object
INVOCATION = 0.15
# S3 requests of one append: below 5 MiB it reads the object and writes it; above, it makes a multipart upload of three
# parts at most (the old bytes, the new ones, and the two calls around them)
MULTIPART = 5 * 1024 * KIB


@dataclass(frozen=True)
class Cost:
    """USD, by what is charged."""

    stream: float = 0.0
    delivery: float = 0.0
    partitioning: float = 0.0
    function: float = 0.0
    s3: float = 0.0

    @property
    def total(self) -> float:
        return float(sum(getattr(self, field.name) for field in fields(self)))


def compute(prices: Prices, traffic: Traffic, invocations: float, each: float) -> float:
    """The function: what it is called, and what it computes; `each`: seconds an invocation takes beside its lines."""
    seconds = traffic.cpu / traffic.cpu_share * traffic.requests / MILLION + invocations * each
    return invocations * prices.lambda_request + seconds * traffic.memory / 1024 * prices.lambda_gb_second


def appends(prices: Prices, traffic: Traffic, invocations: float) -> float:
    """S3 requests of the archive. An hour's object grows evenly; each invocation appends to it once."""
    hourly = traffic.requests / traffic.hours * traffic.entry
    small = min(1.0, MULTIPART / hourly)  # the share of the appends that meet an object below MULTIPART
    below = prices.s3_get + prices.s3_put
    above = prices.s3_get + 4 * prices.s3_put  # HEAD; create, copy the old, send the new, complete
    return invocations * (small * below + (1 - small) * above)


def kinesis(prices: Prices, traffic: Traffic, *, packed: bool) -> Cost:
    """One shard, as many as it takes; the function is called for BATCH_SIZE records, or once a poll at least."""
    lines = traffic.requests / traffic.polls
    if packed:
        records = traffic.polls * math.ceil(lines * traffic.line / PACK)
        units = records * math.ceil(traffic.requests * traffic.line * traffic.gzip / records / PUT_UNIT)
        wire = traffic.requests * traffic.line * traffic.gzip
    else:
        records = traffic.requests
        units = records * math.ceil(traffic.line / PUT_UNIT)
        wire = traffic.requests * traffic.line
    invocations = max(traffic.polls, math.ceil(records / BATCH_SIZE))
    seconds = traffic.hours * 3600
    shards = max(1, math.ceil(records / seconds / 1000), math.ceil(wire / seconds / MILLION))
    # terraform/modules/stream-pipeline keeps records for 7 days
    hourly = prices.shard_hour + prices.retention_shard_hour
    return Cost(
        stream=shards * traffic.hours * hourly + units * prices.put_unit,
        function=compute(prices, traffic, invocations, INVOCATION),
        s3=appends(prices, traffic, invocations),
    )


def firehose(prices: Prices, traffic: Traffic, *, packed: bool) -> Cost:
    """One delivery stream with dynamic partitioning; one hour is written to at a time, so one object a buffer."""
    if packed:
        plain = traffic.requests * traffic.line
        records = traffic.polls * math.ceil(plain / traffic.polls / PACK)
        size = plain * traffic.gzip / records
    else:
        records, size = float(traffic.requests), float(traffic.line)
    billed = records * math.ceil(size / FIREHOSE_UNIT) * FIREHOSE_UNIT
    delivered = traffic.requests * traffic.entry
    objects = max(min(traffic.hours * 3600 / BUFFER_SECONDS, traffic.polls), math.ceil(delivered / BUFFER))
    invocations = max(traffic.polls, records * size / TRANSFORM_BUFFER)
    return Cost(
        delivery=billed / GIB * prices.firehose_gb,
        partitioning=delivered / GIB * prices.partition_gb + objects * prices.partition_object,
        function=compute(prices, traffic, invocations, 0.0),
        s3=objects * prices.s3_put,
    )


def table(prices: Prices, traffic: Traffic) -> list[str]:
    """The Markdown table of docs/costs.md."""
    rows = {
        "Kinesis, a line a record": kinesis(prices, traffic, packed=False),
        "Kinesis, packed": kinesis(prices, traffic, packed=True),
        "Firehose, a line a record": firehose(prices, traffic, packed=False),
        "Firehose, packed": firehose(prices, traffic, packed=True),
    }
    titles = ("stream", "ingestion", "partitioning", "function", "S3 requests", "total")
    lines = [f"| USD a million requests | {' | '.join(titles)} |", "|---|" + "--:|" * len(titles)]
    for name, cost in rows.items():
        cells = [f"{getattr(cost, field.name):.3f}" for field in fields(cost)] + [f"**{cost.total:.3f}**"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="cost", description="What a million requests cost on AWS, by delivery; docs/costs.md explains the model."
    )
    default = Traffic()
    parser.add_argument("--hours", type=float, default=default.hours, help="in which they come (default: %(default)g)")
    parser.add_argument("--line", type=int, default=default.line, help="bytes of a line (default: %(default)d)")
    parser.add_argument("--poll", type=float, default=default.poll, help="POLL_INTERVAL (default: %(default)g)")
    options = parser.parse_args(arguments)
    if not all(1e-6 <= value <= 1e9 for value in (options.hours, options.line, options.poll)):  # nor is nan
        parser.error("--hours, --line and --poll are numbers from 0.000001 to 1,000,000,000")
    entry = options.line + default.entry - default.line
    traffic = Traffic(hours=options.hours, line=options.line, entry=entry, poll=options.poll)
    print(f"Region {REGION}; {SOURCE} as of {DATE}; without free tier.")
    pace = f"{traffic.line} bytes a line, a poll every {traffic.poll:g} s"
    print(f"{traffic.requests:,} requests in {traffic.hours:g} h, {pace}.")
    print()
    print("\n".join(table(Prices(), traffic)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
