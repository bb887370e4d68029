"""The executor that stands in for LocalStack's Docker: what a function sees there, and what its caller sees."""

from __future__ import annotations

import io
import json
import secrets
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from common import aws
from common.settings import Settings
from tests.localstack_process import by_image
from tests.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

pytestmark = [
    pytest.mark.localstack,
    pytest.mark.skipif(by_image(), reason="the image runs functions in Docker, by its own executor"),
]

CODE = """
import json, os, sys, time
count = 0
print("cold start")
def handler(event, context):
    global count
    count += 1
    print("told", event.get("say"))
    time.sleep(event.get("sleep", 0))
    if "exit" in event:
        os._exit(event["exit"])
    if "raise" in event:
        raise ValueError(event["raise"])
    return {"count": count, "pid": os.getpid(), "memory": context.memory_limit_in_mb, "version": VERSION,
            "left": context.get_remaining_time_in_millis(), "python": sys.version_info[:2],
            "environment": {name: os.environ.get(name) for name in ("MINE", "AWS_ENDPOINT_URL", "HOME")}}
"""


def zipped(version: int, code: str = CODE) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", f"VERSION = {version}\n{code}")
    return buffer.getvalue()


class Function:
    def __init__(self, settings: Settings) -> None:
        self.lambda_: LambdaClient = aws.client(settings, "lambda")
        self.logs = aws.client(settings, "logs")
        self.name = f"executor-{secrets.token_hex(4)}"

    def create(self, code: bytes, **more: Any) -> None:
        request: dict[str, Any] = {"Timeout": 20, "MemorySize": 192, "Environment": {"Variables": {"MINE": "yes"}}}
        self.lambda_.create_function(
            FunctionName=self.name,
            Role="arn:aws:iam::000000000000:role/any",
            Handler="index.handler",
            Code={"ZipFile": code},
            **{"Runtime": "python3.13", **request, **more},
        )
        self.lambda_.get_waiter("function_active_v2").wait(FunctionName=self.name, WaiterConfig={"Delay": 1})

    def call(self, **event: Any) -> tuple[str | None, Any]:
        answer = self.lambda_.invoke(FunctionName=self.name, Payload=json.dumps(event).encode())
        with answer["Payload"] as payload:
            return answer.get("FunctionError"), json.load(payload)

    def printed(self) -> str:
        try:
            events = self.logs.filter_log_events(logGroupName=f"/aws/lambda/{self.name}")["events"]
        except self.logs.exceptions.ResourceNotFoundException:
            return ""  # LocalStack makes it when it stores the first line, a moment after the answer
        return "\n".join(event["message"] for event in events)


@pytest.fixture
def function(localstack: str) -> Iterator[Function]:
    one = Function(Settings(localstack_host=localstack))
    yield one
    one.lambda_.delete_function(FunctionName=one.name)
    one.lambda_.close()
    one.logs.close()


def test_what_a_function_sees(function: Function, localstack: str) -> None:
    function.create(zipped(1))
    error, seen = function.call(say="안녕")
    assert error is None
    assert seen["memory"] == "192"
    assert 1000 < seen["left"] <= 20_000
    assert seen["python"] == [3, 13]
    assert seen["environment"] == {"MINE": "yes", "AWS_ENDPOINT_URL": localstack, "HOME": None}
    _, again = function.call()
    assert (again["pid"], again["count"]) == (seen["pid"], 2), "a warm start"
    eventually(lambda: "told 안녕" in function.printed(), why="its log")
    assert function.printed().count("cold start") == 1
    assert "Memory Size: 192 MB" in function.printed()


def test_errors_time_outs_and_crashes_reach_the_caller_and_the_next_call_starts_cold(function: Function) -> None:
    function.create(zipped(1), Timeout=8)
    error, said = function.call(**{"raise": "no"})
    assert (error, said["errorType"], said["errorMessage"]) == ("Unhandled", "ValueError", "no")
    error, said = function.call(sleep=30)
    assert error == "Unhandled"
    assert "Task timed out after 8.00 seconds" in said["errorMessage"]
    error, said = function.call()
    assert (error, said["count"]) == (None, 1)
    error, said = function.call(exit=7)
    assert error == "Unhandled"
    assert "exit status 7" in said["errorMessage"]
    assert function.call()[1]["count"] == 1


def test_a_function_that_cannot_be_imported_says_why(function: Function) -> None:
    function.create(zipped(1, "import no_such_module\n"))
    error, said = function.call()
    assert error == "Unhandled"
    assert "no_such_module" in said["errorMessage"]


def test_new_code_and_configuration_are_what_runs_next(function: Function) -> None:
    function.create(zipped(1))
    _, before = function.call()
    function.lambda_.update_function_code(FunctionName=function.name, ZipFile=zipped(2))
    function.lambda_.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 1})
    _, after = function.call()
    assert (before["version"], after["version"], after["count"]) == (1, 2, 1)
    assert after["pid"] != before["pid"]
    function.lambda_.update_function_configuration(FunctionName=function.name, MemorySize=256, Timeout=40)
    function.lambda_.get_waiter("function_updated_v2").wait(FunctionName=function.name, WaiterConfig={"Delay": 1})
    _, changed = function.call()
    assert changed["memory"] == "256"
    assert changed["left"] > 21_000
