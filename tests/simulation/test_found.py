"""What the simulation has found, each as small as it can be."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from common import atomic
from journal import files
from journal.checkpoint import CheckpointFile
from producer import reader as reading
from producer.setback import look_back
from producer.ship import Shipped, ship_once
from producer.source import Source
from tests.fake_kinesis import FakeClock, FakeKinesis, delivered, refuse_all, sink_of, source_of
from tests.repair_setup import World
from tests.simulation.disk import Disk, SimOs, SimPath, broken


class Bench:
    """A log and its producer. `at` says what happens before which of the operations of the next tick."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "access.log"
        self.copy = folder / "access.log.1"
        self.clock = FakeClock()
        self.stream = FakeKinesis()
        self.saved = folder / "checkpoint.json"
        self.disk = Disk(self._step, lambda _: None)
        self._at: tuple[str, int] = ("", 0)
        self._act: Callable[[], object] = lambda: None
        self._starts = 0
        self.unreadable = ""

    def at(self, operation: str, number: int, act: Callable[[], object]) -> None:
        self._at, self._act = (operation, number), act

    def _step(self, kind: str, name: str) -> None:
        operation, number = self._at
        if kind != "after" and name == operation:
            self._at = (operation, number - 1)
            if number == 1:
                with self.disk.aside():
                    self._act()

    def write(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)

    def copytruncate(self) -> None:
        shutil.copyfile(self.log, self.copy)
        os.truncate(self.log, 0)

    def source(self) -> Source:
        self._starts += 1
        return source_of(SimPath(self.log), self.clock, seed=self._starts)

    def ship(self, source: Source | None = None) -> Shipped:
        """A producer that has just been started ships once, or the one that has this source."""
        source = source or self.source()
        file = CheckpointFile(SimPath(self.saved))
        with self.disk.running():
            return ship_once(source, file, sink_of(self.stream, self.clock))

    def arrived(self) -> list[bytes]:
        """What an exactly-once reader of the stream has."""
        return sorted(delivered(self.stream.records).values())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path)

    class Refusing(SimOs):
        def open(self, path: Path, flags: int) -> int:
            if path.name == bench.unreadable:
                raise PermissionError(13, "Permission denied")
            return super().open(path, flags)

    monkeypatch.setattr(files, "os", Refusing())
    monkeypatch.setattr(reading, "os", SimOs())
    monkeypatch.setattr(atomic, "os", SimOs())
    return bench


def shipped(bench: Bench) -> list[bytes]:
    """A log of more than a KiB, all of it sent; its lines."""
    lines = [b"line %d of many" % number for number in range(100)]
    bench.write(b"".join(line + b"\n" for line in lines))
    bench.ship()
    return lines


def put_back(bench: Bench) -> None:
    """In another file, while the first one is still there."""
    restored = bench.log.with_name("restored")
    shutil.copyfile(bench.log, restored)
    bench.log.rename(bench.copy)
    restored.rename(bench.log)


def test_copytruncate_between_the_listing_and_the_look_at_the_log(bench: Bench) -> None:
    # before: the copy is in no listing, the log no longer matches: the generation is forgotten, the copy new
    bench.write(b"a\nb\n")
    bench.ship()
    bench.write(b"c\n")
    bench.at("open", 1, bench.copytruncate)
    bench.ship()
    bench.ship()
    assert bench.arrived() == [b"a", b"b", b"c"]


def test_a_copy_that_cannot_be_read_at_first(bench: Bench) -> None:
    # before: the copy cannot be claimed while it cannot be read, and its generation is forgotten meanwhile
    bench.write(b"a\nb\n")
    bench.ship()
    bench.write(b"c\n")
    bench.copytruncate()
    bench.unreadable = bench.copy.name
    assert "access.log.1 cannot be read" in bench.ship().problems[0]
    bench.unreadable = ""
    bench.ship()
    assert bench.arrived() == [b"a", b"b", b"c"]


