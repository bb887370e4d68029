"""The Lambda function, and the event source mapping that gives it the records of a stream."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from common.aws import LambdaClient
from common.errors import code_of
from entrypoint import record_key
from entrypoint.bundle import code_sha256
from entrypoint.errors import ProvisionError, UnavailableError, explained
from entrypoint.resources import DESCRIPTION, ROLE_PROPAGATION, Outcome, State, busy, existing, role_unknown
from entrypoint.run import Run

if TYPE_CHECKING:
    from mypy_boto3_lambda.type_defs import EventSourceMappingConfigurationTypeDef

RUNTIME = "python3.13"
HANDLER = "index.handler"
TRANSFORM_HANDLER = "index.firehose_handler"
# Seconds. A batch of 10,000 lines takes a few; the rest is for lost races over the object and for a slow S3.
# Emulators give 3 s when nothing is said, which a cold start alone can use up. A transform is to have 60 s at least,
# and 5 minutes at most (Firehose Developer Guide, "Transform source data").
TIMEOUT = 60
# MiB. An hourly object below 5 MiB is held twice, an event of 6 MB about three times, boto3 needs some 80.
MEMORY = 256
# A batch that fails comes back in halves, each with a time-out of its own; the ledgers keep lines from being doubled.
BISECT = True
# Seconds for which a batch is awaited to fill. None: a poll's records arrive together, and `verify` waits for them. On
# AWS, where each batch is paid for, terraform/aws waits for 10.
BATCHING_WINDOW = 0


@explained("function")
def ensure_function(
    lambda_: LambdaClient,
    name: str,
    run: Run,
    *,
    handler: str,
    role_arn: str,
    code: bytes,
    environment: Callable[[Mapping[str, str]], dict[str, str]],
) -> Outcome:
    """A function that runs exactly `code` with exactly this configuration and is ready to be invoked.

    `environment`: the variables it is to have, given those it has. An empty `role_arn` (only looking, and there is no
    role yet) is not compared. Raises UnavailableError when another run makes or changes it at this moment.
    """
    settled_on: dict[str, Any] = {"Runtime": RUNTIME, "Handler": handler, "Timeout": TIMEOUT, "MemorySize": MEMORY}
    if role_arn:
        settled_on["Role"] = role_arn

    def wanted(current: Mapping[str, Any]) -> dict[str, Any]:
        there = (current.get("Environment") or {}).get("Variables") or {}
        return settled_on | {"Environment": {"Variables": environment(there)}}

    def changes(current: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in wanted(current).items() if current.get(key) != value}

    def look() -> dict[str, Any] | None:
        return cast("dict[str, Any] | None", existing(lambda: lambda_.get_function_configuration(FunctionName=name)))

    def ready() -> dict[str, Any] | None:
        current = look()
        busy = not current or current.get("State") == "Pending" or current.get("LastUpdateStatus") == "InProgress"
        return None if busy else current

    def settled() -> dict[str, Any]:
        try:
            current = run.until(f"function {name} to be ready", ready)
        except UnavailableError:
            # what was to end this state has ended itself, as an emulator's thread does with the emulator
            existing(lambda: lambda_.delete_function(FunctionName=name))
            raise
        if "Failed" in (current.get("State"), current.get("LastUpdateStatus")):
            reason = current.get("StateReason") or current.get("LastUpdateStatusReason") or "no reason was given"
            raise ProvisionError(
                f"function {name}: the endpoint cannot run it ({reason.rstrip('.')}). LocalStack runs functions in "
                "Docker: mount /var/run/docker.sock into its container and start it again; all is then made anew"
            )
        return current

    def configure(**change: Any) -> None:
        run.retry(lambda: lambda_.update_function_configuration(FunctionName=name, **change), busy)

    def same_code(current: dict[str, Any]) -> bool:
        return code_sha256(code) == current["CodeSha256"] or current.get("Description") == _note(code, current)

    found = look()
    state: State = "created"
    details: list[str] = []
    if found is None:
        if not run.apply:
            return Outcome("function", name, state)
        request = wanted({}) | {"FunctionName": name, "Code": {"ZipFile": code}, "Description": DESCRIPTION}
        with _alone(name):
            run.within(ROLE_PROPAGATION).retry(lambda: lambda_.create_function(**request), role_unknown)
    else:
        change = changes(found)
        details = [] if same_code(found) else ["code"]
        details += [f"{key} {_brief(found.get(key))} -> {_brief(value)}" for key, value in change.items()]
        state = "updated" if details else "unchanged"
        if not run.apply:
            return Outcome("function", name, state, tuple(details), found["FunctionArn"])
        if not same_code(found):
            run.retry(lambda: lambda_.update_function_code(FunctionName=name, ZipFile=code), busy)
            found = settled()
        if change := changes(found):
            if "RevisionId" in found:  # two runs must not each give it a key
                change["RevisionId"] = found["RevisionId"]
            with _alone(name):
                configure(**change)
    found = settled()
    if not same_code(found):
        configure(Description=_note(code, found))
        found = settled()
    return Outcome("function", name, state, tuple(details), found["FunctionArn"])


def _note(code: bytes, found: dict[str, Any]) -> str:
    """For an endpoint whose CodeSha256 is not the zip's hash: which of its hashes stands for this code."""
    return f"{DESCRIPTION}; code {code_sha256(code)} is {found['CodeSha256']} here"


