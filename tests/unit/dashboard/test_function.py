from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from common.settings import Settings
from dashboard.endpoint import NoAnswerError
from dashboard.function import FunctionLog
from dashboard.periodic import LookError

if TYPE_CHECKING:
    from mypy_boto3_logs import CloudWatchLogsClient

START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


def milliseconds(at: float) -> int:
    return int((START.timestamp() + at) * 1000)


def batch(lines: int, **more: Any) -> str:
    return json.dumps({"event": "archived", "records": 1, "lines": lines, "written": lines, "ms": 20} | more)


class FakeLogs:
    """One log group. `ids`: as AWS does and an emulator does not; `page`: events in one answer."""

    def __init__(self, *, ids: bool = True, page: int = 3) -> None:
        self.events: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.calls = 0
        self._ids = ids
        self._page = page

    def write(self, at: float, message: str) -> None:
        event: dict[str, Any] = {"timestamp": milliseconds(at), "message": message, "logStreamName": "one"}
        if self._ids:
            event["eventId"] = str(len(self.events))
        self.events.append(event)

    def get_paginator(self, name: str) -> FakeLogs:
        assert name == "filter_log_events"
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        page = self._answer(**request)
        yield page
        while "nextToken" in page:
            page = self._answer(**request, nextToken=page["nextToken"])
            yield page

    def _answer(self, **request: Any) -> dict[str, Any]:
        assert request["logGroupName"] == "/aws/lambda/stream-transformation"
        self.calls += 1
        if self.error:
            raise self.error
        found = sorted(
            (event for event in self.events if event["timestamp"] >= request["startTime"]),
            key=lambda event: event["timestamp"],
        )
        begin = int(request.get("nextToken") or 0)
        more = {"nextToken": str(begin + self._page)} if begin + self._page < len(found) else {}
        return {"events": found[begin : begin + self._page], **more}


def reader(logs: FakeLogs) -> FunctionLog:
    return FunctionLog(Settings(), lambda: cast("CloudWatchLogsClient", logs), START)


def test_the_counts_of_batches_are_summed() -> None:
    logs = FakeLogs()
    logs.write(-1, batch(1000))  # before the appliance started
    logs.write(1, "START RequestId: 1\n" + batch(3, duplicates=1) + "\nEND RequestId: 1\n")
    logs.write(2, batch(4, conflicts=2))
    logs.write(2, '{"event": "concern", "message": "an object was edited"}')
    logs.write(2, "[1]\n{\nnull\ntrue")
    found = reader(logs).look()
    assert found.counts == {
        "batches": 2,
        "records": 2,
        "lines": 7,
        "written": 7,
        "ms": 40,
        "duplicates": 1,
        "conflicts": 2,
    }
    assert found.seconds == pytest.approx(0.04)
    assert found.last == START + timedelta(seconds=2)
    assert (found.failing, found.error) == (False, None)


def test_a_batch_that_failed_is_shown_until_one_succeeds() -> None:
    logs = FakeLogs()
    log = reader(logs)
    logs.write(1, batch(3))
    logs.write(5, batch(0, event="failed", error="ClientError: S3 is down" + "!" * 1000))
    found = log.look()
    assert (found.failing, found.counts["failed"], found.counts["batches"]) == (True, 1, 1)
    assert found.error
    assert found.error.startswith("ClientError: S3 is down")
    assert len(found.error) == 500
    logs.write(6, batch(3))
    assert not log.look().failing


def test_a_function_that_has_not_run_has_no_log() -> None:
    logs = FakeLogs()
    logs.error = ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "FilterLogEvents")
    log = reader(logs)
    assert log.look().counts == {}
    logs.error = None
    logs.write(1, batch(3))
    assert log.look().counts["lines"] == 3


def test_what_cannot_be_read_is_said_and_read_later() -> None:
    logs = FakeLogs(page=1)
    log = reader(logs)
    logs.write(1, batch(1))
    log.look()
    logs.write(2, batch(2))
    logs.error = EndpointConnectionError(endpoint_url="http://fake")
    with pytest.raises(NoAnswerError, match=r"the log of the function stream-transformation: .* does not answer"):
        log.look()
    logs.error = ClientError({"Error": {"Code": "AccessDeniedException"}}, "FilterLogEvents")
    with pytest.raises(LookError, match=r"was refused with AccessDenied.*AWS_ACCESS_KEY_ID"):
        log.look()
    logs.error = None
    assert log.look().counts["lines"] == 3


@given(
    times=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3)), max_size=30),
    looks=st.sets(st.integers(0, 30)),
    ids=st.booleans(),
    page=st.integers(1, 5),
)
def test_each_batch_counts_once(times: list[tuple[int, int]], looks: set[int], ids: bool, page: int) -> None:
    """However late (within the overlap) an event comes, and however equal two of them are."""
    logs = FakeLogs(ids=ids, page=page)
    log = reader(logs)
    total, latest = 0, 0
    for number, (at, lines) in enumerate(times):
        latest = max(latest, at)
        logs.write(max(at, latest - 25), batch(lines))
        total += lines
        if number in looks:
            assert log.look().counts["lines"] == total
    found = log.look()
    assert found.counts.get("lines", 0) == total
    assert found.counts.get("batches", 0) == len(times)
