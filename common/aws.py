"""The client factory: where each service answers, with which credentials, and how long a call may take."""

from __future__ import annotations

import functools
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload
from urllib.parse import urlsplit

from common.emulator import read_key
from common.settings import Settings

if TYPE_CHECKING:
    from botocore.session import Session
    from mypy_boto3_firehose import FirehoseClient as FirehoseClient
    from mypy_boto3_iam import IAMClient as IAMClient
    from mypy_boto3_kinesis import KinesisClient as KinesisClient
    from mypy_boto3_lambda import LambdaClient as LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient as CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client as S3Client
else:  # where the code runs there are no stubs
    CloudWatchLogsClient = FirehoseClient = IAMClient = KinesisClient = LambdaClient = S3Client = Any

EDGE_PORT = 4566
# One port for each service before LocalStack 0.11.5 (its changelog: "edge service", May 2020)
LEGACY_PORTS = {"s3": 4572, "kinesis": 4568, "iam": 4593, "lambda": 4574, "firehose": 4573}
# Another emulator knows no users; these are the credentials LocalStack's documentation uses. On AWS none are set.
EMULATOR_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
# An emulator has nothing to do with the user's AWS files, profiles and ways to endpoints
PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")
NO_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
NO_OPTIONS = {"AWS_USE_FIPS_ENDPOINT": "false", "AWS_USE_DUALSTACK_ENDPOINT": "false"}
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 15.0
PROBE_TIMEOUT = 0.5

Service = Literal["s3", "kinesis", "firehose", "iam", "lambda", "logs"]


def answers(host: str, port: int) -> bool:
    """Whether something accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), PROBE_TIMEOUT):
            return True
    except OSError:
        return False


def endpoint_url(settings: Settings, service: str) -> str | None:
    """Where `service` answers; None with TARGET=aws, where botocore knows (it reads AWS_ENDPOINT_URL and the like).

    A host without a port is looked at each time it is asked for, since it may come up later: port 4566, else
    LocalStack's old port of that service; when neither answers, 4566.
    """
    if settings.target == "aws":
        return None
    given = settings.localstack_host or f"127.0.0.1:{settings.emulator_port}"
    parts = urlsplit(given if "://" in given else f"http://{given}")
    host = parts.hostname or ""
    bracketed = f"[{host}]" if ":" in host else host
    if parts.port:
        return f"{parts.scheme}://{bracketed}:{parts.port}"
    if parts.scheme == "https":
        return f"https://{bracketed}"
    legacy = LEGACY_PORTS.get(service)
    if legacy and not answers(host, EDGE_PORT) and answers(host, legacy):
        return f"http://{bracketed}:{legacy}"
    return f"http://{bracketed}:{EDGE_PORT}"


def _credentials(settings: Settings) -> dict[str, str]:
    """The embedded emulator's own key while the appliance works with it; for another endpoint the environment's."""
    if not settings.localstack_host and (own := read_key(settings.run_dir / "credentials")):
        return own | {"AWS_SESSION_TOKEN": ""}
    return {name: os.environ.get(name) or value for name, value in EMULATOR_CREDENTIALS.items()}


def is_aws(made: Any) -> bool:
    """Whether a client asks AWS itself: with TARGET=aws, too, AWS_ENDPOINT_URL or a profile may name another one."""
    host = urlsplit(made.meta.endpoint_url).hostname or ""
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"))


def environment(settings: Settings) -> dict[str, str]:
    """The environment, pointing any AWS SDK or CLI at the same place as `client` does."""
    variables = os.environ | {"AWS_DEFAULT_REGION": settings.aws_default_region}
    if settings.target == "aws":
        return variables
    variables = {name: value for name, value in variables.items() if name not in PROFILES} | NO_FILES | NO_OPTIONS
    for service in LEGACY_PORTS:
        variables[f"AWS_ENDPOINT_URL_{service.upper()}"] = endpoint_url(settings, service) or ""
    variables["AWS_ENDPOINT_URL"] = endpoint_url(settings, "sts") or ""
    return variables | _credentials(settings)


@overload
def client(settings: Settings, service: Literal["s3"], **options: Any) -> S3Client: ...
@overload
def client(settings: Settings, service: Literal["kinesis"], **options: Any) -> KinesisClient: ...
@overload
def client(settings: Settings, service: Literal["firehose"], **options: Any) -> FirehoseClient: ...
@overload
def client(settings: Settings, service: Literal["iam"], **options: Any) -> IAMClient: ...
@overload
def client(settings: Settings, service: Literal["lambda"], **options: Any) -> LambdaClient: ...
@overload
def client(settings: Settings, service: Literal["logs"], **options: Any) -> CloudWatchLogsClient: ...
def client(settings: Settings, service: Service, **options: Any) -> Any:
    """An AWS client for `service` with bounded time-outs.

    `options` go to botocore's Config, e.g. `retries={"total_max_attempts": 1}` where the caller retries by itself.
    """
    # here, not above: the start and the health check need no client, and botocore takes a fifth of a second to import
    from botocore.config import Config

    config: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": READ_TIMEOUT,
        "retries": {"mode": "standard", "total_max_attempts": 3},
        "user_agent_extra": "kinesis-lambda-logging",
        # of S3, as the function's: a multipart upload with a checksum needs one for every copied part, too, and other
        # endpoints refuse botocore's own, or keep its chunks as bytes of the object
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    arguments: dict[str, Any] = {}
    if settings.target != "aws":
        # an emulator stands beside us: a proxy that is set for the way out does not reach it
        config |= {"proxies": {}, "use_fips_endpoint": False, "use_dualstack_endpoint": False}
        arguments = {name.lower(): value for name, value in _credentials(settings).items()}
    if settings.target != "aws" or any(name.startswith("AWS_ENDPOINT_URL") for name in os.environ):
        # an emulator is reached by one name: a bucket in the host name would not resolve
        config["s3"] = {"addressing_style": "path"}
    with _creating:
        session = _session(settings.target == "aws")
        renew = _renewing(session)
        made = session.create_client(
            service,
            region_name=settings.aws_default_region,
            endpoint_url=endpoint_url(settings, service),
            config=Config(**(config | options)),
            **arguments,
        )
        if settings.target == "aws":
            made.meta.events.register("before-sign", renew)
    return made


@functools.cache
def _session(files: bool) -> Session:
    """One session for all clients: it keeps the service models, without which each client costs 100 ms more.

    botocore's, as boto3 adds nothing that is used here but 3 MiB. `files`: whether the user's profiles and AWS files
    count.
    """
    from botocore.session import Session

    given: dict[str, Any] = {"profile": (None, None, None, None)}
    given |= dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    return Session(session_vars=None if files else given)


@functools.cache
def _renewing(session: Any) -> Callable[..., None]:
    """Lets each request be signed with what the credentials are now. botocore reads files once, and looks for a role
    once: a process that lives for long would go on with keys that were replaced, or with none."""

    def written() -> list[int]:
        paths = [Path(session.get_config_variable(f"{name}_file")).expanduser() for name in ("config", "credentials")]
        return [path.stat().st_mtime_ns if path.exists() else 0 for path in paths]

    seen = written()

    def renew(request_signer: Any, **_: Any) -> None:
        nonlocal seen
        if (now := written()) != seen:
            seen, session._credentials = now, None
        request_signer._credentials = session.get_credentials()

    return renew


# creating clients is what a session cannot do in two threads at once (boto3 guide, "Multithreading")
_creating = threading.Lock()
