"""TARGET=aws: terraform provisions, and this only looks whether what it made is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from common.errors import AWS_ERRORS
from common.settings import Settings
from entrypoint.errors import ForbiddenError, explain
from entrypoint.function import mappings
from entrypoint.resources import Outcome, State, existing

if TYPE_CHECKING:
    from entrypoint.provision import Clients


# kind and name of a resource, and a call that answers with something while it is there
Probe: TypeAlias = tuple[str, str, Callable[[], Any]]


def look_on_aws(clients: Clients, settings: Settings, more: Iterable[Probe]) -> list[Outcome]:
    """Bucket, function, and the delivery's own, `more`: `unchanged`, `missing`, or `unseen`, where these
    credentials may not look, which need not be wrong.

    Roles are left out: neither function nor delivery stream can exist on AWS without one, and looking would need a
    further permission. Raises ProvisionError, UnavailableError.
    """
    function = settings.lambda_function
    probes: list[Probe] = [
        ("bucket", settings.s3_bucket, lambda: clients.s3.head_bucket(Bucket=settings.s3_bucket)),
        ("function", function, lambda: clients.lambda_.get_function_configuration(FunctionName=function)),
    ]
    return [Outcome(kind, name, _presence(kind, name, probe)) for kind, name, probe in [*probes, *more]]


def stream_and_mapping(clients: Clients, settings: Settings) -> list[Probe]:
    stream, function = settings.kinesis_data_stream, settings.lambda_function

    def mapping() -> bool:
        sources = (each.get("EventSourceArn", "") for each in mappings(clients.lambda_, function))
        return any(source.endswith(f":stream/{stream}") for source in sources)

    return [
        ("stream", stream, lambda: clients.kinesis.describe_stream_summary(StreamName=stream)),
        ("mapping", f"{stream} -> {function}", mapping),
    ]


def delivery_stream(clients: Clients, settings: Settings) -> list[Probe]:
    name = settings.firehose_stream
    return [("delivery stream", name, lambda: clients.firehose.describe_delivery_stream(DeliveryStreamName=name))]


def _presence(kind: str, name: str, probe: Callable[[], Any]) -> State:
    try:
        return "unchanged" if existing(probe) else "missing"
    except AWS_ERRORS as error:
        explanation = explain(error, kind, name, "aws")
        if isinstance(explanation, ForbiddenError):
            return "unseen"
        raise explanation from error
