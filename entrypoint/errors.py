"""What went wrong, in words for the user: operation, object, cause and remedy, never a traceback."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from botocore import exceptions as botocore
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

P = ParamSpec("P")
T = TypeVar("T")

THROTTLED = {"LimitExceededException", "OperationAborted", "RequestLimitExceeded", "SlowDown", "Throttling"}
BAD_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
FORBIDDEN = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation"}
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


class ProvisionError(Exception):
    """A step failed for a reason that waiting will not mend; the message names the remedy."""


class UnavailableError(ProvisionError):
    """The endpoint does not answer, is overloaded or not there yet: the same step may well work later."""


class ForbiddenError(ProvisionError):
    """These credentials may not do (or see) that."""


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def explained(kind: str) -> Callable[[Callable[Concatenate[Any, str, P], T]], Callable[Concatenate[Any, str, P], T]]:
    """Make a function (client, name, …) raise ProvisionError where botocore raises, naming its `kind` and name."""

    def wrap(function: Callable[Concatenate[Any, str, P], T]) -> Callable[Concatenate[Any, str, P], T]:
        @functools.wraps(function)
        def call(client: Any, name: str, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(client, name, *args, **kwargs)
            except (ClientError, BotoCoreError, ResponseParserError) as error:
                raise explain(error, kind, name) from error

        return call

    return wrap


def explain(error: Exception, kind: str, name: str) -> ProvisionError:
    """Turn what botocore raised while it worked on `kind` `name` into the sentence for the user."""
    thing = f"{kind} {name}"
    if isinstance(error, ClientError):
        return _explain_answer(error, kind, thing)
    if isinstance(error, botocore.SSLError):
        return ProvisionError(
            f"{thing}: {_reason(error)}. The endpoint's certificate is not trusted: "
            "name its CA with -e AWS_CA_BUNDLE=<file>, or use http:// in LOCALSTACK_HOST"
        )
    if isinstance(error, botocore.ConnectionError | botocore.HTTPClientError):
        return UnavailableError(f"it does not answer ({_reason(error)})")
    if isinstance(error, ResponseParserError):
        return UnavailableError(f"{thing}: what answers there does not speak AWS's protocol; check LOCALSTACK_HOST")
    if isinstance(error, botocore.NoCredentialsError | botocore.PartialCredentialsError):
        return ProvisionError(f"{thing}: {error}. Give some with -e AWS_ACCESS_KEY_ID=… -e AWS_SECRET_ACCESS_KEY=…")
    return ProvisionError(f"{thing}: {error}")


def _explain_answer(error: ClientError, kind: str, thing: str) -> ProvisionError:
    code, status = code_of(error), status_of(error)
    setting = SETTING[kind]
    said = error.response.get("Error", {}).get("Message") or "no further words"
    problem = f"{thing}: {error.operation_name} was refused with {code} ({said.rstrip('.')})"
    if code in BAD_CREDENTIALS:
        return ProvisionError(
            f"{problem}. The credentials are not accepted: "
            "set -e AWS_ACCESS_KEY_ID=… -e AWS_SECRET_ACCESS_KEY=… to ones that are"
        )
    if code == "BucketAlreadyExists":
        return ProvisionError(f"{problem}. The name is somebody else's: choose another one with -e S3_BUCKET=…")
    if code in FORBIDDEN or status == 403:
        return ForbiddenError(
            f"{problem}. Allow it to these credentials, give others with -e AWS_ACCESS_KEY_ID=… "
            f"-e AWS_SECRET_ACCESS_KEY=…, or, if the {kind} is somebody else's, choose another one with -e {setting}=…"
        )
    if code in ("PermanentRedirect", "301", "IllegalLocationConstraintException", "AuthorizationHeaderMalformed"):
        return ProvisionError(f"{problem}. It is in another region: name that one with -e AWS_DEFAULT_REGION=…")
    if code == "LimitExceededException" and kind == "stream":
        return ProvisionError(f"{problem}. Ask for fewer shards with -e SHARD_COUNT=1, or raise the account's limit")
    if code == "LimitExceededException" and kind == "delivery stream":
        return ProvisionError(f"{problem}. Remove one that is not needed any more, or raise the account's limit")
    if status == 501 or code in ("NotImplemented", "UnknownOperationException"):
        return ProvisionError(f"{problem}. This endpoint does not offer it: check LOCALSTACK_HOST")
    if status >= 500 or status == 429 or code in THROTTLED or "Throttl" in code or "TooManyRequests" in code:
        return UnavailableError(problem)
    return ProvisionError(f"{problem}. Check -e {setting}=… and that LOCALSTACK_HOST names the right endpoint")


def _reason(error: Exception) -> str:
    """The innermost cause, e.g. `Connection refused`, without the objects urllib3 wraps it in."""
    text = str(getattr(error, "kwargs", {}).get("error", "")) or str(error)
    for pattern in (r"\[Errno -?\d+\] ([^'\")>]+)", r"(timed out)", r"(timeout)", r"(certificate verify failed[^(]*)"):
        if found := re.search(pattern, text):
            return found.group(1).strip().replace("timeout", "timed out")
    return text.rstrip(".")
