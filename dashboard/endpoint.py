"""AWS, or what stands for it: clients that answer soon or fail, and errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from common.aws import endpoint_url
from common.settings import Settings
from dashboard.periodic import LookError

# A look is repeated soon, so no call may keep it for long
TIMEOUTS: dict[str, Any] = {"connect_timeout": 1.0, "read_timeout": 3.0, "retries": {"total_max_attempts": 1}}

# What says that somebody answered, who is not well
_PASSING = ("SlowDown", "Throttl", "LimitExceeded", "ServiceUnavailable", "InternalError", "InternalFailure")


class NoAnswerError(LookError):
    """Nobody answers at the endpoint."""

    unanswered = True


class GoneError(LookError):
    """The endpoint answers, but what was asked for is not there."""


def where(settings: Settings, service: str = "s3") -> str:
    """What people call the endpoint."""
    return "AWS" if settings.target == "aws" else endpoint_url(settings, service) or "AWS"


@contextmanager
def explaining(what: str, settings: Settings, service: str = "s3") -> Iterator[None]:
    """Turn the errors of a call about `what` into a LookError with its remedy."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", "?"))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status == 404 or "NotFound" in code or code.startswith("NoSuch"):
            mender = "terraform/ makes it" if settings.target == "aws" else "the entrypoint makes it; its log says more"
            raise GoneError(f"{what} is not there (yet): {mender}") from error
        if status >= 500 or status == 429 or any(word in code for word in _PASSING):
            raise LookError(f"{what}: {error.operation_name} failed: {code}; it is tried again") from error
        raise LookError(
            f"{what}: {error.operation_name} was refused: {code}. Allow it to these credentials, or give others with "
            "-e AWS_ACCESS_KEY_ID=… -e AWS_SECRET_ACCESS_KEY=…"
        ) from error
    except (BotoConnectionError, HTTPClientError, ResponseParserError) as error:
        raise NoAnswerError(
            f"{what}: {where(settings, service)} does not answer. Lines are kept in the log meanwhile; start the "
            "endpoint again, or name another one with -e LOCALSTACK_HOST=…"
        ) from error
    except BotoCoreError as error:
        raise LookError(f"{what}: {error}: check the AWS settings") from error
