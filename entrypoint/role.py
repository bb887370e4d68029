"""The IAM roles: the one that Lambda takes and, with DELIVERY=firehose, the one that Firehose takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from entrypoint import policies
from entrypoint.errors import explained
from entrypoint.resources import DESCRIPTION, Outcome, existing

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

DELIVERY_ROLE_DESCRIPTION = "Lets Firehose transform access log lines and write them to S3"


@explained("role")
def ensure_role(
    iam: IAMClient, name: str, *, policy_name: str, permissions: Callable[[str], policies.Policy], apply: bool
) -> Outcome:
    """A role that Lambda may take, that may write its own log and, as `policy_name`, what `permissions(role_arn)` says.

    What another delivery has given it under another name it keeps.
    """
    return _ensure_role(
        iam,
        Outcome("role", name, "unchanged"),
        service=policies.LAMBDA,
        description=DESCRIPTION,
        policy_name=policy_name,
        permissions=permissions,
        managed=policies.basic_execution_policy,
        apply=apply,
    )


@explained("delivery role")
def ensure_delivery_role(
    iam: IAMClient, name: str, *, permissions: Callable[[str], policies.Policy], apply: bool
) -> Outcome:
    """A role that Firehose may take and that may do what `permissions(role_arn)` says."""
    return _ensure_role(
        iam,
        Outcome("delivery role", name, "unchanged"),
        service=policies.FIREHOSE,
        description=DELIVERY_ROLE_DESCRIPTION,
        policy_name=policies.DELIVERY_POLICY_NAME,
        permissions=permissions,
        managed=None,
        apply=apply,
    )


def _ensure_role(
    iam: IAMClient,
    wanted: Outcome,
    *,
    service: str,
    description: str,
    policy_name: str,
    permissions: Callable[[str], policies.Policy],
    managed: Callable[[str], str] | None,
    apply: bool,
) -> Outcome:
    """`managed`: the ARN of AWS's managed policy that is to be attached, for a role's ARN."""
    name = wanted.name
    trust = policies.assume_role_policy(service)
    role = existing(lambda: iam.get_role(RoleName=name)["Role"])
    created = role is None
    if role is None:
        if not apply:
            return replace(wanted, state="created")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), Description=description)[
            "Role"
        ]
    arn = role["Arn"]
    inline = existing(lambda: iam.get_role_policy(RoleName=name, PolicyName=policy_name)["PolicyDocument"])

    document = permissions(arn)
    differs = []
    if not policies.same_policy(role.get("AssumeRolePolicyDocument"), trust):
        differs.append("who may take it")
        if apply:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    if not policies.same_policy(inline, document):
        differs.append("what it may do")
        if apply:
            iam.put_role_policy(RoleName=name, PolicyName=policy_name, PolicyDocument=json.dumps(document))
    if managed is not None:
        pages = iam.get_paginator("list_attached_role_policies").paginate(RoleName=name)
        attached = [policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]]
        if managed(arn) not in attached:
            differs.append(managed(arn).rpartition("/")[2])
            if apply:
                iam.attach_role_policy(RoleName=name, PolicyArn=managed(arn))
    if created:
        return replace(wanted, state="created", arn=arn)
    return replace(wanted, state="updated" if differs else "unchanged", details=tuple(differs), arn=arn)
