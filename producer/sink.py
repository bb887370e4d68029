"""The stream: PutRecords, or Firehose's PutRecordBatch, read entry by entry. All that the producer knows of boto3.

Partial success is a value: what a call left unacknowledged is sent again, and nothing else, until everything is
acknowledged or too much time has passed without any progress. Then the caller gets what there is.
"""

from __future__ import annotations

import logging
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from common.aws import client
from common.clock import Clock, backoff
from common.delivery import FIREHOSE, KINESIS, Delivery
from common.errors import AWS_ERRORS, explain
from common.log import event
from common.settings import Settings
from common.status import Place
from producer.put import ClosableSink, Put, Traffic
from producer.record import Record
from producer.signed import NoKeyError, key_of, signed

if TYPE_CHECKING:
    from mypy_boto3_firehose import FirehoseClient
    from mypy_boto3_kinesis import KinesisClient

log = logging.getLogger(__name__)

# How long a tick goes on trying while nothing at all is acknowledged; with progress the time starts anew
RETRY_SECONDS = 30.0
# A shard's limits are per second (1 MB, 1,000 records), so waits of this order let it breathe
BACKOFF_BASE = 0.2
BACKOFF_CAP = 5.0
# Why a call had no answer, as the counters name it
UNSENT = {"unreachable": "no answer", "credentials": "no credentials"}
# What mends a code of the key that encrypts the stream
KEY_REMEDIES = {
    "KMSAccessDeniedException": "Allow kms:GenerateDataKey on the stream's key to these credentials",
    "KMSDisabledException": "Enable the stream's key",
    "InvalidKMSResourceException": "Check the delivery stream's key, and what it allows Firehose",
}


@dataclass(frozen=True, slots=True)
class _Failure:
    """`reasons`: records that were refused, for each reason."""

    message: str
    passing: bool
    reasons: dict[str, int]


@dataclass(slots=True)
class _BatchSink(ABC):
    """Sends to one stream with calls that take many records and answer for each of them.

    `connect` makes a client (anew after a lost connection: the endpoint may have moved). `stop` is asked before each
    further attempt. `pause` waits for some seconds, or less when it was woken because of `stop`.
    """

    delivery: ClassVar[Delivery]
    # the answer's list, an entry for each record
    entries: ClassVar[str]
    # error code -> what mends it here
    remedies: ClassVar[dict[str, str]]

    connect: Callable[[], Any]
    stream: str
    clock: Clock
    rng: random.Random
    _: KW_ONLY
    target: str = "localstack"
    stop: Callable[[], bool] = lambda: False
    pause: Callable[[float], object] | None = None
    retry_seconds: float = RETRY_SECONDS
    _client: Any = field(default=None, init=False)

    def put(self, batch: Sequence[Record]) -> Put:
        acknowledged: list[Place | None] = [None] * len(batch)
        traffic = Traffic()
        pending = list(range(len(batch)))
        waits = backoff(self.rng, BACKOFF_BASE, BACKOFF_CAP)
        deadline = self.clock.monotonic() + self.retry_seconds
        while True:
            traffic.calls += 1
            traffic.bytes += sum(len(batch[index].data) for index in pending)
            failure = self._attempt(batch, pending, acknowledged)
            traffic.refused.update(failure.reasons)
            left = []
            for index in pending:
                ack = acknowledged[index]
                if ack is None:
                    left.append(index)
                elif ack.shard:
                    traffic.shards[ack.shard] += 1
            if not left:
                return Put(acknowledged, traffic=traffic)
            if len(left) < len(pending):
                waits = backoff(self.rng, BACKOFF_BASE, BACKOFF_CAP)
                deadline = self.clock.monotonic() + self.retry_seconds
            pending = left
            wait = next(waits)
            if not failure.passing or self.stop() or self.clock.monotonic() + wait >= deadline:
                return Put(acknowledged, failure.message, traffic)
            reasons = ", ".join(failure.reasons)
            log.debug("%s", failure.message, extra=event("retrying", records=len(left), reason=reasons, wait=wait))
            (self.pause or self.clock.sleep)(wait)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @staticmethod
    def own(_settings: Settings) -> dict[str, Any]:
        """The fields of this sink alone."""
        return {}

    @abstractmethod
    def _send(self, client: Any, records: Sequence[Record]) -> Any:
        """The call; what botocore makes of the answer, or raises."""

    @abstractmethod
    def _read(self, entry: dict[str, Any]) -> Place | None:
        """What an entry of the answer, one without an error code, says of its record."""

    def _attempt(self, batch: Sequence[Record], pending: Sequence[int], acknowledged: list[Place | None]) -> _Failure:
        """One call with the records `pending` names; notes the answers. What it returns holds if any is missing."""
        what, count = f"{self.delivery.kind} {self.stream}", len(pending)
        try:
            if self._client is None:
                self._client = self.connect()
            response: Any = self._send(self._client, [batch[index] for index in pending])
        except NoKeyError as error:
            return _Failure(str(error), True, {"no key": count})
        except (*AWS_ERRORS, OSError, ValueError) as error:
            setting = self.delivery.stream_setting
            found = explain(error, what, self.target, setting=setting, remedies=self.remedies)
            if found.kind == "unreachable":
                self.close()
            return _Failure(str(found), found.passing, {found.code or UNSENT.get(found.kind, "not sent"): count})
        entries = response.get(self.entries) if isinstance(response, dict) else None
        if not isinstance(entries, list):
            message = f"{what}: the answer lacks the list of its records"
            return _Failure(message, True, {"unreadable": count})
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
        return _Failure(f"{what}: {sum(failures.values())} of {count} records were refused: {reasons}", True, failures)


@dataclass(slots=True)
class KinesisSink(_BatchSink):
    """Sends to a data stream. `key`: what places are signed with; empty: they are not. Raises NoKeyError."""

    delivery = KINESIS
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


SINKS: dict[Delivery, type[_BatchSink]] = {each.delivery: each for each in (KinesisSink, FirehoseSink)}


def make_sink(
    settings: Settings,
    clock: Clock,
    rng: random.Random,
    *,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[float], object] | None = None,
    **options: Any,
) -> ClosableSink:
    """The sink that DELIVERY names. botocore's own retries are off: the loop here knows which entries have failed."""
    once: dict[str, Any] = {"retries": {"total_max_attempts": 1}, **options}
    sink, service = SINKS[settings.delivery], settings.delivery.service
    fields: dict[str, Any] = {"target": settings.target, "stop": stop, "pause": pause, **sink.own(settings)}
    make: Any = sink
    made: ClosableSink = make(lambda: client(settings, service, **once), settings.stream, clock, rng, **fields)
    return made
