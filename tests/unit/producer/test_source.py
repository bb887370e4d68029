"""The log's life on a disk, one story a test. What is sent is what an exactly-once reader gets."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from common.settings import Settings
from journal import packed
from journal.checkpoint import REMEMBERED, Checkpoint, CheckpointError
from producer import reader as reading
from producer import source as source_module
from producer.processes import UNSEEN_AFTER
from producer.reader import Reader
from producer.setback import look_back
from producer.ship import Shipped, ship_once
from producer.source import Source
from producer.whereabouts import SourceError
from tests.fake_kinesis import (
    FakeClock,
    FakeKinesis,
    checkpoint_of,
    delivered,
    error,
    lose_answer,
    refuse_all,
    sink_of,
    source_of,
    unreachable,
)


class Machine:
    """A log, and a producer that is restarted before each poll."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "access.log"
        self.clock = FakeClock()
        self.stream = FakeKinesis()
        self.held: bool | None = False
        self.starts = 0
        self.folders: list[Path] = []

    def write(self, data: bytes, name: str = "access.log") -> Path:
        path = self.log.parent / name
        with path.open("ab") as file:
            file.write(data)
        return path

    def rotate(self, name: str) -> Path:
        return self.log.rename(self.log.parent / name)

    def poll(self) -> Shipped:
        self.starts += 1
        source = source_of(self.log, self.clock, held=self.held, seed=self.starts, folders=self.folders)
        return ship_once(source, checkpoint_of(self.log), sink_of(self.stream, self.clock))

    def age(self, seconds: float) -> None:
        for path in self.log.parent.glob("access.log*"):
            modified = path.stat().st_mtime - seconds
            os.utime(path, (modified, modified))

    @property
    def arrived(self) -> list[bytes]:
        """In the order of arrival, each line once."""
        return list(delivered(self.stream.records).values())

    @property
    def generations(self) -> set[str]:
        return {generation for generation, _ in delivered(self.stream.records)}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_log_that_is_not_there_yet(machine: Machine) -> None:
    machine.write(b"a\n", "access-log")
    report = machine.poll()
    assert report == Shipped(absent=report.absent)
    assert report.absent
    assert report.absent.startswith(f"the log {machine.log} is not there; its folder holds access-log")
    machine.write(b"a\n")
    assert machine.poll().absent is None
    assert machine.arrived == [b"a"]


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    source = source_of(tmp_path / "nowhere" / "access.log", FakeClock())
    report = ship_once(source, checkpoint_of(tmp_path / "log" / "x"), sink_of(FakeKinesis(), FakeClock()))
    assert report.absent
    assert "nor can its folder be read (No such file or directory)" in report.absent


def test_a_pattern_is_no_log(machine: Machine) -> None:
    machine.write(b"a\n")
    machine.log = machine.log.with_name("*.log")
    assert "LOG_FILE names one file; it is no pattern" in (machine.poll().absent or "")


def test_a_log_that_a_rotation_has_just_taken_away_is_not_missed_at_once(machine: Machine) -> None:
    machine.write(b"a\n")
    machine.rotate("access.log.1")
    assert machine.poll().absent is None
    machine.age(source_module.ABSENT_AFTER + 1)
    assert machine.poll().absent


def test_a_partial_line_waits_for_its_newline(machine: Machine) -> None:
    machine.write(b"a\nb")
    assert machine.poll().lag == 1
    assert machine.arrived == [b"a"]
    machine.write(b"bb\n")
    machine.age(3600)
    assert machine.poll().lines == 1
    assert machine.arrived == [b"a", b"bbb"]


def test_the_live_logs_last_line_is_never_final(machine: Machine) -> None:
    machine.write(b"a\nb")
    machine.age(1_000_000)
    machine.poll()
    assert machine.arrived == [b"a"]


def test_bytes_that_are_no_text(machine: Machine) -> None:
    line = bytes(range(256)).replace(b"\n", b"")
    machine.write(line + b"\n\n\x1f\x8b\x00\n")
    machine.poll()
    assert machine.arrived == [line, b"", b"\x1f\x8b\x00"]


def test_several_rotations_while_the_producer_was_down(machine: Machine) -> None:
    machine.write(b"a\n")
    machine.poll()
    machine.write(b"b\n")
    for number, text in enumerate((b"c\n", b"d\n", b"e\n"), 1):
        machine.rotate(f"access.log.{number}")
        machine.age(10)
        machine.write(text)
    report = machine.poll()
    assert machine.arrived == [b"a", b"b", b"c", b"d", b"e"]
    assert len(machine.generations) == 4
    assert not report.problems


def test_the_unread_tail_is_taken_from_the_copy(machine: Machine) -> None:
    """copytruncate: what was not read yet stands in the copy, at the same place."""
    machine.write(b"a\n")
    machine.poll()
    machine.write(b"b\n")
    machine.write(machine.log.read_bytes(), "access.log.1")
    os.truncate(machine.log, 0)
    machine.write(b"c\n")
    report = machine.poll()
    assert machine.arrived == [b"a", b"b", b"c"]
    assert not report.problems


@pytest.mark.parametrize("polled_before", [False, True])
def test_a_poll_between_copy_and_truncate(machine: Machine, polled_before: bool) -> None:
    machine.write(b"a\nb\n")
    if polled_before:
        machine.poll()
    copy = machine.write(b"a\n", "access.log.1")
    machine.poll()
    machine.write(b"c\n")
    copy.write_bytes(b"a\nb\nc\n")
    os.truncate(machine.log, 0)
    machine.write(b"d\n")
    machine.poll()
    assert machine.arrived == [b"a", b"b", b"c", b"d"]


def test_a_copy_is_not_sent_even_when_its_original_is_gone(machine: Machine) -> None:
    machine.write(b"a\n")
    machine.poll()
    machine.write(b"a\n", "access.log.bak")
    machine.write(b"b\n")
    machine.poll()
    machine.rotate("access.log.1").unlink()
    machine.poll()
    machine.write(b"c\n")
    machine.poll()
    assert machine.arrived == [b"a", b"b", b"c"]


def test_a_restored_volume_has_other_inodes_and_goes_on(machine: Machine) -> None:
    machine.write(b"a\nb\n")
    machine.poll()
    data = machine.log.read_bytes()
    keep = machine.rotate("elsewhere")
    machine.write(data + b"c\n")
    assert machine.log.stat().st_ino != keep.stat().st_ino
    keep.unlink()
    machine.write(b"d\n")
    machine.poll()
    assert machine.arrived == [b"a", b"b", b"c", b"d"]
    # what the log had when it was last seen is known; what came since may be other bytes where the log was before
    names = [generation for generation, _ in delivered(machine.stream.records)]
    assert (len(set(names)), len(set(names[:2])), len(set(names[2:]))) == (2, 1, 1)


def test_a_log_that_is_put_back_beside_a_copy_before_anything_was_acknowledged(machine: Machine) -> None:
    """As an editor does it that keeps a backup; what was sent may have arrived."""
    machine.write(TEXT)
    machine.write(TEXT[:1800], "access.log.bak")
    machine.stream.script = [lose_answer] * 1000
    assert machine.poll().error
    machine.stream.script = []
    machine.write(TEXT, "new").replace(machine.log)
    machine.write(b"next\n")
    assert machine.poll().problems == []
    assert machine.arrived == [*LINES, b"next"]


