"""The whole way, as a user goes it: requests to nginx, JSON lines in S3, natively and in the real image."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.appliance.drivers import Appliance, Container, Native, client, get, no_poll_soon, ready, s3_client, told
from tests.checker import entries, judge
from tests.emulator import Emulator
from tests.waiting import eventually

BUCKET = "my-bucket"
# the lowest port that any user may listen on: Docker sets 0 in a container, the kernel 1024
PORTS = "net.ipv4.ip_unprivileged_port_start"
NO_RIGHTS = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges"]


class Traffic:
    """Requests that can be told apart, and the verdict on them."""

    def __init__(self, appliance: Appliance) -> None:
        self._appliance = appliance
        self._run = secrets.token_hex(4)
        self.sent: list[str] = []

    def send(self, count: int, agent: str = "test") -> None:
        for _ in range(count):
            path = f"/{self._run}/{len(self.sent)}"
            get(self._appliance.http_port, path, agent=agent)
            self.sent.append(path)

    def archive(self, url: str | None = None) -> list[tuple[str, dict[str, Any]]]:
        s3 = s3_client(url or self._appliance)
        try:
            found = entries(s3, BUCKET)
        except s3.exceptions.NoSuchBucket:
            found = []  # not provisioned yet
        finally:
            s3.close()
        return [(key, entry) for key, entry in found if entry["path"].startswith(f"/{self._run}/")]

    def arrived(self, url: str | None = None, within: float = 30) -> list[tuple[str, dict[str, Any]]]:
        """Wait until as many lines as were requested are archived; then every one must be there exactly once."""
        eventually(lambda: len(self.archive(url)) >= len(self.sent), within=within, every=0.5, why="lines in S3")
        archive = self.archive(url)
        verdict = judge(self.sent, archive, lambda entry: entry["path"])
        assert verdict.exactly_once, f"{verdict}\n{self._appliance.output()[-3000:]}"
        return archive


def test_requests_are_lines_in_the_hourly_object(appliance: Appliance) -> None:
    appliance.start()
    ready(appliance)
    traffic = Traffic(appliance)
    before = datetime.now(UTC).replace(microsecond=0)
    for number in range(20):
        traffic.send(1, agent=f'agent/{number} "quoted" \\ 한글'.encode().decode("latin-1"))
    archive = traffic.arrived(within=6)
    after = datetime.now(UTC)
    for number, path in enumerate(traffic.sent):
        [(key, entry)] = [(key, entry) for key, entry in archive if entry["path"] == path]
        moment = datetime.fromisoformat(entry["time"])
        assert before <= moment <= after
        assert key == f"{moment:%Y/%m/%d/%H}/web-access.log"
        assert entry["userAgent"] == f'agent/{number} "quoted" \\ 한글'
        assert (entry["method"], entry["httpVersion"], entry["status"]) == ("GET", "HTTP/1.1", 404)
        assert entry["host"]


def test_verify_and_the_aws_cli_answer_where_the_appliance_runs(appliance: Appliance) -> None:
    appliance.start()
    ready(appliance)
    verified = told(appliance, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr + appliance.output()[-3000:]
    assert verified.stdout.count("✓") == 10, verified.stdout
    assert "sequence number" in verified.stdout
    listed = appliance.run("aws", "s3", "ls", f"s3://{BUCKET}", "--recursive")
    assert "/web-access.log" in listed.stdout, listed.stderr
    key = next(word for word in listed.stdout.split() if word.endswith("/web-access.log"))
    copied = appliance.run("aws", "s3", "cp", f"s3://{BUCKET}/{key}", "-")
    assert all(json.loads(line)["host"] for line in copied.stdout.splitlines())


def test_a_stop_with_lines_unshipped_and_a_new_start_lose_and_double_nothing(appliance: Appliance) -> None:
    appliance.start(POLL_INTERVAL=no_poll_soon())  # nothing is shipped but at the start and at the stop
    ready(appliance)
    traffic = Traffic(appliance)
    traffic.send(30)
    assert appliance.stop() == 0
    appliance.start()
    ready(appliance)
    traffic.send(5)
    traffic.arrived()


def test_health_checks_never_enter_the_log_but_the_page_does(appliance: Appliance) -> None:
    appliance.start()
    ready(appliance)
    assert get(appliance.http_port, "/healthz") == 200
    assert get(appliance.http_port, "/") == 200
    traffic = Traffic(appliance)
    traffic.send(1)
    traffic.arrived()
    s3 = s3_client(appliance)
    paths = {entry["path"] for _, entry in entries(s3, BUCKET)}
    s3.close()
    assert "/" in paths
    assert "/healthz" not in paths


def test_a_program_that_cannot_be_kept_running_ends_the_appliance(appliance: Appliance) -> None:
    appliance.start(EMULATOR_HOST="no-such-host.invalid")
    assert appliance.wait() == 1
    assert "emulator could not be kept running" in appliance.output()


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [("S3_BUCKET", "No_Bucket", "-e S3_BUCKET="), ("POLL_INTERVAL", "soon", "-e POLL_INTERVAL=60")],
)
def test_a_bad_setting_ends_the_start_with_the_remedy(
    appliance: Appliance, setting: str, value: str, remedy: str
) -> None:
    appliance.start(**{setting: value, "SHARD_COUNT": "0"})
    assert appliance.wait() == 2
    assert remedy in appliance.output()
    assert "-e SHARD_COUNT=1" in appliance.output()
    assert "Traceback" not in appliance.output()


def test_a_small_rotation_limit_loses_nothing(appliance: Appliance) -> None:
    appliance.start(LOG_ROTATE_BYTES="2000")
    ready(appliance)
    traffic = Traffic(appliance)
    for _ in range(6):
        traffic.send(20)
        traffic.arrived()


@pytest.mark.emulator
def test_lines_pending_at_a_stop_are_in_s3_before_it_ends(native: Native, emulator: Emulator) -> None:
    emulator.start()
    native.start(LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}", POLL_INTERVAL=no_poll_soon())
    ready(native)
    traffic = Traffic(native)
    traffic.send(25)
    assert native.stop() == 0
    traffic.arrived(emulator.url)
    native.start(LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}")
    ready(native)
    traffic.send(3)
    traffic.arrived(emulator.url)


@pytest.mark.emulator
def test_an_endpoint_that_comes_later_gets_the_lines_logged_meanwhile(native: Native, emulator: Emulator) -> None:
    native.start(LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}")
    eventually(lambda: get(native.http_port, "/") == 200, why="nginx serves without LocalStack")
    traffic = Traffic(native)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        traffic.send(1)

    def degraded() -> bool:
        health = native.run("appliance", "health")
        assert health.returncode == 0, health.stdout
        return "degraded" in health.stdout

    eventually(degraded, every=0.5, why="degraded, not unhealthy")
    emulator.start()
    traffic.arrived(emulator.url, within=60)
    ready(native)


@pytest.mark.emulator
def test_an_endpoint_that_forgot_everything_is_provisioned_again(native: Native, emulator: Emulator) -> None:
    emulator.start()
    native.start(LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}")
    ready(native)
    before = Traffic(native)
    before.send(10)
    before.arrived(emulator.url)
    emulator.stop(kill=True)
    meanwhile = Traffic(native)
    meanwhile.send(20)
    emulator.start()
    meanwhile.arrived(emulator.url, within=30)


@pytest.mark.emulator
def test_killed_programs_come_back_and_nothing_is_lost(native: Native) -> None:
    native.start()
    ready(native)
    traffic = Traffic(native)
    for program in ("-m producer", "nginx: worker", "-m entrypoint", "-m producer"):
        traffic.send(10)
        # nginx answers before it logs: a worker killed in between leaves a request without a line
        eventually(lambda: traffic.sent[-1] in (native.directory / "data" / "log" / "access.log").read_text())
        for pid in native.pids(program):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: get(native.http_port, "/") == 200)
        traffic.send(10)
    traffic.arrived(within=40)


@pytest.mark.container
def test_the_image_ships_pending_lines_to_an_emulator_outside(container: Container, outside: tuple[str, str]) -> None:
    host, url = outside
    container.start(LOCALSTACK_HOST=host, POLL_INTERVAL=no_poll_soon())
    ready(container)
    traffic = Traffic(container)
    traffic.send(25)
    assert container.stop() == 0
    traffic.arrived(url)
    container.start(LOCALSTACK_HOST=host)
    ready(container)
    traffic.send(5)
    traffic.arrived(url)
    assert told(container, "verify").returncode == 0


@pytest.mark.container
def test_the_image_runs_hardened(container: Container) -> None:
    container.options = ["--read-only", "--tmpfs", "/tmp", *NO_RIGHTS, "--sysctl", f"{PORTS}=0"]
    container.start()
    ready(container)
    traffic = Traffic(container)
    traffic.send(5)
    traffic.arrived()
    users = container.run("sh", "-c", "cat /proc/[0-9]*/status | grep ^Uid | sort -u")
    assert {line.split()[1] for line in users.stdout.splitlines()} == {"10001"}, users.stdout


@pytest.mark.container
def test_the_image_that_may_not_listen_on_its_port_says_what_to_do(container: Container) -> None:
    container.options = ["--cap-drop", "ALL", "--sysctl", f"{PORTS}=1024"]
    container.start()
    assert container.wait() == 2
    assert f"--sysctl {PORTS}=0" in container.output()


@pytest.mark.container
@pytest.mark.parametrize(
    ("options", "port"),
    [
        pytest.param([], "80", id="with the capabilities that engines give"),
        pytest.param(["--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"], "80", id="with that one"),
        pytest.param(NO_RIGHTS, "8000", id="on a high port without any"),
    ],
)
def test_the_image_starts_where_low_ports_need_a_right(container: Container, options: list[str], port: str) -> None:
    container.options = [*options, "--sysctl", f"{PORTS}=1024"]
    container.start(HTTP_PORT=port)
    ready(container)
    assert get(container.http_port, "/") == 200


@pytest.mark.container
def test_the_image_fronts_an_application(container: Container, outside: tuple[str, str]) -> None:
    host, url = outside
    # the emulator is an application like any other: it answers HTTP, and in its own words
    container.start(LOCALSTACK_HOST=host, UPSTREAM=f"http://{host}:4566")
    ready(container)
    assert get(container.http_port, "/_ministack/health") == 200
    traffic = Traffic(container)
    traffic.send(5)
    traffic.arrived(url)


@pytest.mark.emulator
def test_nginx_comes_back_when_its_master_alone_is_killed(native: Native) -> None:
    native.start()
    ready(native)
    traffic = Traffic(native)
    traffic.send(5)
    [master] = native.pids("nginx: master")
    os.kill(master, signal.SIGKILL)
    eventually(lambda: (pids := native.pids("nginx: master")) and pids != [master], why="another master")
    ready(native)
    traffic.send(5)
    traffic.arrived()


@pytest.mark.emulator
def test_what_is_deleted_while_nothing_changes_is_made_again(native: Native) -> None:
    """The entrypoint has made itself small by then, is what it was meanwhile, and becomes small again."""
    native.start()
    ready(native)
    eventually(lambda: native.pids("entrypoint.lookout"), within=40, every=0.5, why="nothing is left to do")
    client(native, "kinesis").delete_stream(StreamName="web-log-stream", EnforceConsumerDeletion=True)
    eventually(lambda: "has forgotten stream web-log-stream" in native.output(), within=15)
    traffic = Traffic(native)
    traffic.send(10)
    traffic.arrived()
    eventually(lambda: native.pids("entrypoint.lookout"), within=40, every=0.5, why="nothing is left to do")
    said = [line for line in native.output().splitlines() if line.startswith("entrypoint | ")]
    assert sum("ready at" in line for line in said) == 2
    assert sum("bucket my-bucket: " in line for line in said) == 2, "created, then unchanged"
    assert native.stop() == 0
