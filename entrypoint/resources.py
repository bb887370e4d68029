"""The resources. Each `ensure_*` looks, compares with what is wanted, and creates, updates or leaves it.

All of them take any state as their start (level-triggered), so a run that was cut off is mended by the next one. With
`apply=False` they only look, and the Outcome says what they would have done.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from botocore.exceptions import ClientError

from entrypoint import policies
from entrypoint.bundle import code_sha256
from entrypoint.deadline import Deadline
from entrypoint.errors import ForbiddenError, ProvisionError, code_of, explained, status_of

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CreateBucketRequestTypeDef

T = TypeVar("T")
State = Literal["created", "updated", "unchanged"]

RUNTIME = "python3.13"
HANDLER = "index.handler"
TRANSFORM_HANDLER = "index.firehose_handler"
# Seconds. A batch of 10,000 lines takes a few; the rest is for lost races over the object and for a slow S3.
# Emulators give 3 s when nothing is said, which a cold start alone can use up. A transform is to have 60 s at least,
# and 5 minutes at most (Firehose Developer Guide, "Transform source data").
TIMEOUT = 60
# MiB. An hourly object below 5 MiB is held twice, an event of 6 MB about three times, boto3 needs some 80.
MEMORY = 256
# The most there is (Kinesis Data Streams quotas), since here it costs nothing. Above all, MiniStack counts a mapping's
# position in the list of records that it still keeps: after 24 hours, the default, each record that expires would make
# the mapping pass over one that it has not read.
RETENTION_HOURS = 8760
DESCRIPTION = "Turns access log lines into JSON lines, each to go to its own hour in S3"
DELIVERY_ROLE_DESCRIPTION = "Lets Firehose transform access log lines and write them to S3"
# Seconds in which IAM makes a new role and its permissions known to Lambda; on AWS it takes some ten.
ROLE_PROPAGATION = 30.0
# S3 creates buckets elsewhere only if told so, and refuses to be told the one region where it does so by itself.
REGION_WITHOUT_CONSTRAINT = "us-east-1"


@dataclass(frozen=True)
class Outcome:
    """What was (or, only looking, would be) done with one resource.

    `details` are for the user; `arn` is empty where there is none or nothing was made; `since` is a stream's creation.
    """

    kind: str
    name: str
    state: State
    details: tuple[str, ...] = ()
    arn: str = ""
    since: datetime | None = None

    def __str__(self) -> str:
        more = f" ({'; '.join(self.details)})" if self.details else ""
        return f"{self.kind} {self.name}: {self.state}{more}"


@explained("bucket")
def ensure_bucket(s3: S3Client, name: str, *, region: str, deadline: Deadline, apply: bool) -> Outcome:
    """A bucket of ours. Raises ForbiddenError when it is somebody else's, ProvisionError when it is elsewhere."""
    try:
        s3.head_bucket(Bucket=name)
        return Outcome("bucket", name, "unchanged")
    except ClientError as error:
        if status_of(error) == 403:
            raise ForbiddenError(
                f"bucket {name}: HeadBucket was refused with 403 Forbidden. Either it is somebody else's: choose "
                "another name with -e S3_BUCKET=…; or these credentials may not use it: allow them s3:ListBucket, or "
                "give others with -e AWS_ACCESS_KEY_ID=… -e AWS_SECRET_ACCESS_KEY=…"
            ) from error
        if status_of(error) != 404:
            raise
    if apply:
        request: CreateBucketRequestTypeDef = {"Bucket": name}
        if region != REGION_WITHOUT_CONSTRAINT:
            request["CreateBucketConfiguration"] = {"LocationConstraint": cast(Any, region)}
        try:
            # OperationAborted: a bucket of this name, just deleted by somebody, is in the way for a moment
            deadline.retry(lambda: s3.create_bucket(**request), lambda error: code_of(error) == "OperationAborted")
        except ClientError as error:
            if code_of(error) != "BucketAlreadyOwnedByYou":
                raise
    return Outcome("bucket", name, "created")


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


@explained("stream")
def ensure_stream(kinesis: KinesisClient, name: str, *, shards: int, deadline: Deadline, apply: bool) -> Outcome:
    """An ACTIVE stream. `shards` counts when it is created; an existing stream keeps the shards it has.

    Resharding costs money on AWS, and MiniStack reads a shard that appears after the mapping from its end, so that its
    first lines would be passed over. The remedy given in the details is a stream of another name.

    It keeps its records for RETENTION_HOURS.
    """

    def look() -> dict[str, Any] | None:
        answer = existing(lambda: kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"])
        return None if answer is None or answer["StreamStatus"] == "DELETING" else cast("dict[str, Any]", answer)

    def create() -> bool | None:
        return made(lambda: kinesis.create_stream(StreamName=name, ShardCount=shards), look)

    def active() -> dict[str, Any] | None:
        current = look()
        return current if current and current["StreamStatus"] == "ACTIVE" else None

    found = look()
    state: State = "created" if found is None else "unchanged"
    if found is None and not apply:
        return Outcome("stream", name, state)
    if found is None:
        deadline.until(f"stream {name} of old to be gone", create)
    if apply:
        found = deadline.until(f"stream {name} to be ACTIVE", active)
    assert found is not None  # noqa: S101 - for the type checker: looked at above, created otherwise
    details = _shards(found, shards)
    if found["RetentionPeriodHours"] < RETENTION_HOURS:
        if state == "unchanged":
            state = "updated"
            details = (f"retention {found['RetentionPeriodHours']} -> {RETENTION_HOURS} hours", *details)
        if apply:
            kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=RETENTION_HOURS)
            deadline.until(f"stream {name} to be ACTIVE", active)
    return Outcome("stream", name, state, details, found["StreamARN"], found.get("StreamCreationTimestamp"))