def test_a_copy_of_the_whole_folder_goes_on_beside_the_original(machine: Machine, tmp_path: Path) -> None:
    """No offset gets two lines, also where nobody can read the bucket."""
    machine.log.parent.joinpath("one").mkdir()
    machine.log = machine.log.parent / "one" / "access.log"
    machine.write(b"a\nb\nhal")
    machine.poll()
    other = Machine(tmp_path / "two")
    shutil.copytree(machine.log.parent, other.log.parent)
    other.stream, other.starts = machine.stream, 100
    machine.write(b"f\nc\n")
    other.write(b"F\nx\n")
    for each in (machine, other, machine, other):
        each.poll()
    assert sorted(machine.arrived) == [b"a", b"b", b"c", b"halF", b"half", b"x"]


def test_emptied_and_refilled_under_the_same_inode(machine: Machine) -> None:
    machine.write(b"first\nsecond\n")
    machine.poll()
    inode = machine.log.stat().st_ino
    os.truncate(machine.log, 0)
    machine.write(b"third\nfourth\nfifth\n")
    assert machine.log.stat().st_ino == inode
    report = machine.poll()
    assert machine.arrived == [b"first", b"second", b"third", b"fourth", b"fifth"]
    assert len(machine.generations) == 2
    assert "if anything was" in report.problems[0]
    assert machine.poll().problems == []


def test_refilled_with_the_same_first_line(machine: Machine) -> None:
    """Only the bytes just before the offset tell the two apart."""
    machine.write(b"# the same first line\n")
    machine.poll()
    machine.write(b"first\n")
    machine.poll()
    os.truncate(machine.log, 0)
    machine.write(b"# the same first line\nother\nthird\n")
    machine.poll()
    assert machine.arrived == [b"# the same first line", b"first", b"# the same first line", b"other", b"third"]
    assert len(machine.generations) == 2


def test_refilled_before_anything_was_acknowledged(machine: Machine) -> None:
    """The same offsets name other bytes now: under the same generation, the ledger would drop them."""
    machine.write(b"first\n")
    machine.stream.script = [lose_answer] * 1000
    assert machine.poll().error
    machine.stream.script = []
    os.truncate(machine.log, 0)
    machine.write(b"other\n")
    report = machine.poll()
    assert machine.arrived == [b"first", b"other"]
    assert len(machine.generations) == 2
    assert "6 bytes are lost" in report.problems[0]


def test_refilled_while_it_is_read(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two blocks the log becomes another one; none of that is read under the old name."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", 16)
    machine.write(b"".join(b"old line %d\n" % number for number in range(9)))
    source, checkpoint = source_of(machine.log, machine.clock), Checkpoint()
    pieces = source.pieces(source.poll(checkpoint))
    assert next(pieces).data == b"old line 0\n"
    os.truncate(machine.log, 0)
    machine.write(b"".join(b"new line %d\n" % number for number in range(20)))
    assert list(pieces) == []


def test_refilled_between_the_poll_and_the_reading(machine: Machine) -> None:
    """Only the bytes before the offset tell, and they are compared again when the file is read."""
    machine.write(b"same\na\n")
    machine.poll()
    machine.write(b"b\n")
    source, checkpoint = source_of(machine.log, machine.clock), checkpoint_of(machine.log).load()
    assert checkpoint
    poll = source.poll(checkpoint)
    assert poll.unread
    os.truncate(machine.log, 0)
    machine.write(b"same\nx\ny\n")
    assert list(source.pieces(poll)) == []


@pytest.mark.parametrize("hole", [0, 8192])
def test_refilled_after_the_poll_where_little_was_sent(machine: Machine, hole: int) -> None:
    """A byte before the offset, or what only a hole has, may be the same: the first bytes tell."""
    machine.write(bytes(hole) + b"\n" * (not hole))
    machine.poll()
    machine.write(b"a\nb\n")
    source, checkpoint = source_of(machine.log, machine.clock), checkpoint_of(machine.log).load() or Checkpoint()
    poll = source.poll(checkpoint)
    assert poll.unread
    os.truncate(machine.log, 0)
    machine.write(bytes(hole) + b"\n" * (not hole) + b"x\ny\nz\n")
    assert list(source.pieces(poll)) == []


def test_emptied_before_the_reading_and_refilled_within_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing stands before the offset for a moment, and other lines behind it."""
    machine.write(b"same\na\n")
    machine.poll()
    machine.write(b"b\n")
    source, checkpoint = source_of(machine.log, machine.clock), checkpoint_of(machine.log).load()
    assert checkpoint
    poll = source.poll(checkpoint)
    os.truncate(machine.log, 0)
    monkeypatch.setattr(reading, "_make_durable", lambda _: machine.write(b"12345678\n"))
    assert list(source.pieces(poll)) == []


def test_an_unterminated_last_line_of_a_rotated_log(machine: Machine) -> None:
    machine.write(b"a\nhalf")
    machine.rotate("access.log.1")
    machine.write(b"b\n")
    machine.poll()
    assert machine.arrived == [b"a", b"b"]
    machine.age(reading.FINAL_AFTER + 1)
    machine.held = True
    machine.poll()
    assert machine.arrived == [b"a", b"b"], "a process may still write to it"
    machine.held = None
    machine.poll()
    assert machine.arrived == [b"a", b"b"], "a process that cannot be seen may still write to it"
    machine.held = False
    report = machine.poll()
    assert machine.arrived == [b"a", b"b", b"half"]
    assert [(start, end) for _, start, end in report.ranges] == [(2, 7)]
    assert machine.poll().records == 0


def test_an_unterminated_last_line_when_processes_cannot_be_seen(machine: Machine) -> None:
    machine.write(b"half", "access.log-20200418")
    machine.age(UNSEEN_AFTER + 1)
    machine.held = None
    machine.poll()
    assert machine.arrived == [b"half"]


def test_a_closed_log_that_grows_after_all(machine: Machine) -> None:
    rotated = machine.write(b"a\nhalf", "access.log.1")
    machine.age(60)
    machine.poll()
    machine.write(b" more\nb\n", rotated.name)
    machine.poll()
    machine.poll()
    assert machine.arrived == [b"a", b"half", b" more", b"b"]
    assert len(machine.generations) == 2


def test_a_rotated_log_that_vanished_unread(machine: Machine) -> None:
    machine.write(b"a\n")
    machine.poll()
    machine.write(b"b\nccc\n")
    machine.stream.script = [error("ResourceNotFoundException")]
    machine.poll()
    machine.rotate("access.log.1").unlink()
    machine.write(b"d\n")
    report = machine.poll()
    assert len(report.problems) == 1
    assert report.problems[0].startswith("6 bytes are lost: ")
    assert "access.log" in report.problems[0]
    assert machine.arrived == [b"a", b"d"]
    assert machine.poll().problems == []


def test_an_acknowledged_rotated_log_may_go_without_a_word(machine: Machine) -> None:
    machine.write(b"a\n")
    machine.poll()
    rotated = machine.rotate("access.log.1")
    machine.poll()
    rotated.unlink()
    assert machine.poll().problems == []
    checkpoint = checkpoint_of(machine.log).load()
    assert checkpoint
    assert checkpoint.generations == []


def test_a_log_that_was_renamed_to_what_nobody_foresaw(machine: Machine) -> None:
    """The same file in the same folder."""
    machine.write(b"a\n")
    machine.poll()
    machine.write(b"b\n")
    machine.rotate("quite another name")
    machine.write(b"c\n")
    assert machine.poll().problems == []
    machine.write(b"d\n", "quite another name")  # before the web server reopens
    machine.write(b"no\n", "one of others")
    machine.poll()
    assert machine.arrived == [b"a", b"b", b"c", b"d"]
    assert len(machine.generations) == 2


@pytest.mark.parametrize("name", ["old/access.log.1", "old/whatever"])
def test_a_log_that_was_moved_to_a_folder_below(machine: Machine, name: str) -> None:
    """From then on the folder is known to be one of the log's."""
    machine.log.with_name("old").mkdir()
    machine.write(b"before\n", "old/access.log.2")
    machine.write(b"a\n")
    machine.poll()
    assert machine.arrived == [b"a"]
    machine.write(b"b\n")
    machine.rotate(name)
    machine.write(b"c\n")
    assert machine.poll().problems == []
    assert machine.arrived == [b"a", b"b", b"c"]
    machine.poll()
    assert machine.arrived == [b"a", b"b", b"c", b"before"]


