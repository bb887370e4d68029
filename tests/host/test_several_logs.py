"""One producer, three logs: each line once below the name of its log, though the producer is killed again and again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.drivers import ROOT, s3_client
from tests.checker import entries, judge
from tests.host.machine import Pipeline
from tests.keys import KEY
from tests.waiting import eventually

pytestmark = pytest.mark.emulator

NAMES = ("shop", "blog", "wiki")
LINES = 400  # of each
KILLS = 6


class Host:
    def __init__(self, folder: Path, pipeline: Pipeline) -> None:
        self.folder = folder
        self.pipeline = pipeline
        self.logs = {name: folder / "nginx" / f"{name}.access.log" for name in NAMES}
        (folder / "nginx").mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.environment = kept | {
            "LOCALSTACK_HOST": pipeline.emulator.url,
            "S3_BUCKET": pipeline.bucket,
            "RECORD_KEY": KEY,
            "DATA_DIR": str(folder / "data"),
            "LOG_FILES": str(folder / "nginx"),
            "POLL_INTERVAL": "0.2",
            "REPAIR_INTERVAL": "1",
            "REPAIR_AFTER": "5",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "producer"], cwd=ROOT, env=self.environment, stdout=output, stderr=output
            )

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(60)

    def write(self, name: str) -> None:
        """The same lines in each log; now and then one is rotated."""
        rng = random.Random(name)
        log, rotations = self.logs[name], 0
        for number in range(LINES):
            now = f"{datetime.now(UTC):%d/%b/%Y:%H:%M:%S} +0000"
            with log.open("a") as file:
                file.write(f'192.0.2.1 - - [{now}] "GET /{number} HTTP/1.1" 200 5 "-" "test"\n')
            if name == "shop" and rng.random() < 0.02:
                rotations += 1
                log.rename(log.with_name(f"{log.name}.{rotations}"))
            time.sleep(0.02)  # a client, and no wait for anything

    def command(self, *arguments: str) -> tuple[int, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "cli", *arguments, "--json"],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def host(tmp_path: Path, pipeline: Pipeline) -> Iterator[Host]:
    one = Host(tmp_path, pipeline)
    yield one
    one.kill()


def test_every_line_once_below_the_name_of_its_log(host: Host) -> None:
    writers = [threading.Thread(target=host.write, args=(name,)) for name in NAMES]
    for each in writers:
        each.start()
    rng = random.Random(1)
    for _ in range(KILLS):
        host.start()
        writers[0].join(rng.uniform(0.5, 2.0))
        host.kill()
    host.start()
    for each in writers:
        each.join()
    wanted = [f"/{number}" for number in range(LINES)]
    s3 = s3_client(host.pipeline.emulator.url)

    def arrived(name: str) -> bool:
        found = entries(s3, host.pipeline.bucket, f"{name}/")
        verdict = judge(wanted, found, lambda entry: entry["path"])
        assert verdict.exactly_once, verdict
        return True

    try:
        for name in NAMES:
            eventually(lambda name=name: arrived(name), within=60, every=0.5, why=f"{name} is archived")  # type: ignore[misc]
        assert entries(s3, host.pipeline.bucket) == [], "nothing is beside the names"
    finally:
        s3.close()

    def audited() -> bool:
        code, found = host.command("audit")
        assert code == 0
        assert set(found["logs"]) == set(NAMES)
        for tree in found["logs"].values():
            totals = tree["totals"]
            assert totals["written"] == totals["archived"] > 0
            assert totals["missing"] == totals["pending"] == 0
        return True

    eventually(audited, within=30, every=0.5)
    _, status = host.command("status")
    assert {name: one["behind"]["bytes"] for name, one in status["logs"].items()} == dict.fromkeys(NAMES, 0)
