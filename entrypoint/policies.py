"""IAM policies as plain data: the trust policies of the roles, and what function, delivery stream and producer may."""

from __future__ import annotations

from typing import Any

Policy = dict[str, Any]

VERSION = "2012-10-17"
INLINE_POLICY_NAME = "read-stream-write-objects"
TRANSFORM_POLICY_NAME = "keep-rejected-lines"
DELIVERY_POLICY_NAME = "write-objects-invoke-transform"
LAMBDA = "lambda.amazonaws.com"
FIREHOSE = "firehose.amazonaws.com"
# What tells, when the service takes a role, for which account it does so. Firehose gives the account as the external id
# (Firehose Developer Guide, "Allow Firehose to assume an IAM role").
FOR_ACCOUNT = {LAMBDA: "aws:SourceAccount", FIREHOSE: "sts:ExternalId"}
# What an event source mapping needs of its stream: AWS Lambda Developer Guide, "Process Kinesis records",
# "Permissions". ListStreams, which takes no resource, is needed by the console only.
STREAM_ACTIONS = [
    "kinesis:DescribeStream",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
    "kinesis:SubscribeToShard",
]
# What appending to an object takes
APPEND_ACTIONS = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]


def assume_role_policy(service: str, account: str = "000000000000") -> Policy:
    """Only this service takes the role, and for this account only; without one, for that of emulators."""
    condition = {"StringEquals": {FOR_ACCOUNT[service]: account}}
    allow = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole", "Condition": condition}
    return _policy(allow)


def inline_policy(stream_arn: str, bucket: str, prefix: str) -> Policy:
    """Read this stream; read and write below `prefix` of this bucket; delete nothing but ledgers.

    `prefix` is empty or ends with /. Three resources end in a star because the names below it hold dates or random
    ids, which are not known beforehand; no star stands for a bucket, a stream or an action.
    """
    bucket_arn = f"arn:{partition(stream_arn)}:s3:::{bucket}"
    return _policy(
        _allow("ReadStream", STREAM_ACTIONS, stream_arn), *bucket_producer_policy(bucket_arn, prefix)["Statement"]
    )


def transform_policy(role_arn: str, bucket: str, prefix: str) -> Policy:
    """Keep rejected lines, and nothing else: what else a transform answers, Firehose writes."""
    bucket_arn = f"arn:{partition(role_arn)}:s3:::{bucket}"
    kept = [f"{bucket_arn}/{prefix}rejected/*", f"{bucket_arn}/{prefix}ledger/*"]
    return _policy(_allow("KeepRejectedLines", APPEND_ACTIONS, kept), *_ledger_statements(bucket_arn, prefix))


def delivery_policy(function_arn: str, bucket: str, prefix: str, log_group: str) -> Policy:
    """What a delivery stream needs: write below `prefix` of this bucket, run this transform, write its own log.

    Firehose Developer Guide, "Grant Firehose access to an Amazon S3 destination", without what only a Kinesis source,
    a key of KMS or a bucket of another account needs.
    """
    _, partition, _, region, account, *_ = function_arn.split(":")
    bucket_arn = f"arn:{partition}:s3:::{bucket}"
    log = f"arn:{partition}:logs:{region}:{account}:log-group:{log_group}:log-stream:*"
    see = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
    invoke = ["lambda:GetFunctionConfiguration", "lambda:InvokeFunction"]
    return _policy(
        _allow("WriteObjects", ["s3:AbortMultipartUpload", "s3:PutObject"], f"{bucket_arn}/{prefix}*"),
        _allow("SeeBucket", see, bucket_arn),
        _allow("InvokeTransform", invoke, [function_arn, f"{function_arn}:$LATEST"]),
        _allow("WriteLog", "logs:PutLogEvents", log),
    )


def stream_producer_policy(stream_arn: str, bucket: str, prefix: str) -> Policy:
    """Send to this stream, and for repair see what is archived."""
    bucket_arn = f"arn:{partition(stream_arn)}:s3:::{bucket}"
    return _policy(
        _allow("WriteStream", "kinesis:PutRecords", stream_arn),
        _allow("ReadLedgers", "s3:GetObject", f"{bucket_arn}/{prefix}*"),
        _allow("ListObjects", "s3:ListBucket", bucket_arn),
    )


def delivery_producer_policy(stream_arn: str) -> Policy:
    """Send to this delivery stream. There is no repair."""
    return _policy(_allow("WriteStream", "firehose:PutRecordBatch", stream_arn))


def bucket_producer_policy(bucket_arn: str, prefix: str) -> Policy:
    """Append below `prefix` as the function does; delete nothing but ledgers. Repair needs no more."""
    append = _allow("ReadAndWriteObjects", APPEND_ACTIONS, f"{bucket_arn}/{prefix}*")
    return _policy(append, *_ledger_statements(bucket_arn, prefix))


def _ledger_statements(bucket_arn: str, prefix: str) -> list[Policy]:
    return [
        # A superseded ledger may go; a log line may not, whatever the function's code says.
        _allow("DeleteOldLedgers", "s3:DeleteObject", f"{bucket_arn}/{prefix}ledger/*"),
        # Without it S3 answers 403 instead of 404 for an hour that has no object yet. No condition on s3:prefix: a
        # GetObject carries no such key, so the condition would bring the 403 back.
        _allow("TellMissingFromForbidden", "s3:ListBucket", bucket_arn),
    ]


def _allow(name: str, actions: str | list[str], resources: str | list[str]) -> Policy:
    return {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources}


def _policy(*statements: Policy) -> Policy:
    return {"Version": VERSION, "Statement": list(statements)}


def basic_execution_policy(role_arn: str) -> str:
    """The ARN of AWS's managed policy that lets a function write its own log."""
    return f"arn:{partition(role_arn)}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"


def arn(role_arn: str, service: str, region: str, resource: str) -> str:
    """The ARN `resource` has, or will have, in the account and partition of `role_arn`."""
    return f"arn:{partition(role_arn)}:{service}:{region}:{role_arn.split(':')[4]}:{resource}"


def partition(arn: str) -> str:
    """`aws`, `aws-cn`, `aws-us-gov`: the second part of every ARN."""
    return arn.split(":")[1]


def same_policy(one: object, other: object) -> bool:
    """Whether two documents say the same (None is no document): IAM takes "x" for ["x"] and reads a list as a set."""
    return bool(_canonical(one) == _canonical(other))


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    items = value if isinstance(value, list) else [value]
    if all(isinstance(item, dict) for item in items):
        return [_canonical(item) for item in items]
    return sorted({str(item) for item in items})