def _shards(stream: dict[str, Any], wanted: int) -> tuple[str, ...]:
    has = stream.get("OpenShardCount", wanted)
    if has == wanted or stream.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND":
        return ()
    return (
        f"has {has} shard{'' if has == 1 else 's'}, SHARD_COUNT={wanted}: to change it, take a new stream with "
        "-e KINESIS_DATA_STREAM=<new name>; what is in this one is still delivered",
    )


@explained("function")
def ensure_function(
    lambda_: LambdaClient,
    name: str,
    *,
    handler: str,
    role_arn: str,
    code: bytes,
    environment: dict[str, str],
    deadline: Deadline,
    apply: bool,
) -> Outcome:
    """A function that runs exactly `code` with exactly this configuration and is ready to be invoked.

    An empty `role_arn` (only looking, and there is no role yet) is not compared.
    """
    wanted: dict[str, Any] = {
        "Runtime": RUNTIME,
        "Handler": handler,
        "Timeout": TIMEOUT,
        "MemorySize": MEMORY,
        "Environment": {"Variables": environment},
    }
    if role_arn:
        wanted["Role"] = role_arn

    def look() -> dict[str, Any] | None:
        return cast("dict[str, Any] | None", existing(lambda: lambda_.get_function_configuration(FunctionName=name)))

    def ready() -> dict[str, Any] | None:
        current = look()
        if not current or current.get("State") == "Pending" or current.get("LastUpdateStatus") == "InProgress":
            return None
        return current

    def settled() -> dict[str, Any]:
        current = deadline.until(f"function {name} to be ready", ready)
        if "Failed" in (current.get("State"), current.get("LastUpdateStatus")):
            reason = current.get("StateReason") or current.get("LastUpdateStatusReason") or "no reason was given"
            raise ProvisionError(
                f"function {name}: the endpoint cannot run it ({reason.rstrip('.')}). LocalStack runs functions in "
                "Docker: mount /var/run/docker.sock into its container and start it again; all is then made anew"
            )
        return current

    def configure(**change: Any) -> None:
        deadline.retry(lambda: lambda_.update_function_configuration(FunctionName=name, **change), _busy)

    def same_code(current: dict[str, Any]) -> bool:
        return code_sha256(code) == current["CodeSha256"] or current.get("Description") == _note(code, current)

    found = look()
    if found is None:
        if not apply:
            return Outcome("function", name, "created")
        request = wanted | {"FunctionName": name, "Code": {"ZipFile": code}, "Description": DESCRIPTION}
        deadline.within(ROLE_PROPAGATION).retry(lambda: lambda_.create_function(**request), _role_unknown)
        state: State = "created"
        details = []
    else:
        differs = [key for key, value in wanted.items() if found.get(key) != value]
        details = [f"{key} {_brief(found.get(key))} -> {_brief(wanted[key])}" for key in differs]
        if not same_code(found):
            details.insert(0, "code")
        state = "updated" if details else "unchanged"
        if not apply:
            return Outcome("function", name, state, tuple(details), found["FunctionArn"])
        if not same_code(found):
            deadline.retry(lambda: lambda_.update_function_code(FunctionName=name, ZipFile=code), _busy)
            settled()
        if differs:
            configure(**{key: wanted[key] for key in differs})
    found = settled()
    if not same_code(found):
        configure(Description=_note(code, found))
        found = settled()
    return Outcome("function", name, state, tuple(details), found["FunctionArn"])


def _note(code: bytes, found: dict[str, Any]) -> str:
    """For an endpoint whose CodeSha256 is not the zip's hash: which of its hashes stands for this code."""
    return f"{DESCRIPTION}; code {code_sha256(code)} is {found['CodeSha256']} here"


def _brief(value: Any) -> str:
    return json.dumps(value["Variables"] if isinstance(value, dict) and "Variables" in value else value)


@explained("function")
def streams_read_by(lambda_: LambdaClient, name: str) -> list[str]:
    """The names of the Kinesis streams that function `name` has a mapping from."""
    pages = lambda_.get_paginator("list_event_source_mappings").paginate(FunctionName=name)
    listed = existing(lambda: [mapping for page in pages for mapping in page["EventSourceMappings"]])
    sources = {each.get("EventSourceArn", "") for each in listed or [] if each["State"] != "Deleting"}
    return sorted(source.rpartition(":stream/")[2] for source in sources if ":stream/" in source)


