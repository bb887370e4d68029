"""What `appliance verify` does with any delivery: the journey of a few requests, and the steps that all share."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from common import web
from common.aws import S3Client, client
from common.clock import Clock
from common.errors import status_of
from common.settings import Settings
from common.status import Acknowledged, ProducerStatus, StatusError, read_status
from journal import hourly

REQUESTS = 3
HTTP_TIMEOUT = 10.0
LOOK_AGAIN = 0.5
# Firehose's record ids have some 200 characters
SHOWN_OF_ID = 24
# a poll, the mapping's own poll, the function's cold start, on a busy machine
GRACE = 60.0
# "end-to-end delay of a batch of records might be 1.5 times of the configured buffering hint time" (Firehose Developer
# Guide, "Buffer data for dynamic partitioning")
BUFFERING = 1.5


class StepError(Exception):
    """A step found something else than it should have; the message ends with the remedy."""


@dataclass
class Journey:
    """What the steps hand on: the requests sent, and where their lines were seen."""

    settings: Settings
    clock: Clock
    say: Callable[[str], None]
    run: str = field(default_factory=lambda: secrets.token_hex(6))
    sent: dict[str, dict[str, Any]] = field(default_factory=dict)  # path -> what the entry must say
    sent_at: datetime = field(init=False)
    found: dict[str, list[str]] = field(default_factory=dict)  # key -> the lines of this run in it
    buffering: float = 0.0  # seconds for which Firehose keeps lines, at most
    looked_into: set[tuple[str, str]] = field(default_factory=set)  # key and ETag
    passed: dict[str, int] = field(default_factory=dict)  # key -> bytes that were there before the requests

    @property
    def deadline(self) -> float:
        return self.settings.poll_interval + GRACE + BUFFERING * self.buffering

    @property
    def objects(self) -> str:
        """Where the lines were found."""
        return ", ".join(f"s3://{self.settings.s3_bucket}/{key}" for key in self.found)

    @property
    def function_log(self) -> str:
        return f"aws logs filter-log-events --log-group-name /aws/lambda/{self.settings.lambda_function}"

    def until(self, seen: Callable[[], str | None], otherwise: str) -> str:
        """Look until `seen` answers with what it saw; StepError with `otherwise` when it is too late."""
        end = self.clock.monotonic() + self.deadline
        while (answer := seen()) is None:
            if self.clock.monotonic() > end:
                raise StepError(f"not within {self.deadline:.0f} s. {otherwise}")
            self.clock.sleep(LOOK_AGAIN)
        return answer


def bucket(journey: Journey) -> str:
    name, prefix = journey.settings.s3_bucket, journey.settings.s3_prefix
    s3 = client(journey.settings, "s3")
    s3.head_bucket(Bucket=name)
    found = hourly.pages(s3, name, Prefix=f"{prefix}{hourly.hour_of(journey.clock.now())}/")
    journey.passed = {each.key: each.size for each in hourly.objects(found, prefix, any_name=True)}
    return name


def role(journey: Journey) -> str:
    return client(journey.settings, "iam").get_role(RoleName=journey.settings.lambda_role)["Role"]["Arn"]


def function(journey: Journey) -> str:
    name = journey.settings.lambda_function
    configuration = client(journey.settings, "lambda").get_function(FunctionName=name)["Configuration"]
    if configuration.get("State", "Active") != "Active":
        raise StepError(f"{name} is {configuration['State']}: {configuration.get('StateReason', 'no reason given')}.")
    return f"{name} ({configuration['Runtime']}, {configuration['Handler']})"


def requests(journey: Journey) -> str:
    port = journey.settings.http_port
    journey.sent_at = journey.clock.now()
    for number in range(REQUESTS):
        path = f"/verify-{journey.run}/{number}"
        agent = f"verify/{number} ({journey.run})"
        connection = web.Connection(journey.settings, HTTP_TIMEOUT)
        try:
            connection.request("GET", path, headers={"User-Agent": agent})
            status = connection.getresponse().status  # usually 404: nothing is there, and that is logged as well
        except (OSError, http.client.HTTPException) as error:
            raise StepError(f"port {port} does not answer ({error}). The lines of nginx in the log say why.") from None
        finally:
            connection.close()
        journey.sent[path] = {"method": "GET", "path": path, "status": status, "userAgent": agent}
    return f"{REQUESTS} requests to port {port}: /verify-{journey.run}/0 …"


def acknowledgements(journey: Journey) -> list[Acknowledged]:
    """What the producer had acknowledged since the requests were sent, a tick each. Raises StepError."""
    try:
        status = read_status(journey.settings.status_dir, ProducerStatus)
    except StatusError as error:
        raise StepError(str(error)) from None
    if status and status.error:
        raise StepError(f"the producer reports: {status.error}")
    return [one for one in status.acknowledged if one.at >= journey.sent_at] if status else []


def acknowledged(journey: Journey) -> str:
    journey.say(f"  … waiting for the next poll (every {journey.settings.poll_interval:g} s)")

    def seen() -> str | None:
        for one in acknowledgements(journey):
            shipped = f"{one.lines} line(s) as {one.records} record(s)"
            if one.first.record_id:
                return f"{shipped}, record {one.first.record_id[:SHOWN_OF_ID]}…"
            if one.first.key:
                return f"{shipped}, in {one.first.key}"
            return f"{shipped}, {one.first.shard}, sequence number {one.first.sequence_number}"
        return None

    return journey.until(seen, "The lines of the producer in the log say what keeps it.")


def hours(journey: Journey) -> list[str]:
    """The hours that the requests can be in: from the one they were sent in to the present one."""
    first = journey.sent_at.replace(minute=0, second=0, microsecond=0)
    passed = (journey.clock.now() - first) // timedelta(hours=1)
    return [hourly.hour_of(first + timedelta(hours=number)) for number in range(passed + 1)]


def found_lines(s3: S3Client, journey: Journey, key: str) -> list[str]:
    """Those of this run, in what the object did not have before."""
    bucket, begin = journey.settings.s3_bucket, journey.passed.get(key, 0)
    try:
        size = s3.head_object(Bucket=bucket, Key=key)["ContentLength"]
        if size == begin:
            return []
        begin = begin if begin < size else 0  # it was made again
        body = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={begin}-")["Body"]
    except ClientError as error:
        if status_of(error) == 404:
            return []
        raise
    mark = f"/verify-{journey.run}/".encode()
    with body:
        return [line.decode() for line in body.iter_lines() if mark in line]


def checked_entry(journey: Journey, line: str) -> dict[str, Any]:
    """The entry in a line of this run. Raises StepError when it is not what was requested."""
    entry: dict[str, Any] = json.loads(line)
    expected = journey.sent.get(entry["path"])
    if expected is None or any(entry[name] != value for name, value in expected.items()):
        raise StepError(f"the entry {line} is not what was requested: {expected}. Please report this.")
    return entry
