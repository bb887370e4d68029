"""`appliance policy`: the IAM policy that the producer needs with this DELIVERY. Asks nothing of AWS."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from botocore.exceptions import UnknownRegionError
from botocore.session import Session

from cli.screen import OK
from common.delivery import FIREHOSE, KINESIS, S3, Delivery
from common.settings import Settings
from entrypoint import policies
from entrypoint.policies import Policy

# Of a policy's own account: another one has to let it in by a policy of its own
ACCOUNT = "*"


def policy(settings: Settings) -> Policy:
    """What to attach to the role or user of the producer."""
    region = settings.aws_default_region
    try:
        partition = Session().get_partition_for_region(region)
    except UnknownRegionError:  # newer than botocore, or an emulator's
        partition = "aws"
    return POLICIES[settings.delivery](settings, f"arn:{partition}:", f"{region}:{ACCOUNT}:")


def _kinesis(settings: Settings, arn: str, place: str) -> Policy:
    stream = f"{arn}kinesis:{place}stream/{settings.kinesis_data_stream}"
    return policies.stream_producer_policy(stream, settings.s3_bucket, settings.s3_prefix)


def _firehose(settings: Settings, arn: str, place: str) -> Policy:
    return policies.delivery_producer_policy(f"{arn}firehose:{place}deliverystream/{settings.firehose_stream}")


def _s3(settings: Settings, arn: str, _place: str) -> Policy:
    return policies.bucket_producer_policy(f"{arn}s3:::{settings.s3_bucket}", settings.s3_prefix)


POLICIES: dict[Delivery, Callable[[Settings, str, str], Policy]] = {KINESIS: _kinesis, FIREHOSE: _firehose, S3: _s3}


def main(settings: Settings, options: argparse.Namespace) -> int:
    print(json.dumps(policy(settings), indent=None if options.json else 2))
    return OK