@contextmanager
def _alone(name: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if code_of(error) not in ("PreconditionFailedException", "ResourceConflictException"):
            raise
        raise UnavailableError(f"function {name}: another run makes or changes it at this moment") from error


def _brief(value: Any) -> str:
    if isinstance(value, dict) and "Variables" in value:
        value = {key: "…" if key == record_key.VARIABLE else each for key, each in value["Variables"].items()}
    return json.dumps(value, ensure_ascii=False)


def mappings(lambda_: LambdaClient, function: str) -> list[EventSourceMappingConfigurationTypeDef]:
    """The event source mappings of `function`, but those that are being deleted; none without the function."""
    pages = lambda_.get_paginator("list_event_source_mappings").paginate(FunctionName=function)
    listed = existing(lambda: [mapping for page in pages for mapping in page["EventSourceMappings"]])
    return [each for each in listed or [] if each["State"] != "Deleting"]


def streams_of(listed: list[EventSourceMappingConfigurationTypeDef]) -> set[str]:
    """The names of the Kinesis streams that these mappings read."""
    sources = (each.get("EventSourceArn", "") for each in listed)
    return {source.rpartition(":stream/")[2] for source in sources if ":stream/" in source}


@explained("function")
def streams_read_by(lambda_: LambdaClient, name: str) -> list[str]:
    """The names of the Kinesis streams that function `name` has a mapping from."""
    return sorted(streams_of(mappings(lambda_, name)))


@explained("mapping")
def ensure_mapping(
    lambda_: LambdaClient, function: str, run: Run, *, stream: Outcome, batch_size: int, starting_position: str
) -> Outcome:
    """One enabled event source mapping from `stream` to `function`; its starting position is fixed at its creation.

    A mapping older than its stream belongs to an earlier stream of the same name, and so do its positions: MiniStack
    would pass over as many records as the old stream had. It is made anew.
    """
    name = f"{stream.name} -> {function}"
    wanted: dict[str, Any] = {
        "BatchSize": batch_size,
        "BisectBatchOnFunctionError": BISECT,
        "MaximumBatchingWindowInSeconds": BATCHING_WINDOW,
    }

    def look() -> list[EventSourceMappingConfigurationTypeDef]:
        ours = [each for each in mappings(lambda_, function) if _reads(each, stream)]
        return sorted(ours, key=lambda each: (each["State"] != "Enabled", each["UUID"]))

    def create() -> str:
        try:
            source = {"FunctionName": function, "EventSourceArn": stream.arn, "StartingPosition": starting_position}
            return lambda_.create_event_source_mapping(**cast(Any, source | wanted), Enabled=True)["UUID"]
        except ClientError as error:
            # another run made it a moment ago; or an old one is still being deleted, then the caller tries again
            if code_of(error) == "ResourceConflictException" and (others := look()):
                return others[0]["UUID"]
            raise

    def enabled(uuid: str) -> bool | None:
        return lambda_.get_event_source_mapping(UUID=uuid)["State"] == "Enabled" or None

    found = look()
    stale = [each["UUID"] for each in found if _older(each, stream)]
    if stale or not found:
        details = ("made anew, as its stream was",) if stale else ()
        if run.apply:
            for old in stale:
                run.retry(functools.partial(lambda_.delete_event_source_mapping, UUID=old), busy)
            uuid = run.within(ROLE_PROPAGATION).retry(create, lambda error: busy(error) or role_unknown(error))
            run.until(f"mapping {name} to be Enabled", lambda: enabled(uuid))
        return Outcome("mapping", name, "created", details)

    mapping, *twins = found
    uuid = mapping["UUID"]
    # MiniStack and moto leave out what was never said: it is 0 or False, as on AWS
    has = {key: mapping.get(key) or type(value)() for key, value in wanted.items()}
    differs = [f"{key} {has[key]} -> {value}" for key, value in wanted.items() if has[key] != value]
    if mapping["State"] in ("Disabled", "Disabling"):
        differs.append("enabled again")
    if run.apply:
        if differs:
            run.retry(lambda: lambda_.update_event_source_mapping(UUID=uuid, **wanted, Enabled=True), busy)
        run.until(f"mapping {name} to be Enabled", lambda: enabled(uuid))
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
