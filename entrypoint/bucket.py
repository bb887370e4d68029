"""The bucket that the hourly objects go to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from entrypoint.errors import explained
from entrypoint.resources import Outcome, accepting, busy, existing
from entrypoint.run import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CreateBucketRequestTypeDef

# S3 creates buckets elsewhere only if told so, and refuses to be told the one region where it does so by itself.
REGION_WITHOUT_CONSTRAINT = "us-east-1"


@explained("bucket")
def ensure_bucket(s3: S3Client, name: str, run: Run, *, region: str) -> Outcome:
    """A bucket of ours. Raises ForbiddenError when it is somebody else's, ProvisionError when it is elsewhere."""
    if existing(lambda: s3.head_bucket(Bucket=name)) is not None:
        return Outcome("bucket", name, "unchanged")
    if run.apply:
        request: CreateBucketRequestTypeDef = {"Bucket": name}
        if region != REGION_WITHOUT_CONSTRAINT:
            request["CreateBucketConfiguration"] = {"LocationConstraint": cast(Any, region)}
        with accepting("BucketAlreadyOwnedByYou"):
            run.retry(lambda: s3.create_bucket(**request), busy)
    return Outcome("bucket", name, "created")
