"""The main path of the control plane: what the chosen DELIVERY needs, in order; on AWS, whether it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from common import aws
from common.delivery import FIREHOSE, KINESIS, S3
from common.errors import AWS_ERRORS, explain
from common.formats import variables
from common.settings import Settings
from entrypoint import delivery, errors, policies, record_key
from entrypoint.bucket import ensure_bucket
from entrypoint.capabilities import misfiles, overwrites, refuses
from entrypoint.firehose import ensure_delivery_log, ensure_delivery_stream
from entrypoint.function import (
    HANDLER,
    TRANSFORM_HANDLER,
    ensure_function,
    ensure_mapping,
    mappings,
    streams_of,
    streams_read_by,
)
from entrypoint.resources import Outcome, State, existing
from entrypoint.role import ensure_delivery_role, ensure_role
from entrypoint.run import Run
from entrypoint.stream import ensure_stream

# kind and name of a resource, and a call that answers with something while it is there
Probe: TypeAlias = tuple[str, str, Callable[[], Any]]
# Seconds an answer may take. Shorter than the factory's, and without its retries, because the caller comes back
# anyway: an endpoint that vanished in the middle of a call must not use up the 15 s it may take to be provisioned anew.
READ_TIMEOUT = 5.0
SERVICES: tuple[aws.Service, ...] = ("s3", "iam", "kinesis", "lambda", "firehose", "logs")


@dataclass(frozen=True)
class Clients:
    s3: aws.S3Client
    iam: aws.IAMClient
    kinesis: aws.KinesisClient
    lambda_: aws.LambdaClient
    firehose: aws.FirehoseClient
    logs: aws.CloudWatchLogsClient


def connect(settings: Settings) -> Clients:
    """Clients for what is provisioned; no call is made. Raises ProvisionError."""
    options = {"read_timeout": READ_TIMEOUT, "retries": {"mode": "standard", "total_max_attempts": 1}}
    try:
        return Clients(
            aws.client(settings, "s3", **options),
            aws.client(settings, "iam", **options),
            aws.client(settings, "kinesis", **options),
            aws.client(settings, "lambda", **options),
            aws.client(settings, "firehose", **options),
            aws.client(settings, "logs", **options),
        )
    except (*AWS_ERRORS, ValueError) as error:
        raise errors.ProvisionError(str(explain(error, "the endpoint", settings.target))) from error


def provision(clients: Clients, settings: Settings, code: bytes, run: Run) -> Iterator[Outcome]:
    """Make all that `settings` want exist, with `code` as the function's zip; yields each resource as it is done.

    Raises ProvisionError (UnavailableError when it may pass); what was done until then stays done, and the next run
    goes on from there. What another DELIVERY has made is left alone.
    """
    bucket, region, days = settings.s3_bucket, settings.aws_default_region, settings.s3_expire_days
    yield ensure_bucket(clients.s3, bucket, run, region=region, prefix=settings.s3_prefix, expire_days=days)
    yield from PIPELINES[settings.delivery].provision(clients, settings, code, run)


def _kinesis(clients: Clients, settings: Settings, code: bytes, run: Run) -> Iterator[Outcome]:
    """Role, stream, function, event source mapping."""

    def permissions(role_arn: str) -> policies.Policy:
        stream = f"stream/{settings.kinesis_data_stream}"
        stream_arn = policies.arn(role_arn, "kinesis", settings.aws_default_region, stream)
        return policies.inline_policy(stream_arn, settings.s3_bucket, settings.s3_prefix)

    policy = policies.INLINE_POLICY_NAME
    yield (role := ensure_role(clients.iam, settings.lambda_role, run, policy_name=policy, permissions=permissions))
    name, shards = settings.kinesis_data_stream, settings.shard_count
    yield (stream := ensure_stream(clients.kinesis, name, run, shards=shards))
    yield _function(clients, settings, code, run, HANDLER, role, record_key.new_key(stream, run.now))
    function, batch_size, position = settings.lambda_function, settings.batch_size, settings.starting_position
    yield ensure_mapping(
        clients.lambda_, function, run, stream=stream, batch_size=batch_size, starting_position=position
    )


def _firehose(clients: Clients, settings: Settings, code: bytes, run: Run) -> Iterator[Outcome]:
    """Role, function (the transform), the delivery stream's role and log, the delivery stream."""
    bucket, prefix, log_group = settings.s3_bucket, settings.s3_prefix, delivery.log_group(settings.firehose_stream)

    def transform_permissions(role_arn: str) -> policies.Policy:
        return policies.transform_policy(role_arn, bucket, prefix)

    def delivery_permissions(role_arn: str) -> policies.Policy:
        name = f"function:{settings.lambda_function}"
        function_arn = policies.arn(role_arn, "lambda", settings.aws_default_region, name)
        return policies.delivery_policy(function_arn, bucket, prefix, log_group)

    policy = policies.TRANSFORM_POLICY_NAME
    role = ensure_role(clients.iam, settings.lambda_role, run, policy_name=policy, permissions=transform_permissions)
    yield role
    function = _function(clients, settings, code, run, TRANSFORM_HANDLER, role)
    notes = tuple(
        f"still reads stream {stream}, as DELIVERY=kinesis made it: what that holds is archived as before"
        for stream in streams_read_by(clients.lambda_, settings.lambda_function)
    )
    yield replace(function, details=(*function.details, *notes))
    delivery_role = ensure_delivery_role(clients.iam, settings.firehose_role, run, permissions=delivery_permissions)
    yield delivery_role
    yield ensure_delivery_log(clients.logs, log_group, run)
    name, role_arn = settings.firehose_stream, delivery_role.arn
    destination = delivery.destination(
        stream=name, bucket=bucket, prefix=prefix, role_arn=role_arn, function_arn=function.arn
    )
    yield ensure_delivery_stream(clients.firehose, name, run, destination=destination)


