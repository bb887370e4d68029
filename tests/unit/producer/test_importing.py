"""Old logs: known by what they hold, each line claimed under one place, whatever the file is called."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from common.settings import Settings
from journal.checkpoint import CheckpointFile
from producer import importing
from producer.imported import MEMORY, ImportingError, load
from producer.importing import Imported, prepare, send
from producer.put import Sink
from producer.ship import ship_once
from producer.sink import KinesisSink
from producer.source import Source
from tests.fake_kinesis import FakeClock, FakeKinesis, delivered, refuse, refuse_all, sink_of, source_of


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = Settings(data_dir=directory / "data")
        self.settings.log_file.parent.mkdir(parents=True)
        self.stream = FakeKinesis()
        self.clock = FakeClock()

    def write(self, name: str, data: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(data)
        os.utime(path, (0, 0))
        return path

    def load(self, *paths: Path) -> Imported:
        result = prepare(self.settings, paths, lambda _: None)
        send(result, sink_of(self.stream, self.clock), KinesisSink.cut, self.clock, lambda _: None)
        return result

    def ship(self) -> None:
        assert not ship_once(*self.producer).error

    @property
    def producer(self) -> tuple[Source, CheckpointFile, Sink]:
        source, checkpoint = (
            source_of(
                self.settings.log_file,
                self.clock,
                seed=len(self.stream.calls),
                imported=partial(load, self.settings.checkpoint_file.with_name(MEMORY)),
            ),
            CheckpointFile(self.settings.checkpoint_file),
        )
        return source, checkpoint, sink_of(self.stream, self.clock)

    @property
    def lines(self) -> Counter[bytes]:
        """What an exactly-once reader has."""
        return Counter(delivered(self.stream.records).values())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def some(name: str, count: int = 40, begin: int = 0) -> list[bytes]:
    date = "18/Apr/2020:03:42:18 +0200"
    return [f'192.0.2.1 - - [{date}] "GET /{name}/{n} HTTP/1.1" 200 1 "-" "a"'.encode() for n in range(begin, count)]


def text(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def test_the_same_content_is_sent_under_the_same_places(world: World) -> None:
    data = text(some("a"))
    first = world.load(world.write("old.log", data))
    assert (first.lines, first.bytes, first.total) == (40, len(data), len(data))
    names = {each.key.split(":")[0] for each in world.stream.records}
    assert {int(name[:8], 16) for name in names} == {1587174138}, "of its first line"
    for name, packed in [("b.gz", gzip.compress(data)), ("c", bz2.compress(data)), ("d.xz", lzma.compress(data))]:
        world.load(world.write(name, packed))
        world.settings.checkpoint_file.with_name(MEMORY).unlink()  # no memory is needed
    assert world.lines == Counter(some("a"))


def test_copies_given_at_once_are_sent_once(world: World) -> None:
    data = text(some("a"))
    paths = [world.write("a", data), world.write("b.gz", gzip.compress(data)), world.write("c", text(some("c")))]
    result = world.load(*paths)
    assert len([old for old in result.files if "holds all of it" in old.skipped]) == 1
    assert result.lines == 80
    assert world.lines == Counter(some("a") + some("c"))


@pytest.mark.parametrize("ending", [b"\n", b""])
@pytest.mark.parametrize("before", [1, 3, 40])
def test_a_file_that_has_grown_is_gone_on_with(world: World, before: int, ending: bytes) -> None:
    first = text(some("a", before)).removesuffix(b"\n") + ending
    world.load(world.write("old.log", first))
    world.load(world.write("old.log", text(some("a", 60))))
    world.load(world.write("old.log.gz", gzip.compress(text(some("a", 99)))))
    world.load(world.write("old.log", first))
    assert world.lines == Counter(some("a", 99))


def test_grown_copies_given_at_once(world: World) -> None:
    world.load(*(world.write(str(count), text(some("a", count))) for count in (60, 5, 90)))
    assert world.lines == Counter(some("a", 90))


@pytest.mark.parametrize("lines", [some("a", 30), some("a") + some("other", 5)])
def test_what_only_begins_like_an_imported_one_is_refused(world: World, lines: list[bytes]) -> None:
    world.load(world.write("old.log", text(some("a", 40))))
    world.load(world.write("old.log", text(some("a", 50))))
    with pytest.raises(ImportingError, match=r"other.log: it begins like a file that was imported"):
        world.load(world.write("other.log", text(lines)))
    assert world.lines == Counter(some("a", 50))


@pytest.mark.parametrize("at_once", [False, True])
def test_what_is_put_together_of_imported_ones_is_refused(world: World, at_once: bool) -> None:
    """`cat jan feb >year` begins with one that was imported, and all of the other comes behind it."""
    months = [world.write(name, text(some(name))) for name in ("jan", "feb")]
    year = world.write("year.gz", b"".join(gzip.compress(path.read_bytes()) for path in months))
    world.load(*months)
    with pytest.raises(ImportingError, match=r"year\.gz: it is put together of files that were imported"):
        world.load(*months * at_once, year)
    assert world.lines == Counter([*some("jan"), *some("feb")])


@pytest.mark.parametrize("gone", [False, True])
def test_what_is_put_together_of_logs_that_the_producer_has_sent(world: World, gone: bool) -> None:
    log = world.settings.log_file
    for day in "ab":
        log.write_bytes(text(some(day)))
        world.ship()
        log.rename(log.with_name(f"access.log.{day}"))
    log.write_bytes(text(some("c")))
    world.ship()
    joined = text([*some("a"), *some("b")])
    if gone:
        log.with_name("access.log.a").unlink()
        log.with_name("access.log.b").unlink()
        world.ship()
    assert "or has sent it, as generation" in world.load(world.write("two", joined)).files[0].skipped
    assert world.load(world.write("three", joined + log.read_bytes())).files[0].skipped
    assert not world.load(world.write("four", joined + text(some("d")))).files[0].skipped
    assert world.lines == Counter([*some("a"), *some("b"), *some("c"), *some("d")])


def test_what_goes_on_further_than_a_log_that_the_producer_sends(world: World) -> None:
    log = world.settings.log_file
    log.write_bytes(text(some("a")))
    world.ship()
    log.rename(log.with_name("access.log.1"))
    log.write_bytes(text(some("b")))
    world.ship()
    size = len(text(some("a")))
    message = f"goes on further than access.log.1, which the producer sends: cut off its first {size} bytes"
    with pytest.raises(ImportingError, match=message):
        world.load(world.write("copy", text([*some("a"), *some("c")])))


def test_files_that_begin_with_a_hole(world: World) -> None:
    paths = [world.write(name, bytes(5_000_000) + text(some(name))) for name in "ab"]
    assert world.load(*paths).total == len(text([*some("a"), *some("b")]))
    world.load(world.write("c", paths[0].read_bytes() + text(some("c"))))
    assert world.lines == Counter([*some("a"), *some("b"), *some("c")])


def test_an_import_before_the_first_start_of_the_producer(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_bytes(text(some("a")))
    assert prepare(Settings(data_dir=tmp_path / "data"), [old], lambda _: None).total == old.stat().st_size


def test_an_interrupted_import_goes_on(world: World) -> None:
    path = world.write("old.log", text(some("a", 20_000)))
    world.stream.script = [refuse([1]), *[refuse_all] * 100]
    stopped = world.load(path)
    assert stopped.error
    assert 0 < stopped.bytes < stopped.total
    world.stream.script = []
    assert not world.load(path).error
    assert world.lines == Counter(some("a", 20_000))


def test_what_the_producer_sends_or_has_sent_is_not_doubled(world: World) -> None:
    log = world.settings.log_file
    log.write_bytes(text(some("a", 30)))
    world.ship()
    copy = world.write("copy", text(some("a", 30)))
    assert [old.skipped[:12] for old in world.load(log, copy).files] == ["the producer"] * 2
    log.rename(log.with_name("elsewhere"))
    log.with_name("elsewhere").unlink()
    log.write_bytes(text(some("new", 3)))
    world.ship()
    assert world.load(copy).files[0].skipped
    for _ in range(2):
        assert world.load(world.write("longer", text(some("a", 35)))).lines == 5
    assert world.lines == Counter(some("a", 35) + some("new", 3))


def test_a_backup_of_a_log_that_was_edited_is_not_imported(world: World) -> None:
    log = world.settings.log_file
    log.write_bytes(text(some("a", 60)))
    world.ship()
    log.write_bytes(text(some("a", 70)))
    backup = world.write("backup", text(some("a", 70)))
    log.write_bytes(text(some("a", 70, 5)))
    world.clock.advance(1)
    world.ship()
    assert world.load(backup).files[0].skipped
    assert world.lines == Counter(some("a", 70))


def test_what_the_producer_is_about_to_send_is_left_to_it(world: World) -> None:
    world.settings.log_file.write_bytes(text(some("a", 30)))
    world.stream.script = [refuse_all] * 100
    assert ship_once(*world.producer).error
    world.stream.script = []
    assert world.load(world.write("copy", text(some("a", 30)))).files[0].skipped
    world.ship()
    assert world.lines == Counter(some("a", 30))


def test_a_copy_of_all_that_was_sent_of_a_log_below_a_window(world: World) -> None:
    log = world.settings.log_file
    log.write_bytes(text(some("a", 1)))
    world.ship()
    copy = world.write("copy", text(some("a", 1)))
    log.write_bytes(text(some("a", 2)))
    world.stream.script = [refuse_all] * 100
    assert ship_once(*world.producer).error
    world.stream.script = []
    log.unlink()
    world.ship()
    assert world.load(copy).files[0].skipped


@pytest.mark.parametrize("way", [bytes, gzip.compress])
def test_what_the_producer_has_not_seen_yet_is_left_to_it(world: World, way: Callable[[bytes], bytes]) -> None:
    """As where old logs are imported before the producer is started."""
    log = world.settings.log_file
    log.with_name("access.log.1").write_bytes(way(text(some("a", 30))))
    log.with_name("access.log.2.gz").write_bytes(gzip.compress(text(some("b")))[:-9])
    log.write_bytes(text(some("c", 30)))
    copies = [world.write("copy.gz", gzip.compress(text(some("a", 30)))), world.write("shorter", text(some("c", 20)))]
    assert [old.skipped[:25] for old in world.load(*copies, *copies).files] == ["the producer sends it from"[:25]] * 4
    world.ship()
    assert world.lines == Counter(some("a", 30) + some("c", 30))


def test_what_cannot_be_compared_with_a_log_is_not_imported(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    log = world.settings.log_file
    log.write_bytes(text(some("a")))

    def fails(*_: object) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(importing, "copied", fails)
    with pytest.raises(ImportingError, match=r"access.log, which may hold the same, cannot be read \(Input/output"):
        world.load(world.write("copy", text(some("a"))))


def test_all_that_is_wrong_is_said_before_anything_is_sent(world: World) -> None:
    packed = gzip.compress(text(some("b")))
    paths = [
        world.write("a", text(some("a"))),
        world.write("cut.gz", packed[:-9]),
        world.write("noise", bytes(range(256))),
    ]
    with pytest.raises(ImportingError) as caught:
        world.load(*paths, world.directory / "none", world.directory)
    for said in ("cut.gz: ", "noise: it is no text", "none: No such file", f"{world.directory}: it is no file"):
        assert said in str(caught.value)
    assert not world.stream.records
    assert not world.settings.checkpoint_file.with_name(MEMORY).exists()


def test_a_last_line_that_may_still_be_written_is_left(world: World) -> None:
    path = world.write("old.log", text(some("a", 3)) + b"half")
    moment = world.clock.now().timestamp()
    os.utime(path, (moment, moment))
    result = world.load(path, world.write("empty", b""))
    assert [old.left for old in result.files] == [0, 4]
    assert world.lines == Counter(some("a", 3))


@pytest.mark.parametrize("memory", ["", "[]", "{", '{"a": {}}', '{"a": 1}'])
def test_a_damaged_memory_is_an_error(world: World, memory: str) -> None:
    world.settings.checkpoint_file.with_name(MEMORY).write_text(memory)
    with pytest.raises(ImportingError, match=r"imported.json is damaged"):
        world.load(world.write("a", text(some("a"))))


def test_a_file_that_has_the_inode_of_a_log_and_none_of_its_names_is_imported(world: World) -> None:
    log = world.settings.log_file
    log.write_bytes(text(some("a")))
    world.ship()
    log.rename(log.with_name("old")).write_bytes(text(some("b")))
    assert world.load(log.with_name("old")).lines == 40
    world.ship()
    assert world.lines == Counter(some("a") + some("b"))


@pytest.mark.parametrize("way", [bytes, gzip.compress])
@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("more", [0, 1, 30])
def test_what_comes_to_lie_beside_the_log_after_it_was_imported(
    world: World, way: Callable[[bytes], bytes], interrupted: bool, more: int
) -> None:
    """An old log that is put back, or one that another machine's producer goes on with."""
    log = world.settings.log_file
    log.write_bytes(text(some("b", 3)))
    world.ship()
    if interrupted:
        world.stream.script = [refuse([1, 3]), *[refuse_all] * 100]
    assert bool(world.load(world.write("old", text(some("a")))).error) == interrupted
    world.stream.script = []
    for name, lines in [("access.log-20200419", some("a")), ("access.log.2", some("a", 40 + more))]:
        log.with_name(name).write_bytes(way(text(lines)))
        os.utime(log.with_name(name), (0, 0))
    for _ in range(2):
        world.ship()
        world.load(world.write("again", text(some("a", 40 + more))))
    assert world.lines == Counter(some("a", 40 + more) + some("b", 3))


