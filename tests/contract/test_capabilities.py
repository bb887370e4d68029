"""One body over every S3 there is: the probe says what the endpoint does, and leaves nothing behind."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from moto import mock_aws

from common import aws
from common.conditions import COPY, ignored_conditions
from common.settings import Settings
from entrypoint.capabilities import meaning

ALL = ["If-None-Match on PutObject", "If-Match on PutObject", "If-Match on CompleteMultipartUpload", COPY]
# what is known, so that a new version which changes it is noticed
IGNORES = {"moto": ALL[2:], "ministack": [], "localstack": []}


@pytest.fixture(
    params=[
        "moto",
        pytest.param("ministack", marks=pytest.mark.emulator),
        pytest.param("localstack", marks=pytest.mark.localstack),
    ]
)
def s3(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "moto":
        with mock_aws():
            yield aws.client(Settings(target="aws", localstack_host=""), "s3")
        return
    client = aws.client(Settings(localstack_host=request.getfixturevalue(request.param)), "s3")
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"probe-{secrets.token_hex(6)}"
    s3.create_bucket(Bucket=name)
    return name


def test_what_is_honoured(s3: Any, bucket: str, request: pytest.FixtureRequest) -> None:
    expected = next(ignores for name, ignores in IGNORES.items() if name in request.node.name)
    assert ignored_conditions(s3, bucket, "logs/") == expected
    left_behind(s3, bucket)


def left_behind(s3: Any, bucket: str) -> None:
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    assert s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_an_endpoint_that_ignores_a_condition_is_found_out(s3: Any, bucket: str, missing: int) -> None:
    """The header is taken off on its way, as an old LocalStack reads past it."""
    operation = ALL[missing].rpartition(" ")[2]
    header = ALL[missing].partition(" ")[0]

    def strip(params: dict[str, Any], **_: Any) -> None:
        params["headers"].pop(header, None)

    s3.meta.events.register(f"before-call.s3.{operation}", strip)
    assert ALL[missing] in ignored_conditions(s3, bucket, "")
    s3.meta.events.unregister(f"before-call.s3.{operation}", strip)
    left_behind(s3, bucket)


def test_the_words_for_the_user() -> None:
    words = meaning("http://x", ALL[:2], 1)
    assert "http://x does not honour If-None-Match on PutObject, If-Match on PutObject: " in words
    assert "SHARD_COUNT=3 is more" in meaning("http://x", ALL[:1], 3)
    assert "is more" not in words