def test_a_copy_that_is_never_seen_with_its_log(bench: Bench) -> None:
    # before: the one look at the copy while the log still holds the same lines fails; afterwards it is shorter than
    # what was read of the log, which is empty: nothing but its first lines tells whose copy it is
    bench.write(b"a\nb\n")
    bench.ship()
    shutil.copyfile(bench.log, bench.copy)
    bench.write(b"c\n")
    bench.unreadable = bench.copy.name
    bench.ship()
    os.truncate(bench.log, 0)
    bench.unreadable = ""
    bench.ship()
    assert bench.arrived() == [b"a", b"b", b"c"]


def test_a_log_that_cannot_be_read_while_it_is_copied(bench: Bench) -> None:
    # before: with what is not readable nothing can be compared, so the copy beside it is taken for something new
    bench.write(b"a\nb\n")
    bench.ship()
    shutil.copyfile(bench.log, bench.copy)
    bench.unreadable = bench.log.name
    assert "access.log cannot be read" in bench.ship().problems[0]
    bench.unreadable = ""
    bench.ship()
    assert bench.arrived() == [b"a", b"b"]


def test_emptied_between_the_look_at_the_log_and_the_look_at_its_copy(bench: Bench) -> None:
    # before: compared with a log that has just been emptied, its copy is no copy, and so something new
    bench.write(b"a\nb\n")
    bench.ship()
    bench.write(b"c\n")
    shutil.copyfile(bench.log, bench.copy)
    bench.at("open", 3, lambda: os.truncate(bench.log, 0))  # the log, the copy, the log to compare
    bench.ship()
    bench.ship()
    assert bench.arrived() == [b"a", b"b", b"c"]


def test_a_last_line_that_is_finished_between_the_listing_and_the_reading(bench: Bench) -> None:
    # before: whether anybody holds the file is asked after its size was taken: the line is sent without its end
    bench.log.touch()
    bench.copy.write_bytes(b"a\nb")

    def finish() -> None:
        with bench.copy.open("ab") as file:
            file.write(b"c\n")

    bench.at("fdatasync", 1, finish)
    bench.ship()
    bench.ship()
    assert bench.arrived() == [b"a", b"bc"]


def test_emptied_and_refilled_before_the_first_byte_is_read(bench: Bench) -> None:
    # before: nothing stands before offset 0 that could be compared: the new content is sent under the old name
    """Here `b` arrives under two names. Where the tick ends before its checkpoint is saved, the copy goes on under the
    old name: then two lines have one, and the ledger takes the second of an hour for the first, which loses it.
    """
    bench.write(b"a\n")

    def refill() -> None:
        bench.copytruncate()
        bench.write(b"b\n")

    bench.at("fdatasync", 1, refill)
    for _ in range(3):
        bench.ship()
    assert bench.arrived() == [b"a", b"b"]


def test_a_checkpoint_whose_folder_could_not_be_made_durable(bench: Bench) -> None:
    # before: what a load finds counts as durable: a generation is sent whose name a power cut takes back
    def fail() -> None:
        raise broken()

    bench.write(b"a\n")
    bench.at("fsync", 2, fail)  # the file, the folder
    with pytest.raises(OSError, match="Input/output"):
        bench.ship()
    bench.stream.script = [_power_cut]
    with pytest.raises(PowerCut):
        bench.ship()
    if bench.disk.unsettled:
        bench.saved.unlink()
    bench.disk.unsettled.clear()
    bench.ship()
    assert bench.arrived() == [b"a"]


def test_a_copy_that_has_the_inode_of_the_log_which_was_put_back(bench: Bench) -> None:
    # before: the generation stayed in the copy, and the log was a new one: all of it was sent again
    lines = shipped(bench)
    restored = bench.log.with_name("restored")
    shutil.copyfile(bench.log, restored)
    bench.log.rename(bench.copy)
    restored.rename(bench.log)
    bench.write(b"next\n")
    for _ in range(2):
        bench.ship()
    assert bench.arrived() == sorted([*lines, b"next"])


