"""Whatever botocore raises becomes what failed, on what, why, and what mends it."""

from __future__ import annotations

from http.client import BadStatusLine

import pytest
from botocore import exceptions as botocore
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from urllib3.exceptions import NewConnectionError, ProtocolError

from common.errors import AWS_ERRORS, Failure, Kind, explain, throttled

THROTTLED = vars(ThrottledRetryableChecker)["_THROTTLED_ERROR_CODES"]
KEYS = "-e AWS_ACCESS_KEY_ID=… -e AWS_SECRET_ACCESS_KEY=…"
REFUSED = NewConnectionError(None, "Failed to establish a new connection: [Errno 111] Connection refused")  # type: ignore[arg-type]


def refusal(code: str, status: int = 400, message: str = "it said no.", operation: str = "DoIt") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )


@pytest.mark.parametrize(
    ("code", "status", "kind", "remedy"),
    [
        *((code, 400, "throttled", "It passes by itself") for code in sorted(THROTTLED)),
        ("ServiceUnavailableException", 400, "throttled", "It passes by itself"),
        ("KMSThrottlingException", 400, "throttled", "It passes by itself"),
        ("TooManyRequests", 400, "throttled", "It passes by itself"),
        ("Whatever", 429, "throttled", "It passes by itself"),
        ("Whatever", 500, "unavailable", "It passes by itself"),
        ("503", 503, "unavailable", "It passes by itself"),
        ("InternalFailure", 400, "unavailable", "It passes by itself"),
        ("ResourceInUseException", 400, "unavailable", "It passes by itself"),
        ("InvalidClientTokenId", 403, "credentials", KEYS),
        ("UnrecognizedClientException", 400, "credentials", "are not accepted"),
        ("ExpiredTokenException", 400, "credentials", "renew"),
        ("InvalidSignatureException", 403, "credentials", "clock"),
        ("AccessDenied", 403, "denied", f"Allow DoIt to these credentials, or give others with {KEYS}"),
        ("AccessDeniedException", 400, "denied", "if it is another account's, name another one with -e S3_BUCKET=…"),
        ("403", 403, "denied", KEYS),
        ("NoSuchBucket", 404, "missing", "The entrypoint makes it"),
        ("ResourceNotFoundException", 400, "missing", "-e S3_BUCKET=…"),
        ("404", 404, "missing", "The entrypoint makes it"),
        ("405", 405, "refused", "-e EMULATOR_PORT=…"),
        ("501", 501, "refused", "-e EMULATOR_PORT=…"),
        ("301", 301, "refused", "-e AWS_DEFAULT_REGION=…"),
        ("IllegalLocationConstraintException", 400, "refused", "-e AWS_DEFAULT_REGION=…"),
        ("NotImplemented", 501, "refused", "does not offer it"),
        ("UnknownOperationException", 400, "refused", "LOCALSTACK_HOST"),
        ("ValidationException", 400, "refused", "Check -e S3_BUCKET=… and LOCALSTACK_HOST"),
        ("InvalidObjectState", 403, "refused", "aws s3api restore-object"),
        ("KMS.DisabledException", 400, "refused", "Check the key of KMS"),
        ("OfThisPlace", 503, "refused", "mend it thus"),
    ],
)
def test_an_answer(code: str, status: int, kind: Kind, remedy: str) -> None:
    found = explain(refusal(code, status), "it", "localstack", setting="S3_BUCKET", remedies={"OfThisPlace": remedy})
    assert (found.kind, found.code, found.reason) == (kind, code, code)
    what = "it is not there (yet)" if kind == "missing" else "it"
    foreign = ": what answers there does not speak AWS's protocol" if code.isdigit() and kind == "refused" else ""
    foreign = "" if code == "301" else foreign
    assert str(found) == f"{what}: DoIt was refused with {code} (it said no){foreign}. {found.remedy}"
    assert remedy in found.remedy
    assert found.passing is (kind in ("throttled", "unavailable"))


