"""The embedded emulator is closed: its key, its functions, its user and its port, natively and in the image."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sysconfig
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.appliance.drivers import (
    IMAGE,
    ROOT,
    Appliance,
    Container,
    Native,
    client,
    get,
    python,
    ready,
    s3_client,
    told,
)
from tests.checker import entries
from tests.waiting import eventually

HIDDEN = {"AWS_SECRET_ACCESS_KEY": "h1dden", "AWS_ACCESS_KEY_ID": "123456789012", "FOO_SECRET": "h1dden"}
# a function that tells what it has, and what it may read
SPY = """
import os
from pathlib import Path

def readable(path):
    try:
        return bool(Path(path).read_bytes())
    except OSError:
        return False

def handler(event, context):
    lines = Path("/proc/self/status").read_text().splitlines()
    return {
        "environment": dict(os.environ),
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "groups": os.getgroups(),
        "no_new_privs": [line.split()[1] for line in lines if line.startswith("NoNewPrivs")],
        "emulator": Path(f"/proc/{os.getppid()}/environ").read_text(),
        "readable": [path for path in event["paths"] if readable(path)],
    }
"""


def spy(appliance: Appliance, **event: Any) -> Any:
    """What a function of a user's own sees in the embedded emulator."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("spy.py", SPY)
    lambda_ = client(appliance, "lambda")
    made = lambda_.create_function(
        FunctionName="spy",
        Runtime="python3.13",
        Role="arn:aws:iam::000000000000:role/lambda-ex",
        Handler="spy.handler",
        Code={"ZipFile": packed.getvalue()},
    )
    assert made["FunctionArn"].split(":")[4] == "000000000000"
    lambda_.get_waiter("function_active_v2").wait(FunctionName="spy", WaiterConfig={"Delay": 1})
    answer = json.loads(lambda_.invoke(FunctionName="spy", Payload=json.dumps(event).encode())["Payload"].read())
    lambda_.close()
    assert "uid" in answer, answer
    return answer


def ask(appliance: Appliance, method: str = "GET", path: str = "/", **headers: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(appliance.emulator_url).port, timeout=60)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}


