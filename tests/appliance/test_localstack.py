"""The user's command, against the real thing: nginx to JSON lines through LocalStack 4.14.0, restarts included."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from common import aws
from common.settings import Settings
from tests.appliance.drivers import Native, get, ready, s3_client, told
from tests.appliance.test_pipeline import Traffic
from tests.checker import entries, judge
from tests.localstack_process import LocalStack, LocalStackImage
from tests.waiting import eventually

Server = LocalStack | LocalStackImage

pytestmark = pytest.mark.localstack

# Seconds. It loads each service when it is first asked for, and polls the stream once a second.
READY_WITHIN = 90.0


@pytest.fixture
def own(localstack_here: type[LocalStack] | type[LocalStackImage], tmp_path: Path) -> Iterator[Server]:
    """A LocalStack of the test's own, to be killed; started."""
    server = localstack_here(tmp_path / "localstack")
    try:
        server.start()
        yield server
    finally:
        server.stop(kill=True)


@pytest.fixture
def host(own: Server) -> str:
    return f"127.0.0.1:{own.port}"


def test_verify_passes_and_the_functions_log_is_there(native: Native, host: str) -> None:
    native.start(LOCALSTACK_HOST=host)
    ready(native, within=READY_WITHIN)
    verified = told(native, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr + native.output()[-3000:]
    assert verified.stdout.count("✓") == 10, verified.stdout
    eventually(lambda: "END RequestId" in native.run("appliance", "logs", "lambda").stdout, why="the function's log")
    assert '"written": ' in native.run("appliance", "logs", "lambda").stdout


def test_a_thousand_requests_are_a_thousand_lines(native: Native, own: Server, host: str) -> None:
    native.start(LOCALSTACK_HOST=host)
    ready(native, within=READY_WITHIN)
    traffic = Traffic(native)
    traffic.send(1000)
    archive = traffic.arrived(own.url, within=60)
    assert len(archive) == 1000
    audited = told(native, "audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert " 0 missing" in audited.stdout, audited.stdout


def test_killed_and_started_empty_in_the_middle(native: Native, own: Server, host: str) -> None:
    """What was logged after its death arrives once; what it forgot is said, and nothing of it comes twice."""
    native.start(LOCALSTACK_HOST=host)
    ready(native, within=READY_WITHIN)
    before = Traffic(native)
    before.send(300)
    before.arrived(own.url, within=60)
    own.stop(kill=True)
    after = Traffic(native)
    after.send(400)
    own.start()
    after.send(300)
    after.arrived(own.url, within=120)
    said = native.output()
    assert "has forgotten bucket my-bucket, role lambda-ex, stream web-log-stream" in said
    again = judge(before.sent, before.archive(own.url), lambda entry: entry["path"])
    assert not again.doubled


def test_changed_settings_reach_the_mapping_and_the_function_that_are_there(
    native: Native, own: Server, host: str
) -> None:
    native.start(LOCALSTACK_HOST=host, BATCH_SIZE="10")
    ready(native, within=READY_WITHIN)
    first = Traffic(native)
    first.send(30)
    first.arrived(own.url, within=60)
    assert native.stop() == 0
    native.start(LOCALSTACK_HOST=host, BATCH_SIZE="10000", S3_PREFIX="logs/")
    ready(native, within=READY_WITHIN)
    said = native.output()
    assert "BatchSize 10 -> 10000" in said
    assert '"S3_PREFIX": "logs/"' in said
    lambda_ = aws.client(Settings(localstack_host=host), "lambda")

    def changed() -> bool:
        (mapping,) = lambda_.list_event_source_mappings(FunctionName="stream-transformation")["EventSourceMappings"]
        assert (mapping["BatchSize"], mapping["State"]) == (10_000, "Enabled")
        return True

    eventually(changed)
    lambda_.close()
    second = Traffic(native)
    second.send(30)

    def archive() -> list[str]:
        s3 = s3_client(own.url)
        try:
            return [entry["path"] for _, entry in entries(s3, "my-bucket", "logs/")]
        finally:
            s3.close()

    eventually(lambda: set(second.sent) <= set(archive()), within=60, every=0.5, why="lines below the prefix")
    assert sorted(path for path in archive() if path in second.sent) == sorted(second.sent)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [1])
def test_a_short_chaos(native: Native, own: Server, host: str, seed: int) -> None:
    """Killed: the appliance's programs and the function in the middle of its work. Frozen: all of LocalStack."""
    if not isinstance(own, LocalStack):
        pytest.skip("what is killed here are the processes of: script/test -m localstack")
    rng = random.Random(seed)
    native.start(LOCALSTACK_HOST=host)
    ready(native, within=READY_WITHIN)
    traffic = Traffic(native)
    faults: list[tuple[str, Callable[[], None]]] = [
        ("producer", lambda: kill(native.pids("-m producer"))),
        ("entrypoint", lambda: kill(native.pids("-m entrypoint"))),
        ("nginx", lambda: kill(native.pids("nginx: worker"))),
        ("function", lambda: kill(own.pids("awslambdaric"))),
        ("function", lambda: kill(own.pids("awslambdaric"))),
        ("localstack", lambda: freeze(own, rng.uniform(1, 8), lambda: traffic.send(20))),
    ]
    log = native.directory / "data" / "log" / "access.log"
    for name, fault in rng.choices(faults, k=8) + faults:
        traffic.send(rng.randint(1, 80))
        # nginx answers first and writes the line then: killed in between, it has no line to ship
        eventually(lambda: f" {traffic.sent[-1]} " in log.read_text(), every=0.01, why="the last request's line")
        fault()
        eventually(lambda: get(native.http_port, "/healthz") == 200, why=f"nginx after {name} was hit")
        time.sleep(rng.uniform(0, 2))  # so that the next one meets another moment of a tick
    traffic.send(20)
    traffic.arrived(own.url, within=120)


def kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def freeze(server: LocalStack, seconds: float, meanwhile: Callable[[], None]) -> None:
    """Stopped, longer than some calls wait for an answer; what was asked is then done all the same."""
    pids = server.pids("")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        meanwhile()
        time.sleep(seconds)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
