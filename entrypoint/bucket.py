"""The bucket that the hourly objects go to."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from botocore.exceptions import ClientError

from common.aws import S3Client
from common.errors import code_of, explain
from entrypoint.errors import explained
from entrypoint.resources import Outcome, accepting, busy, existing
from entrypoint.run import Run

Rule: TypeAlias = dict[str, Any]

# S3 creates buckets elsewhere only if told so, and refuses to be told the one region where it does so by itself.
REGION_WITHOUT_CONSTRAINT = "us-east-1"


# The ids of the rules for S3_EXPIRE_DAYS, and what the names of their objects begin with. Never ledger/: a side object
# that goes before its hourly object would block the hour.
EXPIRING = {"s3-expire-days-entries": "20", "s3-expire-days-rejected": "rejected/20"}


@explained("bucket")
def ensure_bucket(s3: S3Client, name: str, run: Run, *, region: str, prefix: str, expire_days: int) -> Outcome:
    """A bucket of ours. Raises ForbiddenError when it belongs to another account, ProvisionError when it is elsewhere.

    A new one drops what the function leaves unfinished; `prefix` is empty or ends with /. Of one that is there, only
    the rules for `expire_days` are touched.
    """
    there = existing(lambda: s3.head_bucket(Bucket=name)) is not None
    if not there and run.apply:
        request: dict[str, Any] = {"Bucket": name}
        if region != REGION_WITHOUT_CONSTRAINT:
            request["CreateBucketConfiguration"] = {"LocationConstraint": region}
        with accepting("BucketAlreadyOwnedByYou"):
            run.retry(lambda: s3.create_bucket(**request), busy)
    expiring = [_expiring(rule, prefix + start, expire_days) for rule, start in EXPIRING.items()] if expire_days else []
    details: tuple[str, ...] = ()
    try:
        if there:
            changed = _update(s3, name, run, expiring)
            return Outcome("bucket", name, "updated" if changed else "unchanged", changed)
        if run.apply:
            _put(s3, name, [*_leftovers(prefix), *expiring])
    except ClientError as error:
        # not every endpoint has such rules; what stays costs some room
        if expiring or not there:
            if explain(error, f"bucket {name}", "localstack").passing:
                raise
            what = f"objects older than S3_EXPIRE_DAYS={expire_days}" if expiring else "unfinished uploads"
            details = (f"{what} stay, as the endpoint takes no rule for them: {code_of(error)}",)
    return Outcome("bucket", name, "unchanged" if there else "created", details)


def _update(s3: S3Client, name: str, run: Run, expiring: list[Rule]) -> tuple[str, ...]:
    """Make the rules in EXPIRING these, and leave all others; what is changed."""
    found = existing(lambda: s3.get_bucket_lifecycle_configuration(Bucket=name))
    rules = cast("list[Rule]", found.get("Rules", []) if found else [])
    ours = [rule for rule in rules if rule.get("ID") in EXPIRING]
    if sorted(map(_meaning, ours)) == sorted(map(_meaning, expiring)):
        return ()
    if run.apply:
        _put(s3, name, [*(rule for rule in rules if rule not in ours), *expiring])
    return (f"objects expire after {expiring[0]['Expiration']['Days']} days" if expiring else "objects expire no more",)


def _put(s3: S3Client, name: str, rules: list[Rule]) -> None:
    if rules:
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration=cast(Any, {"Rules": rules}))
    else:
        s3.delete_bucket_lifecycle(Bucket=name)


def _expiring(name: str, prefix: str, days: int) -> Rule:
    return {"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, "Expiration": {"Days": days}}


def _meaning(rule: Rule) -> tuple[str | None, str, str | None, int | None]:
    """What counts of a rule of ours, without what an endpoint may add."""
    where, when = rule.get("Filter", {}), rule.get("Expiration", {})
    return rule.get("ID"), rule["Status"], where.get("Prefix"), when.get("Days")


def _leftovers(prefix: str) -> list[Rule]:
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
