"""Whatever botocore raises becomes one sentence: operation, object, cause, remedy."""

from __future__ import annotations

import socket

import pytest
from botocore import exceptions as botocore
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from common import aws
from common.settings import Settings
from entrypoint.bucket import ensure_bucket
from entrypoint.errors import ForbiddenError, ProvisionError, UnavailableError, explain, explained
from entrypoint.run import Run
from tests.unit.entrypoint.fakes import FakeClock, refusal


@pytest.mark.parametrize(
    ("kind", "code", "status", "expected", "remedy"),
    [
        ("role", "InvalidClientTokenId", 403, ProvisionError, "-e AWS_ACCESS_KEY_ID=…"),
        ("bucket", "BucketAlreadyExists", 409, ProvisionError, "-e S3_BUCKET=…"),
        ("bucket", "403", 403, ForbiddenError, "-e S3_BUCKET=…"),
        ("role", "AccessDenied", 403, ForbiddenError, "-e LAMBDA_ROLE=…"),
        ("function", "AccessDeniedException", 403, ForbiddenError, "-e LAMBDA_FUNCTION=…"),
        ("stream", "AccessDeniedException", 400, ForbiddenError, "-e KINESIS_DATA_STREAM=…"),
        ("stream", "LimitExceededException", 400, ProvisionError, "-e SHARD_COUNT=1"),
        ("delivery stream", "LimitExceededException", 400, ProvisionError, "Remove one"),
        ("delivery stream", "InvalidArgumentException", 400, ProvisionError, "-e FIREHOSE_STREAM=…"),
        ("delivery role", "AccessDenied", 403, ForbiddenError, "-e FIREHOSE_ROLE=…"),
        ("delivery log", "AccessDeniedException", 400, ForbiddenError, "-e FIREHOSE_STREAM=…"),
        ("stream", "ValidationException", 400, ProvisionError, "-e KINESIS_DATA_STREAM=…"),
        ("role", "LimitExceededException", 400, UnavailableError, "passes"),
        ("function", "ServiceException", 500, UnavailableError, "passes"),
        ("function", "TooManyRequestsException", 429, UnavailableError, "passes"),
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


def test_no_answer_is_something_to_wait_for() -> None:
    error = explain(botocore.ConnectTimeoutError(endpoint_url="http://x", error="connect timeout=3"), "bucket", "b")
    assert isinstance(error, UnavailableError)
    assert str(error) == "it does not answer (timed out)"


def test_a_web_server_that_is_no_aws_is_named_as_such() -> None:
    error = explain(ResponseParserError("not well-formed <html>"), "stream", "s")
    assert isinstance(error, UnavailableError)
    assert "LOCALSTACK_HOST" in str(error)


def test_what_no_time_mends_is_told_at_once() -> None:
    for error in (botocore.NoCredentialsError(), botocore.UnknownRegionError(region_name="x", error_msg="no")):
        explained = explain(error, "bucket", "b")
        assert type(explained) is ProvisionError
        assert str(explained).startswith("bucket b: ")


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
            ensure_bucket(s3, "b", Run(FakeClock(), 1), region="us-east-1", prefix="", expire_days=0)
        s3.close()
