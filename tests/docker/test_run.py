"""`docker run` as README says it, and what Docker does with the container afterwards."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from tests.appliance.drivers import get
from tests.docker.conftest import docker
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.docker


def health_of(name: str) -> str:
    return docker("inspect", "--format", "{{.State.Health.Status}}", name).strip()


def ready(name: str) -> None:
    def look() -> bool:
        docker("exec", name, "appliance", "health", "--ready")
        return True

    eventually(look, within=60, every=0.5)


def paths(name: str) -> list[str]:
    tail = docker("exec", name, "appliance", "tail", "--no-follow", "--json", "-n", "1000")
    return [json.loads(line)["path"] for line in tail.splitlines()]


def test_the_engine_finds_it_healthy_and_unhealthy(image: str, name: str) -> None:
    port = free_port()
    # the image's own check, more often
    often = ("--health-interval", "1s", "--health-retries", "1", "--health-start-period", "0s")
    docker("run", "--detach", "--name", name, *often, "--publish", f"127.0.0.1:{port}:80", image)
    eventually(lambda: health_of(name) == "healthy", within=60)
    docker("exec", name, "sh", "-c", "kill -STOP -1")
    eventually(lambda: health_of(name) == "unhealthy", within=60)
    docker("exec", name, "sh", "-c", "kill -CONT -1")
    eventually(lambda: health_of(name) == "healthy", within=60)


def test_a_restart_policy_brings_it_back_with_all_lines(image: str, name: str) -> None:
    port = free_port()
    docker(
        *("run", "--detach", "--name", name, "--restart", "unless-stopped", "--env", "POLL_INTERVAL=1"),
        *("--env", "REPAIR_AFTER=2", "--env", "REPAIR_INTERVAL=2"),
        *("--publish", f"127.0.0.1:{port}:80", "--volume", f"{name}:/data", image),
    )
    ready(name)
    for number in range(5):
        get(port, f"/before/{number}")
    first = int(docker("inspect", "--format", "{{.State.Pid}}", name))
    # from outside, as the kernel does when memory is short: inside, a container's first process cannot be killed
    subprocess.run(["kill", "-KILL", str(first)], check=True)
    eventually(lambda: docker("inspect", "--format", "{{.RestartCount}}", name).strip() == "1")
    ready(name)
    for number in range(5):
        get(port, f"/after/{number}")
    wanted = sorted(f"/{word}/{number}" for word in ("before", "after") for number in range(5))
    eventually(lambda: sorted(paths(name)) == wanted, within=60, every=1)


@pytest.mark.parametrize("options", [("--read-only",), ("--user", "1000770000:0")], ids=["read-only", "any-user"])
def test_it_runs_with(options: tuple[str, ...], image: str, name: str) -> None:
    """A root file system that is read-only, without a /tmp; and the users that OpenShift gives, on a fresh volume."""
    docker("run", "--detach", "--name", name, *options, "--volume", f"{name}:/data", "--env", "POLL_INTERVAL=1", image)
    ready(name)
    docker("exec", name, "appliance", "verify")


def test_a_stop_takes_less_than_docker_waits_for(image: str, name: str) -> None:
    docker("create", "--name", name, image)

    def in_time() -> bool:
        docker("start", name)
        ready(name)
        begun = time.monotonic()
        docker("stop", name)
        took = time.monotonic() - begun
        return (took < 10, docker("inspect", "--format", "{{.State.ExitCode}}", name).strip()) == (True, "0")

    eventually(in_time, why="on a busy machine it may need another try")
