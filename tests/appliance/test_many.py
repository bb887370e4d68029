"""Several appliances and several shards write the same hour at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.appliance.drivers import Native, get, ready, s3_client
from tests.checker import entries, judge
from tests.emulator import Emulator
from tests.waiting import eventually

APPLIANCES = 3
SHARDS = 4
REQUESTS = 300

pytestmark = pytest.mark.emulator


@pytest.fixture
def appliances(tmp_path: Path) -> Iterator[list[Native]]:
    several = []
    for number in range(APPLIANCES):
        folder = tmp_path / str(number)
        folder.mkdir()
        several.append(Native(folder))
    yield several
    for one in several:
        one.stop()


def test_three_appliances_and_four_shards_write_one_hour_exactly_once(
    appliances: list[Native], emulator: Emulator
) -> None:
    emulator.start()
    for one in appliances:
        one.start(LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}", SHARD_COUNT=str(SHARDS), BATCH_SIZE="10")
    for one in appliances:
        ready(one)

    def send(number: int) -> None:
        for request in range(REQUESTS):
            get(appliances[number].http_port, f"/{number}/{request}")

    threads = [threading.Thread(target=send, args=(number,)) for number in range(APPLIANCES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wanted = [f"/{number}/{request}" for number in range(APPLIANCES) for request in range(REQUESTS)]
    s3 = s3_client(emulator.url)
    try:
        eventually(lambda: len(entries(s3, "my-bucket")) >= len(wanted), within=60, every=0.5, why="lines in S3")
        verdict = judge(wanted, entries(s3, "my-bucket"), lambda entry: entry["path"])
    finally:
        s3.close()
    assert verdict.exactly_once, verdict
    assert verdict.archived == APPLIANCES * REQUESTS
