"""What only real AWS (or a poor copy of it) does, played by botocore's Stubber: no emulator can be made to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from botocore.stub import ANY

from entrypoint import resources
from entrypoint.bucket import EXPIRING, _leftovers, ensure_bucket
from entrypoint.bundle import code_sha256
from entrypoint.errors import ForbiddenError, ProvisionError, UnavailableError
from entrypoint.function import HANDLER, MEMORY, RUNTIME, TIMEOUT, _note, ensure_function, ensure_mapping
from entrypoint.resources import Outcome
from entrypoint.role import ensure_role
from entrypoint.stream import RETENTION_HOURS, ensure_stream
from journal import hourly
from tests.keys import KEY, OTHER_KEY
from tests.unit.entrypoint.fakes import Played

CODE = b"zip"
ROLE_ARN = "arn:aws:iam::000000000000:role/lambda-ex"
FUNCTION_ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
STREAM_ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/s"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
UUID = "11111111-2222-3333-4444-555555555555"


def bucket(s3: Played, region: str = "us-east-1", apply: bool = True, days: int = 0) -> Outcome:
    return ensure_bucket(s3.client, "b-1", s3.run(apply), region=region, prefix="logs/", expire_days=days)


def test_in_us_east_1_no_location_is_sent_since_s3_refuses_it(play: Callable[[str], Played]) -> None:
    s3 = play("s3")
    s3.refuse("head_bucket", "404", 404)
    s3.answer("create_bucket", Bucket="b-1")
    s3.answer("put_bucket_lifecycle_configuration")
    assert bucket(s3).state == "created"


def test_elsewhere_the_location_is_sent(play: Callable[[str], Played]) -> None:
    s3 = play("s3")
    s3.refuse("head_bucket", "404", 404)
    s3.answer("create_bucket", Bucket="b-1", CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"})
    s3.answer("put_bucket_lifecycle_configuration")
    assert bucket(s3, "ap-northeast-2").state == "created"


def test_a_bucket_that_became_ours_meanwhile_is_fine(play: Callable[[str], Played]) -> None:
    s3 = play("s3")
    s3.refuse("head_bucket", "404", 404)
    s3.refuse("create_bucket", "OperationAborted", 409)
    s3.refuse("create_bucket", "BucketAlreadyOwnedByYou", 409)
    s3.answer("put_bucket_lifecycle_configuration")
    assert bucket(s3).state == "created"


def test_an_endpoint_without_lifecycle_rules_is_no_failure(play: Callable[[str], Played]) -> None:
    s3 = play("s3")
    s3.refuse("head_bucket", "404", 404)
    s3.answer("create_bucket", Bucket="b-1")
    s3.refuse("put_bucket_lifecycle_configuration", "NotImplemented", 501)
    made = bucket(s3)
    assert (made.state, made.details) == (
        "created",
        ("unfinished uploads stay, as the endpoint takes no rule for them: NotImplemented",),
    )


def expiring(days: int) -> list[dict[str, Any]]:
    return [
        {"ID": f"s3-expire-days-{name}", "Status": "Enabled", "Filter": {"Prefix": start}, "Expiration": {"Days": days}}
        for name, start in (("entries", "logs/20"), ("rejected", "logs/rejected/20"))
    ]


OTHERS = [
    {"ID": "theirs", "Status": "Disabled", "Prefix": "a/", "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}]},
    {"ID": "age-entries", "Status": "Enabled", "Filter": {"Prefix": "logs/2"}, "Expiration": {"Days": 365}},
]


@pytest.mark.parametrize(
    ("days", "found", "put", "said"),
    [
        (7, None, expiring(7), "objects expire after 7 days"),
        (7, OTHERS, [*OTHERS, *expiring(7)], "objects expire after 7 days"),
        (7, [*expiring(30), *OTHERS], [*OTHERS, *expiring(7)], "objects expire after 7 days"),
        (7, [*OTHERS, *expiring(7)], None, None),
        (7, [expiring(7)[1], OTHERS[0], expiring(7)[0]], None, None),
        (0, [*expiring(7), *OTHERS], OTHERS, "objects expire no more"),
        (0, expiring(7), [], "objects expire no more"),
        (0, OTHERS, None, None),
        (0, None, None, None),
    ],
)
def test_of_a_bucket_that_is_there_only_our_rules_are_touched(
    play: Callable[[str], Played], days: int, found: Any, put: Any, said: str | None
) -> None:
    for apply in (False, True):
        s3 = play("s3")
        s3.answer("head_bucket")
        if found is None:
            s3.refuse("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration", 404)
        else:
            s3.answer("get_bucket_lifecycle_configuration", {"Rules": found})
        if apply and put:
            s3.answer("put_bucket_lifecycle_configuration", Bucket="b-1", LifecycleConfiguration={"Rules": put})
        elif apply and put == []:
            s3.answer("delete_bucket_lifecycle", Bucket="b-1")
        made = bucket(s3, apply=apply, days=days)
        assert (made.state, made.details) == (("updated", (said,)) if said else ("unchanged", ()))


def test_a_new_bucket_gets_the_rules_with_the_others(play: Callable[[str], Played]) -> None:
    s3 = play("s3")
    s3.refuse("head_bucket", "404", 404)
    s3.answer("create_bucket", Bucket="b-1")
    rules = [*_leftovers("logs/"), *expiring(7)]
    s3.answer("put_bucket_lifecycle_configuration", Bucket="b-1", LifecycleConfiguration={"Rules": rules})
    assert bucket(s3, days=7).state == "created"


def test_no_rule_reaches_a_ledger_or_goes_before_its_hour() -> None:
    """A side object that is deleted before its hourly object makes that unreadable to the function."""
    side = hourly.ledger_key("logs/", "2026/11/23/16", "0" * 64)
    for start in EXPIRING.values():
        assert not side.startswith(f"logs/{start}")
    keys = [hourly.object_key("logs/", "2026/11/23/16", rejected) for rejected in (False, True)]
    assert all(key.startswith(f"logs/{start}") for key, start in zip(keys, EXPIRING.values(), strict=True))


@pytest.mark.parametrize(("days", "details"), [(0, 0), (7, 1)])
def test_an_endpoint_that_shows_no_rules_is_no_failure(play: Callable[[str], Played], days: int, details: int) -> None:
    s3 = play("s3")
    s3.answer("head_bucket")
    s3.refuse("get_bucket_lifecycle_configuration", "AccessDenied", 403)
    made = bucket(s3, days=days)
    assert (made.state, len(made.details)) == ("unchanged", details)
    assert all("S3_EXPIRE_DAYS=7 stay" in detail for detail in made.details)


def test_a_bucket_of_somebody_else_is_named_with_the_remedy(play: Callable[[str], Played]) -> None:
    s3 = play("s3")
    s3.refuse("head_bucket", "403", 403)
    with pytest.raises(
        ForbiddenError, match=r"bucket b-1: HeadBucket was refused with 403 .*another account.*-e S3_BUCKET=…"
    ):
        bucket(s3)
    s3.refuse("head_bucket", "404", 404)
    s3.refuse("create_bucket", "BucketAlreadyExists", 409)
    with pytest.raises(ProvisionError, match=r"CreateBucket was refused with BucketAlreadyExists.*-e S3_BUCKET=…"):
        bucket(s3)


def test_a_bucket_in_another_region_is_named_with_the_remedy(play: Callable[[str], Played]) -> None:
    s3 = play("s3")
    s3.refuse("head_bucket", "301", 301)
    with pytest.raises(ProvisionError, match=r"another region.*-e AWS_DEFAULT_REGION=…"):
        bucket(s3)


def test_only_looking_creates_no_bucket(play: Callable[[str], Played]) -> None:
    s3 = play("s3")
    s3.refuse("head_bucket", "404", 404)
    assert bucket(s3, apply=False).state == "created"


def test_a_role_we_may_not_see_is_named_with_the_remedy(play: Callable[[str], Played]) -> None:
    iam = play("iam")
    iam.refuse("get_role", "AccessDenied", 403)
    with pytest.raises(ForbiddenError, match=r"role r: GetRole was refused with AccessDenied.*-e LAMBDA_ROLE=…"):
        ensure_role(iam.client, "r", iam.run(), policy_name="p", permissions=lambda _: {})


def test_a_token_that_is_not_accepted_is_no_matter_of_names(play: Callable[[str], Played]) -> None:
    iam = play("iam")
    iam.refuse("get_role", "InvalidClientTokenId", 403, "The security token included in the request is invalid.")
    with pytest.raises(ProvisionError, match="credentials are not accepted") as caught:
        ensure_role(iam.client, "r", iam.run(), policy_name="p", permissions=lambda _: {})
    assert "LAMBDA_ROLE" not in str(caught.value)


def described(status: str, shards: int = 1, mode: str = "PROVISIONED", hours: int = RETENTION_HOURS) -> dict[str, Any]:
    return {
        "StreamDescriptionSummary": {
            "StreamName": "s",
            "StreamARN": STREAM_ARN,
            "StreamStatus": status,
            "StreamModeDetails": {"StreamMode": mode},
            "RetentionPeriodHours": hours,
            "StreamCreationTimestamp": SINCE,
            "EnhancedMonitoring": [],
            "OpenShardCount": shards,
        }
    }


def stream(kinesis: Played, shards: int = 1, apply: bool = True) -> Outcome:
    return ensure_stream(kinesis.client, "s", kinesis.run(apply), shards=shards)


def test_a_stream_is_waited_for_until_it_is_active(play: Callable[[str], Played]) -> None:
    kinesis = play("kinesis")
    kinesis.refuse("describe_stream_summary", "ResourceNotFoundException")
    kinesis.answer("create_stream", StreamName="s", ShardCount=3)
    kinesis.answer("describe_stream_summary", described("CREATING", 0))
    kinesis.answer("describe_stream_summary", described("ACTIVE", 3))
    made = stream(kinesis, 3)
    assert (made.state, made.arn, made.details) == ("created", STREAM_ARN, ())
    assert kinesis.clock.seconds > 0


@pytest.mark.parametrize("deleting", [described("DELETING"), described("ACTIVE", 0)])
def test_a_stream_being_deleted_is_waited_out_and_made_anew(
    play: Callable[[str], Played], deleting: dict[str, Any]
) -> None:
    kinesis = play("kinesis")
    kinesis.answer("describe_stream_summary", deleting)
    kinesis.refuse("create_stream", "ResourceInUseException")
    kinesis.answer("describe_stream_summary", deleting)
    kinesis.answer("create_stream")
    kinesis.answer("describe_stream_summary", described("ACTIVE"))
    assert stream(kinesis).state == "created"


def test_a_stream_that_never_becomes_active_ends_the_wait(play: Callable[[str], Played]) -> None:
    kinesis = play("kinesis")
    for _ in range(5):  # once before, then after 0, 0.1, 0.3 and 0.5 s
        kinesis.answer("describe_stream_summary", described("CREATING"))
    kinesis.seconds = 0.5
    with pytest.raises(UnavailableError, match="gave up waiting for stream s to be ACTIVE"):
        stream(kinesis)


def test_shards_of_an_existing_stream_are_left_and_told(play: Callable[[str], Played]) -> None:
    kinesis = play("kinesis")
    for _ in range(2):
        kinesis.answer("describe_stream_summary", described("ACTIVE", 1))
    told = stream(kinesis, 4)
    assert told.state == "unchanged"
    assert str(told).startswith("stream s: unchanged (has 1 shard, SHARD_COUNT=4: to change it")


def test_a_new_stream_keeps_its_records_as_long_as_it_can(play: Callable[[str], Played]) -> None:
    kinesis = play("kinesis")
    kinesis.refuse("describe_stream_summary", "ResourceNotFoundException")
    kinesis.answer("create_stream")
    kinesis.answer("describe_stream_summary", described("ACTIVE", hours=24))
    kinesis.answer("increase_stream_retention_period", StreamName="s", RetentionPeriodHours=8760)
    kinesis.answer("describe_stream_summary", described("UPDATING"))
    kinesis.answer("describe_stream_summary", described("ACTIVE"))
    assert stream(kinesis).state == "created"


def test_a_short_retention_of_an_existing_stream_is_mended_or_planned(play: Callable[[str], Played]) -> None:
    kinesis = play("kinesis")
    kinesis.answer("describe_stream_summary", described("ACTIVE", hours=24))
    planned = stream(kinesis, apply=False)
    assert (planned.state, planned.details) == ("updated", ("retention 24 -> 8760 hours",))


def test_an_on_demand_stream_has_no_shard_count_to_quarrel_about(play: Callable[[str], Played]) -> None:
    kinesis = play("kinesis")
    kinesis.answer("describe_stream_summary", described("ACTIVE", 4, "ON_DEMAND"))
    assert stream(kinesis, 1, apply=False) == Outcome("stream", "s", "unchanged", (), STREAM_ARN, SINCE)


def configured(**changes: Any) -> dict[str, Any]:
    return {
        "FunctionName": "f",
        "FunctionArn": FUNCTION_ARN,
        "Runtime": RUNTIME,
        "Handler": HANDLER,
        "Timeout": TIMEOUT,
        "MemorySize": MEMORY,
        "Role": ROLE_ARN,
        "Description": resources.DESCRIPTION,
        "Environment": {"Variables": {"S3_BUCKET": "b"}},
        "CodeSha256": code_sha256(CODE),
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "RevisionId": "1",
    } | changes


def function(
    lambda_: Played,
    apply: bool = True,
    role_arn: str = ROLE_ARN,
    environment: Callable[[Mapping[str, str]], dict[str, str]] | None = None,
) -> Outcome:
    return ensure_function(
        lambda_.client,
        "f",
        lambda_.run(apply),
        handler=HANDLER,
        role_arn=role_arn,
        code=CODE,
        environment=environment or (lambda _: {"S3_BUCKET": "b"}),
    )


def test_a_new_role_that_lambda_does_not_know_yet_is_waited_for(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    lambda_.refuse("get_function_configuration", "ResourceNotFoundException", 404)
    for _ in range(2):
        lambda_.refuse(
            "create_function",
            "InvalidParameterValueException",
            message="The role defined for the function cannot be assumed by Lambda.",
        )
    lambda_.answer("create_function", configured(State="Pending"))
    lambda_.answer("get_function_configuration", configured(State="Pending"))
    lambda_.answer("get_function_configuration", configured())
    assert function(lambda_).state == "created"


def test_a_function_that_stays_pending_is_made_anew_by_the_next_run(play: Callable[[str], Played]) -> None:
    """An emulator that was stopped in the half second after it made one keeps it so for ever."""
    lambda_ = play("lambda")
    lambda_.seconds = 0
    for _ in range(2):
        lambda_.answer("get_function_configuration", configured(State="Pending"))
    lambda_.answer("delete_function", {}, FunctionName="f")
    with pytest.raises(UnavailableError, match="gave up waiting for function f to be ready"):
        function(lambda_)


def test_a_role_that_lambda_never_knows_ends_the_wait(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    lambda_.refuse("get_function_configuration", "ResourceNotFoundException", 404)
    for _ in range(60):
        lambda_.refuse(
            "create_function", "InvalidParameterValueException", message="The role cannot be assumed by Lambda."
        )
    with pytest.raises(
        ProvisionError, match="function f: CreateFunction was refused with InvalidParameterValueException"
    ):
        function(lambda_)
    assert lambda_.clock.seconds == pytest.approx(resources.ROLE_PROPAGATION)
    cast(Any, lambda_.stub)._queue.clear()


def test_an_update_still_under_way_is_waited_out(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    lambda_.answer("get_function_configuration", configured(Timeout=3, CodeSha256="old"))
    lambda_.refuse("update_function_code", "ResourceConflictException", 409)
    lambda_.answer("update_function_code", configured(), FunctionName="f", ZipFile=CODE)
    lambda_.answer("get_function_configuration", configured(Timeout=3, LastUpdateStatus="InProgress"))
    lambda_.answer("get_function_configuration", configured(Timeout=3))
    lambda_.refuse("update_function_configuration", "ResourceConflictException", 409)
    lambda_.answer("update_function_configuration", configured(), FunctionName="f", Timeout=TIMEOUT, RevisionId="1")
    lambda_.answer("get_function_configuration", configured())
    outcome = function(lambda_)
    assert (outcome.state, outcome.details) == ("updated", ("code", f"Timeout 3 -> {TIMEOUT}"))


def given_a_key(there: Mapping[str, str]) -> dict[str, str]:
    return {"S3_BUCKET": "b", "RECORD_KEY": there.get("RECORD_KEY", KEY)}


def with_key(key: str) -> dict[str, Any]:
    return configured(Environment={"Variables": {"S3_BUCKET": "b", "RECORD_KEY": key}})


def test_a_key_that_another_run_gave_it_meanwhile_is_kept(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    lambda_.answer("get_function_configuration", configured(CodeSha256="old"))
    lambda_.answer("update_function_code", configured(), FunctionName="f", ZipFile=CODE)
    for _ in range(2):
        lambda_.answer("get_function_configuration", with_key(OTHER_KEY))
    assert function(lambda_, environment=given_a_key).state == "updated"


@pytest.mark.parametrize("call", ["create_function", "update_function_configuration"])
def test_of_two_runs_that_give_it_a_key_the_later_one_looks_again(play: Callable[[str], Played], call: str) -> None:
    lambda_ = play("lambda")
    if call == "create_function":
        lambda_.refuse("get_function_configuration", "ResourceNotFoundException", 404)
        lambda_.refuse(call, "ResourceConflictException", 409)
    else:
        lambda_.answer("get_function_configuration", configured())
        lambda_.refuse(call, "PreconditionFailedException", 412)
    with pytest.raises(UnavailableError, match="function f: another run makes or changes it at this moment"):
        function(lambda_, environment=given_a_key)
    lambda_.answer("get_function_configuration", with_key(OTHER_KEY))
    lambda_.answer("get_function_configuration", with_key(OTHER_KEY))
    assert function(lambda_, environment=given_a_key).state == "unchanged"


def test_a_key_is_in_no_line(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    lambda_.answer("get_function_configuration", configured())
    outcome = function(lambda_, apply=False, environment=given_a_key)
    assert outcome.details == ('Environment {"S3_BUCKET": "b"} -> {"S3_BUCKET": "b", "RECORD_KEY": "…"}',)


def test_an_endpoint_with_hashes_of_its_own_is_remembered_not_updated_for_ever(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    lambda_.refuse("get_function_configuration", "ResourceNotFoundException", 404)
    lambda_.answer("create_function", configured(CodeSha256="odd"))
    lambda_.answer("get_function_configuration", configured(CodeSha256="odd"))
    lambda_.answer("update_function_configuration", configured(), FunctionName="f", Description=ANY)
    note = _note(CODE, {"CodeSha256": "odd"})
    assert len(note) <= 256  # Lambda's limit of a description
    lambda_.answer("get_function_configuration", configured(CodeSha256="odd", Description=note))
    assert function(lambda_).state == "created"
    for _ in range(2):
        lambda_.answer("get_function_configuration", configured(CodeSha256="odd", Description=note))
    assert function(lambda_).state == "unchanged"
    # somebody else's code under a description of ours is still seen
    lambda_.answer("get_function_configuration", configured(CodeSha256="other", Description=note))
    assert function(lambda_, apply=False).details == ("code",)


def test_a_function_that_cannot_run_says_why_and_what_to_do(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    for _ in range(2):
        lambda_.answer("get_function_configuration", configured(State="Failed", StateReason="Docker not available."))
    with pytest.raises(
        ProvisionError, match=r"function f: the endpoint cannot run it \(Docker not available\)\..*docker\.sock"
    ):
        function(lambda_)


def test_without_a_role_yet_the_function_s_is_not_compared(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    lambda_.answer("get_function_configuration", configured())
    assert function(lambda_, apply=False, role_arn="").state == "unchanged"


def mapped(**changes: Any) -> dict[str, Any]:
    return {
        "UUID": UUID,
        "BatchSize": 100,
        "BisectBatchOnFunctionError": True,
        "MaximumBatchingWindowInSeconds": 0,
        "StartingPosition": "TRIM_HORIZON",
        "EventSourceArn": STREAM_ARN,
        "FunctionArn": FUNCTION_ARN,
        "LastModified": SINCE,
        "State": "Enabled",
    } | changes


def mapping(lambda_: Played, apply: bool = True, since: datetime = SINCE, **changes: Any) -> Outcome:
    arguments: dict[str, Any] = {
        "stream": Outcome("stream", "s", "unchanged", arn=STREAM_ARN, since=since),
        "batch_size": 100,
        "starting_position": "TRIM_HORIZON",
    }
    return ensure_mapping(lambda_.client, "f", lambda_.run(apply), **(arguments | changes))


def test_a_mapping_is_waited_for_until_it_is_enabled_and_permissions_until_they_are_known(
    play: Callable[[str], Played],
) -> None:
    lambda_ = play("lambda")
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": []})
    lambda_.refuse(
        "create_event_source_mapping",
        "InvalidParameterValueException",
        message="The function execution role does not have permissions to call GetRecords on Kinesis",
    )
    lambda_.answer("create_event_source_mapping", mapped(State="Creating"))
    lambda_.answer("get_event_source_mapping", mapped(State="Creating"))
    lambda_.answer("get_event_source_mapping", mapped())
    assert mapping(lambda_).state == "created"


def test_a_mapping_somebody_else_made_meanwhile_is_taken(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": []})
    lambda_.refuse("create_event_source_mapping", "ResourceConflictException", 409)
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": [mapped()]})
    lambda_.answer("get_event_source_mapping", mapped())
    assert mapping(lambda_).state == "created"


def test_a_mapping_older_than_its_stream_is_made_anew(play: Callable[[str], Played]) -> None:
    """The run that made the stream was cut off before it came to the mapping of the stream before."""
    lambda_ = play("lambda")
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": [mapped()]})
    lambda_.answer("delete_event_source_mapping", mapped(State="Deleting"), UUID=UUID)
    lambda_.refuse("create_event_source_mapping", "ResourceConflictException", 409)
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": [mapped(State="Deleting")]})
    lambda_.answer("create_event_source_mapping", mapped())
    lambda_.answer("get_event_source_mapping", mapped())
    outcome = mapping(lambda_, since=SINCE.replace(minute=1))
    assert (outcome.state, outcome.details) == ("created", ("made anew, as its stream was",))


def test_a_second_mapping_of_the_same_stream_is_reported_with_the_remedy(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    twin = mapped(UUID="99999999-2222-3333-4444-555555555555", State="Disabled")
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": [twin, mapped()]})
    outcome = mapping(lambda_, apply=False)
    assert outcome.state == "unchanged"
    assert outcome.details == (
        "another one reads the stream a second time, remove it: "
        "aws lambda delete-event-source-mapping --uuid 99999999-2222-3333-4444-555555555555",
    )


def test_a_starting_position_that_comes_too_late_is_told(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": [mapped()]})
    outcome = mapping(lambda_, apply=False, starting_position="LATEST")
    assert outcome.state == "unchanged"
    assert "began at TRIM_HORIZON; STARTING_POSITION=LATEST is for a new one" in str(outcome)


def test_a_mapping_of_an_earlier_version_is_told_to_halve_what_fails(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    old = mapped()
    del old["BisectBatchOnFunctionError"], old["MaximumBatchingWindowInSeconds"]
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": [old]})
    lambda_.answer(
        "update_event_source_mapping",
        mapped(),
        UUID=UUID,
        BatchSize=100,
        BisectBatchOnFunctionError=True,
        MaximumBatchingWindowInSeconds=0,
        Enabled=True,
    )
    lambda_.answer("get_event_source_mapping", mapped())
    outcome = mapping(lambda_)
    assert (outcome.state, outcome.details) == ("updated", ("BisectBatchOnFunctionError False -> True",))


def test_mappings_of_other_streams_are_none_of_ours(play: Callable[[str], Played]) -> None:
    lambda_ = play("lambda")
    other = mapped(EventSourceArn=f"{STREAM_ARN}-other")
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": [other]})
    assert mapping(lambda_, apply=False).state == "created"
    # only looking, and the stream is gone: its name has to do
    lambda_.answer("list_event_source_mappings", {"EventSourceMappings": [other, mapped()]})
    gone = Outcome("stream", "s", "created")
    assert mapping(lambda_, apply=False, stream=gone).details == ("made anew, as its stream was",)
