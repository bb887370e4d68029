"""What a failed call to AWS means: what failed, on what, why, and what mends it. The same for every process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from botocore import exceptions as botocore
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from common.log import redact

# What a call raises; the last when an endpoint ends in the middle of its answer, or is none of AWS
AWS_ERRORS = (ClientError, BotoCoreError, ResponseParserError)

# throttled: too much was sent at once. unavailable: an answer, but not now. unreachable: no answer. credentials: none,
# or none that are accepted. denied: they may not do that. missing: it is not there. refused: full, invalid or in the
# way. unforeseen: the call could not be made.
Kind = Literal["throttled", "unavailable", "unreachable", "credentials", "denied", "missing", "refused", "unforeseen"]
PASSING: frozenset[Kind] = frozenset({"throttled", "unavailable", "unreachable"})

# botocore's own (`ThrottledRetryableChecker`) and Firehose's ServiceUnavailableException; and what `throttled` knows by
# a part of the code
_THROTTLED = {
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailableException",
    "SlowDown",
    "TransactionInProgressException",
}
# How the codes begin that a little time mends; every status from 500 on as well
_UNAVAILABLE = ("Internal", "OperationAborted", "RequestTimeout", "ResourceInUse", "ServiceUnavailable")
_BAD_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"403", "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation"}
_ELSEWHERE = {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"}
_NOT_OFFERED = {"NotImplemented", "UnknownOperationException"}
# Operation -> what it takes, where IAM calls that otherwise, or the service is worth saying
_PERMISSIONS = {
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListBuckets": "s3:ListAllMyBuckets",
    "ListObjectsV2": "s3:ListBucket",
    "PutRecordBatch": "firehose:PutRecordBatch",
    "PutRecords": "kinesis:PutRecords",
}
# IAM's own words for what is missing, which may be a permission for another service: for a key of KMS
_NOT_ALLOWED = re.compile(r"not authorized to perform: ([a-z0-9-]+:\w+)")

_PASSES = "It passes by itself"
# TARGET -> what mends it there
_KEYS = {
    "localstack": "-e AWS_ACCESS_KEY_ID=… -e AWS_SECRET_ACCESS_KEY=…",
    "aws": "-e AWS_ACCESS_KEY_ID=… -e AWS_SECRET_ACCESS_KEY=…, or give this machine a role",
}
REACH = {
    "localstack": "Start the endpoint, or name another one with -e LOCALSTACK_HOST=…",
    "aws": "Check AWS_DEFAULT_REGION and this machine's way to AWS",
}
# What these names stand for is the machine, or container, that asks
_OWN_NAMES = ("localhost", "localhost.localstack.cloud")
_OWN = "In a container that name is the container itself: name the endpoint's own, or use --network host"
_MAKE = {
    "localstack": "The entrypoint makes it; its lines in the log say why it has not",
    "aws": "terraform/ makes it; check AWS_DEFAULT_REGION",
}
_CHECK = {"localstack": "LOCALSTACK_HOST", "aws": "AWS_DEFAULT_REGION"}
# Without LOCALSTACK_HOST, what listens on EMULATOR_PORT of this machine is taken for an endpoint
_FOREIGN = {
    "localstack": "If another program has this port, name the endpoint with -e LOCALSTACK_HOST=…, or a free port with "
    "-e EMULATOR_PORT=…",
    "aws": "Check AWS_ENDPOINT_URL and this machine's way to AWS",
}
NO_AWS = "does not speak AWS's protocol"
# Refusals for which AWS has words of its own, and another web server HTTP's status alone; the second with its operation
_FOREIGN_CODES = {"405", "501"}
_FOREIGN_MISSING = ("404", "CreateBucket")


@dataclass(frozen=True, slots=True)
class Failure:
    """`problem`: what failed, on what, and why. `code`: the answer's; empty without an answer. `reason`: the code, or
    why there was no answer, in few words."""

    kind: Kind
    problem: str
    remedy: str
    reason: str
    code: str = ""

    @property
    def passing(self) -> bool:
        """Whether the same call may work a little later."""
        return self.kind in PASSING

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}"


def explain(
    error: Exception, what: str, target: str, *, setting: str = "", remedies: Mapping[str, str] | None = None
) -> Failure:
    """What `error`, raised by a call about `what`, means with TARGET=`target`.

    `setting` names `what`, where one does. `remedies`: code -> what mends it here; such a code does not pass.
    """
    if isinstance(error, ClientError):
        return _answered(error, what, target, setting, remedies or {})
    reason = _cause(error)
    if isinstance(error, botocore.SSLError) and "certificate verify failed" in reason:
        remedy = "Its certificate is not trusted: name its CA with -e AWS_CA_BUNDLE=<file>, or use http://"
        return Failure("refused", f"{what}: {reason}", remedy, reason)
    if isinstance(error, botocore.SSLError) and "WRONG_VERSION_NUMBER" in reason:
        return Failure("refused", f"{what}: {_where(error)} has no TLS", "Name it with http://", "no TLS")
    if isinstance(error, botocore.ConnectionError | botocore.HTTPClientError | ResponseParserError | OSError):
        where = _where(error)
        remedy = _FOREIGN[target] if reason == NO_AWS else REACH[target]
        if (urlsplit(where).hostname or "").endswith(_OWN_NAMES):
            remedy += f". {_OWN}"
        why = f"what answers at {where} {NO_AWS}" if reason == NO_AWS else f"{where} does not answer ({reason})"
        return Failure("unreachable", f"{what}: {why}", remedy, reason)
    if isinstance(
        error, botocore.NoCredentialsError | botocore.PartialCredentialsError | botocore.CredentialRetrievalError
    ):
        return Failure("credentials", f"{what}: {reason}", f"Give some with {_KEYS[target]}", reason)
    remedy = f"Check {_CHECK[target]} and the other AWS settings"
    return Failure("unforeseen", f"{what}: {reason}", remedy, reason)


def _answered(error: ClientError, what: str, target: str, setting: str, remedies: Mapping[str, str]) -> Failure:
    status, operation = status_of(error), error.operation_name
    code = code_of(error) or str(status or "?")
    # HEAD is answered without words, also where a token has expired, or the clock is wrong
    wordless = operation.startswith("Head")
    said = _line(str(error.response.get("Error", {}).get("Message") or ""))
    said = "a web page" if said.startswith("<") else said
    of = f" of {key}" if (key := error.response.get("Error", {}).get("Key")) else ""
    cause = f"{operation}{of} was refused with {code}" + (f" ({said})" if said else "")
    keys, another = _KEYS[target], f"name another one with -e {setting}=…" if setting else ""
    kind: Kind
    if code in remedies:
        kind, remedy = "refused", remedies[code]
    elif code in _BAD_CREDENTIALS or (wordless and code == "400"):
        kind = "credentials"
        remedy = f"The credentials are not accepted: renew them, check this machine's clock, or give others with {keys}"
    elif throttled(code) or status == 429:
        kind, remedy = "throttled", _PASSES
    elif code == "InvalidObjectState":
        kind, remedy = "refused", "The hour's object has a storage class that cannot be read: aws s3api restore-object"
    elif code in _DENIED or status == 403:
        found = _NOT_ALLOWED.search(said)
        permission = found[1] if found else _PERMISSIONS.get(operation, operation)
        kind, remedy = "denied", f"Allow {permission} to these credentials, or give others with {keys}"
        remedy += ", or check this machine's clock" if wordless else ""
        remedy += f"; if it is another account's, {another}" if another else ""
    elif code in _ELSEWHERE:
        kind, remedy = "refused", "It is in another region: name that one with -e AWS_DEFAULT_REGION=…"
    elif code in _FOREIGN_CODES or (code, operation) == _FOREIGN_MISSING:
        kind, remedy, cause = "refused", _FOREIGN[target], f"{cause}: what answers there {NO_AWS}"
    elif code in _NOT_OFFERED or status == 501:
        kind, remedy = "refused", f"This endpoint does not offer it: check {_CHECK[target]}"
    elif missing(error):
        kind, remedy = "missing", _MAKE[target] + (f"; or {another}" if another else "")
    elif code.startswith(_UNAVAILABLE) or status >= 500:
        kind, remedy = "unavailable", _PASSES
    elif code.startswith("KMS."):
        kind, remedy = "refused", "Check the key of KMS that encrypts it"
    else:
        named = f"-e {setting}=… and " if setting else ""
        kind, remedy = "refused", f"Check {named}{_CHECK[target]}"
    problem = f"{what} is not there (yet): {cause}" if kind == "missing" else f"{what}: {cause}"
    return Failure(kind, problem, remedy, code, code)


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def throttled(code: str) -> bool:
    return code in _THROTTLED or "Throttl" in code or "TooManyRequests" in code


def missing(error: ClientError) -> bool:
    """Whether the endpoint says that there is no such thing."""
    code = code_of(error)
    return status_of(error) == 404 or code == "404" or "NotFound" in code or code.startswith("NoSuch")


def unreadable(error: OSError) -> str:
    """Why a file cannot be read, with what mends it where a right is lacking; other errors may say it themselves."""
    return f"{error}: let this user read it" if isinstance(error, PermissionError) else str(error)


def _where(error: Any) -> str:
    """The endpoint that was asked, or the proxy, without path and password."""
    given = getattr(error, "kwargs", {})
    parts = urlsplit(str(given.get("endpoint_url") or given.get("proxy_url") or ""))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else "the endpoint"


def _cause(error: Exception) -> str:
    """The innermost cause, e.g. `Connection refused`, without the objects urllib3 wraps it in."""
    text = str(getattr(error, "kwargs", {}).get("error", "")) or str(error)
    if isinstance(error, ResponseParserError) or "BadStatusLine" in text:
        return NO_AWS
    for pattern in (
        r"\[Errno -?\d+\] ([^'\")>]+)",
        r"(timed out|timeout)",
        r"(certificate verify failed[^(]*)",
        r"'([^']+)'\)+$",
    ):
        if found := re.search(pattern, text):
            return _line(found[1]).replace("timeout", "timed out")
    return _line(text) or type(error).__name__


def _line(text: str) -> str:
    """On one line, without its full stop and without what must be in no log."""
    return " ".join(redact(text.strip().rstrip(".")).split())