def test_a_copy_that_has_the_inode_of_a_log_which_goes_on_as_a_new_generation(bench: Bench) -> None:
    # before: the new one, found again in the log within the same look, had nothing sent: all was sent again
    lines = shipped(bench)
    file = CheckpointFile(bench.saved)
    checkpoint = file.load()
    assert checkpoint
    checkpoint.generations[0].limit = checkpoint.generations[0].sent  # as with each start
    file.save(checkpoint)
    bench.log.rename(bench.copy)
    shutil.copyfile(bench.copy, bench.log)
    for path in (bench.log, bench.copy):
        with path.open("ab") as grown:
            grown.write(b"next\n")
    for _ in range(2):
        bench.ship()
    assert bench.arrived() == sorted([*lines, b"next"])


@pytest.mark.parametrize("number", range(1, 6))
def test_a_log_that_is_put_back_between_two_listings_before_anything_was_sent(bench: Bench, number: int) -> None:
    # before: its old file still counted, so the one put back was a new log, and all of it was sent twice
    bench.write(b"a\nb\n")
    shutil.copyfile(bench.log, bench.copy)
    bench.stream.script = [refuse_all] * 100
    source = bench.source()
    bench.ship(source)
    bench.stream.script = []
    held = bench.copy.open("rb")  # its inode is not another file's
    bench.copy.unlink()  # so the folder is listed a second time

    def put_back() -> None:
        restored = bench.log.with_name("restored")
        shutil.copyfile(bench.log, restored)
        restored.replace(bench.log)

    bench.at("stat", number, put_back)
    with held:
        assert [bench.ship(source).problems for _ in range(3)] == [[]] * 3
    assert bench.arrived() == [b"a", b"b"]


def test_a_snapshot_of_a_log_of_which_a_power_cut_took_what_was_not_sent(tmp_path: Path) -> None:
    # before: what was seen once counted as sent, so another log's lines could have the place of what came there
    world = World(tmp_path)
    world.write(b"a\nb\n")
    world.stream.script = [refuse_all] * 100
    world.ship()
    os.truncate(world.log, 2)
    world.stream.script = []
    world.ship()
    saved = {path: path.read_bytes() for path in world.log.parent.iterdir()}
    world.write(b"c\n")
    world.ship()
    for path, content in saved.items():
        path.write_bytes(content)
    world.start()
    world.write(b"d\n")
    world.ship()
    assert sorted(world.sent()) == [b"a", b"c", b"d"]


@pytest.mark.parametrize("number", range(1, 9))
def test_emptied_while_it_is_looked_for_where_another_generation_goes_on(bench: Bench, number: int) -> None:
    # before: that was at the beginning of a log that was just emptied, and all of its copy was sent again
    bench.write(b"a\nb\n")
    bench.ship()
    shutil.copyfile(bench.log, bench.copy)
    bench.ship()
    file = CheckpointFile(bench.saved)
    checkpoint = file.load()
    assert checkpoint
    checkpoint.generations[0].limit = 4
    file.save(checkpoint)
    bench.write(b"c\n")
    shutil.copyfile(bench.log, bench.copy)
    bench.at("pread", number, lambda: os.truncate(bench.log, 0))
    for _ in range(3):
        bench.ship()
    assert bench.arrived() == [b"a", b"b", b"c"]


def test_what_the_stream_lost_of_a_log_that_copytruncate_left_less_of(tmp_path: Path) -> None:
    # before: the copy is shorter than what was read of the log: none of its lines was sent again
    world = World(tmp_path)
    copy = world.log.with_name("access.log.1")
    first = b"a" * 2000
    world.write(first + b"\nb\n")
    world.ship()
    shutil.copyfile(world.log, copy)
    world.ship()
    world.write(b"cut in the copy\n")
    with copy.open("ab") as file:
        file.write(b"cut")
    world.ship()
    world.deliver(lose=True)
    os.truncate(world.log, 0)
    world.write(b"another\n")
    world.ship()
    assert world.sent() == [b"another"]
    world.run()
    world.wait()
    world.run()
    assert [line for line in world.sent() if line != b"another"] == [first, b"b"]