def _function(
    clients: Clients, settings: Settings, code: bytes, run: Run, handler: str, role: Outcome, new_key: str = ""
) -> Outcome:
    """The function; what it verifies records with is kept for the producer. Without `new_key` none is made."""
    # where its endpoint is it finds by itself: emulators put AWS_ENDPOINT_URL there
    basic = {"S3_BUCKET": settings.s3_bucket} | variables(settings)
    if settings.s3_prefix:
        basic["S3_PREFIX"] = settings.s3_prefix
    name, arn, keys = settings.lambda_function, role.arn, record_key.KeyFile(settings, new_key)

    def environment(there: Mapping[str, str]) -> dict[str, str]:
        return basic | keys.variable(there)

    made = ensure_function(
        clients.lambda_, name, run, handler=handler, role_arn=arn, code=code, environment=environment
    )
    if run.apply:
        keys.save()
    elif keys.differs and made.state == "unchanged":
        return replace(made, state="updated", details=("its RECORD_KEY is taken over",))
    return made


def look_on_aws(clients: Clients, settings: Settings) -> list[Outcome]:
    """TARGET=aws, where terraform provisions: each resource is `unchanged`, `missing`, or `unseen`, where these
    credentials may not look, which need not be wrong.

    Roles are left out: neither function nor delivery stream can exist on AWS without one, and looking would need a
    further permission. Raises ProvisionError, UnavailableError.
    """
    bucket = settings.s3_bucket
    probes: list[Probe] = [
        ("bucket", bucket, lambda: clients.s3.head_bucket(Bucket=bucket)),
        *PIPELINES[settings.delivery].on_aws(clients, settings),
    ]
    return [Outcome(kind, name, _presence(kind, name, probe)) for kind, name, probe in probes]


def _function_there(clients: Clients, settings: Settings) -> Probe:
    return "function", settings.lambda_function, lambda: _with_our_key(clients, settings)


def _with_our_key(clients: Clients, settings: Settings) -> object:
    """Raises ProvisionError when the function verifies records with another key than the producer signs them with."""
    found = clients.lambda_.get_function_configuration(FunctionName=settings.lambda_function)
    environment = found.get("Environment", {})
    theirs = environment.get("Variables", {}).get(record_key.VARIABLE, "")
    if settings.delivery.has_ledger and theirs != settings.record_key and "Error" not in environment:
        raise errors.ProvisionError(
            f"function {settings.lambda_function}: RECORD_KEY is not the key it verifies records with, so lines may be "
            "archived twice. Take it from there: terraform output -raw record_key"
        )
    return found


def _stream_and_mapping(clients: Clients, settings: Settings) -> list[Probe]:
    stream, function = settings.kinesis_data_stream, settings.lambda_function
    return [
        _function_there(clients, settings),
        ("stream", stream, lambda: clients.kinesis.describe_stream_summary(StreamName=stream)),
        ("mapping", f"{stream} -> {function}", lambda: stream in streams_of(mappings(clients.lambda_, function))),
    ]


def _delivery_stream(clients: Clients, settings: Settings) -> list[Probe]:
    name = settings.firehose_stream
    return [
        _function_there(clients, settings),
        ("delivery stream", name, lambda: clients.firehose.describe_delivery_stream(DeliveryStreamName=name)),
    ]


def _presence(kind: str, name: str, probe: Callable[[], Any]) -> State:
    try:
        return "unchanged" if existing(probe) else "missing"
    except AWS_ERRORS as error:
        explanation = errors.explain(error, kind, name, "aws")
        if isinstance(explanation, errors.ForbiddenError):
            return "unseen"
        raise explanation from error


@dataclass(frozen=True)
class Pipeline:
    """What a delivery has of its own. `on_aws`: how its resources are looked for with TARGET=aws.

    `shortcoming`: the sentence about what an endpoint lacks of `capability`, as the status calls what the delivery
    needs; empty when all is well. Raises AWS_ERRORS.
    """

    provision: Callable[[Clients, Settings, bytes, Run], Iterator[Outcome]]
    on_aws: Callable[[Clients, Settings], list[Probe]]
    capability: str
    shortcoming: Callable[[Clients, Settings, str, Run], str]


PIPELINES = {
    KINESIS: Pipeline(_kinesis, _stream_and_mapping, "conditional_writes", overwrites),
    FIREHOSE: Pipeline(_firehose, _delivery_stream, "event_time_prefixes", misfiles),
    S3: Pipeline(lambda *_: iter(()), lambda *_: [], "conditional_writes", refuses),  # the bucket is all there is
}
