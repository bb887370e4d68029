from __future__ import annotations

import fcntl
import secrets
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.appliance.drivers import IMAGE, ROOT, build, engine

LOCALSTACK = "localstack/localstack:4.14.0"


def docker(*arguments: str, timeout: float = 300) -> str:
    """What a docker command prints. Raises AssertionError with what it says."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False, cwd=ROOT
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def docker_engine() -> None:
    if engine("docker") is None:
        pytest.skip("no Docker engine answers; enable these tests by starting Docker")


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    with (tmp_path_factory.getbasetemp().parent / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = build("docker")
    assert built.returncode == 0, built.stderr[-3000:]
    return IMAGE


@pytest.fixture(scope="session")
def localstack_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """LocalStack's image as it is published; where it cannot be had, one of its packages under the same name."""
    there = subprocess.run(["docker", "image", "inspect", LOCALSTACK], capture_output=True, timeout=180, check=False)
    if there.returncode:
        pulled = subprocess.run(["docker", "pull", LOCALSTACK], capture_output=True, timeout=1800, check=False)
        if pulled.returncode:
            context = tmp_path_factory.mktemp("localstack-image")
            shutil.copytree(ROOT / "tests" / "localstack" / "plugin", context / "plugin")
            for name in ("uv.txt", "localstack.txt"):
                shutil.copy(ROOT / "locks" / name, context)
            file = ROOT / "tests" / "localstack" / "Dockerfile"
            docker("build", "--tag", LOCALSTACK, "--file", str(file), str(context), timeout=900)
    return LOCALSTACK


class Compose:
    """compose.yaml, as a user starts it, as a project of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._project = f"web-log-{secrets.token_hex(4)}"
        self._environment = environment

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "compose", "--project-name", self._project, *arguments],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            cwd=ROOT,
            env=self._environment,
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in the appliance's container."""
        return self("exec", "--no-TTY", "appliance", *command)


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a container, and its volume, that are removed in the end."""
    one = f"web-log-{secrets.token_hex(4)}"
    yield one
    subprocess.run(["docker", "rm", "--force", "--volumes", one], capture_output=True, timeout=180, check=False)
    subprocess.run(["docker", "volume", "rm", "--force", one], capture_output=True, timeout=180, check=False)
