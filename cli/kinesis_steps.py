"""The steps of `appliance verify` with DELIVERY=kinesis: the stream, its records, the mapping, exactly once."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from cli.steps import Journey, StepError, acknowledgements, checked_entry, found_lines, hours
from common.aws import KinesisClient, client
from common.status import Place
from journal import hourly


def stream(journey: Journey) -> str:
    name = journey.settings.kinesis_data_stream
    summary = client(journey.settings, "kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    if summary["StreamStatus"] != "ACTIVE":
        raise StepError(f"{name} is {summary['StreamStatus']}. Wait until it is ACTIVE, then verify again.")
    return f"{name} is ACTIVE with {summary['OpenShardCount']} shard(s)"


def mapping(journey: Journey) -> str:
    settings = journey.settings
    pages = client(settings, "lambda").get_paginator("list_event_source_mappings")
    for page in pages.paginate(FunctionName=settings.lambda_function):
        for one in page["EventSourceMappings"]:
            if one["EventSourceArn"].endswith(f":stream/{settings.kinesis_data_stream}"):
                if one["State"] == "Enabled":
                    return f"Enabled, batch size {one['BatchSize']}"
                raise StepError(f"the mapping is {one['State']}. Start the appliance again: it enables its mapping.")
    raise StepError("the function has no mapping for the stream. The log of the entrypoint says why it was not made.")


def lines_of(data: bytes) -> list[bytes]:
    """The log lines in one record's data: one line, or several packed, gzip'd or not."""
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return []
    return data.splitlines()


def _records(kinesis: KinesisClient, name: str, first: Place) -> Iterator[bytes]:
    """The data of the records from the first that was acknowledged on, as far as the stream goes at the moment."""
    iterator = kinesis.get_shard_iterator(
        StreamName=name,
        ShardId=first.shard or "",
        ShardIteratorType="AT_SEQUENCE_NUMBER",
        StartingSequenceNumber=first.sequence_number or "",
    )["ShardIterator"]
    while iterator:
        answer = kinesis.get_records(ShardIterator=iterator, Limit=1000)
        yield from (record["Data"] for record in answer["Records"])
        if not answer["Records"]:
            return
        iterator = answer.get("NextShardIterator", "")


def records(journey: Journey) -> str:
    kinesis = client(journey.settings, "kinesis")
    name = journey.settings.kinesis_data_stream
    marks = {f" {path} ".encode(): path for path in journey.sent}

    def seen() -> str | None:
        found: set[str] = set()
        for acknowledgement in acknowledgements(journey):
            for data in _records(kinesis, name, acknowledgement.first):
                found.update(path for line in lines_of(data) for mark, path in marks.items() if mark in line)
        return f"{len(found)} of {len(marks)} in {name}" if len(found) == len(marks) else None

    return journey.until(seen, "The producer says it shipped, but the stream does not hold these requests.")


def archived(journey: Journey) -> str:
    s3 = client(journey.settings, "s3")

    def seen() -> str | None:
        keys = [hourly.object_key(journey.settings.s3_prefix, hour) for hour in hours(journey)]
        journey.found = {key: lines for key in keys if (lines := found_lines(s3, journey, key))}
        return journey.objects if sum(map(len, journey.found.values())) >= len(journey.sent) else None

    direct = "The producer says it appended, but the objects do not hold these requests."
    remedy = direct if journey.settings.delivery.is_direct else f"Look at the function's log: {journey.function_log}"
    return journey.until(seen, remedy)


def entries(journey: Journey) -> str:
    lines = [line for found in journey.found.values() for line in found]
    if len(lines) != len(journey.sent):
        raise StepError(f"{len(lines)} lines for {len(journey.sent)} requests: a line was doubled. Please report this.")
    for line in lines:
        checked_entry(journey, line)
    return f"exactly those {len(lines)} requests, once each; the first: {lines[0]}"
