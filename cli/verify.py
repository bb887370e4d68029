"""Follows a few requests through the running appliance, from nginx to S3, and says at each step what it saw.

It looks from outside, with the same API calls a user would make, and believes no status but what it can check.
`appliance verify`. Exit status: 0 every step passed, 1 one failed, 2 bad settings.
With --json each step is an object a line: `step`, `ok`, `detail` (what was seen, or what is wrong and its remedy) and
`seconds` (how long it took).
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import secrets
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from common.aws import client
from common.clock import Clock, SystemClock
from common.delivery import FIREHOSE, KINESIS
from common.errors import AWS_ERRORS, explain
from common.settings import Settings
from common.status import Acknowledged, Place, ProducerStatus, last_status
from journal import hourly
from journal.hourly import hour_of

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client

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
# What S3's clock and this machine's may differ by
CLOCK_SKEW = timedelta(minutes=5)


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

    @property
    def deadline(self) -> float:
        return self.settings.poll_interval + GRACE + BUFFERING * self.buffering

    def until(self, seen: Callable[[], str | None], otherwise: str) -> str:
        """Look until `seen` answers with what it saw; StepError with `otherwise` when the deadline has passed."""
        end = self.clock.monotonic() + self.deadline
        while True:
            answer = seen()
            if answer is not None:
                return answer
            if self.clock.monotonic() > end:
                raise StepError(f"not within {self.deadline:.0f} s. {otherwise}")
            self.clock.sleep(LOOK_AGAIN)


def bucket(journey: Journey) -> str:
    name = journey.settings.s3_bucket
    client(journey.settings, "s3").head_bucket(Bucket=name)
    return name


def stream(journey: Journey) -> str:
    name = journey.settings.kinesis_data_stream
    summary = client(journey.settings, "kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    if summary["StreamStatus"] != "ACTIVE":
        raise StepError(f"{name} is {summary['StreamStatus']}. Wait until it is ACTIVE, then verify again.")
    return f"{name} is ACTIVE with {summary['OpenShardCount']} shard(s)"


def role(journey: Journey) -> str:
    return client(journey.settings, "iam").get_role(RoleName=journey.settings.lambda_role)["Role"]["Arn"]


def delivery_stream(journey: Journey) -> str:
    settings, name = journey.settings, journey.settings.firehose_stream
    answer = client(settings, "firehose").describe_delivery_stream(DeliveryStreamName=name)
    stream = answer["DeliveryStreamDescription"]
    if stream["DeliveryStreamStatus"] != "ACTIVE":
        raise StepError(f"{name} is {stream['DeliveryStreamStatus']}. Wait until it is ACTIVE, then verify again.")
    to: Any = next((one.get("ExtendedS3DestinationDescription") for one in stream["Destinations"]), None) or {}
    transforms = [
        parameter["ParameterValue"]
        for processor in to.get("ProcessingConfiguration", {}).get("Processors", [])
        for parameter in processor.get("Parameters", [])
        if parameter["ParameterName"] == "LambdaArn"
    ]
    if not any(f":function:{settings.lambda_function}:" in f"{arn}:" for arn in transforms):
        raise StepError(f"{name} is not transformed by {settings.lambda_function}. Start the appliance again.")
    if not to.get("BucketARN", "").endswith(f":{settings.s3_bucket}"):
        raise StepError(f"{name} delivers to {to.get('BucketARN')}, not to {settings.s3_bucket}. Check S3_BUCKET.")
    hints = to.get("BufferingHints", {})
    journey.buffering = float(hints.get("IntervalInSeconds", 0))
    return f"{name} is ACTIVE, buffers up to {hints.get('SizeInMBs')} MiB or {journey.buffering:g} s"


def delivery_role(journey: Journey) -> str:
    return client(journey.settings, "iam").get_role(RoleName=journey.settings.firehose_role)["Role"]["Arn"]


def function(journey: Journey) -> str:
    name = journey.settings.lambda_function
    configuration = client(journey.settings, "lambda").get_function(FunctionName=name)["Configuration"]
    if configuration.get("State", "Active") != "Active":
        raise StepError(f"{name} is {configuration['State']}: {configuration.get('StateReason', 'no reason given')}.")
    return f"{name} ({configuration['Runtime']}, {configuration['Handler']})"


def mapping(journey: Journey) -> str:
    settings = journey.settings
    pages = client(settings, "lambda").get_paginator("list_event_source_mappings")
    for page in pages.paginate(FunctionName=settings.lambda_function):
        for one in page["EventSourceMappings"]:
            if one["EventSourceArn"].endswith(f":stream/{settings.kinesis_data_stream}"):
                if one["State"] != "Enabled":
                    raise StepError(
                        f"the mapping is {one['State']}. Start the appliance again: it enables its mapping."
                    )
                return f"Enabled, batch size {one['BatchSize']}"
    raise StepError("the function has no mapping for the stream. The log of the entrypoint says why it was not made.")


def requests(journey: Journey) -> str:
    host, port = journey.settings.http_host or "127.0.0.1", journey.settings.http_port
    journey.sent_at = journey.clock.now()
    for number in range(REQUESTS):
        path = f"/verify-{journey.run}/{number}"
        agent = f"verify/{number} ({journey.run})"
        connection = http.client.HTTPConnection(host, port, timeout=HTTP_TIMEOUT)
        try:
            connection.request("GET", path, headers={"User-Agent": agent})
            status = connection.getresponse().status  # usually 404: nothing is there, and that is logged as well
        except (OSError, http.client.HTTPException) as error:
            raise StepError(f"port {port} does not answer ({error}). The lines of nginx in the log say why.") from None
        finally:
            connection.close()
        journey.sent[path] = {"method": "GET", "path": path, "status": status, "userAgent": agent}
    return f"{REQUESTS} requests to port {port}: /verify-{journey.run}/0 …"


def _acknowledgements(journey: Journey) -> list[Acknowledged]:
    """What the producer had acknowledged since the requests were sent, a tick each. Raises StepError."""
    status = last_status(journey.settings.status_dir, ProducerStatus)
    if status and status.error:
        raise StepError(f"the producer reports: {status.error}")
    return [one for one in status.acknowledged if one.at >= journey.sent_at] if status else []


def acknowledged(journey: Journey) -> str:
    journey.say(f"  … waiting for the next poll (every {journey.settings.poll_interval:g} s)")

    def seen() -> str | None:
        for one in _acknowledgements(journey):
            shipped = f"{one.lines} line(s) as {one.records} record(s)"
            if one.first.record_id:
                return f"{shipped}, record {one.first.record_id[:SHOWN_OF_ID]}…"
            return f"{shipped}, {one.first.shard}, sequence number {one.first.sequence_number}"
        return None

    return journey.until(seen, "The lines of the producer in the log say what keeps it.")


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
        for acknowledgement in _acknowledgements(journey):
            for data in _records(kinesis, name, acknowledgement.first):
                found.update(path for line in lines_of(data) for mark, path in marks.items() if mark in line)
        return f"{len(found)} of {len(marks)} in {name}" if len(found) == len(marks) else None

    return journey.until(seen, "The producer says it shipped, but the stream does not hold these requests.")


def hours(journey: Journey) -> list[str]:
    """The hours that the requests can be in: from the one they were sent in to the present one."""
    hour = journey.sent_at.replace(minute=0, second=0, microsecond=0)
    found = []
    while hour <= journey.clock.now():
        found.append(hour_of(hour))
        hour += timedelta(hours=1)
    return found


def keys(journey: Journey) -> list[str]:
    """The hourly objects that the requests can be in."""
    return [hourly.object_key(journey.settings.s3_prefix, hour) for hour in hours(journey)]


def _lines(s3: S3Client, journey: Journey, key: str) -> list[str]:
    try:
        body = s3.get_object(Bucket=journey.settings.s3_bucket, Key=key)["Body"]
    except s3.exceptions.NoSuchKey:
        return []
    mark = f"/verify-{journey.run}/".encode()
    with body:
        return [line.decode() for line in body.iter_lines() if mark in line]


def archived(journey: Journey) -> str:
    s3 = client(journey.settings, "s3")

    def seen() -> str | None:
        journey.found = {key: lines for key in keys(journey) if (lines := _lines(s3, journey, key))}
        if sum(map(len, journey.found.values())) < len(journey.sent):
            return None
        return ", ".join(f"s3://{journey.settings.s3_bucket}/{key}" for key in journey.found)

    remedy = (
        "Look at the function's log: aws logs filter-log-events "
        f"--log-group-name /aws/lambda/{journey.settings.lambda_function}"
    )
    return journey.until(seen, remedy)


def _entry(journey: Journey, line: str) -> dict[str, Any]:
    """The entry in a line of this run. Raises StepError when it is not what was requested."""
    entry: dict[str, Any] = json.loads(line)
    expected = journey.sent.get(entry["path"])
    if expected is None or any(entry[name] != value for name, value in expected.items()):
        raise StepError(f"the entry {line} is not what was requested: {expected}. Please report this.")
    return entry


def entries(journey: Journey) -> str:
    lines = [line for found in journey.found.values() for line in found]
    if len(lines) != len(journey.sent):
        raise StepError(f"{len(lines)} lines for {len(journey.sent)} requests: a line was doubled. Please report this.")
    for line in lines:
        _entry(journey, line)
    return f"exactly those {len(lines)} requests, once each; the first: {lines[0]}"


def delivered(journey: Journey) -> str:
    settings = journey.settings
    s3 = client(settings, "s3")
    if journey.buffering:
        journey.say(f"  … waiting for Firehose: it may buffer for {BUFFERING * journey.buffering:g} s")

    def seen() -> str | None:
        for hour in hours(journey):
            for key in _fresh(s3, journey, hour):
                if lines := _lines(s3, journey, key):
                    journey.found[key] = lines
        there = {path for lines in journey.found.values() for line in lines for path in journey.sent if path in line}
        if len(there) < len(journey.sent):
            return None
        return ", ".join(f"s3://{settings.s3_bucket}/{key}" for key in journey.found)

    remedy = (
        f"Look below s3://{settings.s3_bucket}/{settings.s3_prefix}rejected/ for what could not be transformed, and at "
        f"the transform's log: aws logs filter-log-events --log-group-name /aws/lambda/{settings.lambda_function}"
    )
    return journey.until(seen, remedy)


def _fresh(s3: S3Client, journey: Journey, hour: str) -> Iterator[str]:
    """The objects of the hour that were written since the requests were sent, each of them once."""
    since = journey.sent_at - CLOCK_SKEW
    prefix = journey.settings.s3_prefix
    pages = hourly.pages(s3, journey.settings.s3_bucket, Prefix=f"{prefix}{hour}/")
    for one in hourly.objects(pages, prefix, any_name=True):
        version = one.key, one.etag
        by_kinesis = one.key == hourly.object_key(prefix, hour)
        if one.modified >= since and not by_kinesis and version not in journey.looked_into:
            journey.looked_into.add(version)
            yield one.key


def delivered_entries(journey: Journey) -> str:
    """At least once, and under its own hour: that is all Firehose promises, so it is all that is asked."""
    lines = [(key, line) for key, found in journey.found.items() for line in found]
    for key, line in lines:
        moment = datetime.fromisoformat(_entry(journey, line)["time"])
        if not key.startswith(folder := f"{journey.settings.s3_prefix}{hour_of(moment)}/"):
            raise StepError(f"the entry {line} is in {key}, not below {folder}. Please report this.")
    missing = journey.sent.keys() - {json.loads(line)["path"] for _, line in lines}
    if missing:
        raise StepError(f"no entry for {', '.join(sorted(missing))}. Please report this.")
    more = len(lines) - len(journey.sent)
    doubled = f", {more} of them delivered again" if more else ""
    return f"those {len(journey.sent)} requests in {len(lines)} lines{doubled}; the first: {lines[0][1]}"


Steps: TypeAlias = list[tuple[str, Callable[[Journey], str]]]

_KINESIS: Steps = [
    ("bucket", bucket),
    ("stream", stream),
    ("role", role),
    ("function", function),
    ("event source mapping", mapping),
    ("requests to nginx", requests),
    ("acknowledged by the stream", acknowledged),
    ("records in the stream", records),
    ("object in S3", archived),
    ("JSON lines", entries),
]
_FIREHOSE: Steps = [
    ("bucket", bucket),
    ("delivery stream", delivery_stream),
    ("delivery role", delivery_role),
    ("transform role", role),
    ("transform function", function),
    ("requests to nginx", requests),
    ("acknowledged by Firehose", acknowledged),
    ("objects in S3", delivered),
    ("JSON lines", delivered_entries),
]
STEPS = {KINESIS: _KINESIS, FIREHOSE: _FIREHOSE}


@dataclass(frozen=True)
class Step:
    """A step that was taken; these are the keys of --json."""

    step: str
    ok: bool
    detail: str  # what was seen; or what is wrong, and its remedy
    seconds: float

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.step}: {self.detail}"


def walk(journey: Journey) -> Iterator[Step]:
    """The steps, each as it is taken. The first that fails is the last."""
    for title, step in STEPS[journey.settings.delivery]:
        begun = journey.clock.monotonic()
        ok = False
        try:
            detail, ok = step(journey), True
        except StepError as error:
            detail = str(error)
        except AWS_ERRORS as error:
            detail = str(explain(error, title, journey.settings.target)).removeprefix(f"{title}: ")
        yield Step(title, ok, detail, round(journey.clock.monotonic() - begun, 3))
        if not ok:
            return


def verify(journey: Journey, show: Callable[[Step], None]) -> bool:
    """Walk, and show each step; whether all of them passed."""
    ok = False
    for step in walk(journey):
        show(step)
        ok = step.ok
    return ok


def main(settings: Settings, options: argparse.Namespace) -> int:
    if options.json:
        # that something is waited for is for people
        journey = Journey(settings, SystemClock(), lambda note: print(note, file=sys.stderr, flush=True))
        passed = verify(journey, lambda step: print(json.dumps(asdict(step), ensure_ascii=False), flush=True))
    else:
        journey = Journey(settings, SystemClock(), lambda note: print(note, flush=True))
        passed = verify(journey, lambda step: print(step, flush=True))
    return 0 if passed else 1
