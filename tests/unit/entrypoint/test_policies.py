"""The policies are least privilege, and comparing them is not fooled by how IAM writes them back."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from entrypoint import policies

ROLE = "arn:aws:iam::000000000000:role/lambda-ex"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/web-log-stream"


def statements(prefix: str = "") -> dict[str, dict[str, Any]]:
    document = policies.inline_policy(STREAM, "my-bucket", prefix)
    return {statement["Sid"]: statement for statement in document["Statement"]}


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_no_action_is_a_wildcard_and_no_resource_but_the_names_inside_the_bucket() -> None:
    for statement in statements("logs/").values():
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            assert "*" not in action
        for resource in listed(statement["Resource"]):
            # dates and random ids below a fixed place are not known beforehand; all else is
            fixed, star, rest = resource.partition("*")
            assert rest == ""
            assert not star or fixed.startswith("arn:aws:s3:::my-bucket/logs/")


def test_the_stream_is_only_read() -> None:
    stream = statements()["ReadStream"]
    assert stream["Resource"] == STREAM
    assert not [action for action in stream["Action"] if action.split(":")[1].startswith(("Put", "Delete", "Update"))]
    assert "kinesis:GetRecords" in stream["Action"]


@pytest.mark.parametrize("prefix", ["", "logs/"])
def test_objects_are_read_and_written_below_the_prefix_and_only_ledgers_deleted(prefix: str) -> None:
    found = statements(prefix)
    assert found["ReadAndWriteObjects"]["Resource"] == f"arn:aws:s3:::my-bucket/{prefix}*"
    assert found["DeleteOldLedgers"]["Resource"] == f"arn:aws:s3:::my-bucket/{prefix}ledger/*"
    deleting = [sid for sid, statement in found.items() if "s3:DeleteObject" in listed(statement["Action"])]
    assert deleting == ["DeleteOldLedgers"]


def test_a_missing_object_is_told_from_a_forbidden_one() -> None:
    listing = statements("logs/")["TellMissingFromForbidden"]
    assert (listing["Action"], listing["Resource"]) == ("s3:ListBucket", "arn:aws:s3:::my-bucket")
    assert "Condition" not in listing


def test_only_lambda_takes_the_role() -> None:
    (statement,) = policies.assume_role_policy(policies.LAMBDA, "123456789012")["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_arns_follow_the_partition_and_account_of_the_role() -> None:
    chinese = "arn:aws-cn:iam::123456789012:role/path/lambda-ex"
    arn = policies.arn(chinese, "kinesis", "cn-north-1", "stream/web-log-stream")
    assert arn == "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/web-log-stream"
    document = policies.inline_policy(arn, "my-bucket", "")
    assert document["Statement"][3]["Resource"] == "arn:aws-cn:s3:::my-bucket"
    assert policies.basic_execution_policy(chinese).startswith("arn:aws-cn:iam::aws:policy/service-role/")
    assert policies.arn(ROLE, "kinesis", "us-east-1", "stream/web-log-stream") == STREAM


def test_iam_may_write_one_thing_as_a_list_or_change_the_order() -> None:
    ours = policies.inline_policy(STREAM, "my-bucket", "")
    theirs = copy.deepcopy(ours)
    theirs["Statement"][0]["Action"].reverse()
    theirs["Statement"][0]["Resource"] = [STREAM]
    assert policies.same_policy(ours, theirs)
    assert policies.same_policy(
        policies.assume_role_policy(policies.LAMBDA),
        policies.assume_role_policy(policies.LAMBDA) | {"Version": ["2012-10-17"]},
    )


def test_what_is_different_is_seen() -> None:
    ours = policies.inline_policy(STREAM, "my-bucket", "")
    assert not policies.same_policy(None, ours)
    assert not policies.same_policy({}, ours)
    assert not policies.same_policy(policies.inline_policy(STREAM, "my-bucket", "logs/"), ours)
    more = copy.deepcopy(ours)
    more["Statement"][1]["Action"].append("s3:DeleteObject")
    assert not policies.same_policy(more, ours)
    fewer = copy.deepcopy(ours)
    fewer["Statement"].pop()
    assert not policies.same_policy(fewer, ours)
    denied = copy.deepcopy(ours)
    denied["Statement"][0]["Effect"] = "Deny"
    assert not policies.same_policy(denied, ours)


FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:stream-transformation"
LOG_GROUP = "/aws/kinesisfirehose/web-log-delivery"


@pytest.mark.parametrize("prefix", ["", "logs/"])
def test_firehose_writes_runs_its_transform_and_logs_and_nothing_else(prefix: str) -> None:
    document = policies.delivery_policy(FUNCTION, "my-bucket", prefix, LOG_GROUP)
    found = {statement["Sid"]: statement for statement in document["Statement"]}
    assert found["WriteObjects"]["Resource"] == f"arn:aws:s3:::my-bucket/{prefix}*"
    assert found["SeeBucket"]["Resource"] == "arn:aws:s3:::my-bucket"
    assert found["InvokeTransform"]["Resource"] == [FUNCTION, f"{FUNCTION}:$LATEST"]
    logs = f"arn:aws:logs:us-east-1:000000000000:log-group:{LOG_GROUP}:log-stream:*"
    assert found["WriteLog"]["Resource"] == logs
    actions = {action for statement in found.values() for action in listed(statement["Action"])}
    assert not [action for action in actions if "*" in action or "Delete" in action or action == "s3:GetObject"]


@pytest.mark.parametrize("prefix", ["", "logs/"])
def test_a_transform_keeps_rejected_lines_and_nothing_else(prefix: str) -> None:
    document = policies.transform_policy(ROLE, "my-bucket", prefix)
    for statement in document["Statement"]:
        for resource in listed(statement["Resource"]):
            below = resource.removeprefix("arn:aws:s3:::my-bucket").removeprefix(f"/{prefix}")
            assert below in ("", "rejected/*", "ledger/*")
            assert below == "ledger/*" or "s3:DeleteObject" not in listed(statement["Action"])


def test_only_firehose_takes_its_role() -> None:
    (statement,) = policies.assume_role_policy(policies.FIREHOSE, "123456789012")["Statement"]
    assert statement["Principal"] == {"Service": "firehose.amazonaws.com"}
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "123456789012"}}


def test_the_function_s_arn_is_known_before_it_is_there() -> None:
    assert policies.arn(ROLE, "lambda", "us-east-1", "function:stream-transformation") == FUNCTION
