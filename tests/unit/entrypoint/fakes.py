"""What the tests of the control plane share: a clock that obeys, and answers as an endpoint would give them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from entrypoint.run import Run

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Time passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


class Played:
    """A client whose answers are written down beforehand; what is asked must be asked, in this order."""

    def __init__(self, service: str) -> None:
        self.client: Any = boto3.session.Session(region_name="us-east-1").client(
            service,  # type: ignore[call-overload]
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.stub = Stubber(self.client)
        self.clock = FakeClock()
        self.seconds = 60.0

    def run(self, apply: bool = True) -> Run:
        return Run(self.clock, self.seconds, apply=apply)

    def answer(self, method: str, response: dict[str, Any] | None = None, **expected: Any) -> None:
        self.stub.add_response(method, response or {}, expected or None)

    def refuse(self, method: str, code: str, status: int = 400, message: str = "no") -> None:
        self.stub.add_client_error(method, code, message, http_status_code=status)


def refusal(code: str, status: int = 400, message: str = "said the endpoint", operation: str = "DoIt") -> ClientError:
    """The error botocore raises for an answer with this code."""
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )
