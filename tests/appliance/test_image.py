"""The image as a product: what is in it, what is not, and what it says of its health."""

from __future__ import annotations

import json
import secrets
import subprocess

import pytest

from tests.appliance.drivers import IMAGE, Container, ready
from tests.waiting import eventually

pytestmark = pytest.mark.container


@pytest.fixture
def config(container_engine: str, image: str) -> dict[str, object]:
    shown = subprocess.run(
        [container_engine, "image", "inspect", image], capture_output=True, text=True, timeout=60, check=True
    )
    described = json.loads(shown.stdout)[0]
    # podman shows the health check beside the configuration, Docker in it
    found: dict[str, object] = {"Healthcheck": described.get("Healthcheck")} | described["Config"]
    return found


def shell(container_engine: str, script: str) -> str:
    command = [container_engine, "run", "--rm", "--user", "0", "--entrypoint", "sh", IMAGE, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_runs_unprivileged_and_says_what_it_is(config: dict[str, object]) -> None:
    assert config["User"] == "10001:10001"
    labels = config["Labels"]
    assert isinstance(labels, dict)
    assert labels["org.opencontainers.image.title"] == "kinesis-lambda-logging"
    assert labels["org.opencontainers.image.licenses"] == "MIT"


def test_holds_no_credentials(config: dict[str, object]) -> None:
    variables = config["Env"]
    assert isinstance(variables, list)
    assert not [one for one in variables if "KEY" in one or "SECRET" in one or "TOKEN" in one]


@pytest.mark.usefixtures("image")
def test_holds_no_build_tools_and_no_tests(container_engine: str) -> None:
    tools = shell(container_engine, "for one in gcc make git pip uv curl node npm; do command -v $one || true; done")
    assert not tools
    assert shell(container_engine, "ls /app").split() == [
        *("LICENSE", "appliance", "cli", "common", "dashboard", "emulator"),
        *("entrypoint", "journal", "lambda", "nginx", "producer", "pyproject.toml", "supervisord.conf"),
    ]


@pytest.mark.usefixtures("image")
def test_holds_the_certificates_that_an_upstream_is_verified_by(container_engine: str) -> None:
    assert int(shell(container_engine, "grep -c BEGIN /etc/ssl/certs/ca-certificates.crt")) > 100


def test_health_fails_when_the_programs_hang_and_recovers(container: Container, config: dict[str, object]) -> None:
    check = config["Healthcheck"]
    assert isinstance(check, dict)
    kind, *command = check["Test"]
    assert kind in ("CMD", "CMD-SHELL")
    container.start()
    ready(container)
    assert container.run(*command).returncode == 0
    container.run("sh", "-c", "kill -STOP -1")

    def failed() -> bool:
        looked = container.run(*command)
        return looked.returncode == 1 and "nginx: failing" in looked.stdout

    eventually(failed, within=30)
    container.run("sh", "-c", "kill -CONT -1")
    eventually(lambda: container.run(*command).returncode == 0)


CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
CLOSED = ["8080", "4566"]


@pytest.mark.usefixtures("image")
def test_a_second_container_reaches_nginx_and_nothing_else(container_engine: str, network: str) -> None:
    def call(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [container_engine, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=check)

    name = f"web-log-{secrets.token_hex(4)}"
    try:
        call("run", "--detach", "--name", name, "--network", network, IMAGE)
        eventually(lambda: call("exec", name, "appliance", "health", "--ready", check=False).returncode == 0, within=60)
        for port in CLOSED:
            call("exec", name, "python", "-c", CONNECT, "127.0.0.1", port)
        for port in ("80", *CLOSED):
            other = call("run", "--rm", "--network", network, IMAGE, "python", "-c", CONNECT, name, port, check=False)
            assert (other.returncode == 0) == (port == "80"), (port, other.stderr)
            assert port == "80" or "Connection refused" in other.stderr
        assert "-e DASHBOARD_HOST=0.0.0.0 -p 127.0.0.1:8080:8080" in call("logs", name).stdout
    finally:
        call("rm", "--force", "--volumes", name, check=False)
