"""The resources that only DELIVERY=firehose has: the delivery stream and its log.

As in `resources.py`, each `ensure_*` takes any state as its start.
"""

from __future__ import annotations

import json
from typing import Any, Literal, cast

from common.aws import CloudWatchLogsClient, FirehoseClient
from entrypoint import delivery
from entrypoint.errors import ProvisionError, explained
from entrypoint.resources import ROLE_PROPAGATION, Outcome, State, accepting, busy, existing, made, role_unknown
from entrypoint.run import Run

DIRECT_PUT: Literal["DirectPut"] = "DirectPut"
DESCRIPTION_KEY = "ExtendedS3DestinationDescription"


@explained("delivery log")
def ensure_delivery_log(logs: CloudWatchLogsClient, name: str, run: Run) -> Outcome:
    """The log group `name` with the log stream Firehose writes to: it creates neither by itself."""
    stream = delivery.LOG_STREAM
    found = existing(lambda: logs.describe_log_streams(logGroupName=name, logStreamNamePrefix=stream)["logStreams"])
    has_group = found is not None
    has_stream = any(one.get("logStreamName") == stream for one in found or ())
    with accepting("ResourceAlreadyExistsException"):
        if run.apply and not has_group:
            logs.create_log_group(logGroupName=name)
    with accepting("ResourceAlreadyExistsException"):
        if run.apply and not has_stream:
            logs.create_log_stream(logGroupName=name, logStreamName=stream)
    if has_group and has_stream:
        return Outcome("delivery log", name, "unchanged")
    return Outcome("delivery log", name, "updated" if has_group else "created", (stream,) if has_group else ())


@explained("delivery stream")
def ensure_delivery_stream(
    firehose: FirehoseClient, name: str, run: Run, *, destination: delivery.Destination
) -> Outcome:
    """An ACTIVE delivery stream that is written to directly and delivers to `destination`.

    `destination` may lack (only looking, and there is no role or function yet) what is not known: that is not compared.
    Raises ProvisionError when the name belongs to a delivery stream of another kind.
    """

    def look() -> dict[str, Any] | None:
        answer: Any = existing(lambda: firehose.describe_delivery_stream(DeliveryStreamName=name))
        found: dict[str, Any] = answer and answer["DeliveryStreamDescription"]
        return None if not found or found["DeliveryStreamStatus"] == "DELETING" else found

    def create() -> None:
        firehose.create_delivery_stream(
            DeliveryStreamName=name,
            DeliveryStreamType=DIRECT_PUT,
            ExtendedS3DestinationConfiguration=cast(Any, destination),
        )

    def active() -> dict[str, Any] | None:
        current = look()
        if current and current["DeliveryStreamStatus"].endswith("_FAILED"):
            reason = current.get("FailureDescription", {}).get("Details") or "no reason was given"
            raise ProvisionError(
                f"delivery stream {name}: it could not be made ({reason.rstrip('.')}). Remove it, and it is made "
                f"anew: aws firehose delete-delivery-stream --delivery-stream-name {name}"
            )
        return current if current and current["DeliveryStreamStatus"] == "ACTIVE" else None

    def update() -> None:
        current = run.until(f"delivery stream {name} to be ACTIVE", active)
        firehose.update_destination(
            DeliveryStreamName=name,
            CurrentDeliveryStreamVersionId=current["VersionId"],
            DestinationId=current["Destinations"][0]["DestinationId"],
            ExtendedS3DestinationUpdate=cast(Any, destination),
        )

    found = look()
    if found is None:
        if run.apply:
            run.within(ROLE_PROPAGATION).retry(
                lambda: run.until(f"delivery stream {name} of old to be gone", lambda: made(create, look)), role_unknown
            )
            run.until(f"delivery stream {name} to be ACTIVE", active)
        return Outcome("delivery stream", name, "created")
    if run.apply:
        found = run.until(f"delivery stream {name} to be ACTIVE", active)
    described = _described(found)
    differs = delivery.differences(described, destination)
    if differs and run.apply:
        run.retry(update, busy)
    state: State = "updated" if differs else "unchanged"
    details = tuple(f"{key} {json.dumps(described.get(key))} -> {json.dumps(destination[key])}" for key in differs)
    return Outcome("delivery stream", name, state, details, found["DeliveryStreamARN"])


def _described(stream: dict[str, Any]) -> delivery.Destination:
    """What is known of the one S3 destination. Raises ProvisionError for a delivery stream of another kind."""
    name = stream["DeliveryStreamName"]
    if stream.get("DeliveryStreamType", DIRECT_PUT) != DIRECT_PUT:
        raise ProvisionError(
            f"delivery stream {name}: it takes its records from elsewhere ({stream['DeliveryStreamType']}), so nothing "
            "can be put into it: choose another one with -e FIREHOSE_STREAM=…"
        )
    destinations = stream.get("Destinations") or [{}]
    if not destinations[0].get(DESCRIPTION_KEY):
        raise ProvisionError(
            f"delivery stream {name}: it does not deliver to S3 with a transform: choose another one with "
            "-e FIREHOSE_STREAM=…"
        )
    return cast("dict[str, Any]", destinations[0][DESCRIPTION_KEY])
