"""The delivery stream: what only real AWS does, played by botocore's Stubber, and its destination as plain data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from botocore.stub import ANY

from entrypoint import delivery, function, resources
from entrypoint.errors import ProvisionError, UnavailableError
from entrypoint.firehose import ensure_delivery_log, ensure_delivery_stream
from entrypoint.resources import Outcome
from entrypoint.run import Run
from tests.unit.entrypoint.fakes import Played

ROLE = "arn:aws:iam::000000000000:role/firehose-ex"
FUNCTION = "arn:aws:lambda:us-east-1:000000000000:function:f"
ARN = "arn:aws:firehose:us-east-1:000000000000:deliverystream/d"


def wanted(**changes: str) -> delivery.Destination:
    names = {"stream": "d", "bucket": "my-bucket", "prefix": "", "role_arn": ROLE, "function_arn": FUNCTION}
    return delivery.destination(**(names | changes))


def describe(firehose: Played, status: str = "ACTIVE", version: str = "1", **changes: Any) -> None:
    firehose.answer("describe_delivery_stream", described(status, version, **changes), DeliveryStreamName="d")


def ensure(firehose: Played, apply: bool = True, seconds: float = 60, **changes: str) -> Outcome:
    run = Run(firehose.clock, seconds, apply=apply)
    return ensure_delivery_stream(firehose.client, "d", run, destination=wanted(**changes))


def described(status: str, version: str, *, kind: str = "DirectPut", **changes: Any) -> dict[str, Any]:
    destination = wanted() | {"EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"}} | changes
    return {
        "DeliveryStreamDescription": {
            "DeliveryStreamName": "d",
            "DeliveryStreamARN": ARN,
            "DeliveryStreamStatus": status,
            "DeliveryStreamType": kind,
            "VersionId": version,
            "CreateTimestamp": datetime(2026, 1, 1, tzinfo=UTC),
            "Destinations": [{"DestinationId": "destinationId-1", "ExtendedS3DestinationDescription": destination}],
            "HasMoreDestinations": False,
        }
    }


def test_a_delivery_stream_is_waited_for_until_it_is_active(play: Callable[[str], Played]) -> None:
    firehose = play("firehose")
    firehose.refuse("describe_delivery_stream", "ResourceNotFoundException")
    firehose.answer(
        "create_delivery_stream",
        {"DeliveryStreamARN": ARN},
        DeliveryStreamName="d",
        DeliveryStreamType="DirectPut",
        ExtendedS3DestinationConfiguration=wanted(),
    )
    describe(firehose, "CREATING")
    describe(firehose)
    assert ensure(firehose).state == "created"
    assert firehose.clock.seconds > 0


def test_a_role_that_firehose_does_not_know_yet_is_waited_for_and_not_for_ever(play: Callable[[str], Played]) -> None:
    unknown = "Firehose is unable to assume role arn:aws:iam::000000000000:role/firehose-ex. Please check the role."
    firehose = play("firehose")
    firehose.refuse("describe_delivery_stream", "ResourceNotFoundException")
    firehose.refuse("create_delivery_stream", "InvalidArgumentException", message=unknown)
    firehose.answer("create_delivery_stream", {"DeliveryStreamARN": ARN})
    describe(firehose)
    assert ensure(firehose).state == "created"

    firehose = play("firehose")
    firehose.refuse("describe_delivery_stream", "ResourceNotFoundException")
    for _ in range(60):
        firehose.refuse("create_delivery_stream", "InvalidArgumentException", message=unknown)
    with pytest.raises(
        ProvisionError, match="delivery stream d: CreateDeliveryStream was refused with InvalidArgument"
    ):
        ensure(firehose)
    assert firehose.clock.seconds == pytest.approx(resources.ROLE_PROPAGATION)
    cast(Any, firehose.stub)._queue.clear()


def test_one_that_is_being_deleted_is_waited_out_and_made_anew(play: Callable[[str], Played]) -> None:
    firehose = play("firehose")
    describe(firehose, "DELETING")
    firehose.refuse("create_delivery_stream", "ResourceInUseException")
    describe(firehose, "DELETING")
    firehose.answer("create_delivery_stream", {"DeliveryStreamARN": ARN})
    describe(firehose)
    assert ensure(firehose).state == "created"


def test_one_that_somebody_else_made_a_moment_ago_is_taken(play: Callable[[str], Played]) -> None:
    firehose = play("firehose")
    firehose.refuse("describe_delivery_stream", "ResourceNotFoundException")
    firehose.refuse("create_delivery_stream", "ResourceInUseException")
    describe(firehose)
    describe(firehose)
    assert ensure(firehose).state == "created"


def test_one_that_could_not_be_made_says_why_and_what_to_do(play: Callable[[str], Played]) -> None:
    firehose = play("firehose")
    answer = described("CREATING_FAILED", "1")
    answer["DeliveryStreamDescription"]["FailureDescription"] = {"Type": "KMS_ACCESS_DENIED", "Details": "no key."}
    for _ in range(2):
        firehose.answer("describe_delivery_stream", answer)
    with pytest.raises(
        ProvisionError, match=r"\(no key\)\. Remove it.*delete-delivery-stream --delivery-stream-name d"
    ):
        ensure(firehose)


def test_one_that_never_becomes_active_ends_the_wait(play: Callable[[str], Played]) -> None:
    firehose = play("firehose")
    for _ in range(5):
        describe(firehose, "CREATING")
    with pytest.raises(UnavailableError, match="gave up waiting for delivery stream d to be ACTIVE"):
        ensure(firehose, seconds=0.5)


def test_what_differs_is_updated_with_the_version_of_the_moment(play: Callable[[str], Played]) -> None:
    firehose = play("firehose")
    for version in ("1", "1", "1"):
        describe(firehose, version=version, Prefix="elsewhere/")
    firehose.refuse("update_destination", "ConcurrentModificationException")
    describe(firehose, version="2", Prefix="elsewhere/")
    firehose.answer(
        "update_destination",
        DeliveryStreamName="d",
        CurrentDeliveryStreamVersionId="2",
        DestinationId="destinationId-1",
        ExtendedS3DestinationUpdate=ANY,
    )
    outcome = ensure(firehose)
    assert outcome.state == "updated"
    assert str(outcome).startswith(
        'delivery stream d: updated (Prefix "elsewhere/" -> "!{partitionKeyFromLambda:year}/'
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"kind": "KinesisStreamAsSource"},
            "takes its records from elsewhere .KinesisStreamAsSource.*-e FIREHOSE_STREAM=…",
        ),
        ({}, "does not deliver to S3 with a transform.*-e FIREHOSE_STREAM=…"),
    ],
)
def test_a_delivery_stream_of_another_kind_is_left_alone(
    play: Callable[[str], Played], changes: dict[str, str], message: str
) -> None:
    firehose = play("firehose")
    answer = described("ACTIVE", "1", **changes)
    if not changes:
        answer["DeliveryStreamDescription"]["Destinations"] = [{"DestinationId": "1"}]
    firehose.answer("describe_delivery_stream", answer)
    with pytest.raises(ProvisionError, match=message):
        ensure(firehose, apply=False)


def test_only_looking_without_role_and_function_compares_what_is_known(play: Callable[[str], Played]) -> None:
    firehose = play("firehose")
    describe(firehose)
    assert ensure(firehose, apply=False, role_arn="", function_arn="").state == "unchanged"


def test_a_log_that_appeared_meanwhile_is_taken(play: Callable[[str], Played]) -> None:
    logs = play("logs")
    logs.refuse("describe_log_streams", "ResourceNotFoundException")
    logs.refuse("create_log_group", "ResourceAlreadyExistsException")
    logs.refuse("create_log_stream", "ResourceAlreadyExistsException")
    assert ensure_delivery_log(logs.client, "/g", logs.run()).state == "created"


def test_what_is_described_beyond_what_is_wanted_makes_no_difference() -> None:
    found = copy.deepcopy(wanted())
    found["S3BackupMode"] = "Disabled"
    found["ProcessingConfiguration"]["Processors"][0]["Parameters"].append(
        {"ParameterName": "RoleArn", "ParameterValue": ROLE}
    )
    found["ProcessingConfiguration"]["Processors"][0]["Parameters"].reverse()
    found["BufferingHints"]["Other"] = 1
    assert delivery.differences(found, wanted()) == []


@pytest.mark.parametrize("key", list(wanted()))
def test_each_key_that_differs_is_seen(key: str) -> None:
    assert delivery.differences(wanted() | {key: None}, wanted()) == [key]
    assert delivery.differences({}, {key: wanted()[key]}) == [key]


def test_another_transform_is_a_difference() -> None:
    assert delivery.differences(wanted(function_arn=f"{FUNCTION}-2"), wanted()) == ["ProcessingConfiguration"]


def test_the_least_that_dynamic_partitioning_and_lambda_take() -> None:
    assert delivery.BUFFER_MIB >= 64
    assert 0.2 <= float(delivery.TRANSFORM_BUFFER_MB) <= 3
    assert 60 <= function.TIMEOUT <= 300
