"""What the pipelines need and not every endpoint has. Tried out, not looked up by version.

The archive needs conditional writes of S3. A delivery stream is to transform the lines, and to file them under their
own hour.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from common.aws import S3Client
from common.conditions import COPY, ignored_conditions, refusal
from common.settings import Settings
from entrypoint import delivery
from entrypoint.errors import UnavailableError
from entrypoint.run import Run

if TYPE_CHECKING:
    from entrypoint.provision import Clients

# The line that is sent through a delivery stream, in an hour that no real line can have
PROBE_TIME = "01/Jan/1970:00:00:00 +0000"
PROBE_HOUR = "1970/01/01/00/"
# Seconds in which it is looked for. Emulators deliver at once; what buffers is not waited for.
PROBE_WITHIN = 5.0
# Bytes: an object with nothing but the probe in it, as a line, as an entry or as what failed, is smaller
PROBE_OBJECT = 2048

Filed = Literal["own hour", "untransformed", "hour of arrival", "failed", "unseen"]
_INSTEAD = "Take Firehose as AWS has it: the embedded emulator (leave out LOCALSTACK_HOST), or AWS with terraform/"
MEANINGS: dict[Filed, str] = {
    "own hour": "",
    "untransformed": "{endpoint} runs no transform for delivery stream {stream} and does not evaluate its prefix: "
    f"lines arrive as nginx wrote them, in the hour of their arrival below a folder !{{{{…}}}}. {_INSTEAD}",
    "hour of arrival": "{endpoint} does not evaluate the prefix of delivery stream {stream}: objects arrive in the "
    f"hour of their arrival below a folder !{{{{…}}}}, not in the hour of their lines. {_INSTEAD}",
    "failed": "delivery stream {stream}: the transform failed for a probe, so lines arrive below rejected/. Look at "
    "the function's log: aws logs filter-log-events --log-group-name /aws/lambda/{function}",
    "unseen": "whether {endpoint} files lines under their own hour could not be seen within "
    f"{PROBE_WITHIN:g} s: `verify` tells it later",
}


def meaning(endpoint: str, ignored: list[str], shards: int) -> str:
    """The sentence for the user about what an endpoint ignores."""
    many = f" SHARD_COUNT={shards} is more than that." if shards > 1 else ""
    return (
        f"{endpoint} does not honour {', '.join(ignored)}: two writers of one object can overwrite each other's lines. "
        "Exactly once holds here with one shard and one writer only: keep to -e SHARD_COUNT=1 and to one appliance for "
        f"this bucket, or take an endpoint that honours them.{many}"
    )


def filed(clients: Clients, settings: Settings, run: Run) -> Filed:
    """Where this endpoint's Firehose files a line: a probe goes through it, and what became of it is deleted.

    Raises AWS_ERRORS when the probe itself cannot be made.
    """
    token = f"probe-{secrets.token_hex(8)}"
    line = f'127.0.0.1 - - [{PROBE_TIME}] "GET /{token} HTTP/1.1" 200 0 "-" "probe"\n'.encode()
    s3, bucket, prefix = clients.s3, settings.s3_bucket, settings.s3_prefix
    clients.firehose.put_record(DeliveryStreamName=settings.firehose_stream, Record={"Data": line})
    arrival = f"{run.now:%Y/%m/%d/%H}/"
    failures = prefix + delivery.ERROR_PREFIX.partition("!")[0] + f"processing-failed/{arrival}"
    places: dict[str, Filed] = {
        prefix + PROBE_HOUR: "own hour",
        delivery.object_prefix(prefix) + arrival: "hour of arrival",
        failures: "failed",
    }
    marks = (token.encode(), base64.b64encode(line).rstrip(b"="))

    def look() -> Filed | None:
        for place, meaning in places.items():
            for key, body in _small_objects(s3, bucket, place):
                if any(mark in body for mark in marks):
                    s3.delete_object(Bucket=bucket, Key=key)
                    return "untransformed" if meaning == "hour of arrival" and line in body else meaning
        return None

    try:
        return run.within(PROBE_WITHIN).until("the probe", look)
    except UnavailableError:
        return "unseen"


def _small_objects(s3: S3Client, bucket: str, prefix: str) -> Iterator[tuple[str, bytes]]:
    for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
        if item["Size"] <= PROBE_OBJECT:
            yield item["Key"], s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()


def overwrites(clients: Clients, settings: Settings, endpoint: str, _run: Run) -> str:
    """Whether the bucket's endpoint keeps two writers apart: the sentence about what it ignores, or nothing."""
    ignored = _ignored(clients, settings)
    return meaning(endpoint, ignored, settings.shard_count) if ignored else ""


def refuses(clients: Clients, settings: Settings, _endpoint: str, _run: Run) -> str:
    """Whether the producer may write to the bucket by itself: why it does not, or nothing."""
    ignored = _ignored(clients, settings)
    return refusal(settings.s3_bucket, ignored) if ignored else ""


def _ignored(clients: Clients, settings: Settings) -> list[str]:
    found = ignored_conditions(clients.s3, settings.s3_bucket, settings.s3_prefix)
    return [condition for condition in found if condition != COPY]


def misfiles(clients: Clients, settings: Settings, endpoint: str, run: Run) -> str:
    """Whether the delivery stream files lines as it is told: the sentence about what it does, or nothing."""
    stream, function = settings.firehose_stream, settings.lambda_function
    return MEANINGS[filed(clients, settings, run)].format(endpoint=endpoint, stream=stream, function=function)
