"""One body over every endpoint: provisioning converges from any state, and says what it did."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random
import re
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from moto import mock_aws

from archiver.event import Key
from common import aws
from common.clock import SystemClock
from common.delivery import FIREHOSE, KINESIS
from common.settings import Settings
from common.values import KEY_FORM
from entrypoint import delivery as module
from entrypoint import policies
from entrypoint.capabilities import MEANINGS, Filed, filed
from entrypoint.errors import ProvisionError, UnavailableError
from entrypoint.provision import Clients, connect, provision
from entrypoint.record_key import GRACE
from entrypoint.resources import Outcome
from entrypoint.run import Run
from entrypoint.watch import LOOK_EVERY, Watch
from tests.waiting import eventually

KINDS = {
    "kinesis": ["bucket", "role", "stream", "function", "mapping"],
    "firehose": ["bucket", "role", "function", "delivery role", "delivery log", "delivery stream"],
    "s3": ["bucket"],
}
# More calls than any run makes: the bound of the loops below.
MANY = 100


def zipped(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("index.py"), text)
    return buffer.getvalue()


# The transform says of every line that it is of the hour of the probe, and changes it a little
FUNCTION = """
import base64


def handler(event, context):
    return {}


def entry(data):
    return base64.b64encode(base64.b64decode(data).replace(b"GET", b"get")).decode()


def firehose_handler(event, context):
    keys = {"year": "1970", "month": "01", "day": "01", "hour": "00"}
    return {"records": [answer(one, {"partitionKeys": keys}) for one in event["records"]]}


def answer(one, metadata):
    return {"recordId": one.get("recordId"), "result": "Ok", "data": entry(one["data"]), "metadata": metadata}
