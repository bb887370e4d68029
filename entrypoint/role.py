"""The IAM roles: the one that Lambda takes and, with DELIVERY=firehose, the one that Firehose takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from entrypoint import policies
from entrypoint.errors import explained
from entrypoint.resources import DESCRIPTION, Outcome, existing
from entrypoint.run import Run

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

DELIVERY_ROLE_DESCRIPTION = "Lets Firehose transform access log lines and write them to S3"
# What a role may do, by its own ARN, which names account and partition
Permissions = Callable[[str], policies.Policy]


@explained("role")
def ensure_role(iam: IAMClient, name: str, run: Run, *, policy_name: str, permissions: Permissions) -> Outcome:
    """A role that Lambda may take, that may write its own log and, as `policy_name`, what `permissions` says.

    What another delivery has given it under another name it keeps.
    """
    managed = policies.basic_execution_policy
    return _ensure(iam, name, run, "role", policies.LAMBDA, DESCRIPTION, policy_name, permissions, managed)


@explained("delivery role")
def ensure_delivery_role(iam: IAMClient, name: str, run: Run, *, permissions: Permissions) -> Outcome:
    """A role that Firehose may take and that may do what `permissions` says."""
    taker, policy_name = policies.FIREHOSE, policies.DELIVERY_POLICY_NAME
    return _ensure(iam, name, run, "delivery role", taker, DELIVERY_ROLE_DESCRIPTION, policy_name, permissions, None)


def _ensure(
    iam: IAMClient,
    name: str,
    run: Run,
    kind: str,
    taker: str,
    description: str,
    policy_name: str,
    permissions: Permissions,
    managed: Callable[[str], str] | None,
) -> Outcome:
    """`managed`: the ARN of AWS's own policy that is to be attached, for a role's ARN."""
    trust = policies.assume_role_policy(taker)
    role = existing(lambda: iam.get_role(RoleName=name)["Role"])
    created = role is None
    if role is None:
        if not run.apply:
            return Outcome(kind, name, "created")
        document = json.dumps(trust)
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document, Description=description)["Role"]
    arn = role["Arn"]
    inline = existing(lambda: iam.get_role_policy(RoleName=name, PolicyName=policy_name)["PolicyDocument"])
    wanted = permissions(arn)
    differs = []
    if not policies.same_policy(role.get("AssumeRolePolicyDocument"), trust):
        differs.append("who may take it")
        if run.apply:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    if not policies.same_policy(inline, wanted):
        differs.append("what it may do")
        if run.apply:
            iam.put_role_policy(RoleName=name, PolicyName=policy_name, PolicyDocument=json.dumps(wanted))
    if managed is not None:
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
        if managed(arn) not in (policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]):
            differs.append(managed(arn).rpartition("/")[2])
            if run.apply:
                iam.attach_role_policy(RoleName=name, PolicyArn=managed(arn))
    if created:
        return Outcome(kind, name, "created", arn=arn)
    return Outcome(kind, name, "updated" if differs else "unchanged", tuple(differs), arn)
