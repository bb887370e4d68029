"""The bucket that the hourly objects go to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from common.errors import code_of, explain
from entrypoint.errors import explained
from entrypoint.resources import Outcome, accepting, busy, existing
from entrypoint.run import Run

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CreateBucketRequestTypeDef, LifecycleRuleTypeDef

# S3 creates buckets elsewhere only if told so, and refuses to be told the one region where it does so by itself.
REGION_WITHOUT_CONSTRAINT = "us-east-1"


@explained("bucket")
def ensure_bucket(s3: S3Client, name: str, run: Run, *, region: str, prefix: str) -> Outcome:
    """A bucket of ours. Raises ForbiddenError when it belongs to another account, ProvisionError when it is elsewhere.

    A new one drops what the function leaves unfinished; `prefix` is empty or ends with /.
    """
    if existing(lambda: s3.head_bucket(Bucket=name)) is not None:
        return Outcome("bucket", name, "unchanged")
    details: tuple[str, ...] = ()
    if run.apply:
        request: CreateBucketRequestTypeDef = {"Bucket": name}
        if region != REGION_WITHOUT_CONSTRAINT:
            request["CreateBucketConfiguration"] = {"LocationConstraint": cast(Any, region)}
        with accepting("BucketAlreadyOwnedByYou"):
            run.retry(lambda: s3.create_bucket(**request), busy)
        try:
            rules = {"Rules": _leftovers(prefix)}
            s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration=cast(Any, rules))
        except ClientError as error:
            if explain(error, f"bucket {name}", "localstack").passing:
                raise
            # what stays costs some room, and not every endpoint has such rules
            details = (f"unfinished uploads stay, as the endpoint takes no rule for them: {code_of(error)}",)
    return Outcome("bucket", name, "created", details)


def _leftovers(prefix: str) -> list[LifecycleRuleTypeDef]:
    """The rules of terraform/modules/log-bucket: parts of an append, and notes on a batch that never came back."""
    return [
        {
            "ID": "abort-unfinished-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
        {
            "ID": "drop-progress",
            "Status": "Enabled",
            "Filter": {"Prefix": f"{prefix}ledger/progress/"},
            "Expiration": {"Days": 7},
        },
    ]