def test_only_its_own_key_opens_it_and_the_functions_have_nothing_of_the_users(appliance: Appliance) -> None:
    appliance.start(**HIDDEN)
    ready(appliance)
    # a 12-digit AWS_ACCESS_KEY_ID of the user's is another account for MiniStack; here it is nothing
    verified = told(appliance, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "arn:aws:iam::000000000000:role" in verified.stdout
    listed = appliance.run("aws", "s3", "ls")
    assert "my-bucket" in listed.stdout, listed.stderr

    for service, call in (("s3", "list_buckets"), ("kinesis", "list_streams"), ("lambda", "list_functions")):
        foreign = client(appliance.emulator_url, service)
        with pytest.raises(ClientError, match=r"not the emulator's access key: use script/aws") as refused:
            getattr(foreign, call)()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403

    seen = spy(appliance, paths=[])
    assert "h1dden" not in json.dumps(seen)
    assert "123456789012" not in json.dumps(seen)
    assert seen["no_new_privs"] == ["1"]
    assert set(seen["uid"]) == set(seen["gid"]) == {10001 if os.geteuid() == 0 else os.geteuid()}


def test_what_a_browser_sends_gets_403_and_no_leave_to_read(appliance: Appliance) -> None:
    appliance.start()
    ready(appliance)
    for method, path, headers in (
        ("POST", "/_ministack/reset", {"Content_Type": "application/x-www-form-urlencoded", "Origin": "null"}),
        ("POST", "/_ministack/reset", {}),
        ("GET", "/_localstack/health", {}),
        ("OPTIONS", "/2015-03-31/functions", {"Origin": "http://a", "Access_Control_Request_Method": "POST"}),
        ("POST", "/2015-03-31/functions", {"Content_Type": "text/plain"}),
        ("GET", "/my-bucket", {"Host": "evil.example"}),
    ):
        status, body, answered = ask(appliance, method, path, **headers)
        assert status == 403, (method, path, headers)
        assert "the emulator" in body
        assert not [name for name in answered if name.startswith("access-control-")]
    upgrade = {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Version": "13"}
    assert ask(appliance, Connection="Upgrade", Upgrade="websocket", **upgrade)[0] == 403
    # and all is still there
    assert told(appliance, "verify").returncode == 0


def age(pid: int) -> float:
    """Seconds since the process was started: proc(5), fields 22 and uptime."""
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - started


@pytest.mark.emulator
def test_natively_nobody_but_it_can_read_the_key_and_one_port_is_open(native: Native) -> None:
    native.start()
    ready(native)
    get(native.http_port, "/")
    eventually(lambda: entries(s3_client(native), "my-bucket"), why="the function has run")
    data = native.directory / "data"
    assert (data / "emulator" / "credentials").stat().st_mode & 0o777 == 0o600
    uid = 10001 if os.geteuid() == 0 else os.geteuid()
    # again where a file has gone meanwhile
    assert eventually(lambda: {path.stat().st_uid for path in (data / "emulator").rglob("*")}) == {uid}
    [emulator] = native.pids("-m emulator.serve")
    sockets = {str(each.readlink()) for each in Path(f"/proc/{emulator}/fd").iterdir()}
    listening = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and f"socket:[{line.split()[9]}]" in sockets
    ]
    [entry] = listening
    assert entry[1] == f"0100007F:{urlsplit(native.emulator_url).port:04X}"  # 127.0.0.1


@pytest.mark.emulator
def test_script_aws_and_a_cli_with_the_key_file_just_work(native: Native) -> None:
    native.start()
    ready(native)
    outside = {"PATH": os.environ["PATH"], "DATA_DIR": str(native.directory / "data"), **HIDDEN}
    listed = subprocess.run(
        [ROOT / "script" / "aws", "s3", "ls"], env=outside, capture_output=True, text=True, timeout=60, check=False
    )
    assert "my-bucket" in listed.stdout, listed.stderr
    own = {"PATH": os.environ["PATH"], "AWS_DEFAULT_REGION": "us-east-1"}
    own["AWS_SHARED_CREDENTIALS_FILE"] = str(native.directory / "data" / "emulator" / "credentials")
    command = [python(), "-m", "awscli", "--endpoint-url", native.emulator_url, "sts", "get-caller-identity"]
    own["PYTHONPATH"] = sysconfig.get_path("purelib")
    told = subprocess.run(command, env=own, capture_output=True, text=True, timeout=60, check=False)
    assert json.loads(told.stdout)["Account"] == "000000000000", told.stderr


@pytest.mark.emulator
def test_one_that_ends_again_and_again_is_not_ok_though_it_answers(native: Native) -> None:
    native.start()
    ready(native)
    for _ in range(3):
        # supervisord counts one as started after 5 s; one that ends before that three times is given up
        [pid] = eventually(lambda: [each for each in native.pids("-m emulator.serve") if age(each) > 6])
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), why="it has ended")  # noqa: B023
    said = "emulator: degraded: has ended by itself 3 times within 10 minutes"
    eventually(lambda: said in native.run("appliance", "health").stdout)
    assert native.run("appliance", "health").returncode == 0
    assert native.run("appliance", "health", "--ready").returncode == 1


@pytest.mark.emulator
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_natively_as_root_a_function_can_read_neither_log_nor_checkpoint(native: Native) -> None:
    native.start()
    ready(native)
    get(native.http_port, "/")
    data = native.directory / "data"
    closed = [data / "log" / "access.log", data / "log" / "checkpoint.json", data / "run" / "environment"]
    eventually(lambda: all(path.stat().st_size for path in closed))
    assert spy(native, paths=list(map(str, closed)))["readable"] == []


@pytest.mark.emulator
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_natively_as_root_a_folder_that_only_root_may_enter_ends_the_start_with_the_remedy(native: Native) -> None:
    closed = native.directory / "closed"
    closed.mkdir(mode=0o700)
    native.start(DATA_DIR=str(closed / "data"))
    assert native.wait() == 2
    assert f"user 10001 may not enter {closed}. Mend it by moving" in native.output()
    assert "Traceback" not in native.output()


@pytest.mark.container
def test_in_the_image_it_listens_on_loopback_unless_it_is_told_otherwise(container: Container) -> None:
    container.start(EMULATOR_HOST="127.0.0.1")
    ready(container)
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(container)
    default = container.run("python", "-c", "from common.settings import Settings; print(Settings().emulator_host)")
    assert default.stdout.strip() == "127.0.0.1"


@pytest.mark.container
def test_another_container_reaches_it_by_name_with_the_key_alone(
    container: Container, container_engine: str, network: str
) -> None:
    container.start()
    ready(container)

    def listed(*options: str) -> subprocess.CompletedProcess[str]:
        run = [container_engine, "run", "--rm", "--network", network, "--env", f"LOCALSTACK_HOST={container.name}"]
        command = [*run, *options, IMAGE, "aws", "s3", "ls"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert "not the emulator's access key" in listed().stderr
    key = [f"--env={name}={value}" for name, value in container.emulator_key().items()]
    assert "my-bucket" in listed(*key).stdout
