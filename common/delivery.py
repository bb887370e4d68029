"""The deliveries: the ways from the producer to the bucket, of which DELIVERY chooses one.

What a layer does of its own for each is in one table there, by delivery: sink_of (producer/sink.py), PIPELINES
(entrypoint/provision.py), LOOKS (dashboard/stream.py), STEPS (cli/verify.py), POLICIES (cli/policy.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Delivery:
    """`name`: the value of DELIVERY. `title`, `service`: the service's name in text and in boto3. `kind`: what lines
    are sent to, whose name is in the setting `stream_setting`.

    `has_ledger`: lines are in hourly objects, each with a ledger, so what is archived can be known. Without it the
    service names the objects, many an hour, and acknowledged is all that can be known. `is_direct`: nothing is between
    the producer and the bucket, so what is acknowledged is archived.
    """

    name: str
    title: str
    service: Literal["kinesis", "firehose", "s3"]
    kind: str
    stream_setting: str
    has_ledger: bool
    is_direct: bool = False

    def __str__(self) -> str:
        return self.name


KINESIS = Delivery("kinesis", "Kinesis", "kinesis", "stream", "KINESIS_DATA_STREAM", has_ledger=True)
FIREHOSE = Delivery("firehose", "Firehose", "firehose", "delivery stream", "FIREHOSE_STREAM", has_ledger=False)
S3 = Delivery("s3", "S3", "s3", "bucket", "S3_BUCKET", has_ledger=True, is_direct=True)
DELIVERIES = {each.name: each for each in (KINESIS, FIREHOSE, S3)}


def delivery_of(name: object) -> Delivery:
    """The delivery of that name, or itself. Raises ValueError that names the choices."""
    if isinstance(name, Delivery):
        return name
    if name not in DELIVERIES:
        raise ValueError(f"Input should be {' or '.join(map(repr, DELIVERIES))}")
    return DELIVERIES[str(name)]
