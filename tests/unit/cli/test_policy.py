"""`appliance policy`: as little as each delivery's producer needs."""

from __future__ import annotations

import json
import random
from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from cli import __main__ as cli
from cli.policy import policy
from common.archiver import Archive, HourlyObject, Item
from common.delivery import DELIVERIES
from common.settings import Settings

APPEND = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
BUCKET = "arn:aws:s3:::logs-bucket"
EXPECTED: dict[str, dict[str, Any]] = {
    "kinesis": {
        "kinesis:PutRecords": "arn:aws:kinesis:eu-central-1:*:stream/web-log-stream",
        "s3:GetObject": f"{BUCKET}/logs/*",
        "s3:ListBucket": BUCKET,
    },
    "firehose": {"firehose:PutRecordBatch": "arn:aws:firehose:eu-central-1:*:deliverystream/web-log-delivery"},
    "s3": dict.fromkeys(APPEND, f"{BUCKET}/logs/*")
    | {"s3:DeleteObject": f"{BUCKET}/logs/ledger/*", "s3:ListBucket": BUCKET},
}


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_each_delivery_needs_this_and_no_more(delivery: str) -> None:
    settings = Settings(
        delivery=delivery, s3_bucket="logs-bucket", s3_prefix="logs/", aws_default_region="eu-central-1"
    )
    found: dict[str, Any] = {}
    for statement in policy(settings)["Statement"]:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert action not in found
            found[action] = statement["Resource"]
    assert found == EXPECTED[delivery]


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("x-1-y", "aws")]
)
def test_each_partition_has_its_arns(region: str, partition: str) -> None:
    (statement,) = policy(Settings(delivery="firehose", aws_default_region=region))["Statement"]
    assert statement["Resource"].startswith(f"arn:{partition}:firehose:{region}:")


def test_it_is_printed_without_an_appliance_or_credentials(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELIVERY", "s3")
    monkeypatch.setenv("TARGET", "aws")
    assert cli.main(["policy"]) == 0
    assert json.loads(capsys.readouterr().out)["Version"] == "2012-10-17"


def test_it_suffices_to_append_and_not_to_delete_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """By moto's reading of IAM."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    settings = Settings(delivery="s3", s3_bucket="logs-bucket", s3_prefix="logs/", aws_default_region="us-east-1")

    @set_initial_no_auth_action_count(4)
    def run() -> None:
        iam, owner = boto3.client("iam"), boto3.client("s3", region_name="us-east-1")
        owner.create_bucket(Bucket="logs-bucket")
        iam.create_user(UserName="producer")
        iam.put_user_policy(UserName="producer", PolicyName="p", PolicyDocument=json.dumps(policy(settings)))
        key = iam.create_access_key(UserName="producer")["AccessKey"]
        own = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
        with closing(own.client("s3")) as s3:
            archive = Archive(s3, "logs-bucket", rng=random.Random(1), sleep=lambda _: None)
            hour, size = HourlyObject("logs/", "2026/11/23/10"), 6 * 1024 * 1024
            for start in (0, size, 2 * size):  # the second and third copy what is there
                assert archive.append(hour, [Item("5e9a0000" * 3, start, start + size, b"x" * size)]).bytes == size
            s3.delete_object(Bucket="logs-bucket", Key="logs/ledger/old")
            for refused in (
                lambda: s3.delete_object(Bucket="logs-bucket", Key=hour.key),
                lambda: s3.put_object(Bucket="logs-bucket", Key="elsewhere"),
                lambda: s3.get_object(Bucket="logs-bucket", Key="elsewhere"),
            ):
                with pytest.raises(ClientError, match="AccessDenied"):
                    refused()

    with mock_aws():
        run()
