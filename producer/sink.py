"""The stream: PutRecords, read entry by entry. The only place of the producer that knows boto3.

Partial success is a value: what a call left unacknowledged is sent again, and nothing else, until everything is
acknowledged or too much time has passed without any progress. Then the caller gets what there is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from appliance.aws import client
from appliance.clock import Clock, backoff
from appliance.settings import Settings
from producer.record import Record

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient

# How long a tick goes on trying while nothing at all is acknowledged; with progress the time starts anew
RETRY_SECONDS = 30.0
# A shard's limits are per second (1 MB, 1,000 records), so waits of this order let it breathe
BACKOFF_BASE = 0.2
BACKOFF_CAP = 5.0
# Codes of a whole call that a little time mends; every status from 500 on and 429 does as well
PASSING = {
    "InternalFailure",
    "InternalFailureException",
    "KMSThrottlingException",
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "RequestTimeoutException",
    "ResourceInUseException",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_RENEW = "renew the credentials this process uses"
REMEDIES = {
    "ResourceNotFoundException": "the stream does not exist there (yet): the entrypoint makes it, on AWS Terraform "
    "does; check KINESIS_DATA_STREAM and AWS_DEFAULT_REGION",
    "AccessDeniedException": "allow kinesis:PutRecords on the stream to these credentials",
    "AccessDenied": "allow kinesis:PutRecords on the stream to these credentials",
    "KMSAccessDeniedException": "allow kms:GenerateDataKey on the stream's key to these credentials",
    "KMSDisabledException": "enable the stream's key",
    "ExpiredToken": _RENEW,
    "ExpiredTokenException": _RENEW,
    "UnrecognizedClientException": "check AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN",
    "InvalidSignatureException": "check AWS_SECRET_ACCESS_KEY and this machine's clock",
    "IncompleteSignature": "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
}


class Ack(NamedTuple):
    """Where the stream has put a record."""

    shard: str
    sequence_number: str


@dataclass(frozen=True, slots=True)
class Put:
    """What became of a batch: one Ack, or None, for each record, and why it is None."""

    acknowledged: list[Ack | None]
    error: str | None = None


class Sink(Protocol):
    def put(self, batch: Sequence[Record]) -> Put:
        """Send a batch. Failures are part of the answer, not exceptions."""


@dataclass(frozen=True, slots=True)
class _Failure:
    message: str
    passing: bool


class KinesisSink:
    """Sends to one stream.

    `connect` makes a client (anew after a lost connection: the endpoint may have moved). `stop` is asked before each
    further attempt. `pause` waits for some seconds, or less when it was woken because of `stop`.
    """

    def __init__(
        self,
        connect: Callable[[], KinesisClient],
        stream: str,
        clock: Clock,
        rng: random.Random,
        *,
        stop: Callable[[], bool] = lambda: False,
        pause: Callable[[float], object] | None = None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._connect = connect
        self._stream = stream
        self._clock = clock
        self._rng = rng
        self._stop = stop
        self._pause = pause or clock.sleep
        self._retry_seconds = retry_seconds
        self._client: KinesisClient | None = None

    def put(self, batch: Sequence[Record]) -> Put:
        acknowledged: list[Ack | None] = [None] * len(batch)
        pending = list(range(len(batch)))
        waits = backoff(self._rng, BACKOFF_BASE, BACKOFF_CAP)
        deadline = self._clock.monotonic() + self._retry_seconds
        while True:
            failure = self._attempt(batch, pending, acknowledged)
            left = [index for index in pending if acknowledged[index] is None]
            if not left:
                return Put(acknowledged)
            if len(left) < len(pending):
                waits = backoff(self._rng, BACKOFF_BASE, BACKOFF_CAP)
                deadline = self._clock.monotonic() + self._retry_seconds
            pending = left
            if not failure.passing or self._stop():
                return Put(acknowledged, failure.message)
            wait = next(waits)
            if self._clock.monotonic() + wait >= deadline:
                return Put(acknowledged, failure.message)
            self._pause(wait)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _attempt(self, batch: Sequence[Record], pending: Sequence[int], acknowledged: list[Ack | None]) -> _Failure:
        """One call with the records `pending` names; notes the Acks. What it returns holds if any is missing."""
        what = f"PutRecords to {self._stream}"
        try:
            if self._client is None:
                self._client = self._connect()
            response: Any = self._client.put_records(
                StreamName=self._stream,
                Records=[{"Data": batch[index].data, "PartitionKey": batch[index].key} for index in pending],
            )
        except ClientError as error:
            return _refused(what, error)
        except (BotoConnectionError, HTTPClientError, ResponseParserError, OSError) as error:
            self.close()
            return _Failure(f"{what} got no answer ({_one_line(error)}): is the endpoint up and reachable?", True)
        except (NoCredentialsError, PartialCredentialsError) as error:
            return _Failure(f"{what} needs credentials ({_one_line(error)}): set AWS_ACCESS_KEY_ID or a role", False)
        except (BotoCoreError, ValueError) as error:
            return _Failure(f"{what} could not be sent ({_one_line(error)}): check the AWS settings", False)
        entries = response.get("Records") if isinstance(response, dict) else None
        if not isinstance(entries, list):
            return _Failure(f"{what} was answered without the list of its records", True)
        # FailedRecordCount is not looked at: LocalStack's injected faults say 1 when every entry failed
        failures: dict[str, int] = {}
        for index, entry in zip(pending, entries, strict=False):
            shard, number, code = _read_entry(entry)
            if code is None and shard and number:
                acknowledged[index] = Ack(shard, number)
            else:
                failures[code or "no sequence number"] = failures.get(code or "no sequence number", 0) + 1
        if len(entries) < len(pending):
            failures["no answer"] = len(pending) - len(entries)
        reasons = ", ".join(f"{code} ({count})" for code, count in failures.items())
        return _Failure(f"{what}: {sum(failures.values())} of {len(pending)} records were refused: {reasons}", True)


def kinesis_sink(
    settings: Settings,
    clock: Clock,
    rng: random.Random,
    *,
    stop: Callable[[], bool] = lambda: False,
    pause: Callable[[float], object] | None = None,
    **options: Any,
) -> KinesisSink:
    """The sink the settings name. botocore's own retries are off: the loop here knows which entries have failed."""

    def connect() -> KinesisClient:
        return client(settings, "kinesis", retries={"total_max_attempts": 1}, **options)

    return KinesisSink(connect, settings.kinesis_data_stream, clock, rng, stop=stop, pause=pause)


def _refused(what: str, error: ClientError) -> _Failure:
    details = error.response.get("Error", {})
    code, message = str(details.get("Code", "?")), " ".join(str(details.get("Message", "")).split())
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = f"{what} was refused: {code}: {message}"
    if code in REMEDIES:
        return _Failure(f"{text}: {REMEDIES[code]}", False)
    return _Failure(text, code in PASSING or status == 429 or status >= 500)


def _read_entry(entry: Any) -> tuple[str | None, str | None, str | None]:
    """Shard, sequence number and error code of one entry of the answer, whatever stands there."""
    if not isinstance(entry, dict):
        return None, None, "unreadable"
    shard, number, code = entry.get("ShardId"), entry.get("SequenceNumber"), entry.get("ErrorCode")
    return (
        shard if isinstance(shard, str) else None,
        number if isinstance(number, str) else None,
        str(code) if code else None,
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
