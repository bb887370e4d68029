"""`logs lambda` against moto: what it prints, and what it says when there is nothing to print."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from moto import mock_aws

from cli import logs
from cli.parser import parser
from cli.screen import CommandError
from common import aws
from common.clock import SystemClock
from common.delivery import S3
from common.settings import Settings

SETTINGS = Settings(target="aws", localstack_host="", lambda_function="some")
GROUP = "/aws/lambda/some"


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        client = aws.client(SETTINGS, "logs")
        yield client
        client.close()


def log(client: Any, *lines: str, minutes_ago: float = 0) -> None:
    at = int((SystemClock().now().timestamp() - 60 * minutes_ago) * 1000)
    client.create_log_group(logGroupName=GROUP)
    client.create_log_stream(logGroupName=GROUP, logStreamName="s")
    events = [{"timestamp": at + number, "message": line} for number, line in enumerate(lines)]
    client.put_log_events(logGroupName=GROUP, logStreamName="s", logEvents=events)


def show(*options: str, settings: Settings = SETTINGS) -> int:
    return logs.main(settings, parser().parse_args(["logs", "lambda", *options]))


def test_its_lines_in_order(cloudwatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log(cloudwatch, "START\n", "안녕", "END\n")
    assert show() == 0
    assert capsys.readouterr().out.splitlines() == ["START", "안녕", "END"]


def test_json_is_an_object_an_entry(cloudwatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log(cloudwatch, "START\n", '{"event": "archived", "lines": 3}\n', "[1]")
    assert show("--json") == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["message"] for entry in entries] == ["START", {"event": "archived", "lines": 3}, "[1]"]
    assert {entry["stream"] for entry in entries} == {"s"}
    times = [datetime.fromisoformat(entry["time"]) for entry in entries]
    assert times == sorted(times)
    assert all(entry["time"].endswith("Z") for entry in entries)


def test_no_log_yet(cloudwatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cloudwatch
    assert show() == 1
    assert "has not run yet" in capsys.readouterr().err


def test_nothing_lately(cloudwatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    log(cloudwatch, "old", minutes_ago=30)
    assert show("--minutes", "10") == 1
    assert "--minutes" in capsys.readouterr().err
    assert show() == 0


def test_an_endpoint_that_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(settings=Settings(localstack_host="127.0.0.1:1")) == 1
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", ["nan", "inf", "1e12", "-5", "0", "an hour"])
def test_minutes_that_no_log_is_old(minutes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["logs", "lambda", "--minutes", minutes])
    assert f"{minutes}: use a number of minutes above 0 and up to 5256000" in capsys.readouterr().err


def test_ten_years_can_be_asked_for(cloudwatch: Any) -> None:
    log(cloudwatch, "END")
    assert show("--minutes", "5256000") == 0


def test_what_else_is_asked_for_is_refused() -> None:
    with pytest.raises(SystemExit, match="2"):
        parser().parse_args(["logs", "nginx"])


def test_with_s3_there_is_no_function() -> None:
    with pytest.raises(CommandError, match="DELIVERY=s3 has no function"):
        show(settings=SETTINGS.model_copy(update={"delivery": S3}))
