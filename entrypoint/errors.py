"""What went wrong with a resource, as the control plane acts on it: wait, look away, or say what mends it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from common import errors
from common.errors import AWS_ERRORS

P = ParamSpec("P")
T = TypeVar("T")

SETTING = {
    "bucket": "S3_BUCKET",
    "role": "LAMBDA_ROLE",
    "stream": "KINESIS_DATA_STREAM",
    "function": "LAMBDA_FUNCTION",
    "mapping": "LAMBDA_FUNCTION",
    "delivery role": "FIREHOSE_ROLE",
    "delivery log": "FIREHOSE_STREAM",
    "delivery stream": "FIREHOSE_STREAM",
}
# What mends a code here and not everywhere, by kind; such a code is not waited out
REMEDIES = {
    "bucket": {"BucketAlreadyExists": "Another account has it: choose another name with -e S3_BUCKET=…"},
    "stream": {"LimitExceededException": "Ask for fewer shards with -e SHARD_COUNT=1, or raise the account's limit"},
    "delivery stream": {
        "LimitExceededException": "Remove one that is not needed any more, or raise the account's limit"
    },
}


class ProvisionError(Exception):
    """A step failed for a reason that waiting will not mend; the message names the remedy."""


class UnavailableError(ProvisionError):
    """The endpoint does not answer, is overloaded or not there yet: the same step may well work later."""


class AwayError(UnavailableError):
    """The endpoint does not answer at all; the message is said after its name."""


class ForbiddenError(ProvisionError):
    """These credentials may not do (or see) that."""


def explained(kind: str) -> Callable[[Callable[Concatenate[Any, str, P], T]], Callable[Concatenate[Any, str, P], T]]:
    """Make a function (client, name, …) raise ProvisionError where botocore raises, naming its `kind` and name."""

    def wrap(function: Callable[Concatenate[Any, str, P], T]) -> Callable[Concatenate[Any, str, P], T]:
        @functools.wraps(function)
        def call(client: Any, name: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(client, name, *args, **kwargs)
            except AWS_ERRORS as error:
                raise explain(error, kind, name) from error

        return call

    return wrap


def explain(error: Exception, kind: str, name: str, target: str = "localstack") -> ProvisionError:
    """Turn what botocore raised while it worked on `kind` `name` into the sentence for the user."""
    found = errors.explain(error, f"{kind} {name}", target, setting=SETTING[kind], remedies=REMEDIES.get(kind))
    if found.kind == "unreachable" and found.reason != errors.NO_AWS:
        return AwayError(f"it does not answer ({found.reason})")
    if found.kind == "denied":
        return ForbiddenError(str(found))
    return UnavailableError(str(found)) if found.passing else ProvisionError(str(found))