def test_an_edited_log_that_cannot_be_read_at_first_beside_a_copy(bench: Bench) -> None:
    # before: its generation had the copy's name by the next look, so all of the edited log was sent again
    lines = shipped(bench)
    bench.log.rename(bench.copy)
    shutil.copyfile(bench.copy, bench.log.with_name("access.log.2"))
    bench.ship()
    bench.copy.write_bytes(b"".join(line + b"\n" for line in [*lines[10:], b"next"]))

    def fail() -> None:
        bench.unreadable = bench.copy.name

    bench.at("pread", 1, fail)
    assert "access.log.1 cannot be read" in bench.ship().problems[0]
    bench.unreadable = ""
    for _ in range(2):
        bench.ship()
    assert bench.arrived() == sorted([*lines, b"next"])


def test_a_log_that_is_found_and_cannot_be_read_on_beside_a_copy(bench: Bench) -> None:
    # before: by then it counted as found, so that the copy was compared with nothing and was a new log
    lines = shipped(bench)
    look_back(CheckpointFile(bench.saved))
    shutil.copyfile(bench.log, bench.copy)
    bench.write(b"next\n")
    shutil.copyfile(bench.log, bench.log.with_name("access.log.2"))
    with bench.log.open("rb"):  # its inode is not another file's
        bench.log.unlink()
        bench.unreadable = EverySecondTime("access.log.2")
        assert "access.log.2 cannot be read" in bench.ship().problems[0]
        bench.unreadable = ""
        for _ in range(2):
            bench.ship()
    assert bench.arrived() == sorted([*lines, b"next"])


def test_a_log_that_is_put_back_and_cannot_be_read_on(bench: Bench) -> None:
    # before: where it goes on was noted, and what was then read of its old file stands behind that
    lines = shipped(bench)
    bench.write(b"next\n")
    put_back(bench)
    bench.unreadable = EverySecondTime("access.log")
    assert "access.log cannot be read" in bench.ship().problems[0]
    bench.unreadable = ""
    for _ in range(2):
        bench.ship()
    assert bench.arrived() == sorted([*lines, b"next"])


@pytest.mark.parametrize("number", range(1, 12))
def test_a_log_that_is_put_back_and_emptied_while_it_is_looked_at(bench: Bench, number: int) -> None:
    # before: as above
    lines = shipped(bench)
    bench.write(b"next\n")
    put_back(bench)
    bench.at("pread", number, lambda: bench.log.write_bytes(b"another log\n"))
    for _ in range(3):
        bench.ship()
    assert bench.arrived() == sorted([*lines, b"next", b"another log"])


@pytest.mark.parametrize("number", range(1, 12))
def test_logs_that_were_joined_in_one_of_them_which_cannot_be_read_to_its_end(bench: Bench, number: int) -> None:
    # before: that it begins like the one was enough, and all of the other one was sent again
    first, second = (b"".join(b"%d of %s\n" % (each, name) for each in range(300)) for name in (b"one", b"two"))
    older = bench.log.with_name("access.log.2")
    for path, lines in ((older, first), (bench.copy, second)):
        path.write_bytes(lines)
    bench.log.touch()
    bench.ship()
    older.write_bytes(first + second)

    def fail() -> None:
        raise broken()

    bench.at("pread", number, fail)
    for _ in range(2):
        bench.ship()
    assert bench.arrived() == sorted((first + second).splitlines())


@pytest.mark.parametrize("number", range(1, 30))
def test_a_log_that_is_shredded_while_it_is_looked_at(bench: Bench, number: int) -> None:
    # before: what was random by then was what it was known by, and all of it was sent
    lines = b"".join(b"line %d of many\n" % each for each in range(100))
    bench.log.touch()
    bench.copy.write_bytes(lines)
    bench.at("pread", number, lambda: bench.copy.write_bytes(random.Random(number).randbytes(4096)))
    for _ in range(3):
        bench.ship()
    assert {*bench.arrived()} <= {*lines.splitlines()}


class EverySecondTime(str):
    """A text that equals itself each second time that it is asked."""

    asked = 0

    def __eq__(self, other: object) -> bool:
        self.asked += str.__eq__(self, str(other))
        return str.__eq__(self, str(other)) and self.asked % 2 == 0

    __hash__ = str.__hash__


class PowerCut(BaseException):
    pass


def _power_cut(stream: FakeKinesis, records: list[dict[str, object]]) -> dict[str, object]:
    stream.accept(records)
    raise PowerCut