"""
CODE = zipped(FUNCTION)
NEW_CODE = zipped(FUNCTION + "# newer\n")


@pytest.fixture(scope="module")
def moto() -> Iterator[Clients]:
    # the managed policies are what AWSLambdaBasicExecutionRole is one of; TARGET=aws names the hosts moto answers for
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        yield connect(Settings(target="aws", localstack_host=""))


@pytest.fixture(
    params=[
        "moto",
        pytest.param("ministack", marks=pytest.mark.emulator),
        pytest.param("localstack", marks=pytest.mark.localstack),
    ]
)
def clients(request: pytest.FixtureRequest) -> Iterator[Clients]:
    if request.param == "moto":
        yield (connected := request.getfixturevalue("moto"))
        for name in connected.firehose.list_delivery_streams()["DeliveryStreamNames"]:
            connected.firehose.delete_delivery_stream(DeliveryStreamName=name)  # moto has room for 50
        return
    settings = Settings(localstack_host=request.getfixturevalue(request.param))
    with closing(aws.client(settings, "s3")) as patient:
        patient.list_buckets()  # LocalStack loads a service when it is first asked for
    connected = connect(settings)
    yield connected
    eventually(lambda: forget_all_mappings(connected))
    for each in services(connected):
        each.close()


@pytest.fixture
def settings() -> Settings:
    return named()


@pytest.fixture(params=list(KINDS))
def either(request: pytest.FixtureRequest) -> Settings:
    """The settings of one delivery after the other."""
    return named(delivery=request.param)


def named(**more: Any) -> Settings:
    """Settings with names nobody else uses."""
    some = uuid.uuid4().hex[:12]
    return Settings(
        **(
            {
                "s3_bucket": f"bucket-{some}",
                "lambda_role": f"role-{some}",
                "kinesis_data_stream": f"stream-{some}",
                "lambda_function": f"function-{some}",
                "firehose_stream": f"delivery-{some}",
                "firehose_role": f"delivery-role-{some}",
            }
            | more
        )
    )


def services(clients: Clients) -> list[Any]:
    return [clients.s3, clients.iam, clients.kinesis, clients.lambda_, clients.firehose, clients.logs]


def run(clients: Clients, settings: Settings, code: bytes = CODE, *, apply: bool = True) -> dict[str, Outcome]:
    outcomes = list(provision(clients, settings, code, Run(SystemClock(), 20, apply=apply)))
    assert [outcome.kind for outcome in outcomes] == KINDS[settings.delivery.name]
    return {outcome.kind: outcome for outcome in outcomes}


def states(clients: Clients, settings: Settings, code: bytes = CODE, *, apply: bool = True) -> list[str]:
    return [outcome.state for outcome in run(clients, settings, code, apply=apply).values()]


def only(kind: str, state: str, delivery: str = "kinesis") -> list[str]:
    return [state if each == kind else "unchanged" for each in KINDS[delivery]]


def all_of(settings: Settings, state: str) -> list[str]:
    return [state] * len(KINDS[settings.delivery.name])


def forget_bucket(clients: Clients, settings: Settings) -> None:
    clients.s3.delete_bucket(Bucket=settings.s3_bucket)


def forget_role(clients: Clients, settings: Settings) -> None:
    delete_role(clients, settings.lambda_role)


def forget_delivery_role(clients: Clients, settings: Settings) -> None:
    delete_role(clients, settings.firehose_role)


def delete_role(clients: Clients, name: str) -> None:
    for policy in clients.iam.list_role_policies(RoleName=name)["PolicyNames"]:
        clients.iam.delete_role_policy(RoleName=name, PolicyName=policy)
    for attached in clients.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
        clients.iam.detach_role_policy(RoleName=name, PolicyArn=attached["PolicyArn"])
    clients.iam.delete_role(RoleName=name)


def forget_stream(clients: Clients, settings: Settings) -> None:
    clients.kinesis.delete_stream(StreamName=settings.kinesis_data_stream)


def forget_function(clients: Clients, settings: Settings) -> None:
    clients.lambda_.delete_function(FunctionName=settings.lambda_function)


def mappings(clients: Clients, settings: Settings) -> list[Any]:
    return clients.lambda_.list_event_source_mappings(FunctionName=settings.lambda_function)["EventSourceMappings"]


def forget_mapping(clients: Clients, settings: Settings) -> None:
    for each in mappings(clients, settings):
        clients.lambda_.delete_event_source_mapping(UUID=each["UUID"])


def forget_all_mappings(clients: Clients) -> bool:
    """An endpoint polls the shards of each as long as it runs: for those of this file LocalStack needs a core."""
    for each in clients.lambda_.list_event_source_mappings()["EventSourceMappings"]:
        if each["State"] != "Deleting":
            clients.lambda_.delete_event_source_mapping(UUID=each["UUID"])
    return True


def forget_delivery_log(clients: Clients, settings: Settings) -> None:
    clients.logs.delete_log_group(logGroupName=module.log_group(settings.firehose_stream))


def forget_delivery_stream(clients: Clients, settings: Settings) -> None:
    clients.firehose.delete_delivery_stream(DeliveryStreamName=settings.firehose_stream)


FORGET: dict[str, Callable[[Clients, Settings], None]] = {
    "bucket": forget_bucket,
    "role": forget_role,
    "stream": forget_stream,
    "function": forget_function,
    "mapping": forget_mapping,
    "delivery role": forget_delivery_role,
    "delivery log": forget_delivery_log,
    "delivery stream": forget_delivery_stream,
}
EACH = [(delivery, kind) for delivery, kinds in KINDS.items() for kind in kinds]


def destination(clients: Clients, settings: Settings) -> Any:
    """What the delivery stream says of where it delivers to."""
    answer = clients.firehose.describe_delivery_stream(DeliveryStreamName=settings.firehose_stream)
    return answer["DeliveryStreamDescription"]["Destinations"][0]["ExtendedS3DestinationDescription"]


def test_created_then_unchanged(clients: Clients, settings: Settings) -> None:
    made = run(clients, settings)
    assert [outcome.state for outcome in made.values()] == ["created"] * 5
    assert states(clients, settings) == ["unchanged"] * 5
    function = clients.lambda_.get_function(FunctionName=settings.lambda_function)["Configuration"]
    assert function["Role"] == made["role"].arn
    rules = clients.s3.get_bucket_lifecycle_configuration(Bucket=settings.s3_bucket)["Rules"]
    assert [rule["ID"] for rule in rules] == ["abort-unfinished-uploads", "drop-progress"]
    (mapping,) = mappings(clients, settings)
    assert (mapping["State"], mapping["BatchSize"], mapping["StartingPosition"]) == ("Enabled", 100, "TRIM_HORIZON")
    assert mapping["EventSourceArn"] == made["stream"].arn
    assert (mapping["BisectBatchOnFunctionError"], mapping["MaximumBatchingWindowInSeconds"]) == (True, 0)


def test_objects_expire_as_long_as_it_is_set_and_other_rules_stay(clients: Clients) -> None:
    settings = named(s3_prefix="logs/")

    def rules() -> dict[str, tuple[str, int]]:
        found = clients.s3.get_bucket_lifecycle_configuration(Bucket=settings.s3_bucket)["Rules"]
        return {
            rule["ID"]: (rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) for rule in found if "Filter" in rule
        }

    run(clients, settings)
    theirs: Any = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "a/"}, "Expiration": {"Days": 3}}
    clients.s3.put_bucket_lifecycle_configuration(Bucket=settings.s3_bucket, LifecycleConfiguration={"Rules": [theirs]})
    others = {"theirs": ("a/", 3)}
    for days in (30, 7):
        expiring = settings.model_copy(update={"s3_expire_days": days})
        assert run(clients, expiring)["bucket"].state == "updated"
        ours = {"s3-expire-days-entries": ("logs/20", days), "s3-expire-days-rejected": ("logs/rejected/20", days)}
        assert rules() == others | ours
        assert states(clients, expiring) == all_of(expiring, "unchanged")
    assert run(clients, settings)["bucket"].state == "updated"
    assert rules() == others
    assert states(clients, settings) == all_of(settings, "unchanged")


def test_a_delivery_stream_is_what_was_wanted(clients: Clients) -> None:
    settings = named(delivery="firehose", s3_prefix="logs/")
    made = run(clients, settings)
    assert [outcome.state for outcome in made.values()] == all_of(settings, "created")
    assert states(clients, settings) == all_of(settings, "unchanged")
    found = destination(clients, settings)
    keys = "!{partitionKeyFromLambda:year}/!{partitionKeyFromLambda:month}/!{partitionKeyFromLambda:day}/"
    assert found["Prefix"] == f"logs/{keys}!{{partitionKeyFromLambda:hour}}/"
    assert found["ErrorOutputPrefix"] == "logs/rejected/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH}/"
    assert found["BucketARN"] == f"arn:aws:s3:::{settings.s3_bucket}"
    assert found["RoleARN"] == made["delivery role"].arn
    assert found["DynamicPartitioningConfiguration"]["Enabled"]
    assert found["BufferingHints"] == {"SizeInMBs": 64, "IntervalInSeconds": 60}
    (processor,) = found["ProcessingConfiguration"]["Processors"]
    parameters = {one["ParameterName"]: one["ParameterValue"] for one in processor["Parameters"]}
    assert parameters["LambdaArn"] == f"{made['function'].arn}:$LATEST"
    function = clients.lambda_.get_function_configuration(FunctionName=settings.lambda_function)
    assert function["Handler"] == "index.firehose_handler"
    policies_of = clients.iam.list_role_policies
    assert policies_of(RoleName=settings.lambda_role)["PolicyNames"] == ["keep-rejected-lines"]
    assert policies_of(RoleName=settings.firehose_role)["PolicyNames"] == ["write-objects-invoke-transform"]
    assert mappings(clients, settings) == []


@pytest.mark.parametrize(("delivery", "kind"), EACH)
def test_what_was_deleted_is_made_again_and_the_rest_left_alone(clients: Clients, delivery: str, kind: str) -> None:
    settings = named(delivery=delivery)
    run(clients, settings)
    FORGET[kind](clients, settings)
    expected = only(kind, "created", delivery)
    if kind == "stream":
        # its positions are those of the old stream: kept, it would pass over the first records of the new one
        expected[KINDS[delivery].index("mapping")] = "created"
    assert states(clients, settings, apply=False) == expected
    assert states(clients, settings) == expected
    assert states(clients, settings) == all_of(settings, "unchanged")
    assert len(mappings(clients, settings)) == (delivery == "kinesis")


def test_an_endpoint_that_forgot_everything_gets_everything(clients: Clients, either: Settings) -> None:
    run(clients, either)
    for kind in reversed(KINDS[either.delivery.name]):
        FORGET[kind](clients, either)
    assert states(clients, either) == all_of(either, "created")
    assert states(clients, either) == all_of(either, "unchanged")


def test_a_stream_made_anew_gets_a_mapping_of_its_own(clients: Clients, settings: Settings) -> None:
    run(clients, settings)
    (before,) = mappings(clients, settings)
    forget_stream(clients, settings)
    run(clients, settings)
    (after,) = mappings(clients, settings)
    assert after["UUID"] != before["UUID"]


@pytest.mark.parametrize(
    ("change", "kind", "detail"),
    [
        ({"batch_size": 7}, "mapping", "BatchSize 100 -> 7"),
        ({"s3_prefix": "logs/"}, "function", "S3_PREFIX"),
        ({"s3_prefix": "logs/", "delivery": FIREHOSE}, "delivery stream", '-> "logs/!{partitionKeyFromLambda:year}/'),
    ],
)
def test_a_changed_setting_updates(clients: Clients, change: dict[str, Any], kind: str, detail: str) -> None:
    settings = named(delivery=change.get("delivery", KINESIS))
    run(clients, settings)
    changed = settings.model_copy(update=change)
    planned = run(clients, changed, apply=False)[kind]
    updated = run(clients, changed)[kind]
    assert planned == updated
    assert updated.state == "updated"
    assert detail in str(updated)
    assert states(clients, changed) == all_of(settings, "unchanged")


def test_what_a_mapping_does_with_a_failed_batch_is_mended(clients: Clients, settings: Settings) -> None:
    run(clients, settings)
    (before,) = mappings(clients, settings)
    other = {"BisectBatchOnFunctionError": False, "MaximumBatchingWindowInSeconds": 5, "Enabled": True}
    clients.lambda_.update_event_source_mapping(UUID=before["UUID"], **cast(Any, other))
    details = run(clients, settings)["mapping"].details[:2]  # LocalStack shows it disabled while it is updated
    assert details == ("BisectBatchOnFunctionError False -> True", "MaximumBatchingWindowInSeconds 5 -> 0")
    assert states(clients, settings) == ["unchanged"] * 5


def test_the_prefix_also_moves_what_the_role_may_do(clients: Clients, settings: Settings) -> None:
    run(clients, settings)
    changed = settings.model_copy(update={"s3_prefix": "logs/"})
    assert states(clients, changed) == ["unchanged", "updated", "unchanged", "updated", "unchanged"]


def test_the_prefix_also_moves_what_firehose_may_do(clients: Clients) -> None:
    settings = named(delivery="firehose")
    run(clients, settings)
    changed = settings.model_copy(update={"s3_prefix": "logs/"})
    assert [state[0] for state in states(clients, changed)] == list("uuuuuu")
    document: Any = clients.iam.get_role_policy(
        RoleName=settings.firehose_role, PolicyName=policies.DELIVERY_POLICY_NAME
    )["PolicyDocument"]
    assert document["Statement"][0]["Resource"] == f"arn:aws:s3:::{settings.s3_bucket}/logs/*"


@pytest.mark.parametrize("either", ["kinesis", "firehose"], indirect=True)
def test_new_code_updates_the_function(clients: Clients, either: Settings) -> None:
    run(clients, either)
    assert states(clients, either, NEW_CODE, apply=False) == only("function", "updated", either.delivery.name)
    assert run(clients, either, NEW_CODE)["function"].details == ("code",)
    assert states(clients, either, NEW_CODE) == all_of(either, "unchanged")


def test_another_delivery_leaves_alone_what_the_one_before_has_made(clients: Clients, settings: Settings) -> None:
    run(clients, settings)
    (before,) = mappings(clients, settings)
    changed = settings.model_copy(update={"delivery": FIREHOSE})
    planned = run(clients, changed, apply=False)
    made = run(clients, changed)
    assert [outcome.state for outcome in planned.values()] == [outcome.state for outcome in made.values()]
    assert str(made["role"]).endswith(": updated (what it may do)")
    assert sorted(clients.iam.list_role_policies(RoleName=settings.lambda_role)["PolicyNames"]) == [
        "keep-rejected-lines",
        "read-stream-write-objects",
    ]
    assert made["function"].state == "updated"
    assert 'Handler "index.handler" -> "index.firehose_handler"' in str(made["function"])
    assert f"still reads stream {settings.kinesis_data_stream}" in str(made["function"])
    assert states(clients, changed) == all_of(changed, "unchanged")
    (after,) = mappings(clients, settings)
    assert (after["UUID"], after["State"]) == (before["UUID"], "Enabled")
    assert states(clients, settings) == only("function", "updated")
    assert states(clients, settings) == all_of(settings, "unchanged")


def drift_trust(clients: Clients, settings: Settings) -> None:
    anybody = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},'
        '"Action":"sts:AssumeRole"}]}'
    )
    clients.iam.update_assume_role_policy(RoleName=settings.lambda_role, PolicyDocument=anybody)


def drift_permissions(clients: Clients, settings: Settings) -> None:
    (name,) = clients.iam.list_role_policies(RoleName=settings.lambda_role)["PolicyNames"]
    everything = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
    clients.iam.put_role_policy(RoleName=settings.lambda_role, PolicyName=name, PolicyDocument=everything)


def drift_attachment(clients: Clients, settings: Settings) -> None:
    (attached,) = clients.iam.list_attached_role_policies(RoleName=settings.lambda_role)["AttachedPolicies"]
    clients.iam.detach_role_policy(RoleName=settings.lambda_role, PolicyArn=attached["PolicyArn"])


def drift_function(clients: Clients, settings: Settings) -> None:
    clients.lambda_.update_function_configuration(
        FunctionName=settings.lambda_function, Timeout=3, Environment={"Variables": {"S3_BUCKET": "elsewhere"}}
    )


def drift_stream(clients: Clients, settings: Settings) -> None:
    clients.kinesis.decrease_stream_retention_period(StreamName=settings.kinesis_data_stream, RetentionPeriodHours=24)


def drift_delivery_trust(clients: Clients, settings: Settings) -> None:
    drift_trust(clients, settings.model_copy(update={"lambda_role": settings.firehose_role}))


def drift_delivery_permissions(clients: Clients, settings: Settings) -> None:
    drift_permissions(clients, settings.model_copy(update={"lambda_role": settings.firehose_role}))


def drift_delivery_log(clients: Clients, settings: Settings) -> None:
    clients.logs.delete_log_stream(
        logGroupName=module.log_group(settings.firehose_stream), logStreamName=module.LOG_STREAM
    )


def change_destination(clients: Clients, settings: Settings, change: Any) -> None:
    answer = clients.firehose.describe_delivery_stream(DeliveryStreamName=settings.firehose_stream)
    stream = answer["DeliveryStreamDescription"]
    current = stream["Destinations"][0]["ExtendedS3DestinationDescription"]
    clients.firehose.update_destination(
        DeliveryStreamName=settings.firehose_stream,
        CurrentDeliveryStreamVersionId=stream["VersionId"],
        DestinationId=stream["Destinations"][0]["DestinationId"],
        # moto and LocalStack replace what is there
        ExtendedS3DestinationUpdate=cast(Any, current) | change,
    )


def drift_prefix(clients: Clients, settings: Settings) -> None:
    change_destination(clients, settings, {"Prefix": "elsewhere/"})


def drift_transform(clients: Clients, settings: Settings) -> None:
    change_destination(clients, settings, {"ProcessingConfiguration": {"Enabled": False, "Processors": []}})


def drift_mapping(clients: Clients, settings: Settings) -> None:
    (mapping,) = mappings(clients, settings)
    clients.lambda_.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)


@pytest.mark.parametrize(
    ("drift", "kind", "detail"),
    [
        (drift_trust, "role", "who may take it"),
        (drift_permissions, "role", "what it may do"),
        (drift_attachment, "role", "AWSLambdaBasicExecutionRole"),
        (drift_stream, "stream", "retention 24 -> 8760 hours"),
        (drift_function, "function", "Timeout 3 -> 60"),
        (drift_mapping, "mapping", "enabled again"),
        (drift_delivery_trust, "delivery role", "who may take it"),
        (drift_delivery_permissions, "delivery role", "what it may do"),
        (drift_delivery_log, "delivery log", "DestinationDelivery"),
        (drift_prefix, "delivery stream", 'Prefix "elsewhere/" -> "!{partitionKeyFromLambda:year}/'),
        (drift_transform, "delivery stream", "ProcessingConfiguration"),
    ],
)
def test_what_was_changed_from_outside_is_changed_back(
    clients: Clients, drift: Callable[[Clients, Settings], None], kind: str, detail: str
) -> None:
    settings = named(delivery="kinesis" if kind in KINDS["kinesis"] else "firehose")
    run(clients, settings)
    drift(clients, settings)
    expected = only(kind, "updated", settings.delivery.name)
    assert states(clients, settings, apply=False) == expected
    mended = run(clients, settings)
    assert [outcome.state for outcome in mended.values()] == expected
    assert detail in str(mended[kind])
    assert states(clients, settings) == all_of(settings, "unchanged")


@pytest.mark.parametrize(("kind", "drift"), [("mapping", drift_mapping), ("delivery stream", drift_prefix)])
def test_a_plan_changes_nothing(clients: Clients, kind: str, drift: Callable[[Clients, Settings], None]) -> None:
    settings = named(delivery="kinesis" if kind in KINDS["kinesis"] else "firehose")
    asked: list[str] = []
    with hooked(clients, "before-call", lambda model, **_: asked.append(model.name)):
        assert states(clients, settings, apply=False) == all_of(settings, "created")
        assert states(clients, settings, apply=False) == all_of(settings, "created")
        run(clients, settings)
        drift(clients, settings)
        asked.clear()
        assert states(clients, settings, apply=False) == only(kind, "updated", settings.delivery.name)
    assert asked
    assert all(name.startswith(("Get", "Head", "List", "Describe")) for name in asked)


def test_the_shards_of_an_existing_stream_stay_and_the_line_says_so(clients: Clients, settings: Settings) -> None:
    run(clients, settings)
    stream = run(clients, settings.model_copy(update={"shard_count": 2}))["stream"]
    assert str(stream).startswith(f"stream {stream.name}: unchanged (has 1 shard, SHARD_COUNT=2: ")


def test_shards_count_when_the_stream_is_made(clients: Clients) -> None:
    settings = named(shard_count=2)
    run(clients, settings)
    summary = clients.kinesis.describe_stream_summary(StreamName=settings.kinesis_data_stream)
    assert summary["StreamDescriptionSummary"]["OpenShardCount"] == 2


# --- faults: fail the 1st, 2nd, 3rd … call, until no call is left to fail (SQLite's do_faultsim_test)


@contextlib.contextmanager
def hooked(clients: Clients, event: str, hook: Callable[..., Any]) -> Iterator[None]:
    for each in services(clients):
        each.meta.events.register_first(event, hook)
    try:
        yield
    finally:
        for each in services(clients):
            each.meta.events.unregister(event, hook)


class Fault:
    """Fails call number `first` and, when `persistent`, all that follow it."""

    def __init__(self, first: int, raise_: Callable[[str], Exception], *, persistent: bool = False) -> None:
        self._first = first
        self._raise = raise_
        self._persistent = persistent
        self.calls = 0

    def __call__(self, model: Any, **_: Any) -> None:
        self.calls += 1
        if self.calls == self._first or (self._persistent and self.calls > self._first):
            raise self._raise(model.name)

    @property
    def fired(self) -> bool:
        return self.calls >= self._first


def lost(_operation: str) -> Exception:
    return ReadTimeoutError(endpoint_url="http://x", error="Read timed out")


def broken(operation: str) -> Exception:
    return ClientError(
        {"Error": {"Code": "InternalError", "Message": "oops"}, "ResponseMetadata": {"HTTPStatusCode": 500}},  # type: ignore[typeddict-item]
        operation,
    )


def forbidden(operation: str) -> Exception:
    return ClientError(
        {"Error": {"Code": "AccessDenied", "Message": "oops"}, "ResponseMetadata": {"HTTPStatusCode": 403}},  # type: ignore[typeddict-item]
        operation,
    )


def attempt(clients: Clients, settings: Settings) -> ProvisionError | None:
    try:
        run(clients, settings)
    except ProvisionError as error:
        return error
    return None


# after-call: it did what it was asked, and the answer was lost. before-call: it did nothing.
@pytest.mark.parametrize(("event", "raise_"), [("after-call", lost), ("before-call", broken)])
@pytest.mark.parametrize("delivery", list(KINDS))
def test_whichever_call_fails_once_the_next_run_finishes_the_work(
    clients: Clients, event: str, raise_: Callable[[str], Exception], delivery: str, request: pytest.FixtureRequest
) -> None:
    if "moto" not in request.node.name and (event, raise_) != ("after-call", lost):
        pytest.skip("half a second for each function: the case that can do harm is enough")
    for number in range(1, MANY):
        settings = named(delivery=delivery)
        fault = Fault(number, raise_)
        with hooked(clients, event, fault):
            outcome = attempt(clients, settings)
        if not fault.fired:
            assert outcome is None
            assert number > (1 if delivery == "s3" else 10)
            return
        assert isinstance(outcome, UnavailableError)
        run(clients, settings)
        assert states(clients, settings) == all_of(settings, "unchanged")
        assert len(mappings(clients, settings)) == (delivery == "kinesis")
    pytest.fail("the run never ended")


@pytest.mark.parametrize("delivery", list(KINDS))
def test_whichever_call_is_refused_for_good_ends_in_a_sentence(clients: Clients, delivery: str) -> None:
    for number in range(1, MANY):
        settings = named(delivery=delivery)
        fault = Fault(number, forbidden, persistent=True)
        with hooked(clients, "before-call", fault):
            outcome = attempt(clients, settings)
        # the third call gives a bucket its rules, without which it works
        if not fault.fired or (delivery == "s3" and number == 3):
            assert outcome is None
            return
        assert isinstance(outcome, ProvisionError)
        assert not isinstance(outcome, UnavailableError)
        assert "403" in str(outcome) or "AccessDenied" in str(outcome)
        assert "-e " in str(outcome)
    pytest.fail("the run never ended")


# --- the daemon's rounds over the same endpoints


class StillClock(SystemClock):
    """A monotonic clock that a test moves on by hand as well."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


