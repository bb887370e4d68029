"""Bounds what MiniStack keeps in memory of the traffic, which it would otherwise never forget.

It keeps each record of a stream until its retention period ends, counts the position of a mapping, or of an iterator,
in a list of them, and searches that list at each call. Here records that every mapping of the stream has read are
dropped, but for the last READABLE bytes, and the positions move along. A stream that holds FULL bytes takes no more
until it was read: the log on disk is the queue.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, TypeAlias

from ministack import app
from ministack.core.responses import error_response_json
from ministack.services import cloudwatch_logs, firehose, kinesis, lambda_svc, s3

Record: TypeAlias = dict[str, Any]
Answer: TypeAlias = tuple[int, dict[str, str], bytes]

# bytes of records that stay readable by GetRecords, as `appliance verify` and people read them, after they were read
READABLE = 4 * 1024**2
FULL = 64 * 1024**2
EACH = 512  # bytes that a record takes beside its data
LOG_STREAMS = 1000  # of a function: one for each invocation
ANSWERS = 100  # to the ends of multipart uploads, given again to a client that asks again

# bytes in a stream, by its ARN: as of the last time it was trimmed, and what was put since
_held: dict[str, int] = {}


def size(records: Iterable[Record]) -> int:
    return sum(len(each.get("Data", "")) + EACH for each in records)


def trim(records: list[Record], readers: list[dict[str, int]], shard: str, others: list[Record], since: float) -> None:
    """Drop the records that all `readers` are past, but for READABLE bytes, and those that arrived before `since`.

    `readers`: for each mapping, its position by shard. `others`: the iterators into this shard, with a `position`.
    """
    drop = min((each.get(shard, 0) for each in readers), default=0)
    readable = 0
    while drop and readable < READABLE:
        drop -= 1
        readable += size(records[drop : drop + 1])
    while drop < len(records) and records[drop]["ApproximateArrivalTimestamp"] < since:
        drop += 1
    del records[:drop]
    for positions in readers:
        positions[shard] = max(0, positions.get(shard, 0) - drop)
    for iterator in others:
        iterator["position"] = max(0, iterator["position"] - drop)


def tidy() -> None:
    """Forget what is not to be read any more. No other thread may be reading a stream meanwhile."""
    now = time.time()
    for stream in list(kinesis._streams._data.values()):
        since = now - stream["RetentionPeriodHours"] * 3600
        eldest = (shard["records"][0] for shard in stream["shards"].values() if shard["records"])
        old = any(each["ApproximateArrivalTimestamp"] < since for each in eldest)
        if old or _held.get(stream["StreamARN"], FULL) > 2 * READABLE:
            _trim_stream(stream, since)
    for delivery in list(firehose._streams._data.values()):
        for destination in delivery["destinations"]:
            destination["records"].clear()  # they were delivered when they came
    for group in list(cloudwatch_logs._log_groups._data.values()):
        for name in list(group["streams"])[:-LOG_STREAMS]:
            del group["streams"][name]
    for upload in list(s3._completed_multipart_uploads._data)[:-ANSWERS]:
        del s3._completed_multipart_uploads._data[upload]


def _trim_stream(stream: dict[str, Any], since: float) -> None:
    arn = stream["StreamARN"]
    ours = [key for key, each in list(lambda_svc._esms._data.items()) if each.get("EventSourceArn") == arn]
    # a mapping that has not begun to read has no positions yet, and is to find everything
    readers = [lambda_svc._kinesis_positions._data.get(key, {}) for key in ours]
    iterators = [each for each in kinesis._shard_iterators._data.values() if each.get("stream_arn") == arn]
    for name, shard in stream["shards"].items():
        trim(shard["records"], readers, name, [each for each in iterators if each["shard_id"] == name], since)
    _held[arn] = sum(size(shard["records"]) for shard in stream["shards"].values())


def bounded(put: Callable[[Record], Answer]) -> Callable[[Record], Answer]:
    """PutRecord or PutRecords, which a stream refuses as long as it is full."""

    @functools.wraps(put)
    def wrapped(data: Record) -> Answer:
        _, stream = kinesis._resolve_stream(data)
        arn = stream["StreamARN"] if stream else ""
        if _held.get(arn, 0) > FULL:
            message = f"the stream holds {FULL // 1024**2} MiB that were not read yet; the function's log says why"
            refused: Answer = error_response_json("ProvisionedThroughputExceededException", message, 400)
            return refused
        answer = put(data)
        if answer[0] == 200:
            _held[arn] = _held.get(arn, 0) + size(data.get("Records", [data]))
        return answer

    return wrapped


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Tidy in `loop`, which answers the requests, between two looks of MiniStack's thread for mappings."""
    look, load = lambda_svc._poll_kinesis, app._load_persisted_state

    def look_and_tidy() -> bool:
        found: bool = look()
        done = threading.Event()

        def run() -> None:
            try:
                tidy()
            finally:
                done.set()

        loop.call_soon_threadsafe(run)
        done.wait()
        return found

    def load_and_begin() -> None:
        load()
        lambda_svc._ensure_poller()  # where there is no mapping, too

    app._load_persisted_state = load_and_begin
    # it would load services that are not offered, 15 MiB, to look each second for what they cannot have
    app._resolve_custom_domain_request = lambda _host, _path: None  # an API gateway's, for each request by an address
    lambda_svc._poll_sqs = lambda_svc._poll_dynamodb_streams = lambda: False
    for name in ("eventbridge", "scheduler"):
        idle = ModuleType(name)
        vars(idle)["start_scheduler"] = lambda: None
        sys.modules[f"ministack.services.{name}"] = idle
    lambda_svc._poll_kinesis = look_and_tidy
    kinesis._expire_records = lambda _stream: None  # it moves no positions; `trim` does both
    kinesis._put_record, kinesis._put_records = bounded(kinesis._put_record), bounded(kinesis._put_records)