@explained("mapping")
def ensure_mapping(
    lambda_: LambdaClient,
    function: str,
    *,
    stream: Outcome,
    batch_size: int,
    starting_position: str,
    deadline: Deadline,
    apply: bool,
) -> Outcome:
    """One enabled event source mapping from `stream` to `function`; its starting position is fixed at its creation.

    A mapping older than its stream belongs to an earlier stream of the same name, and so do its positions: MiniStack
    would pass over as many records as the old stream had. It is made anew.
    """
    name = f"{stream.name} -> {function}"
    wanted: dict[str, Any] = {"BatchSize": batch_size, "Enabled": True}

    def look() -> list[EventSourceMappingConfigurationTypeDef]:
        pages = lambda_.get_paginator("list_event_source_mappings").paginate(FunctionName=function)
        listed = existing(lambda: [mapping for page in pages for mapping in page["EventSourceMappings"]])
        ours = [each for each in listed or [] if _reads(each, stream) and each["State"] != "Deleting"]
        return sorted(ours, key=lambda each: (each["State"] != "Enabled", each["UUID"]))

    def create() -> str:
        try:
            source = {"FunctionName": function, "EventSourceArn": stream.arn, "StartingPosition": starting_position}
            return lambda_.create_event_source_mapping(**cast(Any, source | wanted))["UUID"]
        except ClientError as error:
            # somebody else made it a moment ago; or an old one is still being deleted, then the caller tries again
            if code_of(error) == "ResourceConflictException" and (others := look()):
                return others[0]["UUID"]
            raise

    def delete(uuid: str) -> None:
        deadline.retry(lambda: lambda_.delete_event_source_mapping(UUID=uuid), _busy)

    def enabled(uuid: str) -> bool | None:
        return lambda_.get_event_source_mapping(UUID=uuid)["State"] == "Enabled" or None

    found = look()
    stale = [each["UUID"] for each in found if _older(each, stream)]
    if stale or not found:
        details = ("made anew, as its stream was",) if stale else ()
        if apply:
            for uuid in stale:
                delete(uuid)
            uuid = deadline.within(ROLE_PROPAGATION).retry(create, lambda error: _busy(error) or _role_unknown(error))
            deadline.until(f"mapping {name} to be Enabled", lambda: enabled(uuid))
        return Outcome("mapping", name, "created", details)

    mapping, *twins = found
    uuid = mapping["UUID"]
    differs = []
    if mapping["BatchSize"] != batch_size:
        differs.append(f"BatchSize {mapping['BatchSize']} -> {batch_size}")
    if mapping["State"] in ("Disabled", "Disabling"):
        differs.append("enabled again")
    if apply:
        if differs:
            deadline.retry(lambda: lambda_.update_event_source_mapping(UUID=uuid, **wanted), _busy)
        deadline.until(f"mapping {name} to be Enabled", lambda: enabled(uuid))
    remove = "aws lambda delete-event-source-mapping --uuid"
    notes = [f"another one reads the stream a second time, remove it: {remove} {twin['UUID']}" for twin in twins]
    if mapping.get("StartingPosition", starting_position) != starting_position:
        notes.append(
            f"began at {mapping['StartingPosition']}; STARTING_POSITION={starting_position} is for a new one: "
            f"{remove} {uuid}"
        )
    return Outcome("mapping", name, "updated" if differs else "unchanged", (*differs, *notes))


def _reads(mapping: EventSourceMappingConfigurationTypeDef, stream: Outcome) -> bool:
    source = mapping.get("EventSourceArn", "")
    return source == stream.arn if stream.arn else source.endswith(f":stream/{stream.name}")


def _older(mapping: EventSourceMappingConfigurationTypeDef, stream: Outcome) -> bool:
    if stream.state == "created" or stream.since is None:
        return stream.state == "created"
    # emulators cut a mapping's time to whole seconds
    return mapping["LastModified"] + timedelta(seconds=1) < stream.since


def existing(look: Callable[[], T]) -> T | None:
    """What `look` answers, or None when the endpoint says that there is no such thing."""
    try:
        return look()
    except ClientError as error:
        if code_of(error) in ("NoSuchEntity", "ResourceNotFoundException"):
            return None
        raise


def made(create: Callable[[], object], look: Callable[[], object | None]) -> bool | None:
    """Whether the stream is there after `create`; None while an old one of its name is still being deleted."""
    try:
        create()
    except ClientError as error:
        if code_of(error) != "ResourceInUseException":
            raise
        # the old one is still being deleted: again; or somebody was faster: good
        return None if look() is None else True
    return True


def _busy(error: ClientError) -> bool:
    """An earlier change of the same thing is still under way."""
    return code_of(error) in ("ResourceConflictException", "ResourceInUseException")


def _role_unknown(error: ClientError) -> bool:
    """IAM has taken the role or its permissions, but Lambda does not see them yet."""
    message = error.response.get("Error", {}).get("Message", "")
    return code_of(error) == "InvalidParameterValueException" and (
        "cannot be assumed" in message or "does not have permissions" in message
    )