def test_a_log_that_is_a_link_which_is_switched_to_another_folder(machine: Machine) -> None:
    """As cronolog does it; of a folder that was once one of the log's, all is found."""
    for day in ("29", "30"):
        machine.log.with_name(day).mkdir()
    machine.write(b"a\n", "29/access.log")
    machine.log.symlink_to("29/access.log")
    machine.poll()
    machine.write(b"b\n", "29/access.log")
    machine.log.unlink()
    machine.log.symlink_to("30/access.log")
    machine.write(b"c\n", "30/access.log")
    assert machine.poll().problems == []
    machine.write(b"d\n", "29/access.log")
    assert machine.poll().problems == []
    assert machine.arrived == [b"a", b"b", b"c", b"d"]
    assert len(machine.generations) == 2


def test_folders_that_are_named(machine: Machine, tmp_path: Path) -> None:
    far = tmp_path / "far" / "away"
    far.mkdir(parents=True)
    machine.folders = [far, tmp_path / "not there"]
    machine.write(b"a\n")
    machine.poll()
    machine.write(b"b\n")
    machine.log.rename(far / "access.log.2")
    machine.write(b"c\n")
    machine.log.rename(far / "access.log.1")  # never seen before
    assert machine.poll().problems == []
    assert sorted(machine.arrived) == [b"a", b"b", b"c"]


def test_a_log_that_the_producer_itself_deletes_makes_room_at_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    log = settings.log_file
    log.parent.mkdir()
    log.write_bytes(b"a\n")
    source = Source.of(settings, FakeClock(), random.Random(1))
    source.poll(Checkpoint())
    assert str(log) not in [str(path.resolve()) for path in Path("/proc/self/fd").iterdir()]


@pytest.mark.parametrize("command", ["", "7d"])
def test_a_producer_that_runs_takes_no_other_inode_for_another_log(machine: Machine, command: str) -> None:
    """It has the old one open still."""
    source = source_of(machine.log, machine.clock)
    machine.write(TEXT)
    for more in ([], [b"next"], [b"last"]):
        for line in more:
            subprocess.run(["sed", "-i", command, machine.log], check=True)
            machine.write(line + b"\n")
        report = ship_once(source, checkpoint_of(machine.log), sink_of(machine.stream, machine.clock))
        assert report.problems == []
    assert machine.arrived == [*LINES, b"next", b"last"]


def test_a_producer_that_runs_reads_a_log_to_its_end_wherever_it_was_moved(machine: Machine, tmp_path: Path) -> None:
    source = source_of(machine.log, machine.clock)

    def poll() -> Shipped:
        return ship_once(source, checkpoint_of(machine.log), sink_of(machine.stream, machine.clock))

    machine.write(b"a\n")
    poll()
    machine.write(b"b\n")
    (tmp_path / "far" / "away").mkdir(parents=True)
    moved = machine.log.rename(tmp_path / "far" / "away" / "1")
    assert poll().problems == []
    with moved.open("ab") as file:
        file.write(b"c\n")
    moved.unlink()
    assert poll().problems == []
    machine.clock.advance(source_module.KEPT_AFTER)
    poll()
    assert poll().problems == []
    assert machine.arrived == [b"a", b"b", b"c"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_log_that_is_deleted_while_the_web_server_writes_on(machine: Machine, packed: bool) -> None:
    """It does so until it is told to reopen, however long it is silent; `packed`: gzip has deleted it."""
    held: dict[tuple[int, int], bool | None] = {}
    look = lambda device, inode: held.get((device, inode), False)  # noqa: E731
    source = Source(machine.log, machine.clock, random.Random(1), held=look)

    def poll() -> Shipped:
        machine.clock.advance(UNSEEN_AFTER)
        return ship_once(source, checkpoint_of(machine.log), sink_of(machine.stream, machine.clock))

    machine.write(TEXT)
    poll()
    status = machine.log.stat()
    with machine.rotate("access.log.1").open("ab", buffering=0) as written:
        held[status.st_dev, status.st_ino] = True
        poll()
        if packed:
            machine.write(gzip.compress(TEXT), "access.log.1.gz")
        machine.log.with_name("access.log.1").unlink()
        for line in (b"a", b"b", b"c"):
            assert poll().problems == []
            written.write(line + b"\n")
            assert poll().lines == 1
    held.clear()
    assert not poll().problems
    assert not poll().problems
    assert not source.whereabouts.kept(), "its room is free"
    assert machine.arrived == [*LINES, b"a", b"b", b"c"]


def test_two_logs_are_deleted_one_of_which_goes_on_as_a_new_generation(machine: Machine) -> None:
    source = source_of(machine.log, machine.clock)

    def poll() -> Shipped:
        return ship_once(source, checkpoint_of(machine.log), sink_of(machine.stream, machine.clock))

    machine.write(TEXT)
    poll()
    machine.rotate("access.log.1")
    machine.write(b"a\n")
    poll()
    look_back(checkpoint_of(machine.log))
    machine.write(b"b\n", "access.log.1")
    machine.log.unlink()
    machine.log.with_name("access.log.1").unlink()
    assert not poll().problems
    assert machine.arrived == [*LINES, b"a", b"b"]


def test_a_deleted_log_whose_copy_goes_on_otherwise_is_read_from_the_copy(machine: Machine) -> None:
    """Half of a line is all that the deleted one has of it."""
    source = Source(machine.log, machine.clock, random.Random(1), held=lambda *_: False)
    poll = partial(ship_once, source, checkpoint_of(machine.log), sink_of(machine.stream, machine.clock))
    machine.write(TEXT + b"hal")
    machine.stream.script = [unreachable] * 1000
    assert poll().error
    machine.stream.script = []
    machine.log.unlink()
    machine.write(TEXT + b"half\nmore\n", "access.log.1")
    for _ in range(3):
        machine.clock.advance(UNSEEN_AFTER)
        assert poll().problems == []
    assert machine.arrived == [*LINES, b"half", b"more"]


@pytest.mark.parametrize("restored", [True, False])
def test_half_a_line_is_no_last_one_while_a_file_cannot_be_compared(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, restored: bool
) -> None:
    """A file that cannot be read keeps the copy from being compared in which the line goes on."""
    source = Source(machine.log, machine.clock, random.Random(1), held=lambda *_: False)
    poll = partial(ship_once, source, checkpoint_of(machine.log), sink_of(machine.stream, machine.clock))
    unreadable = machine.write(b"".join(b"%0100d\n" % number for number in range(10)), "access.log.9")
    machine.write(TEXT + b"hal")
    poll()
    real, arrived = os.open, machine.arrived
    assert arrived[10:] == LINES

    def refuse(path: Path, *arguments: int) -> int:
        if Path(path) == unreadable:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments)

    if restored:
        machine.log.unlink()
    else:
        machine.rotate("access.log.2")
    machine.write(TEXT + b"half\nmore\n", "access.log.1")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        for _ in range(3):
            machine.clock.advance(2 * UNSEEN_AFTER)
            poll()
    assert machine.arrived == arrived
    for _ in range(3):
        machine.clock.advance(2 * UNSEEN_AFTER)
        poll()
    assert machine.arrived == [*arrived, b"half", b"more"]


