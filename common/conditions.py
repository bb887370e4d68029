"""Which conditional writes of S3 an endpoint honours. Tried out, not looked up by version."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import ClientError

from common.aws import S3Client
from common.errors import AWS_ERRORS, code_of, status_of

# An ETag that no object has.
NEVER = '"00000000000000000000000000000000"'
PRECONDITION_FAILED = 412
# An append above 5 MiB is safe without this one: what it copied in vain is not completed
COPY = "x-amz-copy-source-if-match on UploadPartCopy"


def ignored_conditions(s3: S3Client, bucket: str, prefix: str) -> list[str]:
    """The conditions of the archive's writes that this endpoint does not honour, in words; empty when all is well.

    Writes `<prefix>ledger/probe-…`, which is deleted again. Raises AWS_ERRORS when the probe itself cannot be made.
    """
    key = f"{prefix}ledger/probe-{secrets.token_hex(8)}"
    s3.put_object(Bucket=bucket, Key=key, Body=b"probe")
    try:
        attempts: dict[str, Callable[[], Any]] = {
            "If-None-Match on PutObject": lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"x", IfNoneMatch="*"),
            "If-Match on PutObject": lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"x", IfMatch=NEVER),
            "If-Match on CompleteMultipartUpload": lambda: _complete(s3, bucket, key),
            COPY: lambda: _copy(s3, bucket, key),
        }
        return [words for words, attempt in attempts.items() if not _refused(attempt)]
    finally:
        with suppress(*AWS_ERRORS):
            s3.delete_object(Bucket=bucket, Key=key)


def refusal(bucket: str, ignored: Sequence[str]) -> str:
    """The sentence for the user about an endpoint at which nothing is written."""
    return (
        f"bucket {bucket}: the endpoint does not honour {', '.join(ignored)}, so lines could be lost or doubled, and "
        "nothing is written. Take an endpoint that honours them, or -e DELIVERY=kinesis"
    )


def _refused(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except ClientError as error:
        if status_of(error) == PRECONDITION_FAILED:
            return True
        if status_of(error) != 501 and code_of(error) != "NotImplemented":
            raise
    return False


def _complete(s3: S3Client, bucket: str, key: str) -> None:
    with _upload(s3, bucket, key) as upload:
        part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x")
        parts: Any = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload=parts, IfMatch=NEVER)


def _copy(s3: S3Client, bucket: str, key: str) -> None:
    with _upload(s3, bucket, key) as upload:
        source: Any = {"CopySource": {"Bucket": bucket, "Key": key}, "CopySourceIfMatch": NEVER}
        s3.upload_part_copy(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, **source)


@contextmanager
def _upload(s3: S3Client, bucket: str, key: str) -> Iterator[str]:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    try:
        yield upload
    finally:
        with suppress(*AWS_ERRORS):
            s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
