"""The IAM roles: the one that Lambda takes and, with DELIVERY=firehose, the one that Firehose takes."""

from __future__ import annotations

import json
from collections.abc import Callable

from common.aws import IAMClient
from entrypoint import policies
from entrypoint.errors import explained
from entrypoint.resources import DESCRIPTION, Outcome, existing
from entrypoint.run import Run

DESCRIPTIONS = {
    policies.LAMBDA: DESCRIPTION,
    policies.FIREHOSE: "Lets Firehose transform access log lines and write them to S3",
}
# What a role may do, by its own ARN, which names account and partition
Permissions = Callable[[str], policies.Policy]


@explained("role")
def ensure_role(iam: IAMClient, name: str, run: Run, *, policy_name: str, permissions: Permissions) -> Outcome:
    """A role that Lambda may take, that may write its own log and, as `policy_name`, what `permissions` says.

    What another delivery has given it under another name it keeps.
    """
    return _ensure(iam, name, run, "role", policies.LAMBDA, policy_name, permissions)


@explained("delivery role")
def ensure_delivery_role(iam: IAMClient, name: str, run: Run, *, permissions: Permissions) -> Outcome:
    """A role that Firehose may take and that may do what `permissions` says."""
    return _ensure(iam, name, run, "delivery role", policies.FIREHOSE, policies.DELIVERY_POLICY_NAME, permissions)


def _ensure(
    iam: IAMClient, name: str, run: Run, kind: str, taker: str, policy_name: str, permissions: Permissions
) -> Outcome:
    role = existing(lambda: iam.get_role(RoleName=name)["Role"])
    created = role is None
    if role is None:
        if not run.apply:
            return Outcome(kind, name, "created")
        # the ARN of the role tells the account
        document, description = json.dumps(policies.assume_role_policy(taker)), DESCRIPTIONS[taker]
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document, Description=description)["Role"]
    arn = role["Arn"]
    trust = policies.assume_role_policy(taker, arn.split(":")[4])
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
    if taker == policies.LAMBDA:
        managed = policies.basic_execution_policy(arn)
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
        if managed not in (policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]):
            differs.append(managed.rpartition("/")[2])
            if run.apply:
                iam.attach_role_policy(RoleName=name, PolicyArn=managed)
    if created:
        return Outcome(kind, name, "created", arn=arn)
    return Outcome(kind, name, "updated" if differs else "unchanged", tuple(differs), arn)