def test_a_beginning_that_is_seen_first_does_not_stand_for_the_whole(machine: Machine) -> None:
    """Restored from a backup: what begins like an edited log that was sent, and then what that was before."""
    begin = [b"%0100d" % number for number in range(20)]
    machine.write(content := b"\n".join([*begin, *LINES, b""]))
    machine.poll()
    machine.rotate("access.log.1")
    machine.write(b"edited\n" + content)
    machine.poll()
    machine.write(content, "restored").replace(machine.log.with_name("access.log.1"))
    machine.write(b"\n".join([*begin, b"other", b""]), "access.log.2")
    machine.poll()
    machine.poll()
    assert machine.arrived == [*begin, *LINES]


def test_files_of_a_time_to_come(machine: Machine) -> None:
    """Of a clock that was ahead and is right again: they are not written to for a year."""
    machine.write(b"a\nb")
    machine.rotate("access.log.1")
    machine.write(gzip.compress(TEXT)[:100], "access.log.2.gz")
    machine.age(-365 * 86400)
    report = machine.poll()
    assert report.absent
    (problem,) = report.problems
    assert "access.log.2.gz is ignored: it ends early" in problem
    assert machine.arrived == [b"a", b"b"]


@pytest.mark.parametrize("name", ["access.log.2", "access.log.bak", "access.log-20261130"])
def test_a_log_that_has_ended_and_comes_back_is_known_by_its_content(machine: Machine, name: str) -> None:
    """`gunzip -k`, a backup, a restored file: sent once, under whatever name, and on from where it was sent to."""
    lines = [b"line %d of many" % number for number in range(100)]
    content = b"".join(line + b"\n" for line in lines)
    machine.write(content)
    machine.poll()
    machine.rotate("access.log.1").unlink()
    machine.write(b"next\n")
    machine.poll()
    machine.write(content[:1500], name)  # is being written
    assert machine.poll().records == 0
    machine.write(content[1500:], name)
    assert machine.poll() == Shipped()
    machine.write(b"more\n", name)
    machine.age(60)
    assert not machine.poll().problems
    assert machine.arrived == [*lines, b"next", b"more"]


def test_what_is_left_of_a_young_log_in_a_copy_is_sent_from_there(machine: Machine) -> None:
    """The log has grown and gone before anything was acknowledged."""
    machine.write(TEXT[:300])
    machine.write(TEXT[: TEXT.index(b"\n") + 1], "access.log.bak")
    machine.stream.script = [refuse_all] * 1000
    machine.poll()
    machine.write(TEXT[300:])
    machine.poll()
    machine.stream.script = []
    os.truncate(machine.log, 0)
    machine.write(b"next\n")
    machine.poll()
    assert machine.poll().lag == 0
    assert machine.arrived == [LINES[0], b"next"]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("lines", [1, 5])
def test_a_copy_of_a_young_log_is_known_when_the_log_has_grown_and_gone(
    machine: Machine, lines: int, later: bool
) -> None:
    """It has less than the log is known by, but whole lines."""
    young = b"".join(line + b"\n" for line in LINES[:lines])
    machine.write(young)
    machine.poll()
    if not later:
        machine.write(young, "access.log.bak")
        machine.poll()
    machine.write(TEXT[len(young) :])
    machine.poll()
    machine.log.unlink()
    machine.write(b"next\n")
    machine.poll()
    if later:
        machine.write(gzip.compress(young), "access.log.1.gz")
    machine.age(60)
    assert machine.poll() == Shipped()
    assert machine.arrived == [*LINES, b"next"]


def test_a_copy_beside_its_original_that_goes_on_further(machine: Machine) -> None:
    machine.write(b"a\nb\n")
    machine.poll()
    machine.rotate("access.log.2")
    machine.write(b"a\nb\nc\n", "access.log.1")
    machine.poll()
    assert machine.arrived == [b"a", b"b", b"c"]
    assert len(machine.generations) == 1


def test_a_log_of_an_empty_line_does_not_go_on_in_the_copy_of_another(machine: Machine) -> None:
    """Each file that begins with an empty line begins like it."""
    machine.write(b"\n")
    machine.poll()
    machine.rotate("access.log.2")
    machine.write(b"\na\nb\n")
    machine.poll()
    machine.rotate("access.log.1")
    machine.write(b"c\n")
    machine.poll()
    machine.write(b"\na\n", "access.log.bak")
    assert machine.poll() == Shipped()
    assert machine.arrived == [b"", b"", b"a", b"b", b"c"]


def test_a_new_log_that_begins_like_the_rotated_one_is_another(machine: Machine) -> None:
    """The same request, twice in one second, and a rotation in between."""
    machine.write(b"a\n")
    machine.poll()
    machine.rotate("access.log.1")
    machine.write(b"a\nb\n")
    machine.poll()
    assert machine.arrived == [b"a", b"a", b"b"]


def test_only_so_many_logs_that_ended_are_remembered(machine: Machine) -> None:
    for number in range(REMEMBERED + 2):
        machine.write(b"line %d\n" % number)
        machine.poll()
        machine.log.unlink()
    machine.poll()
    checkpoint = checkpoint_of(machine.log).load()
    assert checkpoint
    assert (checkpoint.generations, len(checkpoint.ended)) == ([], REMEMBERED)
    machine.write(b"line 2\n", "access.log.1")
    machine.write(b"line 1\n", "access.log.2")
    machine.poll()
    assert machine.arrived[-1] == b"line 1"
    assert len(machine.arrived) == REMEMBERED + 3


@pytest.mark.parametrize("command", ["7d", "1,20d", "s/line 3 /line three /", "100s/of/out of/"])
def test_a_log_that_was_edited_in_place(machine: Machine, command: str, caplog: pytest.LogCaptureFixture) -> None:
    """What was sent is not sent again, whether it is still there or not."""
    machine.write(TEXT)
    machine.poll()
    subprocess.run(["sed", "-i", command, machine.log], check=True)
    machine.write(b"next\n")
    caplog.clear()
    assert machine.poll().problems == []
    assert machine.arrived == [*LINES, b"next"]
    assert "was edited in place: its lines up to byte " in caplog.text
    caplog.clear()
    assert machine.poll() == Shipped()
    assert caplog.text == ""


