"""The stream as it describes itself: a Kinesis data stream, or with DELIVERY=firehose the delivery stream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from common.settings import Settings
from dashboard.endpoint import explaining

if TYPE_CHECKING:
    from mypy_boto3_firehose import FirehoseClient
    from mypy_boto3_kinesis import KinesisClient

# Shards that are shown
SHARDS = 100


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    status: str
    shards: list[str]
    retention_hours: int | None


class Kinesis:
    def __init__(self, settings: Settings, connect: Callable[[], KinesisClient]) -> None:
        self._settings = settings
        self._connect = connect
        self._client: KinesisClient | None = None

    def look(self) -> Stream:
        """Raises LookError."""
        if self._client is None:
            self._client = self._connect()
        name = self._settings.kinesis_data_stream
        with explaining(f"the stream {name}", self._settings):
            summary = self._client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
            listed: list[Any] = list(self._client.list_shards(StreamName=name, MaxResults=SHARDS)["Shards"])
        # a shard that was split or merged takes no records any more
        open_ = [shard["ShardId"] for shard in listed if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
        return Stream(name, summary["StreamStatus"], open_, summary.get("RetentionPeriodHours"))


class Firehose:
    def __init__(self, settings: Settings, connect: Callable[[], FirehoseClient]) -> None:
        self._settings = settings
        self._connect = connect
        self._client: FirehoseClient | None = None

    def look(self) -> Stream:
        """Raises LookError."""
        if self._client is None:
            self._client = self._connect()
        name = self._settings.firehose_stream
        with explaining(f"the delivery stream {name}", self._settings):
            found = self._client.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
        return Stream(name, found["DeliveryStreamStatus"], [], None)