@pytest.mark.parametrize("ending", [b"\n", b""])
def test_a_log_that_goes_on_with_what_was_imported(world: World, ending: bytes) -> None:
    """The log of a machine that was set up anew."""
    log = world.settings.log_file
    imported = bytes(2000) + text(some("a")).removesuffix(b"\n")
    world.load(world.write("old", imported + ending))
    for data in (imported + ending, imported + b"\n", bytes(2000) + text(some("a", 60))):
        log.write_bytes(data)
        world.ship()
    log.rename(log.with_name("access.log.1"))
    log.write_bytes(text(some("b")))
    world.ship()
    assert world.lines == Counter(some("a", 60) + some("b"))


def test_what_cannot_be_compared_with_what_was_imported_waits(world: World) -> None:
    log, memory = world.settings.log_file, world.settings.checkpoint_file.with_name(MEMORY)
    memory.write_text("{")
    log.write_bytes(text(some("a")))
    report = ship_once(*world.producer)
    assert "access.log is not sent yet" in report.problems[0]
    assert "imported.json is damaged" in report.problems[0]
    memory.unlink()
    world.ship()
    assert world.lines == Counter(some("a"))


def test_two_imports_at_once_know_of_each_other(world: World) -> None:
    both = [world.write("a", text(some("a"))), world.write("b", text(some("a", 60)))]
    reading, gone_on = threading.Event(), threading.Event()

    def progress(_: Path) -> None:
        reading.set()
        assert gone_on.wait(60), "the other one waits, and says so"

    first = threading.Thread(target=lambda: prepare(world.settings, both[:1], progress))
    first.start()
    reading.wait()
    second = prepare(world.settings, both[1:], lambda _: None, gone_on.set)
    assert gone_on.is_set()
    first.join()
    known = load(world.settings.checkpoint_file.with_name(MEMORY))
    assert len(known) == 2
    assert {each.generation for each in known.values()} == set(second.by_id)