@pytest.mark.parametrize("option", ["-i", "-i.bak"])
@pytest.mark.parametrize("command", ["7d", "1,20d", "s/line 3 /line three /", "100s/of/out of/"])
def test_a_rotated_log_that_was_edited_in_place(
    machine: Machine, option: str, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    machine.write(TEXT)
    machine.poll()
    rotated = machine.rotate("access.log.1")
    machine.write(b"next\n")
    machine.poll()
    subprocess.run(["sed", option, command, rotated], check=True)
    assert machine.poll() == Shipped()
    assert "access.log.1 was edited in place: its lines up to byte " in caplog.text
    machine.write(b"more\n", rotated.name)
    machine.age(60)
    assert machine.poll().problems == []
    rotated.with_name("access.log.1.bak").unlink(missing_ok=True)
    machine.poll()
    assert machine.arrived == [*LINES, b"next", b"more"]


def test_a_copy_that_is_longer_than_a_backup(machine: Machine) -> None:
    """The backup is the first file of the log; the one that was put back is gone before it was read."""
    machine.write(TEXT)
    machine.poll()
    backup = machine.rotate("access.log.bak")
    rotated = machine.log.with_name("access.log.1")
    shutil.copyfile(backup, rotated)
    machine.write(b"next\n", rotated.name)
    machine.stream.script = [refuse_all] * 100
    machine.poll()
    shutil.copyfile(rotated, machine.log.with_name("access.log.2"))
    machine.poll()
    rotated.unlink()
    machine.stream.script = []
    machine.poll()
    assert machine.arrived == [*LINES, b"next"]


def test_a_log_that_was_edited_after_a_start(machine: Machine) -> None:
    """The backup, which is read first, begins a generation by then; the edited one is still known by its name."""
    machine.write(TEXT)
    machine.poll()
    rotated = machine.rotate("access.log.1")
    machine.poll()
    look_back(checkpoint_of(machine.log))
    machine.write(b"next\n", rotated.name)
    shutil.copyfile(rotated, f"{rotated}.bak")
    rotated.write_bytes(TEXT.replace(b"line 7 ", b"line seven ") + b"next\n")
    os.utime(rotated, (0, 0))
    machine.poll()
    machine.poll()
    assert machine.arrived == [*LINES, b"next"]


def test_a_rotated_log_all_lines_of_which_were_edited_is_said(machine: Machine) -> None:
    """As logrotate's postrotate may, to leave out addresses. What it was is not known again."""
    machine.write(TEXT)
    machine.poll()
    path = machine.rotate("access.log.1")
    machine.write(b"next\n")
    assert not machine.poll().problems
    path.write_bytes(TEXT.replace(b"of a log", b"of no log"))
    (problem,) = machine.poll().problems
    assert problem.startswith(f"{path} (generation ")
    assert "was edited, or another log has its name: all of it is sent, again if it was edited" in problem
    assert not machine.poll().problems


def test_a_log_that_was_edited_twice(machine: Machine) -> None:
    """The backup of the first time is there: what was sent last before that stands in the log, too."""
    machine.write(TEXT)
    machine.poll()
    for line in (b"next\n", b"more\n"):
        subprocess.run(["sed", "-i.bak", "7d", machine.log], check=True)
        machine.write(line + TEXT.replace(b"line", line[:4]))
        machine.poll()
        assert machine.poll() == Shipped()
    assert len(machine.arrived) == 3 * len(LINES) + 2


def test_a_rotated_log_that_was_edited_and_begins_the_same(machine: Machine) -> None:
    """It is shorter than what was sent of it, and no copy that was cut short: its lines have other places."""
    machine.write(TEXT + TEXT.replace(b"line", b"more"))
    machine.poll()
    rotated = machine.rotate("access.log.1")
    machine.poll()
    machine.write(b"next\n", rotated.name)
    subprocess.run(["sed", "-i", "91,150d", rotated], check=True)
    machine.poll()
    machine.write(b"last\n", rotated.name)
    machine.poll()
    assert machine.arrived[2 * len(LINES) :] == [b"next", b"last"]


def test_a_log_that_was_edited_and_has_the_inode_of_a_copy(machine: Machine) -> None:
    """The copy was deleted; the log begins as before, is shorter, and no copy that was cut short."""
    machine.write(TEXT + TEXT.replace(b"line", b"more"))
    machine.poll()
    copy = shutil.copyfile(machine.log, machine.log.with_name("access.log.1"))
    machine.poll()
    lines = machine.log.read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join(lines[:90] + lines[150:]) + b"next\n")
    copy.replace(machine.log)
    machine.poll()
    machine.write(b"last\n")
    machine.poll()
    assert machine.arrived[2 * len(LINES) :] == [b"next", b"last"]


