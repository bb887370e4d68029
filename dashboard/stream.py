"""The stream as it describes itself: the data stream or the delivery stream that the chosen delivery sends to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.aws import FirehoseClient, KinesisClient
from common.delivery import FIREHOSE, KINESIS, Delivery
from common.settings import Settings
from dashboard.endpoint import explaining

# Shards that are shown
SHARDS = 100


@dataclass(frozen=True, slots=True)
class Stream:
    status: str
    shards: list[str]
    retention_hours: int | None


def look_at_stream(settings: Settings, connect: Callable[[], Any]) -> Stream:
    """Raises LookError."""
    delivery, name = settings.delivery, settings.stream
    client = connect()
    with explaining(f"the {delivery.kind} {name}", settings):
        return LOOKS[delivery](client, name)


def _data_stream(kinesis: KinesisClient, name: str) -> Stream:
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    listed: list[Any] = list(kinesis.list_shards(StreamName=name, MaxResults=SHARDS)["Shards"])
    # a shard that was split or merged takes no records any more
    open_ = [shard["ShardId"] for shard in listed if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
    return Stream(summary["StreamStatus"], open_, summary.get("RetentionPeriodHours"))


def _delivery_stream(firehose: FirehoseClient, name: str) -> Stream:
    found = firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    return Stream(found["DeliveryStreamStatus"], [], None)


LOOKS: dict[Delivery, Callable[[Any, str], Stream]] = {KINESIS: _data_stream, FIREHOSE: _delivery_stream}
