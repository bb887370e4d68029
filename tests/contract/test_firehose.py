"""Lines through a delivery stream with the real transform: each ends up under its own hour."""

from __future__ import annotations

import base64
import gzip
import json
import random
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from archiver.parse import parse
from entrypoint.bundle import bundle
from entrypoint.delivery import destination
from tests.lambda_events import combined
from tests.waiting import eventually

FUNCTION_FOLDER = Path(__file__).resolve().parents[2] / "lambda"
HOURS = 5
LINES = 10_000
PACK = 500


class Delivery:
    """A bucket, the function and a delivery stream of a test's own."""

    def __init__(self, endpoint: str) -> None:
        session = boto3.session.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")

        def client(name: str) -> Any:
            config = Config(
                s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=120, proxies={}
            )
            return session.client(name, endpoint_url=endpoint, config=config)  # type: ignore[call-overload]

        self.name = f"delivery-{secrets.token_hex(6)}"
        self.s3, self.functions, self.firehose = client("s3"), client("lambda"), client("firehose")
        self.s3.create_bucket(Bucket=self.name)
        function = self.functions.create_function(
            FunctionName=self.name,
            Runtime="python3.13",
            Role="arn:aws:iam::000000000000:role/r",
            Handler="index.firehose_handler",
            Code={"ZipFile": bundle(FUNCTION_FOLDER)},
            Timeout=60,
            MemorySize=256,
            Environment={"Variables": {"S3_BUCKET": self.name, "S3_PREFIX": "logs/", "AWS_ENDPOINT_URL": endpoint}},
        )
        self.firehose.create_delivery_stream(
            DeliveryStreamName=self.name,
            DeliveryStreamType="DirectPut",
            ExtendedS3DestinationConfiguration=destination(
                stream=self.name,
                bucket=self.name,
                prefix="logs/",
                role_arn="arn:aws:iam::000000000000:role/r",
                function_arn=function["FunctionArn"],
            ),
        )
        eventually(lambda: self._status() == "ACTIVE", why="the delivery stream is active")

    def _status(self) -> str:
        described = self.firehose.describe_delivery_stream(DeliveryStreamName=self.name)
        status: str = described["DeliveryStreamDescription"]["DeliveryStreamStatus"]
        return status

    def put(self, *records: bytes) -> None:
        answer = self.firehose.put_record_batch(
            DeliveryStreamName=self.name, Records=[{"Data": data} for data in records]
        )
        assert answer["FailedPutCount"] == 0

    def objects(self) -> dict[str, bytes]:
        found = {}
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.name):
            for item in page.get("Contents", []):
                found[item["Key"]] = self.s3.get_object(Bucket=self.name, Key=item["Key"])["Body"].read()
        return found

    def close(self) -> None:
        self.firehose.delete_delivery_stream(DeliveryStreamName=self.name)
        self.functions.delete_function(FunctionName=self.name)
        for key in self.objects():
            self.s3.delete_object(Bucket=self.name, Key=key)
        self.s3.delete_bucket(Bucket=self.name)
        for client in (self.s3, self.functions, self.firehose):
            client.close()


@pytest.fixture
def delivery(ministack: str) -> Iterator[Delivery]:
    with closing(Delivery(ministack)) as made:
        yield made


@pytest.mark.emulator
def test_ten_thousand_lines_each_under_its_own_hour(delivery: Delivery) -> None:
    rng = random.Random(1)
    lines: dict[int, list[bytes]] = defaultdict(list)
    for number in range(LINES):
        hour = rng.randrange(HOURS)
        stamp = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(1587171600 + hour * 3600 + rng.randrange(3600)))
        lines[hour].append(combined(time=stamp.encode(), agent=b"line %d\x01" % number))
    records = []
    for some in lines.values():
        for at in range(0, len(some), PACK):
            data = b"".join(line + b"\n" for line in some[at : at + PACK])
            records.append(gzip.compress(data, 1) if at % (2 * PACK) else data)
    delivery.put(*records, lines[0][0])

    expected = Counter(parse(line).text for some in lines.values() for line in some)
    expected[parse(lines[0][0]).text] += 1
    found: Counter[bytes] = Counter()
    for key, body in delivery.objects().items():
        for text in body.splitlines(keepends=True):
            found[text] += 1
            hour = json.loads(text)["time"][:13].replace("-", "/").replace("T", "/")
            assert key.startswith(f"logs/{hour}/"), key
    assert found == expected


@pytest.mark.emulator
def test_rejected_lines_among_others_are_kept_in_the_bucket(delivery: Delivery) -> None:
    """What MiniStack does with a record that is refused as a whole is to leave it out; AWS has an error output."""
    delivery.put(gzip.compress(b"junk\n" + combined() + b"\n", 1), b"all of it junk\n")
    found = delivery.objects()
    (rejected,) = (key for key in found if "/rejected/" in key)
    assert json.loads(found.pop(rejected))["raw"] == "junk"
    assert list(found.values()) == [parse(combined()).text]


def event(name: str, *data: bytes) -> bytes:
    records = [{"recordId": str(at), "data": base64.b64encode(each).decode()} for at, each in enumerate(data)]
    return json.dumps({"deliveryStreamArn": name, "records": records}).encode()


@pytest.mark.emulator
def test_the_function_answers_over_the_wire_as_aws_asks_it(delivery: Delivery) -> None:
    answer = delivery.functions.invoke(FunctionName=delivery.name, Payload=event("a", combined(), b"junk", b""))
    records = json.loads(answer["Payload"].read())["records"]
    assert [(each["recordId"], each["result"]) for each in records] == [
        ("0", "Ok"),
        ("1", "ProcessingFailed"),
        ("2", "ProcessingFailed"),
    ]
