"""The function's S3 client."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_TIMEOUT = 3
READ_TIMEOUT = 40  # S3 copies the largest part in some 25 s
EDGE_PORT = "4566"


def client() -> S3Client:
    """An S3 client for the endpoint that the environment names."""
    import boto3
    from botocore.config import Config

    endpoint = endpoint_url(os.environ)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": 3},
        # a multipart upload with a checksum needs one for every copied part, too; older emulators support none
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # an emulator has one name: a bucket in the host name would not resolve
        s3={"addressing_style": "path"} if endpoint else None,
    )
    return boto3.client("s3", endpoint_url=endpoint, config=config)


def endpoint_url(environment: Mapping[str, str]) -> str | None:
    """Where S3 answers: AWS_ENDPOINT_URL(_S3), else LocalStack's old LOCALSTACK_HOSTNAME, else None for AWS itself."""
    given = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if given:
        return given
    host = environment.get("LOCALSTACK_HOSTNAME")
    return f"http://{host}:{environment.get('EDGE_PORT') or EDGE_PORT}" if host else None