@pytest.mark.parametrize("command", ["80,130d", "100i more", "100i more\\nand more"])
def test_a_rotated_log_that_was_edited_beside_a_copy_that_was_cut_short(machine: Machine, command: str) -> None:
    machine.write(TEXT)
    machine.poll()
    rotated = machine.rotate("access.log.1")
    machine.write(TEXT[: len(TEXT) // 3], "access.log.2")
    machine.poll()
    machine.write(b"next\n", rotated.name)
    subprocess.run(["sed", "-i", command, rotated], check=True)
    machine.poll()
    assert machine.poll() == Shipped()
    assert machine.arrived == [*LINES, b"next"]


def test_a_copy_of_a_backup_is_no_other_log_that_was_cut_short(machine: Machine) -> None:
    """Repair would read lines from it that it never held."""
    machine.write(TEXT)
    machine.poll()
    subprocess.run(["sed", "-i.bak", "150d", machine.log], check=True)
    machine.write(TEXT.replace(b"line", b"more"))
    machine.poll()
    machine.log.write_bytes(b"another log\n")
    machine.poll()
    copy = shutil.copyfile(f"{machine.log}.bak", machine.log.with_name("access.log.1"))
    machine.poll()
    checkpoint = checkpoint_of(machine.log).load()
    assert checkpoint
    (known,) = (each for each in checkpoint.generations if copy.stat().st_ino in [file.inode for file in each.files])
    assert known.name == "access.log.bak"


def test_a_copy_of_all_that_was_sent_of_a_log_below_a_window(machine: Machine) -> None:
    """What was not sent is in what the log is known by, and is in no file any more."""
    machine.write(b"a line of the log\n")
    machine.poll()
    machine.stream.script = [refuse_all] * 100
    machine.write(b"and another one\n")
    machine.poll()
    machine.stream.script = []
    machine.log.unlink()
    machine.write(b"a line of the log\n", "access.log.1")
    machine.poll()
    assert machine.arrived == [b"a line of the log"]


def test_half_a_copy_is_one_of_an_edited_log_and_not_of_its_backup(machine: Machine) -> None:
    """Both begin so; the log goes on in it."""
    machine.write(TEXT)
    machine.poll()
    subprocess.run(["sed", "-i.bak", "100s/of/out of/", machine.log], check=True)
    machine.poll()
    rotated = machine.rotate("access.log.1")
    machine.poll()
    copy = machine.write(TEXT[:1500], "access.log.2")
    machine.stream.script = [refuse_all] * 100
    machine.write(b"next\n", rotated.name)
    machine.poll()
    shutil.copyfile(rotated, copy)
    rotated.unlink()
    machine.age(3600)
    machine.stream.script = []
    machine.poll()
    assert machine.arrived == [*LINES, b"next"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("seen", [False, True])
def test_a_log_that_was_moved_to_a_folder_below_while_a_copy_stays(machine: Machine, seen: bool, packed: bool) -> None:
    """logrotate's `olddir`, for the first time; what was written since is in the moved one only."""
    machine.write(TEXT)
    machine.poll()
    shutil.copyfile(machine.log, machine.log.with_name("access.log.copy"))
    if seen:
        machine.poll()
    machine.write(b"next\n")
    (machine.log.parent / "old").mkdir()
    rotated = machine.rotate("old/access.log.1")
    if packed:
        subprocess.run(["gzip", rotated], check=True)
    machine.write(b"another\n")
    assert machine.poll().problems == []
    assert sorted(machine.arrived) == sorted([*LINES, b"next", b"another"])


@pytest.mark.parametrize("more", [50, 100, 250])
def test_a_rotated_log_of_equal_lines_that_goes_on(machine: Machine, more: int) -> None:
    """As a load test writes them within a second; it is no `cat` of what was sent of it."""
    line = b"127.0.0.1 GET / 200 of a load test\n"
    machine.write(100 * line)
    machine.poll()
    machine.write(more * line)
    machine.rotate("access.log.1")
    machine.write(b"next\n")
    machine.poll()
    assert machine.arrived == [*(100 + more) * [line[:-1]], b"next"]


def test_half_a_copy_that_becomes_another_log(machine: Machine) -> None:
    """It began like the one that is gone, as an edited log does."""
    machine.write(TEXT)
    machine.poll()
    machine.log.unlink()
    machine.write(TEXT[: TEXT.index(b"line 90 ")], "access.log.1")
    machine.poll()
    machine.write(TEXT.replace(b"line", b"more"), "access.log.1")
    machine.poll()
    assert machine.arrived[-len(LINES) :] == [line.replace(b"line", b"more") for line in LINES]


def test_copies_that_were_cut_short_differently(machine: Machine) -> None:
    machine.write(TEXT)
    machine.poll()
    machine.rotate("elsewhere").unlink()
    for parts, number in enumerate((b"1", b"2", b"3")):
        machine.write(TEXT[: (parts + 2) * len(TEXT) // 5], f"access.log.{number.decode()}")
        machine.poll()
    machine.write(TEXT + b"next\n", "access.log.4")
    machine.poll()
    assert machine.arrived == [*LINES, b"next"]


def test_a_log_whose_end_was_cut_off_is_a_new_one(machine: Machine) -> None:
    """What was written to it since cannot be told from what was sent."""
    machine.write(TEXT)
    machine.poll()
    subprocess.run(["sed", "-i", "191,200d", machine.log], check=True)
    machine.write(b"next\n")
    machine.poll()
    assert machine.poll() == Shipped()
    assert machine.arrived == [*LINES, *LINES[:190], b"next"]


def test_a_log_that_is_emptied_while_it_is_looked_at_begins_no_generation(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A beginning without a byte would be that of any other file."""
    machine.write(TEXT)

    def emptied(_: object) -> int:
        os.truncate(machine.log, 0)
        return 0

    with monkeypatch.context() as patch:
        patch.setattr("producer.identity.begin_of", emptied)
        assert machine.poll().lines == 0
    saved = checkpoint_of(machine.log).load()
    assert not saved or saved.generations == []
    machine.write(b"new\n")
    assert machine.poll().lines == 1


@pytest.mark.parametrize("then", [b"", b"\n", b"the same\n"])
def test_a_log_that_was_emptied_is_not_taken_for_an_edited_one(machine: Machine, then: bytes) -> None:
    """Though it has a line that ends like the last long one sent, as a client may have it."""
    same = b"x" * 3000 + b"\n" + then
    machine.write(b"a " + same)
    machine.poll()
    os.truncate(machine.log, 0)
    machine.write(b"b " + same + b"c\n")
    machine.poll()
    assert machine.arrived == (b"a " + same + b"b " + same + b"c").split(b"\n")


def test_what_has_another_name_is_left_alone(machine: Machine) -> None:
    for name in ("error.log", "access.logs", "old-access.log"):
        machine.write(b"no\n", name)
    machine.poll()
    assert machine.arrived == []


@pytest.mark.parametrize("name", ["checkpoint.json.new", "#access.log#", "other.log", "notes", "old/checkpoint.json"])
def test_another_file_that_has_the_inode_of_a_log_is_left_alone(machine: Machine, name: str) -> None:
    """A file system gives a freed inode to the next file that is made, whatever that is."""
    machine.log.with_name("old").mkdir()
    machine.write(b"before\n", "old/access.log.2")
    machine.folders = [machine.log.with_name("old")]
    machine.write(b"a\n")
    machine.poll()
    machine.rotate(name).write_bytes(b"no\nlog\n")
    machine.write(b"b\n")
    for _ in range(2):
        machine.poll()
        machine.write(b"more\n", name)
    assert machine.arrived == [b"before", b"a", b"b"]


def test_another_file_that_has_the_inode_and_a_name_of_rotation_is_a_log(machine: Machine) -> None:
    machine.write(b"a\n")
    machine.poll()
    machine.rotate("other.log").write_bytes(b"b\n")
    machine.poll()
    machine.log.with_name("other.log").rename(machine.log.with_name("access.log.1"))
    machine.write(b"c\n")
    machine.poll()
    machine.log.write_bytes(b"d\n")  # `cp other access.log`
    machine.poll()
    assert machine.arrived == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("name", ["a link", "access.log.1", "z"])
def test_a_link_that_is_left_of_a_log_is_the_log(machine: Machine, name: str) -> None:
    """Under whatever name, as long as it has what was sent."""
    machine.write(b"a\n")
    machine.poll()
    machine.write(b"b\n")
    os.link(machine.log, machine.log.with_name(name))
    machine.log.unlink()
    machine.write(b"c\n")
    assert machine.poll().problems == []
    machine.log.with_name(name).write_bytes(b"d\n")
    machine.poll()
    assert machine.arrived == [b"a", b"b", b"c", *([b"d"] if name == "access.log.1" else [])]


def test_a_log_under_two_names_is_called_as_rotation_does(machine: Machine) -> None:
    machine.write(b"a\n")
    machine.poll()
    os.link(machine.rotate("access.log.1"), machine.log.with_name("a link"))
    machine.write(b"b\n")
    machine.poll()
    checkpoint = checkpoint_of(machine.log).load()
    assert checkpoint
    assert [each.name for each in checkpoint.generations] == ["access.log.1", "access.log"]


LINES = [b"line %d of a log" % number for number in range(200)]
TEXT = b"".join(line + b"\n" for line in LINES)
PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("ending", PACKERS)
def test_a_log_that_was_compressed_before_it_was_read_to_its_end(machine: Machine, ending: str) -> None:
    """logrotate's `compress` without `delaycompress`."""
    machine.write(TEXT[:999])
    machine.poll()
    machine.write(TEXT[999:])
    rotated = machine.rotate("access.log.1")
    machine.write(PACKERS[ending](TEXT), f"access.log.1{ending}")
    rotated.unlink()
    machine.write(b"next\n")
    assert machine.poll().problems == []
    assert machine.arrived == [*LINES, b"next"]
    machine.rotate("access.log.2")
    machine.write(TEXT, "access.log.1")  # gunzip -k
    assert machine.poll() == Shipped()
    # found by its content only: what came since it was last seen may be other bytes where the log was before
    assert len(machine.generations) == 3


@pytest.mark.parametrize(
    "name", [*(f"access.log.3{ending}" for ending in PACKERS), "access.log.3.whatever", "access.log.3"]
)
def test_a_compressed_log_that_was_never_seen(machine: Machine, name: str) -> None:
    """It is known by its content, whatever it is called; so is it after `gunzip`."""
    packed = PACKERS.get(Path(name).suffix, gzip.compress)(TEXT)
    machine.write(packed[:-9], name)
    assert machine.poll() == Shipped(absent=None), "it is being made"
    machine.write(packed[-9:], name)
    report = machine.poll()
    assert (report.lines, report.lag, report.problems) == (200, 0, [])
    machine.write(TEXT[:3000], "access.log.4")
    machine.write(TEXT, "access.log.5")
    (machine.log.parent / name).unlink()
    assert machine.poll() == Shipped()
    assert machine.arrived == LINES


@pytest.mark.parametrize("ending", PACKERS)
def test_a_compressed_log_that_was_empty_has_no_lines(machine: Machine, ending: str) -> None:
    machine.write(PACKERS[ending](b""), f"access.log.1{ending}")
    machine.write(b"a\n")
    machine.age(3600)
    assert machine.poll().problems == []
    machine.age(3600)
    machine.poll()
    assert machine.arrived == [b"a"]


def test_a_compressed_log_is_read_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write(gzip.compress(TEXT), "access.log.1.gz")
    machine.poll()
    monkeypatch.setattr(packed.Packed, "pread", lambda *_: pytest.fail("read again"))
    assert machine.poll() == Shipped()


def test_a_compressed_log_that_is_cut_short_is_said_once_and_waits(machine: Machine) -> None:
    whole = gzip.compress(TEXT)
    machine.write(whole[:-20], "access.log.1.gz")
    machine.age(source_module.BEING_MADE + 1)
    (problem,) = machine.poll().problems
    assert "access.log.1.gz is ignored: it ends early or is damaged" in problem
    assert machine.poll().problems == []
    machine.write(whole[-20:], "access.log.1.gz")
    assert machine.poll().lines == 200


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("access.log.1", random.Random(1).randbytes(4000)),
        ("access.log.1", bytes(4000)),
        ("access.log.1.lzma", lzma.compress(TEXT, lzma.FORMAT_ALONE)),
        ("access.log.1.lzma", lzma.compress(b"", lzma.FORMAT_ALONE)),
        ("access.log.1.gpg", b"\x85\x02\x0c\x03" + random.Random(2).randbytes(500)),
        ("access.log.1.br", random.Random(3).randbytes(300) + b"\n"),
        ("access.log.1.tgz", gzip.compress(b"access.log" + bytes(502) + TEXT)),
        ("access.log.1.zst", b"\x28\xb5\x2f\xfd" + random.Random(4).randbytes(500)),
        # as zstd leaves what it cannot make smaller: a block that is not packed
        ("access.log.1.zst", b"\x28\xb5\x2f\xfd\x20" + bytes([101, 41, 3, 0]) + b"a line\n" * 14 + b"b\n"),
        ("access.log.1.lz4", b"\x04\x22\x4d\x18\x64\x40\xa7" + b"\x63\0\0\x80" + b"a line\n" * 14 + b"b\n"),
    ],
)
def test_what_is_neither_text_nor_compressed_as_it_is_read_here_is_said_once(
    machine: Machine, name: str, content: bytes
) -> None:
    machine.write(content, name)
    machine.write(b"a\n")
    machine.age(source_module.BEING_MADE + 1)
    (problem,) = machine.poll().problems
    assert f"{name} is ignored: it " in problem
    assert machine.poll().problems == []
    assert machine.arrived == [b"a"]


@pytest.mark.parametrize("packed", [False, True])
def test_what_grep_found_in_a_log_is_not_sent_again(machine: Machine, packed: bool) -> None:
    machine.write(gzip.compress(TEXT) if packed else TEXT, "access.log.1.gz" if packed else "access.log")
    machine.poll()
    machine.write(b"".join(line + b"\n" for line in LINES if b"7" in line), "access.log.sevens")
    (problem,) = machine.poll().problems
    assert "access.log.sevens is ignored: it is a part of other logs here, which are sent" in problem
    assert machine.poll() == Shipped(absent=None)
    machine.write(LINES[5] + b"\nnew\n", "access.log.old")  # may be a log of its own
    assert machine.poll().lines == 2
    assert machine.arrived == [*LINES, LINES[5], b"new"]


FLUENTD = b"/var/log/access.log\t%016x\t00000000001c0002\n"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("access.log.offset", b"1835010\n0\n", b"1835010\n2048\n"),  # logtail
        ("access.log.sincedb", b"1835010 0 64769 0\n", b"1835010 0 64769 2048 1606752000.25\n"),  # Logstash
        ("access.log.pos", FLUENTD % 0, FLUENTD % 2048),
    ],
)
def test_what_another_program_keeps_beside_the_log_is_not_sent(
    machine: Machine, name: str, before: bytes, after: bytes
) -> None:
    machine.write(TEXT)
    for content in (before, after, before):
        machine.log.with_name(name).write_bytes(content)
        assert machine.poll().problems == []
    machine.rotate("access.log.1")
    machine.write(b"17\n")
    machine.poll()
    machine.rotate("access.log.2")
    machine.poll()
    assert machine.arrived == [*LINES, b"17"], "a log is what it is"


@pytest.mark.parametrize("name", ["access.log.1.tail", "access.log.1.ab", "access.log-20261130.errors"])
def test_a_part_of_a_rotated_log_is_not_sent_again(machine: Machine, name: str) -> None:
    machine.write(TEXT, "access.log.1")
    machine.poll()
    machine.write(b"".join(line + b"\n" for line in LINES[50:100]), name)
    assert f"{name} is ignored: it is a part of other logs" in machine.poll().problems[0]
    assert machine.arrived == LINES


def days(machine: Machine, count: int) -> list[bytes]:
    """So many days' logs, the last one the log itself, all sent."""
    contents = [b"".join(b"day %d line %d of many\n" % (day, line) for line in range(100)) for day in range(count)]
    for day, content in enumerate(contents):
        machine.write(content)
        machine.poll()
        if day + 1 < count:
            machine.rotate(f"access.log-2026110{day + 1}")
    return contents


@pytest.mark.parametrize("name", ["access.log-202611", "access.log.all", "access.log-202611.gz"])
@pytest.mark.parametrize("gone", [False, True])
def test_logs_that_were_put_together_are_not_sent_again(machine: Machine, name: str, gone: bool) -> None:
    """`cat access.log-202611* >access.log-202611`, or the same with gzip's files; `gone`: they were deleted then."""
    contents = days(machine, 4)
    pack = gzip.compress if name.endswith(".gz") else bytes
    machine.write(b"".join(map(pack, contents[:3])), name)
    if gone:
        for path in machine.log.parent.glob("access.log-2026110*"):
            path.unlink()
    for _ in range(3):
        assert machine.poll().problems == []
    assert sorted(machine.arrived) == sorted(b"".join(contents).splitlines())
    machine.write(pack(b"not seen before\n"), name)
    assert machine.poll().lines == 1
    machine.write(pack(b"nor this\n"), name)
    assert machine.poll().lines == 1
    assert machine.poll() == Shipped()


@pytest.mark.parametrize("name", ["month.txt", "access.log-202611", "old/month.gz"])
@pytest.mark.parametrize("looked", [False, True])
def test_logs_that_were_put_together_are_no_log_that_was_moved(machine: Machine, name: str, looked: bool) -> None:
    """logrotate deletes the first of them then. What comes behind it in the other file was not written to it."""
    contents = days(machine, 4)
    pack = gzip.compress if name.endswith(".gz") else bytes
    machine.log.with_name("old").mkdir()
    machine.write(b"".join(map(pack, contents[:3])), name)
    if looked:
        assert machine.poll() == Shipped()
    for day in (1, 2, 3):
        machine.log.with_name(f"access.log-2026110{day}").unlink()
        assert machine.poll().lines == 0
        assert machine.poll() == Shipped()


@pytest.mark.parametrize("gone", [False, True])
def test_an_archive_to_which_each_log_is_added_is_not_sent_again(machine: Machine, gone: bool) -> None:
    contents = days(machine, 4)
    for day in (1, 2, 3):
        path = machine.log.with_name(f"access.log-2026110{day}")
        machine.write(path.read_bytes(), "access.log.archive")
        if gone:
            path.unlink()
        for _ in range(2):
            assert machine.poll() == Shipped()
    machine.write(machine.log.read_bytes(), "access.log.archive")
    machine.write(b"next\n")
    assert machine.poll().lines == 1
    assert sorted(machine.arrived) == sorted(b"".join([*contents, b"next"]).splitlines())


def test_an_archive_has_the_end_of_a_log_that_is_open_still(machine: Machine) -> None:
    """As Plesk does: what is renamed is added to an archive, and deleted. A producer that runs reads it to its end."""
    source = source_of(machine.log, machine.clock)

    def poll() -> Shipped:
        return ship_once(source, checkpoint_of(machine.log), sink_of(machine.stream, machine.clock))

    days = [[b"day %d line %d of many" % (day, line) for line in range(100)] for day in range(3)]
    for day in days:
        machine.write(b"".join(line + b"\n" for line in day[:90]))
        poll()
        machine.write(b"".join(line + b"\n" for line in day[90:]))
        renamed = machine.rotate("access.log.webstat")
        machine.write(renamed.read_bytes(), "access.log.processed")
        renamed.unlink()
        for _ in range(2):
            assert poll().problems == []
    assert sorted(machine.arrived) == sorted(line for day in days for line in day)


def test_a_log_that_is_added_to_the_rotated_one_again(machine: Machine) -> None:
    days(machine, 2)
    rotated = machine.log.with_name("access.log-20261101")
    machine.write(b"not sent\n")
    machine.write(machine.log.read_bytes(), rotated.name)
    os.truncate(machine.log, 0)
    report = machine.poll()
    assert report.lines == 1
    assert "was edited, or another log has its name" not in str(report.problems)
    rotated.rename(machine.log)
    machine.write(b"next\n")
    assert machine.poll().lines == 1
    assert len(set(machine.arrived)) == len(machine.arrived) == 202


def test_a_hole_at_the_beginning_makes_no_log_a_binary(machine: Machine) -> None:
    machine.write(bytes(100_000) + TEXT, "access.log.1")
    assert machine.poll().lines == 200


def test_a_hole_that_copytruncate_leaves_is_not_sent(machine: Machine) -> None:
    """A writer that does not append goes on where it was. So the hole grows with each rotation."""
    lines = [b"line %d of a writer that does not append" % number for number in range(120)]
    size = 5_000_000
    with machine.log.open("wb", buffering=0) as log:
        for rotation in range(1, 4):
            log.seek(size)
            for at in range(0, 40, 20):
                log.write(b"".join(line + b"\n" for line in lines[40 * rotation - 40 :][at : at + 20]))
                if at == 0 or rotation != 2:  # the end of one is found in its copy
                    assert machine.poll().lines
            size = log.tell()
            shutil.copy(machine.log, machine.log.with_name(f"access.log.{rotation}"))
            os.truncate(machine.log, 0)
        machine.poll()
    assert machine.poll() == Shipped()
    assert machine.arrived == lines
    assert sum(len(each.data) for each in machine.stream.records) < 10_000


def test_a_shorter_log_with_a_hole_is_no_copy_of_a_longer_one(machine: Machine) -> None:
    machine.write(bytes(9000) + TEXT, "access.log.1")
    machine.poll()
    machine.log.with_name("access.log.1").unlink()
    machine.write(bytes(5000) + b"another line\n" * 2, "access.log.2")
    machine.poll()
    assert machine.arrived == [*LINES, b"another line", b"another line"]


def test_links_to_the_log_are_the_log(machine: Machine) -> None:
    machine.write(b"a\n")
    os.link(machine.log, machine.log.with_name("access.log.hard"))
    machine.log.with_name("access.log.soft").symlink_to(machine.log)
    machine.log.with_name("access.log.nowhere").symlink_to("gone")
    assert machine.poll().lines == 1
    assert machine.poll().lines == 0


def test_a_log_that_is_a_device(machine: Machine) -> None:
    machine.log.symlink_to("/dev/null")
    with pytest.raises(SourceError, match="no plain file"):
        machine.poll()


def test_one_file_that_cannot_be_read_does_not_hold_up_the_others(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.write(b"a\n", "access.log.1")
    machine.write(b"b\n")
    real = os.open

    def refuse(path: Path, flags: int) -> int:
        if str(path).endswith(".1"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", lambda path, flags, *_: refuse(path, flags))
        patch.setattr("journal.checkpoint.write_atomic", lambda path, data: path.write_bytes(data))
        (problem,) = machine.poll().problems
    assert "access.log.1 cannot be read" in problem
    assert machine.arrived == [b"b"]
    assert machine.poll().problems == []
    assert machine.arrived == [b"b", b"a"]


def test_a_line_longer_than_a_block_is_cut_the_same_way_again(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of a line, the rest of it is not taken for a line of its own."""
    monkeypatch.setattr(reading, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(reading, "FRAGMENT_BYTES", 1000)
    monkeypatch.setattr("producer.batch.MAX_BATCH_RECORDS", 3)
    line = bytes(range(32, 127)) * 95
    machine.write(b"a\n" + line + b"\nb\n")
    machine.stream.script = [None, error("ResourceNotFoundException")]
    report = machine.poll()
    assert report.error
    assert 0 < report.bytes < len(line)
    machine.poll()
    fragments = [stored for stored in machine.stream.records if stored.key.count(":") == 2]
    assert b"".join(fragment.data for fragment in fragments) == line + b"\n"
    assert [len(fragment.data) for fragment in fragments] == [1000] * 9 + [26]
    assert machine.arrived[0] == b"a"
    assert machine.arrived[-1] == b"b"


def test_the_time_in_a_generations_name(machine: Machine) -> None:
    machine.write(b"a\n")
    machine.poll()
    (generation,) = machine.generations
    assert int(generation[:8], 16) == int(machine.clock.now().timestamp())
    assert len(generation) == 24


@pytest.mark.parametrize("length", [reading.READ_BYTES - 1, reading.READ_BYTES, 2 * reading.READ_BYTES])
def test_a_line_that_one_read_does_not_hold_is_sent_whole(machine: Machine, length: int) -> None:
    machine.write(b"first\n" + b"a" * length + b"\n" + b"last\n" * 600)
    report = machine.poll()
    assert (report.lines, report.lag) == (602, 0)
    assert max(map(len, machine.arrived)) == length


def test_a_checkpoint_that_is_gone_is_an_error_from_the_first_line_sent_on(machine: Machine) -> None:
    checkpoint = checkpoint_of(machine.log).path
    machine.poll()
    checkpoint.unlink()  # nothing was sent: a first start again
    machine.write(b"a\n")
    machine.stream.script = [lose_answer] * 1000
    machine.poll()
    checkpoint.unlink()
    with pytest.raises(CheckpointError, match=r"archived\.json beside it shows that lines were sent"):
        machine.poll()


def test_many_logs_that_no_poll_has_seen_are_not_each_compared_with_all_others(machine: Machine) -> None:
    for number in range(10, 60):
        machine.write(b"log %d of many\n" % number, f"access.log.{number}")
    with mock.patch.object(Reader, "begins", autospec=True, side_effect=Reader.begins) as begins:
        machine.poll()
    assert begins.call_count == 0
    assert len(machine.arrived) == 50