@pytest.mark.parametrize(
    ("error", "kind", "problem"),
    [
        (
            botocore.EndpointConnectionError(endpoint_url="http://u:h1dden@host:1/b/k?a=h1dden", error=REFUSED),
            "unreachable",
            "it: http://host:1 does not answer (Connection refused)",
        ),
        (
            botocore.ReadTimeoutError(endpoint_url="http://host:1", error="Read timed out. (read timeout=5)"),
            "unreachable",
            "it: http://host:1 does not answer (timed out)",
        ),
        (
            botocore.ConnectTimeoutError(endpoint_url="http://host:1/", error="connect timeout=3"),
            "unreachable",
            "it: http://host:1 does not answer (timed out)",
        ),
        (
            botocore.ConnectionClosedError(endpoint_url="http://host:1/"),
            "unreachable",
            "it: http://host:1 does not answer (Connection was closed before we received a valid response",
        ),
        (
            botocore.ConnectionClosedError(
                endpoint_url="http://h:1/",
                error=ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer")),
            ),
            "unreachable",
            "it: http://h:1 does not answer (Connection reset by peer)",
        ),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "unreachable",
            "it: the endpoint does not answer (Connection reset by peer)",
        ),
        (
            ResponseParserError("not well-formed\n<html>"),
            "unreachable",
            "it: what answers at the endpoint does not speak AWS's protocol",
        ),
        (
            botocore.ConnectionClosedError(
                endpoint_url="http://h:1/", error=ProtocolError("Connection aborted.", BadStatusLine("220 mail ESMTP"))
            ),
            "unreachable",
            "it: what answers at http://h:1 does not speak AWS's protocol",
        ),
        (
            botocore.SSLError(endpoint_url="https://x", error=OSError("EOF occurred in violation of protocol")),
            "unreachable",
            "it: https://x does not answer (EOF occurred in violation of protocol)",
        ),
        (
            botocore.SSLError(
                endpoint_url="https://x", error=OSError("certificate verify failed: self-signed (_ssl.c)")
            ),
            "refused",
            "it: certificate verify failed: self-signed",
        ),
        (
            botocore.SSLError(endpoint_url="https://h:1/b", error=OSError("[SSL: WRONG_VERSION_NUMBER] wrong version")),
            "refused",
            "it: https://h:1 has no TLS",
        ),
        (
            botocore.ProxyConnectionError(
                proxy_url="http://u:h1dden@proxy:3128",
                error=OSError("Tunnel connection failed: 407 Proxy Authentication"),
            ),
            "unreachable",
            "it: http://proxy:3128 does not answer (Tunnel connection failed: 407",
        ),
        (botocore.NoCredentialsError(), "credentials", "it: Unable to locate credentials"),
        (
            botocore.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            "credentials",
            "it: Partial credentials found in env, missing: AWS_SECRET_ACCESS_KEY",
        ),
        (botocore.NoRegionError(), "unforeseen", "it: You must specify a region"),
        (ValueError("Invalid endpoint:\n h"), "unforeseen", "it: Invalid endpoint: h"),
        (ValueError(), "unforeseen", "it: ValueError"),
    ],
)
def test_no_answer(error: Exception, kind: Kind, problem: str) -> None:
    found = explain(error, "it", "localstack")
    assert (found.kind, found.code, found.passing) == (kind, "", kind == "unreachable")
    assert found.problem.startswith(problem)
    assert found.reason in found.problem
    assert "h1dden" not in str(found)


# What mends it at an emulator, and on AWS
REMEDIES: list[tuple[Exception, str, str]] = [
    (botocore.EndpointConnectionError(endpoint_url="http://h"), "LOCALSTACK_HOST", "way to AWS"),
    (botocore.NoCredentialsError(), KEYS, "a role"),
    (refusal("ExpiredToken"), KEYS, "a role"),
    (refusal("AccessDenied"), KEYS, "a role"),
    (refusal("NoSuchBucket", 404), "The entrypoint", "terraform/"),
    (refusal("ValidationException"), "LOCALSTACK_HOST", "AWS_DEFAULT_REGION"),
    (botocore.NoRegionError(), "LOCALSTACK_HOST", "AWS_DEFAULT_REGION"),
    (botocore.SSLError(endpoint_url="h", error=OSError("certificate verify failed")), "AWS_CA_BUNDLE", "AWS_CA_BUNDLE"),
]


