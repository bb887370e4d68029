"""What script/up tells the container engine, by an engine that only writes it down."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.appliance.drivers import ROOT
from tests.waiting import free_port

ENGINE = """#!/bin/sh
echo "$@" >> "$0.said"
case $1 in run) echo id;; inspect) echo false;; wait) echo 0;; esac
"""


@pytest.mark.parametrize(
    ("where", "embedded"), [({}, True), ({"LOCALSTACK_HOST": "192.0.2.1"}, False), ({"TARGET": "aws"}, False)]
)
def test_the_users_key_goes_only_where_the_appliance_talks_to_somebody_else(
    tmp_path: Path, where: dict[str, str], embedded: bool
) -> None:
    engine = tmp_path / "docker"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    port = str(free_port())
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "EMULATOR_PORT": port, "AWS_SECRET_ACCESS_KEY": "x"}
    command = [str(ROOT / "script" / "up"), "--docker"]
    subprocess.run(command, env=environment | where, capture_output=True, timeout=60, check=True)
    [run] = [line for line in Path(f"{engine}.said").read_text().splitlines() if line.startswith("run ")]
    assert ("--env AWS_SECRET_ACCESS_KEY" in run) is not embedded
    assert (f"--env EMULATOR_HOST=0.0.0.0 --publish 127.0.0.1:{port}:{port}" in run) is embedded
    assert "EMULATOR_HOST" not in run or embedded


def test_proxies_and_certificates_of_the_environment_reach_the_build(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "script").mkdir(parents=True)
    shutil.copy(ROOT / "script" / "up", checkout / "script")
    engine = tmp_path / "docker"
    engine.write_text(ENGINE)
    engine.chmod(0o755)
    own = tmp_path / "company.pem"
    own.write_text("a company's authority\n")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "EMULATOR_PORT": str(free_port())}
    environment |= {"HTTPS_PROXY": "http://proxy:3128", "NODE_EXTRA_CA_CERTS": str(own)}
    command = [str(checkout / "script" / "up"), "--docker"]
    subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    said = Path(f"{engine}.said").read_text().splitlines()
    assert [line for line in said if line.startswith("build ")] == [
        "build --build-arg HTTPS_PROXY --tag kinesis-lambda-logging ."
    ]
    assert (checkout / "ca.pem").read_text() == own.read_text()
    del environment["NODE_EXTRA_CA_CERTS"]
    subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    assert not (checkout / "ca.pem").exists()
