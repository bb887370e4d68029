from __future__ import annotations

import fcntl
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.drivers import EMULATOR_PYTHON, IMAGE, Appliance, Container, Native, build, engine, folder
from tests.emulator import Emulator
from tests.waiting import free_port


@pytest.fixture(scope="session")
def container_engine() -> str:
    name = engine()
    if name is None:
        pytest.skip("no container engine answers; enable these tests with: apt-get install podman, or start Docker")
    return name


@pytest.fixture(scope="session")
def image(container_engine: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The real Dockerfile, built."""
    # one worker builds, the others then find all layers made
    with (tmp_path_factory.getbasetemp().parent / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = build(container_engine)
    if built.returncode != 0 and "debian:trixie-slim" in built.stderr and "pull" in built.stderr:
        pytest.skip(f"the base image debian:trixie-slim cannot be had here: {built.stderr[-300:]}")
    assert built.returncode == 0, built.stderr[-3000:]
    return IMAGE


@pytest.fixture
def network(container_engine: str) -> Iterator[str]:
    """A network with DNS names of its own."""
    name = f"web-log-{secrets.token_hex(4)}"
    subprocess.run([container_engine, "network", "create", name], capture_output=True, timeout=180, check=True)
    yield name
    subprocess.run([container_engine, "network", "rm", "--force", name], capture_output=True, timeout=180, check=False)


@pytest.fixture
def native() -> Iterator[Native]:
    with folder() as directory:
        one = Native(directory)
        yield one
        one.stop()


@pytest.fixture
def container(container_engine: str, image: str, network: str) -> Iterator[Container]:
    assert image == IMAGE
    one = Container(container_engine, network)
    yield one
    one.remove()


@pytest.fixture(
    params=[pytest.param("native", marks=pytest.mark.emulator), pytest.param("container", marks=pytest.mark.container)]
)
def appliance(request: pytest.FixtureRequest) -> Appliance:
    """The appliance with its embedded emulator, natively and as the image."""
    one: Appliance = request.getfixturevalue(request.param)
    return one


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[Emulator]:
    """An emulator outside the appliance, not started yet."""
    one = Emulator(tmp_path / "emulator")
    yield one
    one.stop()


@pytest.fixture
def outside(container_engine: str, image: str, network: str) -> Iterator[tuple[str, str]]:
    """An emulator in a container of its own: its name on the network, and its URL from here."""
    name, port = f"emulator-{secrets.token_hex(4)}", free_port()
    run = [container_engine, "run", "--detach", "--name", name, "--network", network]
    run += ["--publish", f"127.0.0.1:{port}:4566", "--env", "LOG_LEVEL=WARNING"]
    run += [image, EMULATOR_PYTHON, "-m", "ministack"]
    subprocess.run(run, capture_output=True, timeout=180, check=True)
    yield name, f"http://127.0.0.1:{port}"
    subprocess.run([container_engine, "rm", "--force", name], capture_output=True, timeout=180, check=False)
