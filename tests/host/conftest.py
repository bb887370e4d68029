from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator

import pytest

from common.clock import SystemClock
from common.settings import Settings
from entrypoint.bundle import bundle
from entrypoint.provision import connect, provision
from entrypoint.run import Run
from host.bundle import ARCHIVE, build
from tests.appliance.drivers import ROOT, engine
from tests.emulator import Emulator
from tests.host.machine import DEBIAN, STREAM, Pipeline
from tests.keys import KEY


@pytest.fixture(scope="module")
def container_engine() -> str:
    name = engine("podman", "docker")  # podman runs systemd as it is
    if name is None:
        pytest.skip("no container engine answers; enable these tests with: apt-get install podman, or start Docker")
    if subprocess.run([name, "image", "inspect", DEBIAN], capture_output=True, check=False).returncode:
        pull = subprocess.run([name, "pull", DEBIAN], capture_output=True, text=True, check=False)
        if pull.returncode:
            pytest.skip(f"the image {DEBIAN} cannot be had here: {pull.stderr[-300:]}")
    return name


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """MiniStack with EC2, reachable from a container."""
    services = "s3,kinesis,lambda,iam,sts,logs,firehose,ec2"
    one = Emulator(tmp_path_factory.mktemp("emulator"), {"BIND_HOST": "0.0.0.0", "SERVICES": services})
    try:
        one.start()
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def pipeline(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    bucket = f"web-log-{secrets.token_hex(4)}"
    folder = tmp_path_factory.mktemp("data")
    settings = Settings(
        localstack_host=emulator.url, s3_bucket=bucket, kinesis_data_stream=STREAM, record_key=KEY, data_dir=folder
    )
    for _ in provision(connect(settings), settings, bundle(ROOT / "lambda"), Run(SystemClock(), 60)):
        pass
    archive = tmp_path_factory.mktemp("dist") / ARCHIVE
    archive.write_bytes(build(ROOT)[ARCHIVE])
    return Pipeline(emulator, bucket, archive)
