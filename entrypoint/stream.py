"""The Kinesis data stream, which only DELIVERY=kinesis has."""

from __future__ import annotations

from typing import Any

from common.aws import KinesisClient
from entrypoint.errors import explained
from entrypoint.resources import Outcome, State, existing, made
from entrypoint.run import Run

# The most there is (Kinesis Data Streams quotas), since here it costs nothing. Above all, MiniStack counts a mapping's
# position in the list of records that it still keeps: after 24 hours, the default, each record that expires would make
# the mapping pass over one that it has not read.
RETENTION_HOURS = 8760


@explained("stream")
def ensure_stream(kinesis: KinesisClient, name: str, run: Run, *, shards: int) -> Outcome:
    """An ACTIVE stream. `shards` counts when it is created; an existing stream keeps the shards it has.

    Resharding costs money on AWS, and MiniStack reads a shard that appears after the mapping from its end, so that its
    first lines would be passed over. The remedy given in the details is a stream of another name.

    It keeps its records for RETENTION_HOURS.
    """

    def look() -> dict[str, Any] | None:
        answer: Any = existing(lambda: kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"])
        status = answer["StreamStatus"] if answer else "DELETING"
        # LocalStack calls a stream ACTIVE whose retention changed in the half second before it was deleted
        deleting = status == "DELETING" or (status == "ACTIVE" and answer.get("OpenShardCount") == 0)
        return None if deleting else answer

    def create() -> None:
        kinesis.create_stream(StreamName=name, ShardCount=shards)

    def active() -> dict[str, Any] | None:
        current = look()
        return current if current and current["StreamStatus"] == "ACTIVE" else None

    found = look()
    state: State = "created" if found is None else "unchanged"
    if found is None and not run.apply:
        return Outcome("stream", name, state)
    if found is None:
        run.until(f"stream {name} of old to be gone", lambda: made(create, look))
    if run.apply:
        found = run.until(f"stream {name} to be ACTIVE", active)
    assert found is not None  # noqa: S101 - for the type checker: looked at above, created otherwise
    details = _shards(found, shards)
    if found["RetentionPeriodHours"] < RETENTION_HOURS:
        if state == "unchanged":
            state = "updated"
            details = (f"retention {found['RetentionPeriodHours']} -> {RETENTION_HOURS} hours", *details)
        if run.apply:
            kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=RETENTION_HOURS)
            run.until(f"stream {name} to be ACTIVE", active)
    return Outcome("stream", name, state, details, found["StreamARN"], found.get("StreamCreationTimestamp"))


def _shards(stream: dict[str, Any], wanted: int) -> tuple[str, ...]:
    has = stream.get("OpenShardCount", wanted)
    if has == wanted or stream.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND":
        return ()
    return (
        f"has {has} shard{'' if has == 1 else 's'}, SHARD_COUNT={wanted}: to change it, take a new stream with "
        "-e KINESIS_DATA_STREAM=<new name>; what is in this one is still delivered",
    )
