"""The steps of `appliance verify` with DELIVERY=firehose: its stream and transform, then at least once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from cli.steps import BUFFERING, Journey, StepError, checked_entry, found_lines, hours
from common.aws import S3Client, client
from journal import hourly
from journal.hourly import hour_of

# What S3's clock and this machine's may differ by
CLOCK_SKEW = timedelta(minutes=5)


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


def delivered(journey: Journey) -> str:
    settings = journey.settings
    s3 = client(settings, "s3")
    if journey.buffering:
        journey.say(f"  … waiting for Firehose: it may buffer for {BUFFERING * journey.buffering:g} s")

    def seen() -> str | None:
        for hour in hours(journey):
            for key in _fresh(s3, journey, hour):
                if lines := found_lines(s3, journey, key):
                    journey.found[key] = lines
        there = {path for lines in journey.found.values() for line in lines for path in journey.sent if path in line}
        return journey.objects if len(there) == len(journey.sent) else None

    remedy = (
        f"Look below s3://{settings.s3_bucket}/{settings.s3_prefix}rejected/ for what could not be transformed, and at "
        f"the transform's log: {journey.function_log}"
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
        moment = datetime.fromisoformat(checked_entry(journey, line)["time"])
        if not key.startswith(folder := f"{journey.settings.s3_prefix}{hour_of(moment)}/"):
            raise StepError(f"the entry {line} is in {key}, not below {folder}. Please report this.")
    missing = journey.sent.keys() - {json.loads(line)["path"] for _, line in lines}
    if missing:
        raise StepError(f"no entry for {', '.join(sorted(missing))}. Please report this.")
    more = len(lines) - len(journey.sent)
    doubled = f", {more} of them delivered again" if more else ""
    return f"those {len(journey.sent)} requests in {len(lines)} lines{doubled}; the first: {lines[0][1]}"
