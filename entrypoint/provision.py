"""The main path of the control plane: bucket, role, stream, function, event source mapping, in this order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance import aws
from appliance.settings import Settings
from entrypoint import policies
from entrypoint.deadline import Deadline
from entrypoint.errors import ProvisionError
from entrypoint.resources import Outcome, ensure_bucket, ensure_function, ensure_mapping, ensure_role, ensure_stream

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client

# Seconds an answer may take. Shorter than the factory's, and without its retries, because whoever calls comes back
# anyway: an endpoint that vanished in the middle of a call must not use up the 15 s it may take to be provisioned anew.
READ_TIMEOUT = 5.0
SERVICES: tuple[aws.Service, ...] = ("s3", "iam", "kinesis", "lambda")


@dataclass(frozen=True)
class Clients:
    s3: S3Client
    iam: IAMClient
    kinesis: KinesisClient
    lambda_: LambdaClient


def connect(settings: Settings) -> Clients:
    """Clients for what is provisioned; no call is made. Raises ProvisionError, BotoCoreError (unknown AWS_PROFILE)."""
    options = {"read_timeout": READ_TIMEOUT, "retries": {"mode": "standard", "total_max_attempts": 1}}
    try:
        return Clients(
            aws.client(settings, "s3", **options),
            aws.client(settings, "iam", **options),
            aws.client(settings, "kinesis", **options),
            aws.client(settings, "lambda", **options),
        )
    except ValueError as error:
        raise ProvisionError(f"{error}; check LOCALSTACK_HOST") from error


def provision(
    clients: Clients, settings: Settings, code: bytes, deadline: Deadline, *, apply: bool = True
) -> Iterator[Outcome]:
    """Make all five exist as `settings` want them, with `code` as the function's zip; yields each as it is done.

    With `apply=False` nothing is changed. Raises ProvisionError (UnavailableError when it may pass); what was done
    until then stays done, and the next run goes on from there.
    """

    def permissions(role_arn: str) -> policies.Policy:
        stream_arn = policies.stream_arn(role_arn, settings.aws_default_region, settings.kinesis_data_stream)
        return policies.inline_policy(stream_arn, settings.s3_bucket, settings.s3_prefix)

    yield ensure_bucket(
        clients.s3, settings.s3_bucket, region=settings.aws_default_region, deadline=deadline, apply=apply
    )

    role = ensure_role(clients.iam, settings.lambda_role, permissions=permissions, apply=apply)
    yield role

    stream = ensure_stream(
        clients.kinesis, settings.kinesis_data_stream, shards=settings.shard_count, deadline=deadline, apply=apply
    )
    yield stream

    yield ensure_function(
        clients.lambda_,
        settings.lambda_function,
        role_arn=role.arn,
        code=code,
        environment=function_environment(settings),
        deadline=deadline,
        apply=apply,
    )

    yield ensure_mapping(
        clients.lambda_,
        settings.lambda_function,
        stream=stream,
        batch_size=settings.batch_size,
        starting_position=settings.starting_position,
        deadline=deadline,
        apply=apply,
    )


def function_environment(settings: Settings) -> dict[str, str]:
    """What the function is told; where its endpoint is it finds by itself (emulators put AWS_ENDPOINT_URL there)."""
    variables = {"S3_BUCKET": settings.s3_bucket}
    if settings.s3_prefix:
        variables["S3_PREFIX"] = settings.s3_prefix
    return variables