@pytest.mark.parametrize(("error", "emulator", "aws"), REMEDIES)
def test_the_remedy_is_that_of_the_target(error: Exception, emulator: str, aws: str) -> None:
    assert emulator in explain(error, "it", "localstack").remedy
    found = explain(error, "it", "aws").remedy
    assert aws in found
    assert "LOCALSTACK_HOST" not in found


def test_a_web_server_that_refuses_in_words_of_http_alone_is_another_program() -> None:
    page = refusal("404", 404, message="<!DOCTYPE HTML>\n<html>not here</html>", operation="CreateBucket")
    found = explain(page, "bucket b", "localstack")
    assert found.problem == (
        "bucket b: CreateBucket was refused with 404 (a web page): what answers there does not speak AWS's protocol"
    )
    assert "-e EMULATOR_PORT=…" in found.remedy
    assert "LOCALSTACK_HOST" not in explain(page, "bucket b", "aws").remedy
    assert explain(refusal("404", 404, operation="HeadBucket"), "bucket b", "localstack").kind == "missing"


@pytest.mark.parametrize(
    ("operation", "permission"), [("ListObjectsV2", "s3:ListBucket"), ("PutRecords", "kinesis:PutRecords")]
)
def test_what_is_denied_is_named_as_iam_names_it(operation: str, permission: str) -> None:
    assert f"Allow {permission} to" in explain(refusal("AccessDenied", operation=operation), "it", "aws").remedy


def test_what_iam_says_is_missing_is_named() -> None:
    """The key that encrypts the bucket: the operation itself is allowed."""
    said = "User: arn:aws:sts::1:assumed-role/web is not authorized to perform: kms:GenerateDataKey on resource: …"
    assert "Allow kms:GenerateDataKey to" in explain(refusal("AccessDenied", message=said), "it", "aws").remedy


@pytest.mark.parametrize(("code", "kind"), [("400", "credentials"), ("403", "denied")])
def test_a_head_is_refused_without_a_word_of_the_token_and_the_clock(code: str, kind: Kind) -> None:
    found = explain(refusal(code, int(code), "", "HeadObject"), "it", "aws")
    assert found.kind == kind
    assert "check this machine's clock" in found.remedy


def test_an_answer_without_words() -> None:
    assert explain(refusal("", 413, message=""), "it", "aws").problem == "it: DoIt was refused with 413"
    assert explain(ClientError({}, "DoIt"), "it", "aws").problem == "it: DoIt was refused with ?"
    assert explain(refusal("X", message=""), "it", "aws").problem == "it: DoIt was refused with X"


def test_secrets_are_hidden() -> None:
    found = explain(refusal("X", message="no such key:\n http://h/k?X-Amz-Signature=h1dden"), "it", "aws")
    assert found.problem == "it: DoIt was refused with X (no such key: http://h/k?...)"


def test_botocore_knows_no_throttling_that_is_unknown_here() -> None:
    assert all(map(throttled, THROTTLED))
    transient = vars(TransientRetryableChecker)
    for code in transient["_TRANSIENT_ERROR_CODES"]:
        assert explain(refusal(code), "it", "aws").passing
    for status in transient["_TRANSIENT_STATUS_CODES"]:
        assert explain(refusal("X", status), "it", "aws").passing


def test_every_error_of_a_call_is_one_of_them() -> None:
    assert all(issubclass(type(error), AWS_ERRORS) for error, *_ in REMEDIES)
    assert Failure("missing", "it is gone", "Make it", "404").passing is False


@pytest.mark.parametrize("host", ["localhost", "localhost.localstack.cloud", "s3.localhost.localstack.cloud"])
def test_a_name_of_the_asking_machine_is_explained(host: str) -> None:
    error = botocore.EndpointConnectionError(endpoint_url=f"http://{host}:4566/", error=REFUSED)
    assert "In a container that name is the container itself" in explain(error, "it", "localstack").remedy


def test_other_names_are_not_taken_for_it() -> None:
    error = botocore.EndpointConnectionError(endpoint_url="http://localstack:4566/", error=REFUSED)
    assert "container itself" not in explain(error, "it", "localstack").remedy
