"""Several logs in one producer: each in its own place, and none held up by another."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest

from common.settings import Settings
from common.status import ProducerStatus, RepairStatus, read_status
from journal.checkpoint import CheckpointFile
from producer.logs import Logs
from producer.repair import Repair
from producer.schedule import next_poll
from producer.source import Source
from producer.tick import Producer
from tests.fake_bucket import FakeBucket
from tests.fake_kinesis import FakeClock, FakeKinesis, error, sink_of
from tests.statuses import status_json

NAMES = ("shop", "blog", "wiki")


class Machine:
    def __init__(self, folder: Path, names: tuple[str, ...] = NAMES) -> None:
        self.folder = folder
        self.logs = {name: folder / name / "access.log" for name in NAMES}
        for log in self.logs.values():
            log.parent.mkdir()
        self.clock, self.stream = FakeClock(), FakeKinesis()
        self.sink = sink_of(self.stream, self.clock)
        self.start(",".join(f"{name}={self.logs[name]}" for name in names))

    def start(self, log_files: str, seed: int = 1) -> None:
        self.settings = Settings(data_dir=self.folder / "data", log_files=log_files)
        look = Logs(self.settings, self.clock, random.Random(seed)).look
        self.producer = Producer(self.settings, look, None, self.clock, next_poll(60))

    def write(self, name: str, text: str) -> None:
        with self.logs[name].open("a") as file:
            file.write(text)

    def tick(self) -> dict[str, Any]:
        self.producer.tick(self.sink, lambda: False)
        status = status_json(self.settings.status_dir, ProducerStatus)
        assert isinstance(status, dict)
        return status

    def sent(self) -> list[tuple[str, str]]:
        return sorted((stored.key.partition("/")[0], stored.data.decode()) for stored in self.stream.records)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_each_has_a_checkpoint_a_name_in_its_keys_and_a_status_of_its_own(machine: Machine) -> None:
    machine.write("shop", "a\nb\n")
    machine.write("blog", "a\nhalf")
    machine.logs["wiki"].touch()
    status = machine.tick()
    assert machine.sent() == [("blog", "a"), ("shop", "a"), ("shop", "b")]
    assert {name: (one["lines"], one["bytes"], one["lag_bytes"]) for name, one in status["logs"].items()} == {
        "blog": (1, 2, 4),
        "shop": (2, 4, 0),
        "wiki": (0, 0, 0),
    }
    assert (status["state"], status["error"], status["lag_bytes"]) == ("idle", None, 4)
    assert (status["counters"]["lines"], status["counters"]["bytes"]) == (3, 6)
    machine.write("blog", " done\n")
    status = machine.tick()
    assert machine.sent()[1:] == [("blog", "half done"), ("shop", "a"), ("shop", "b")]
    assert (status["counters"]["lines"], status["logs"]["blog"]["lines"], status["lag_since"]) == (4, 2, None)
    log = machine.folder / "data" / "log"
    assert sorted(path.relative_to(log).as_posix() for path in log.glob("**/checkpoint.json")) == [
        f"{name}/checkpoint.json" for name in sorted(NAMES)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_one_that_cannot_be_read_or_is_not_there_holds_up_no_other(
    machine: Machine, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    for name in NAMES:
        machine.write(name, f"{name}\n")
    machine.logs["wiki"].unlink()
    machine.tick()
    damaged = machine.folder / "data" / "log" / "shop" / "checkpoint.json"
    damaged.write_text("{")
    for name in ("shop", "blog"):
        machine.write(name, f"{name} {seed}\n")
    status = machine.tick()
    assert machine.sent() == [("blog", "blog"), ("blog", f"blog {seed}"), ("shop", "shop")]
    assert status["state"] == "failed"
    assert f"shop: the checkpoint {damaged} is damaged" in status["error"]
    assert f"wiki: the log {machine.logs['wiki']} is not there" in status["error"]
    assert "blog: " not in status["error"]
    machine.tick()
    assert caplog.text.count("is damaged") == caplog.text.count("is not there") == 1
    damaged.unlink()
    damaged.with_name("archived.json").unlink()
    machine.logs["wiki"].touch()
    assert machine.tick()["error"] is None


def test_what_the_stream_refuses_is_tried_once_a_tick_and_the_others_are_only_looked_at(machine: Machine) -> None:
    for name in NAMES:
        machine.write(name, f"{name}\n")
    machine.stream.script = [error("AccessDeniedException")]
    status = machine.tick()
    assert (machine.stream.calls, machine.sent()) == ([1], [])
    assert (status["state"], status["lag_bytes"]) == ("behind", 15)
    assert [one["lag_lines"] for one in status["logs"].values()] == [1, 1, 1]
    assert sum(f"{name}: " in status["error"] for name in NAMES) == 1
    assert machine.tick()["state"] == "idle"
    assert len(machine.sent()) == 3


def test_one_whose_lines_are_always_refused_lets_the_others_go_before_long(machine: Machine) -> None:
    for name in NAMES:
        machine.write(name, f"{name}\n")

    def never(stream: FakeKinesis, records: list[dict[str, Any]]) -> dict[str, Any]:
        if any(record["PartitionKey"].startswith("shop/") for record in records):
            return error("ValidationException")(stream, records)
        return stream.accept(records)

    machine.stream.script = [never] * 100
    for _ in range(30):
        machine.tick()
    assert [name for name, _ in machine.sent()] == ["blog", "wiki"]


def test_one_that_is_added_begins_at_its_beginning_and_one_that_is_taken_out_is_told_of(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    machine.start(f"shop={machine.logs['shop']}")
    machine.write("shop", "a\n")
    machine.write("blog", "a\n")
    machine.tick()
    machine.write("shop", "b\n")
    machine.stream.script = [error("AccessDeniedException")]
    machine.tick()
    machine.start(f"blog={machine.logs['blog']}")
    status = machine.tick()
    assert machine.sent() == [("blog", "a"), ("shop", "a")]
    assert "2 bytes of the log shop were not acknowledged" in status["error"]
    machine.tick()
    assert caplog.text.count("names it no more") == 1
    machine.start(f"blog={machine.logs['blog']},shop={machine.logs['shop']}")
    assert machine.tick()["error"] is None
    assert machine.sent() == [("blog", "a"), ("shop", "a"), ("shop", "b")]


def test_a_log_that_comes_into_a_folder_is_shipped_and_one_that_goes_is_read_to_its_end(machine: Machine) -> None:
    folder = machine.folder / "nginx"
    folder.mkdir()
    machine.start(str(folder))
    assert "holds no log" in str(machine.tick()["error"]), "as of a LOG_FILE that is not there"
    (folder / "shop.access.log").write_text("a\n")
    machine.tick()
    with (folder / "shop.access.log").open("a") as log:
        log.write("b\n")
    (folder / "blog.access.log").write_text("a\n")
    (folder / "shop.access.log").rename(folder / "shop.access.log.1")
    assert machine.tick()["error"] is None, "a rotation that has made no new one yet"
    assert machine.sent() == [("blog", "a"), ("shop", "a"), ("shop", "b")]


def test_a_log_of_a_folder_that_is_called_otherwise_and_keeps_its_name(machine: Machine) -> None:
    folder = machine.folder / "nginx"
    folder.mkdir()
    machine.start(str(folder))
    before, after = folder / "shop.access.log", folder / "shop-access.log"
    before.write_text("a\n")
    machine.tick()
    with before.open("a") as log:
        log.write("b\n")
    before.rename(after)
    machine.tick()
    after.rename(folder / "shop-access.log.1")
    after.write_text("c\n")
    assert machine.tick()["error"] is None
    assert machine.sent() == [("shop", "a"), ("shop", "b"), ("shop", "c")]


def test_a_line_that_fits_no_record_is_cut_the_same_way_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.reader.BLOCK_BYTES", 4096)
    monkeypatch.setattr("producer.reader.FRAGMENT_BYTES", 1000)
    monkeypatch.setattr("producer.record.FRAGMENT_BYTES", 1000)
    monkeypatch.setattr("producer.batch.MAX_BATCH_RECORDS", 3)
    machine.write("shop", f"{'x' * 9000}\n")
    machine.stream.script = [None, error("ResourceNotFoundException")]
    machine.tick()
    machine.tick()
    keys = [stored.key.split(":") for stored in machine.stream.records]
    assert [int(length) for _, _, length in keys] == [995] * 9 + [46]
    assert [int(offset) for _, offset, _ in keys] == [995 * number for number in range(10)]


def test_repair_compares_each_with_the_ledgers_below_its_name(machine: Machine) -> None:
    bucket = FakeBucket(bucket="my-bucket")
    machine.write("shop", "a\n")
    machine.write("blog", "a\n")
    machine.tick()
    machine.stream.records.clear()
    checkpoint = CheckpointFile(machine.folder / "data/log/shop/checkpoint.json").load()
    assert checkpoint
    bucket.now = machine.clock.now()
    bucket.file("2026/11/23/10", (checkpoint.generations[0].id, 0, 2), prefix="shop/")
    for name in ("shop", "blog"):
        one = machine.settings.of_log(name, machine.logs[name])
        repair = Repair(
            one,
            Source.of(one, machine.clock, random.Random(2)),
            machine.clock,
            connect=lambda: bucket.client,
            sink=lambda stop: sink_of(machine.stream, machine.clock, stop=stop),
            turn=machine.producer.turn,
        )
        one.repair_request.write_text(json.dumps({"id": name, "after": 0}))
        assert repair.look()
        status = read_status(machine.settings.status_dir / name, RepairStatus)
        assert status
        assert status.request == name
    assert machine.sent() == [("blog", "a")]


def test_of_one_log_the_status_says_nothing_by_name(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.checkpoint_file.parent.mkdir(parents=True)
    settings.log_file.write_text("a\n")
    clock, stream = FakeClock(), FakeKinesis()
    producer = Producer(settings, Logs(settings, clock, random.Random(1)).look, None, clock, next_poll(60))
    producer.tick(sink_of(stream, clock), lambda: False)
    status = read_status(settings.status_dir, ProducerStatus)
    assert status
    assert status.logs == {}
    assert "/" not in stream.records[0].key


def test_messages_say_which_log_they_are_of(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    machine.write("shop", "a\n")
    machine.tick()
    (shipped,) = (one for one in caplog.records if getattr(one, "event", "") == "shipped")
    assert shipped.getMessage().startswith("shop: shipped 1 lines")
    assert shipped.facts["log"] == "shop"  # type: ignore[attr-defined]


def test_names_that_were_mixed_up_are_put_right(machine: Machine) -> None:
    """Each log is known to the checkpoint of the other one, and lies beside it."""
    logs = {name: machine.folder / f"{name}.log" for name in "ab"}
    machine.start("shop={a},blog={b}".format(**logs))
    for number in range(4):
        for name, log in logs.items():
            with log.open("a") as file:
                file.write(f"{name}{number}\n")
        machine.tick()
        if number == 0:
            machine.start("shop={b},blog={a}".format(**logs), seed=2)
    right = [(name, f"{log}{number}") for name, log in (("shop", "b"), ("blog", "a")) for number in range(4)]
    assert machine.sent() == sorted([("shop", "a0"), ("blog", "b0"), *right])


def test_a_log_that_was_emptied_does_not_go_on_in_another_one_that_is_alike(machine: Machine) -> None:
    logs = {name: machine.folder / f"{name}.log" for name in "ab"}
    machine.start("shop={a},blog={b}".format(**logs))
    for log in logs.values():
        log.write_text("same\n" * 4)
    machine.tick()
    logs["a"].write_text("")
    with logs["b"].open("a") as file:
        file.write("b\n")
    machine.tick()
    assert [name for name, line in machine.sent() if line == "b"] == ["blog"]
