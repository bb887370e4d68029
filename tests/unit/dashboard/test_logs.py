"""Several logs on the dashboard and in the metrics: all as one, and each by its name."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.clock import SystemClock
from common.settings import Settings
from common.status import read_all
from dashboard.collector import Collector
from dashboard.disk import Disk
from dashboard.logs import LogDirectories, added
from dashboard.metrics import exposition
from dashboard.periodic import LookError
from dashboard.proof import Audits
from dashboard.state import state
from producer.logs import Logs
from producer.schedule import next_poll
from producer.tick import Producer
from tests.fake_bucket import FakeBucket
from tests.fake_kinesis import FakeClock, FakeKinesis, sink_of
from tests.unit.dashboard.test_state import NOW, RATES, local, views
from tests.waiting import free_port

LINE = b'127.0.0.1 - - [23/Nov/2026:12:00:%02d +0000] "GET / HTTP/1.1" 200 5 "-" "test"\n'
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class World:
    def __init__(self, folder: Path) -> None:
        self.logs = {name: folder / f"{name}.log" for name in ("shop", "blog")}
        named = ",".join(f"{name}={log}" for name, log in self.logs.items())
        self.settings = Settings(
            data_dir=folder / "data", log_files=named, localstack_host=f"127.0.0.1:{free_port()}", log_level="ERROR"
        )
        self.clock, self.stream, self.bucket = FakeClock(), FakeKinesis(), FakeBucket(bucket="my-bucket")
        self.directories = LogDirectories(self.settings)
        self.audits = Audits(self.directories, self.clock, lambda: self.bucket.client)
        look = Logs(self.settings, self.clock, random.Random(1)).look
        self.producer = Producer(self.settings, look, None, self.clock, next_poll(60))

    def write(self, name: str, *seconds: int) -> None:
        with self.logs[name].open("ab") as log:
            log.write(b"".join(LINE % second for second in seconds))

    def ship(self) -> None:
        self.producer.tick(sink_of(self.stream, self.clock), lambda: False)

    def samples(self) -> Samples:
        disks, _ = self.directories.look()
        seen = views(local=local(disk=added(disks.values()), logs=disks, said=read_all(self.settings.status_dir)))
        seen = views(local=seen.here, proof=self.audits.look())
        collector = SimpleNamespace(views=seen, settings=self.settings, clock=SimpleNamespace(now=lambda: NOW))
        content, _ = exposition(cast("Collector", collector), "")
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(content.decode())
            for sample in family.samples
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_several_logs_count_as_one_and_one_that_cannot_be_read_hides_no_other(world: World) -> None:
    world.write("shop", 1, 2, 3)
    world.write("blog", 1)
    world.ship()
    world.write("blog", 2)
    disks, problems = world.directories.look()
    assert ({name: disk.new_lines for name, disk in disks.items()}, problems) == ({"shop": 0, "blog": 1}, [])
    total = added(disks.values())
    assert (total.lines, total.files, total.new_bytes) == (5, 2, len(LINE % 2))
    (world.settings.data_dir / "log" / "shop" / "checkpoint.json").write_text("{")
    disks, problems = world.directories.look()
    assert list(disks) == ["blog"]
    assert problems[0].startswith("shop: the checkpoint")
    with pytest.raises(LookError, match="the audit cannot tell of shop: the checkpoint"):
        world.audits.look()


def test_what_is_unknown_of_one_is_unknown_of_all() -> None:
    known = Disk(10, 1, 2, 5, 1, 10, 2, NOW)
    assert added([known, known]) == Disk(20, 2, 4, 10, 2, 20, 4, NOW)
    unknown = Disk(10, 1, None, 5, None, 10, None, None)
    assert added([known, unknown]) == Disk(20, 2, None, 10, None, 20, None, NOW)


def test_each_has_its_metrics_by_name(world: World) -> None:
    world.write("shop", 1, 2, 3)
    world.write("blog", 1)
    world.ship()
    world.write("blog", 2)
    found = world.samples()
    for log, shipped, waiting in (("shop", 3, 0), ("blog", 1, 1)):
        named = (("log", log),)
        assert found["weblog_producer_lines_total", named] == shipped
        assert found["weblog_checkpoint_lag_lines", named] == waiting
        assert found["weblog_unarchived_lines", named] == shipped
        assert found["weblog_audit_lines", (("log", log), ("what", "written"))] == shipped + waiting
    assert ("weblog_producer_lines_total", ()) not in found
    assert found["weblog_producer_ticks_total", ()] == 1


def test_the_audits_of_all_are_one_in_bytes_if_one_is(world: World) -> None:
    world.write("shop", 1, 2, 3)
    world.write("blog", 1)
    world.ship()
    found = world.audits.look()
    assert (found.unit, found.totals["written"], found.verdict) == ("lines", 4, "pending")
    size = world.logs["shop"].stat().st_size
    world.logs["blog"].unlink()
    found = world.audits.look()
    assert (found.unit, found.logs["shop"].unit, found.logs["blog"].unit) == ("bytes", "lines", "bytes")
    assert found.totals["written"] == size
    assert found.totals["acknowledged"] == size + len(LINE % 1)


@pytest.fixture
def collector(world: World) -> Iterator[Collector]:
    found = Collector(world.settings, SystemClock())
    yield found
    found.end()


def test_the_page_is_told_of_each(world: World, collector: Collector) -> None:
    world.write("shop", 1)
    world.write("blog", 1, 2)
    here = collector.look()
    assert here.disk
    assert here.disk.new_lines == 3
    told: dict[str, Any] = state(world.settings, views(local=here, proof=world.audits.look()), RATES, NOW, "http://e")
    assert [(log["name"], log["lines"], log["audit"]["written"]) for log in told["logs"]] == [
        ("shop", 1, 1),
        ("blog", 2, 2),
    ]
    assert told["nodes"][1]["name"] == "shop, blog"
