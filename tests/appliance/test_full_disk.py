"""One client fills the disk with requests that are logged four times as long as they are: nothing is lost by that."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.appliance.drivers import Appliance, Container, Native, get, ready, s3_client
from tests.chaos.faults import mount, unmount
from tests.checker import entries, judge
from tests.flood import Flood
from tests.waiting import eventually

MIB = 1024 * 1024


@pytest.fixture
def small_disk(appliance: Appliance) -> Iterator[dict[str, str]]:
    """DATA_DIR on a disk of 100 MB."""
    if isinstance(appliance, Container):
        appliance.options += ["--mount", "type=tmpfs,destination=/small,tmpfs-size=100m,tmpfs-mode=1777"]
        yield {"DATA_DIR": "/small"}
        return
    assert isinstance(appliance, Native)
    folder = appliance.directory / "data"
    if not mount(folder, "100m"):
        pytest.skip("no small disk can be mounted here; enable this test by running it as root")
    yield {}
    appliance.stop()
    unmount(folder)


def pouring(flood: Flood, seconds: float, meanwhile: Callable[[], object]) -> None:
    """For so long, and on a slow machine until `meanwhile` has seen what it waits for."""
    seen = threading.Event()

    def pour() -> None:
        flood.pour(seconds)
        while not seen.is_set():
            flood.pour(1)

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        meanwhile()
    finally:
        seen.set()
        thread.join()


def exactly_once(appliance: Appliance, run: str, flood: Flood) -> None:
    """Each request that was answered is archived once, and none that was refused."""

    def identity(entry: dict[str, Any]) -> str | None:
        path: str = entry["path"].partition('"')[0]
        return path if path.startswith(f"/{run}/") else None

    def archive() -> list[tuple[str, dict[str, Any]]]:
        s3 = s3_client(appliance)
        try:
            return entries(s3, "my-bucket")
        finally:
            s3.close()

    def seen() -> set[str]:
        return {path for _, entry in archive() if (path := identity(entry))}

    eventually(lambda: flood.answered <= seen(), within=60, every=1, why="every answered request is archived")
    verdict = judge(flood.answered | (flood.broken & seen()), archive(), identity)
    assert verdict.exactly_once, verdict


def test_a_full_disk_is_survived(appliance: Appliance, small_disk: dict[str, str]) -> None:
    appliance.start(REPAIR_INTERVAL="2", **small_disk)
    ready(appliance)
    run = secrets.token_hex(4)
    flood = Flood(appliance.http_port, run)

    def said() -> bool:
        health = appliance.run("appliance", "health", "--ready")
        assert "disk: degraded: there is no room for log lines, so requests are refused with 503" in health.stdout
        assert health.returncode == 1
        assert len(flood.refused) > 1000
        return get(appliance.dashboard_port, "/readyz") == 503

    for _ in range(2):
        pouring(flood, 4, lambda: eventually(said, within=30))
        eventually(lambda: get(appliance.http_port, "/") == 200, within=120, every=0.5, why=appliance.output()[-3000:])
    ready(appliance)
    assert len(flood.answered) > 1000
    exactly_once(appliance, run, flood)


@pytest.mark.emulator
def test_the_limit_of_all_logs_holds(native: Native) -> None:
    limit = 64 * MIB  # of which 8 are kept for what comes in while the machine does something else
    native.start(LOG_DISK_BYTES=str(limit), LOG_ROTATE_BYTES=str(limit), REPAIR_INTERVAL="1", POLL_INTERVAL="60")
    ready(native, within=90)
    run = secrets.token_hex(4)
    flood = Flood(native.http_port, run)
    over = threading.Event()
    largest = 0

    def watch() -> None:
        nonlocal largest
        while not over.wait(0.002):
            largest = max(largest, sum(map(size, (native.directory / "data" / "log").glob("access.log*"))))

    def refused() -> bool:
        flood.pour(5)
        return bool(flood.refused)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        eventually(refused, within=90)
    finally:
        over.set()
        watching.join()
    assert limit // 2 < largest <= limit
    eventually(lambda: get(native.http_port, "/") == 200, within=60, every=0.5, why=native.output()[-3000:])
    exactly_once(native, run, flood)


def size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
