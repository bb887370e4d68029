"""The streams: PutRecords, or Firehose's PutRecordBatch, read entry by entry. And the sink that DELIVERY names."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from common.aws import FirehoseClient, KinesisClient, client
from common.clock import Clock
from common.delivery import FIREHOSE, KINESIS, S3, Delivery
from common.settings import Settings
from common.status import Place
from producer.batch import Cut, appended_batches, batches, hourly_batches
from producer.put import Traffic
from producer.record import Record
from producer.retrying import Failure, RetryingSink
from producer.signed import NoKeyError, key_of, signed

# What mends a code of the key that encrypts the stream
KEY_REMEDIES = {
    "KMSAccessDeniedException": "Allow kms:GenerateDataKey on the stream's key to these credentials",
    "KMSDisabledException": "Enable the stream's key",
    "InvalidKMSResourceException": "Check the delivery stream's key, and what it allows Firehose",
}


@dataclass(slots=True)
class _BatchSink(RetryingSink):
    """Sends with calls that take many records and answer for each of them."""

    # the answer's list, an entry for each record
    entries: ClassVar[str]

    @abstractmethod
    def _send(self, client: Any, records: Sequence[Record]) -> Any:
        """The call; what botocore makes of the answer, or raises."""

    @abstractmethod
    def _read(self, entry: dict[str, Any]) -> Place | None:
        """What an entry of the answer, one without an error code, says of its record."""

    def _attempt(
        self, batch: Sequence[Record], pending: Sequence[int], acknowledged: list[Place | None], traffic: Traffic
    ) -> Failure:
        from common.errors import AWS_ERRORS  # with botocore, which a start with nothing to send does not need

        traffic.calls += 1
        traffic.bytes += sum(len(batch[index].data) for index in pending)
        what, count = f"{self.delivery.kind} {self.stream}", len(pending)
        try:
            response: Any = self._send(self._connected(), [batch[index] for index in pending])
        except NoKeyError as error:
            return Failure(str(error), True, {"no key": count})
        except (*AWS_ERRORS, OSError, ValueError) as error:
            return self._failed(error, count)
        entries = response.get(self.entries) if isinstance(response, dict) else None
        if not isinstance(entries, list):
            message = f"{what}: the answer lacks the list of its records"
            return Failure(message, True, {"unreadable": count})
        # The answer's sum of failures is not looked at: LocalStack's injected faults say 1 when every entry failed
        failures: Counter[str] = Counter()
        for index, entry in zip(pending, entries, strict=False):
            code = entry.get("ErrorCode") if isinstance(entry, dict) else "unreadable"
            acknowledged[index] = None if code else self._read(entry)
            if acknowledged[index] is None:
                failures[str(code or "not acknowledged")] += 1
        if len(entries) < count:
            failures["no answer"] = count - len(entries)
        reasons = ", ".join(f"{code} ({records})" for code, records in failures.items())
        return Failure(f"{what}: {sum(failures.values())} of {count} records were refused: {reasons}", True, failures)


@dataclass(slots=True)
class KinesisSink(_BatchSink):
    """Sends to a data stream. `key`: what places are signed with; empty: they are not. Raises NoKeyError."""

    delivery = KINESIS
    cut = staticmethod(batches)
    entries = "Records"
    remedies = KEY_REMEDIES

    _: KW_ONLY
    key: Callable[[], str] = lambda: ""

    @staticmethod
    def own(settings: Settings) -> dict[str, Any]:
        return {"key": key_of(settings)}

    def _send(self, client: KinesisClient, records: Sequence[Record]) -> Any:
        key = self.key()
        keys = [signed(each.key, each.data, key) if key else each.key for each in records]
        return client.put_records(
            StreamName=self.stream,
            Records=[{"Data": each.data, "PartitionKey": name} for each, name in zip(records, keys, strict=True)],
        )

    def _read(self, entry: dict[str, Any]) -> Place | None:
        shard, number = entry.get("ShardId"), entry.get("SequenceNumber")
        known = shard and number and isinstance(shard, str) and isinstance(number, str)
        return Place(shard=shard, sequence_number=number) if known else None


class FirehoseSink(_BatchSink):
    """Sends to a delivery stream, which knows no keys: what a record holds is all that its reader gets."""

    delivery = FIREHOSE
    cut = staticmethod(hourly_batches)
    entries = "RequestResponses"
    remedies: ClassVar[dict[str, str]] = KEY_REMEDIES | {
        "InvalidSourceException": "The delivery stream reads from a data stream: FIREHOSE_STREAM must be one whose "
        "source is Direct PUT"
    }

    def _send(self, client: FirehoseClient, records: Sequence[Record]) -> Any:
        return client.put_record_batch(
            DeliveryStreamName=self.stream, Records=[{"Data": record.data} for record in records]
        )

    def _read(self, entry: dict[str, Any]) -> Place | None:
        name = entry.get("RecordId")
        return Place(record_id=name) if name and isinstance(name, str) else None


def sink_of(delivery: Delivery) -> type[RetryingSink]:
    if delivery is S3:
        from producer.bucket import BucketSink  # with the function's code, for this one only

        return BucketSink
    return {each.delivery: each for each in (KinesisSink, FirehoseSink)}[delivery]


def cut_of(delivery: Delivery) -> Cut:
    """How its sink cuts the log into batches; known without the sink, which nothing may need."""
    return appended_batches if delivery is S3 else sink_of(delivery).cut


def make_sink(
    settings: Settings,
    clock: Clock,
    rng: random.Random,
    *,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[float], object] | None = None,
    **options: Any,
) -> RetryingSink:
    """The sink that DELIVERY names. botocore's own retries are off: the loop here knows which entries have failed."""
    once: dict[str, Any] = {"retries": {"total_max_attempts": 1}, **options}
    sink, service = sink_of(settings.delivery), settings.delivery.service
    fields: dict[str, Any] = {"target": settings.target, "stop": stop, "pause": pause, **sink.own(settings)}
    make: Any = sink
    made: RetryingSink = make(lambda: client(settings, service, **once), settings.stream, clock, rng, **fields)
    return made
