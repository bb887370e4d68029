"""What the archive needs of S3 and not every endpoint has: conditional writes. Tried out, not looked up by version."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from entrypoint.errors import code_of, status_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# An ETag that no object has.
NEVER = '"00000000000000000000000000000000"'
PRECONDITION_FAILED = 412


def ignored_conditions(s3: S3Client, bucket: str, prefix: str) -> list[str]:
    """The conditions of the archive's writes that this endpoint does not honour, in words; empty when all is well.

    Writes `<prefix>ledger/probe-…`, which is deleted again. Raises ClientError, BotoCoreError when the probe itself
    cannot be made.
    """
    key = f"{prefix}ledger/probe-{secrets.token_hex(8)}"
    s3.put_object(Bucket=bucket, Key=key, Body=b"probe")
    try:
        attempts: dict[str, Callable[[], Any]] = {
            "If-None-Match on PutObject": lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"x", IfNoneMatch="*"),
            "If-Match on PutObject": lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"x", IfMatch=NEVER),
            "If-Match on CompleteMultipartUpload": lambda: _complete(s3, bucket, key),
        }
        return [words for words, attempt in attempts.items() if not _refused(attempt)]
    finally:
        with suppress(ClientError, BotoCoreError):
            s3.delete_object(Bucket=bucket, Key=key)


def _refused(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except ClientError as error:
        if status_of(error) == PRECONDITION_FAILED:
            return True
        if status_of(error) == 501 or code_of(error) == "NotImplemented":
            return False
        raise
    return False


def _complete(s3: S3Client, bucket: str, key: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    try:
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x")
        parts: Any = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts, IfMatch=NEVER)
    finally:
        with suppress(ClientError, BotoCoreError):
            s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)


def meaning(endpoint: str, ignored: list[str], shards: int) -> str:
    """The sentence for the user about what an endpoint ignores."""
    many = f" SHARD_COUNT={shards} is more than that." if shards > 1 else ""
    return (
        f"{endpoint} does not honour {', '.join(ignored)}: two writers of one object can overwrite each other's lines. "
        "Exactly once holds here with one shard and one writer only: keep to -e SHARD_COUNT=1 and to one appliance for "
        f"this bucket, or take an endpoint that honours them.{many}"
    )
