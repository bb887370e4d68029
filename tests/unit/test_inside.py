"""script/appliance and script/aws, with the appliance in a container of an engine that only writes down its orders."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.appliance.drivers import ROOT
from tests.unit.test_up import Checkout
from tests.waiting import eventually


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path, "docker")


# An engine whose exec leaves what it started to go on, as Docker's client does
CLIENT = """#!/bin/bash
echo "$@" >> "$0.said"
shift
while [[ $1 == --* ]]; do [[ $1 != --env ]] || { export "$2"; shift; }; shift; done
shift
trap 'exit 130' INT
setsid "$@" &
wait $!
"""
TAIL = f"""#!{sys.executable}
import os, pathlib, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
pathlib.Path(__file__ + ".pid").write_text(str(os.getpid()))
print("a line", flush=True)
time.sleep(600)
"""


@contextmanager
def followed(checkout: Checkout) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """script/appliance, and the process id of what it runs "in the container"."""
    checkout.engine("docker", CLIENT)
    program = checkout.engine("appliance", TAIL)
    # bash cannot trap what is ignored when it starts, as by nohup
    command = ["env", "--default-signal", str(checkout.path / "script" / "appliance"), "tail", "--json"]
    with subprocess.Popen(command, env=checkout.environment, stdout=subprocess.PIPE, start_new_session=True) as script:
        assert script.stdout
        assert script.stdout.readline() == b"a line\n"
        inside = int(Path(f"{program}.pid").read_text())
        try:
            yield script, inside
        finally:
            for pid in (inside, script.pid):
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() != b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_goes_on_in_the_container_ends_with_the_script(checkout: Checkout, number: signal.Signals) -> None:
    with followed(checkout) as (script, inside):
        os.killpg(script.pid, number)  # as a terminal does
        eventually(lambda: not alive(inside))
        assert script.wait(60) != 0


def test_script_appliance_looks_where_script_up_started_it(checkout: Checkout) -> None:
    checkout.up("--docker")
    name = checkout.name
    checkout.run("appliance", "status")
    assert [line for line in checkout.said() if line.startswith("exec ")][-1].endswith(f" {name} appliance status")


def packages(checkout: Checkout) -> None:
    """As after script/bootstrap; its Python says what it is to do."""
    shutil.copytree(ROOT / "cli" / "bin", checkout.path / "cli" / "bin")
    python = checkout.path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$PYTHONPATH: $@"\n')
    python.chmod(0o755)


@pytest.mark.parametrize("name", ["LOG_FILE", "LOG_FILES"])
def test_with_the_settings_of_a_host_it_is_about_that_and_no_appliance(checkout: Checkout, name: str) -> None:
    checkout.up("--docker")
    packages(checkout)
    ended = checkout.run("appliance", "reprocess", "2026", **{name: "/var/log/nginx"})
    assert (ended.returncode, ended.stdout) == (0, f"{checkout.path}: -m cli reprocess 2026\n")


@pytest.mark.parametrize("arguments", ["--help", "audit -h", "formats FILE", "policy --json"])
def test_what_needs_no_appliance_is_answered_without_one(checkout: Checkout, arguments: str) -> None:
    for engine in ("docker", "podman"):
        checkout.engine(engine, "#!/bin/sh\nexit 1\n")
    packages(checkout)
    ended = checkout.run("appliance", *arguments.split())
    assert (ended.returncode, ended.stdout) == (0, f"{checkout.path}: -m cli {arguments}\n")
    ended = checkout.run("appliance", "status")
    assert ended.returncode == 1
    assert "The appliance is not running. Start it with script/up" in ended.stderr


def test_bootstrap_says_what_it_takes(checkout: Checkout) -> None:
    ended = checkout.run("bootstrap", "--help")
    assert (ended.returncode, ended.stderr) == (2, "usage: script/bootstrap [runtime|dev|browser]\n")


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ("s3 sync s3://my-bucket ./logs", True),
        ("s3 cp --recursive s3://my-bucket/2026 .", True),
        ("s3 cp file s3://my-bucket/key", True),
        ("s3 cp s3://my-bucket/key -", False),
        ("s3 sync s3://my-bucket s3://other --exclude athena/*", False),
        ("s3 ls s3://my-bucket --recursive", False),
    ],
)
def test_a_folder_of_the_users_that_the_container_does_not_have_is_said(
    checkout: Checkout, arguments: str, refused: bool
) -> None:
    ended = checkout.run("aws", *arguments.split())
    assert (ended.returncode == 2) is refused, ended.stderr
    assert ("it runs in the container, which does not have your folders. Mend it with:" in ended.stderr) is refused
    assert bool([line for line in checkout.said() if " aws s3 " in line]) is not refused