def watch(clients: Clients, settings: Settings, clock: StillClock) -> Watch:
    return Watch(settings, CODE, clock, random.Random(1), connect=lambda _: clients, publish=False, within=20)


def test_the_watch_makes_again_what_was_forgotten(
    clients: Clients, either: Settings, clock: StillClock, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = watch(clients, either, clock)
    caplog.set_level("INFO")
    assert watcher.round() == LOOK_EVERY
    assert watcher.state == "ready"
    for kind in reversed(KINDS[either.delivery.name]):
        FORGET[kind](clients, either)
    caplog.clear()
    watcher.round()
    assert watcher.state == "ready"
    warning, *more = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "has forgotten" in warning
    assert either.s3_bucket in warning
    # what only a copy of Firehose lacks is said again, as it was looked for again
    assert not more or either.delivery is FIREHOSE
    caplog.clear()
    watcher.round()
    assert states(clients, either) == all_of(either, "unchanged")
    assert caplog.records == []


@pytest.mark.parametrize(("delivery", "kind"), EACH)
def test_the_watch_sees_each_single_loss(clients: Clients, clock: StillClock, delivery: str, kind: str) -> None:
    settings = named(delivery=delivery)
    watcher = watch(clients, settings, clock)
    watcher.round()
    # twice in a row: what is missing is never taken for what an endpoint does not keep
    for _ in range(2):
        FORGET[kind](clients, settings)
        watcher.round()
        assert states(clients, settings) == all_of(settings, "unchanged")


def test_the_watch_enables_a_mapping_again(clients: Clients, settings: Settings, clock: StillClock) -> None:
    watcher = watch(clients, settings, clock)
    watcher.round()
    drift_mapping(clients, settings)
    watcher.round()
    assert mappings(clients, settings)[0]["State"] == "Enabled"


def test_a_look_is_a_handful_of_calls_that_change_nothing(
    clients: Clients, either: Settings, clock: StillClock
) -> None:
    watcher = watch(clients, either, clock)
    watcher.round()
    asked: list[str] = []
    with hooked(clients, "before-call", lambda model, **_: asked.append(model.name)):
        watcher.round()
    assert len(asked) <= (12 if either.delivery is FIREHOSE else 8)
    assert all(name.startswith(("Get", "Head", "List", "Describe")) for name in asked)


# what is known, so that a new version which changes it is noticed
FILES = {"moto": "untransformed", "ministack": "own hour", "localstack": "hour of arrival"}


def test_where_a_probe_is_filed_is_told_and_nothing_is_left_of_it(
    clients: Clients, clock: StillClock, request: pytest.FixtureRequest
) -> None:
    settings = named(delivery="firehose", s3_prefix="logs/")
    run(clients, settings)
    found = probe(clients, settings, clock)
    assert found == FILES[request.node.callspec.params["clients"]]
    assert clients.s3.list_objects_v2(Bucket=settings.s3_bucket).get("Contents", []) == []
    assert bool(MEANINGS[found]) == (found != "own hour")


@pytest.mark.emulator
def test_a_transform_that_fails_is_told(ministack: str, clock: StillClock) -> None:
    clients = connect(Settings(localstack_host=ministack))
    settings = named(delivery="firehose")
    run(clients, settings, zipped(FUNCTION.replace("return", "raise ValueError  #")))
    assert probe(clients, settings, clock) == "failed"
    for each in services(clients):
        each.close()


def test_a_probe_that_is_not_found_is_not_waited_for_long(clients: Clients, clock: StillClock) -> None:
    settings = named(delivery="firehose")
    run(clients, settings)
    elsewhere = settings.model_copy(update={"s3_prefix": "elsewhere/"})
    found = filed(clients, elsewhere, Run(clock, 0))
    assert found == "unseen"


def probe(clients: Clients, settings: Settings, clock: StillClock) -> Filed:
    return filed(clients, settings, Run(clock, 20))


def test_the_outcome_is_a_value() -> None:
    outcome = Outcome("bucket", "b", "unchanged", ("note",))
    assert str(dataclasses.replace(outcome, details=())) == "bucket b: unchanged"
    assert str(outcome) == "bucket b: unchanged (note)"


def test_all_that_share_a_function_share_its_key(clients: Clients, settings: Settings, tmp_path: Path) -> None:
    """Whoever comes later takes it over; whoever makes the function anew has it; and it comes back when it is lost."""

    def key_of(one: Settings) -> str:
        assert one.shared_key.read_text() == one.kept_key.read_text()
        return one.shared_key.read_text()

    def function_s() -> str:
        found = clients.lambda_.get_function_configuration(FunctionName=settings.lambda_function)
        return found["Environment"]["Variables"]["RECORD_KEY"]

    first, second = (settings.model_copy(update={"data_dir": tmp_path / name}) for name in ("first", "second"))
    run(clients, first)
    assert states(clients, second, apply=False) == only("function", "updated")
    assert not second.data_dir.exists()
    assert states(clients, second) == all_of(second, "unchanged")
    assert states(clients, second, apply=False) == all_of(second, "unchanged")
    key = key_of(first)
    assert re.fullmatch(KEY_FORM, key)
    assert key.startswith("19700101T000000Z-")  # nothing unsigned is in a stream that was made for it
    assert key_of(second) == function_s() == key
    clients.lambda_.delete_function(FunctionName=settings.lambda_function)
    run(clients, second)
    assert function_s() == key
    clients.lambda_.update_function_configuration(
        FunctionName=settings.lambda_function, Environment={"Variables": {"S3_BUCKET": settings.s3_bucket}}
    )
    assert states(clients, first) == only("function", "updated")
    assert function_s() == key_of(first) == key


def test_a_function_of_old_gets_a_key_that_lets_old_records_pass(clients: Clients, settings: Settings) -> None:
    run(clients, settings)
    settings.kept_key.unlink()
    clients.lambda_.update_function_configuration(
        FunctionName=settings.lambda_function, Environment={"Variables": {"S3_BUCKET": settings.s3_bucket}}
    )
    before = datetime.now(UTC).timestamp()
    run(clients, settings)
    key = Key.of(settings.kept_key.read_text())
    assert key
    assert before - 1 <= key.since - GRACE.total_seconds() <= datetime.now(UTC).timestamp()
