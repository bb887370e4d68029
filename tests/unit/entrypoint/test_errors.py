"""Whatever botocore raises becomes one sentence: operation, object, cause, remedy."""

from __future__ import annotations

import socket

import pytest
from botocore import exceptions as botocore
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from urllib3.exceptions import NewConnectionError

from common import aws
from common.settings import Settings
from entrypoint.bucket import ensure_bucket
from entrypoint.deadline import Deadline
from entrypoint.errors import ForbiddenError, ProvisionError, UnavailableError, explain, explained
from tests.unit.entrypoint.fakes import FakeClock, refusal


@pytest.mark.parametrize(
    ("kind", "code", "status", "expected", "remedy"),
    [
        ("role", "InvalidClientTokenId", 403, ProvisionError, "-e AWS_ACCESS_KEY_ID=…"),
        ("function", "UnrecognizedClientException", 403, ProvisionError, "-e AWS_SECRET_ACCESS_KEY=…"),
        ("stream", "ExpiredTokenException", 400, ProvisionError, "credentials are not accepted"),
        ("bucket", "BucketAlreadyExists", 409, ProvisionError, "-e S3_BUCKET=…"),
        ("bucket", "403", 403, ForbiddenError, "-e S3_BUCKET=…"),
        ("role", "AccessDenied", 403, ForbiddenError, "-e LAMBDA_ROLE=…"),
        ("function", "AccessDeniedException", 403, ForbiddenError, "-e LAMBDA_FUNCTION=…"),
        ("stream", "AccessDeniedException", 400, ForbiddenError, "-e KINESIS_DATA_STREAM=…"),
        ("bucket", "301", 301, ProvisionError, "-e AWS_DEFAULT_REGION=…"),
        ("bucket", "IllegalLocationConstraintException", 400, ProvisionError, "-e AWS_DEFAULT_REGION=…"),
        ("stream", "LimitExceededException", 400, ProvisionError, "-e SHARD_COUNT=1"),
        ("delivery stream", "LimitExceededException", 400, ProvisionError, "Remove one"),
        ("delivery stream", "InvalidArgumentException", 400, ProvisionError, "-e FIREHOSE_STREAM=…"),
        ("delivery role", "AccessDenied", 403, ForbiddenError, "-e FIREHOSE_ROLE=…"),
        ("delivery log", "AccessDeniedException", 400, ForbiddenError, "-e FIREHOSE_STREAM=…"),
        ("function", "NotImplemented", 501, ProvisionError, "does not offer it"),
        ("stream", "ValidationException", 400, ProvisionError, "-e KINESIS_DATA_STREAM=…"),
        ("function", "ServiceException", 500, UnavailableError, "ServiceException"),
        ("bucket", "503", 503, UnavailableError, "503"),
        ("role", "Throttling", 400, UnavailableError, "Throttling"),
        ("function", "TooManyRequestsException", 429, UnavailableError, "TooManyRequestsException"),
    ],
)
def test_each_refusal_has_its_class_and_its_remedy(
    kind: str, code: str, status: int, expected: type[ProvisionError], remedy: str
) -> None:
    error = explain(refusal(code, status, operation="DoIt"), kind, "its-name")
    assert type(error) is expected
    message = str(error)
    assert message.startswith(f"{kind} its-name: DoIt was refused with {code} (said the endpoint)")
    assert remedy in message


@pytest.mark.parametrize(
    ("raised", "cause"),
    [
        (
            botocore.EndpointConnectionError(
                endpoint_url="http://x", error=ConnectionRefusedError(111, "Connection refused")
            ),
            "Connection refused",
        ),
        (botocore.ReadTimeoutError(endpoint_url="http://x", error="Read timed out. (read timeout=5)"), "timed out"),
        (botocore.ConnectTimeoutError(endpoint_url="http://x", error="connect timeout=3"), "timed out"),
        (botocore.ConnectionClosedError(endpoint_url="http://x"), "Connection was closed"),
    ],
)
def test_no_answer_is_something_to_wait_for(raised: Exception, cause: str) -> None:
    error = explain(raised, "bucket", "b")
    assert isinstance(error, UnavailableError)
    assert cause in str(error)


def test_what_urllib3_wraps_is_unwrapped() -> None:
    inner = NewConnectionError(None, "Failed to establish a new connection: [Errno 111] Connection refused")  # type: ignore[arg-type]
    error = explain(botocore.EndpointConnectionError(endpoint_url="http://x", error=inner), "bucket", "b")
    assert str(error) == "it does not answer (Connection refused)"


def test_a_web_server_that_is_no_aws_is_named_as_such() -> None:
    error = explain(ResponseParserError("not well-formed <html>"), "stream", "s")
    assert isinstance(error, UnavailableError)
    assert "LOCALSTACK_HOST" in str(error)


def test_a_certificate_nobody_knows_has_a_remedy() -> None:
    error = explain(
        botocore.SSLError(endpoint_url="https://x", error=OSError("certificate verify failed: self-signed")),
        "bucket",
        "b",
    )
    assert not isinstance(error, UnavailableError)
    assert "AWS_CA_BUNDLE" in str(error)


def test_other_mistakes_are_told_as_they_are() -> None:
    error = explain(botocore.NoCredentialsError(), "bucket", "b")
    assert str(error).startswith("bucket b: Unable to locate credentials. Give some with -e AWS_ACCESS_KEY_ID=…")
    assert str(explain(botocore.UnknownRegionError(region_name="x", error_msg="no"), "bucket", "b")).startswith(
        "bucket b: "
    )


def test_explained_names_kind_and_name_and_keeps_the_cause() -> None:
    @explained("stream")
    def fail(_client: object, _name: str) -> None:
        raise refusal("ResourceInUseException")

    with pytest.raises(ProvisionError, match=r"^stream s: DoIt was refused") as caught:
        fail(None, "s")
    assert isinstance(caught.value.__cause__, ClientError)


def test_a_real_connection_that_is_refused() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        settings = Settings(localstack_host=f"127.0.0.1:{unused.getsockname()[1]}")
        s3 = aws.client(settings, "s3", retries={"total_max_attempts": 1})
        with pytest.raises(UnavailableError, match=r"^it does not answer \(Connection refused\)$"):
            ensure_bucket(s3, "b", region="us-east-1", deadline=Deadline(FakeClock(), 1), apply=True)
        s3.close()
