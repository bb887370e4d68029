"""The log stays bounded, and nothing goes that is not acknowledged to its last byte."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from journal.archived import Archived, ArchivedFile, Known
from journal.ranges import Ranges
from producer import processes
from producer.processes import UNSEEN_AFTER, held_open, nginx_pid, written_to
from producer.rotate import Rotator
from producer.ship import ship_once
from tests.fake_kinesis import FakeClock, FakeKinesis, checkpoint_of, delivered, sink_of, source_of

NGINX = 4711
LIMIT = 10
AGE = 3600


class Server:
    """A log, its nginx and the scheduled producer's two steps."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "access.log"
        self.clock = FakeClock()
        self.stream = FakeKinesis()
        self.source = source_of(self.log, self.clock)
        self.pid: int | None = NGINX
        self.signals: list[tuple[int, int]] = []
        self.held: bool | None = False
        self.deaf = False
        self.archived_file: ArchivedFile | None = None
        self.drop_at: int | None = None
        self.full = False
        self.dropped = 0

    def write(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)

    def kill(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))
        if not self.deaf:
            self.log.touch()

    def tick(self) -> None:
        self.ship()
        self.rotate()

    def ship(self) -> None:
        ship_once(self.source, checkpoint_of(self.log), sink_of(self.stream, self.clock))

    def rotate(self) -> None:
        """By a producer that was started just now."""
        rotator = Rotator(
            self.log,
            self.log.with_name("nginx.pid"),
            LIMIT,
            AGE,
            self.clock,
            checkpoint_of(self.log),
            is_full=lambda: self.full,
            archived_file=self.archived_file,
            drop_at=self.drop_at,
            held=lambda _path: self.held,
            find_nginx=lambda _file: self.pid,
            kill=self.kill,
        )
        rotator.look()
        self.dropped += rotator.dropped

    @property
    def rotated(self) -> list[Path]:
        return sorted(self.log.parent.glob("access.log.*"))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_small_log_stays(server: Server) -> None:
    server.write(b"small\n")
    server.tick()
    assert (server.rotated, server.signals) == ([], [])


def test_rename_reopen_ship_delete(server: Server) -> None:
    server.write(b"a line that is long\n")
    server.tick()
    (rotated,) = server.rotated
    assert rotated.name == server.clock.now().strftime("access.log.%Y%m%dT%H%M%SZ-0")
    assert server.signals == [(NGINX, signal.SIGUSR1)]
    with rotated.open("ab") as file:
        file.write(b"written before the reopen\n")
    server.write(b"new\n")
    server.rotate()
    assert server.rotated == [rotated], "its last line is not acknowledged"
    server.tick()
    assert server.rotated == []
    server.tick()
    assert [*delivered(server.stream.records).values()] == [
        b"a line that is long",
        b"written before the reopen",
        b"new",
    ]


def archived(server: Server, *ranges: tuple[int, int]) -> None:
    """Note these ranges of the first generation as seen archived."""
    checkpoint = checkpoint_of(server.log).load()
    assert checkpoint
    first = checkpoint.generations[0]
    known = Known(first.name, *first.acknowledged, archived=Ranges(ranges))
    server.archived_file = ArchivedFile(server.log.with_name("archived.json"))
    server.archived_file.load()
    server.archived_file.save(Archived(generations={first.id: known}))


@pytest.mark.parametrize("ranges", [[], [(0, 19)], [(1, 20)], [(0, 5), (6, 20)]])
def test_acknowledged_is_not_archived(server: Server, ranges: list[tuple[int, int]]) -> None:
    server.write(b"a line that is long\n")
    server.tick()
    archived(server, *ranges)
    for _ in range(3):
        server.tick()
    assert len(server.rotated) == 1, "a byte of it is not archived"
    archived(server, (0, 20))
    server.tick()
    assert server.rotated == []


def test_what_another_generation_of_the_file_has_is_not_archived(server: Server) -> None:
    """The producer was started while the log was written: its first lines are in the generation of before."""
    server.write(b"a\n")
    server.ship()
    file = checkpoint_of(server.log)
    checkpoint = file.load()
    assert checkpoint
    checkpoint.generations[0].limit = checkpoint.generations[0].sent
    file.save(checkpoint)
    server.write(b"a line that is long\n")
    server.tick()
    checkpoint = file.load()
    assert checkpoint
    first, last = checkpoint.parts
    server.archived_file = ArchivedFile(server.log.with_name("archived.json"))
    for known in ([last], [last, first]):
        assert len(server.rotated) == 1
        server.archived_file.load()
        seen = {each.id: Known("", *each.acknowledged, archived=Ranges([each.acknowledged])) for each in known}
        server.archived_file.save(Archived(generations=seen))
        server.ship()
        server.rotate()
    assert server.rotated == []


def test_a_last_line_without_a_newline_is_archived_with_the_newline_it_lacks(server: Server) -> None:
    server.write(b"a line that is long\nhalf")
    server.rotate()
    server.clock.advance(60)
    server.ship()
    archived(server, (0, 24))
    server.rotate()
    assert len(server.rotated) == 1
    archived(server, (0, 25))
    server.rotate()
    assert server.rotated == []


@pytest.mark.parametrize("content", [b"{", b'{"version": 99}'])
def test_without_knowing_what_is_archived_nothing_is_deleted(
    server: Server, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    server.write(b"a line that is long\n")
    server.tick()
    server.archived_file = ArchivedFile(server.log.with_name("archived.json"))
    server.archived_file.path.write_bytes(content)
    server.tick()
    assert len(server.rotated) == 1
    assert "archived.json" in caplog.text


def test_an_old_log_is_rotated_however_small(server: Server) -> None:
    """Its age counts from its first line, and goes on over a restart of the producer."""
    server.write(b"")
    server.tick()
    server.write(b"small\n")
    server.clock.advance(AGE)
    server.tick()
    assert server.rotated == [], "its first line was seen just now"
    server.clock.advance(AGE - 1)
    server.tick()
    assert server.rotated == []
    server.clock.advance(1)
    server.tick()
    assert len(server.rotated) == 1
    server.tick()
    server.clock.advance(2 * AGE)
    server.tick()
    assert (server.rotated, len(server.signals)) == ([], 1), "an empty log has no age"


def test_one_producer_sees_the_age_of_each_log(server: Server) -> None:
    rotator = Rotator(
        server.log,
        server.log.with_name("nginx.pid"),
        LIMIT,
        AGE,
        server.clock,
        checkpoint_of(server.log),
        held=lambda _path: False,
        find_nginx=lambda _file: NGINX,
        kill=server.kill,
    )
    for count in (1, 2):
        server.write(b"small\n")
        rotator.look()
        server.ship()
        for rotations, step in ((count - 1, AGE - 1), (count, 1)):
            server.clock.advance(step)
            rotator.look()
            assert rotator.rotations == rotations
    assert len(delivered(server.stream.records)) == 2


def test_without_room_a_small_log_is_rotated_too(server: Server) -> None:
    """Else a log that is larger than its disk would never be deleted."""
    server.full = True
    server.write(b"")
    server.tick()
    assert server.rotated == []
    server.write(b"small\n")
    server.tick()
    assert len(server.rotated) == 1
    server.tick()
    assert server.rotated == []


def three_logs(server: Server) -> list[str]:
    """Of 20 bytes each: acknowledged, not seen by any poll, and archived."""
    server.archived_file = ArchivedFile(server.log.with_name("archived.json"))
    names = []
    for shipped in (True, False, True):
        server.write(b"a line of 20 bytes.\n")
        if shipped:
            server.tick()
        else:
            server.rotate()
        names.append(server.rotated[-1].name)
        server.clock.advance(1)
    server.ship()
    checkpoint = checkpoint_of(server.log).load()
    assert checkpoint
    last = checkpoint.generations[-1]
    known = Known(last.name, *last.acknowledged, archived=Ranges([(0, 20)]))
    server.archived_file.load()
    server.archived_file.save(Archived(generations={last.id: known}))
    return names


def test_nothing_that_is_not_archived_is_deleted_to_make_room(server: Server) -> None:
    names = three_logs(server)
    server.full = True
    server.rotate()
    assert [path.name for path in server.rotated] == names[:2]


@pytest.mark.parametrize(("full", "drop_at", "left"), [(False, 41, 2), (False, 40, 1), (False, 20, 0), (True, 99, 1)])
def test_the_oldest_are_dropped_where_that_is_said(
    server: Server, caplog: pytest.LogCaptureFixture, full: bool, drop_at: int, left: int
) -> None:
    names = three_logs(server)
    server.full, server.drop_at = full, drop_at
    server.rotate()
    assert [path.name for path in server.rotated] == names[2 - left : 2], "the archived one goes first"
    assert server.dropped == 2 - left
    assert caplog.text.count("20 of its 20 bytes are not archived, and lost") == server.dropped


def test_a_log_that_no_poll_has_seen_under_its_new_name_stays(server: Server) -> None:
    """The next poll would take it for a log that was deleted unread."""
    server.write(b"a line that is long\n")
    server.ship()
    server.rotate()
    server.rotate()
    assert len(server.rotated) == 1
    server.tick()
    assert server.rotated == []


def test_two_rotations_in_one_second_have_two_names(server: Server) -> None:
    server.held = True
    for _ in range(2):
        server.write(b"a line that is long\n")
        server.rotate()
    assert [path.name[-2:] for path in server.rotated] == ["-0", "-1"]


def test_a_signal_without_effect_is_sent_again(server: Server) -> None:
    server.deaf = True
    server.write(b"a line that is long\n")
    server.tick()
    server.tick()
    assert len(server.signals) == 2
    assert len(server.rotated) == 1, "as long as nginx writes to it, it stays"
    server.deaf = False
    server.tick()
    server.tick()
    assert (server.rotated, len(server.signals)) == ([], 3)


def test_without_nginx_nothing_is_renamed_nor_signalled(server: Server) -> None:
    server.pid = None
    server.write(b"a line that is long\n")
    server.tick()
    assert (server.rotated, server.signals) == ([], [])
    server.log.unlink()
    server.tick()
    assert server.signals == []


def test_what_a_process_holds_open_stays(server: Server) -> None:
    server.write(b"a line that is long\n")
    server.held = True
    server.tick()
    server.tick()
    assert len(server.rotated) == 1
    server.held = None
    server.tick()
    assert len(server.rotated) == 1, "it may be held by a process that cannot be seen"
    server.clock.advance(UNSEEN_AFTER + 60)
    server.tick()
    assert server.rotated == []


def test_what_others_have_rotated_is_theirs(server: Server) -> None:
    for name in ("access.log.1", "access.log.20200418T014218Z", "access.log-20200418", "access.log.bak"):
        server.log.with_name(name).write_bytes(b"line of %s\n" % name.encode())
    server.write(b"x\n")
    server.tick()
    server.tick()
    assert len(delivered(server.stream.records)) == 5
    assert len(list(server.log.parent.glob("access.log?*"))) == 4


def test_a_damaged_checkpoint_deletes_nothing(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.write(b"a line that is long\n")
    server.tick()
    server.ship()
    checkpoint_of(server.log).path.write_bytes(b"{")
    server.rotate()
    assert len(server.rotated) == 1
    assert "damaged" in caplog.text


def test_what_is_written_while_it_is_looked_at_stays(server: Server) -> None:
    """The last holder writes a line and goes, just between the two questions."""
    server.write(b"a line that is long\n")
    server.tick()
    server.ship()
    (rotated,) = server.rotated

    def held(_path: Path) -> bool:
        with rotated.open("ab") as file:
            file.write(b"late\n")
        return False

    checkpoint = checkpoint_of(server.log)
    Rotator(server.log, server.log, LIMIT, AGE, server.clock, checkpoint, held=held, find_nginx=lambda _: None).look()
    assert server.rotated == [rotated]


def test_without_a_checkpoint_nothing_is_deleted(server: Server) -> None:
    server.write(b"a line that is long\n")
    server.tick()
    checkpoint_of(server.log).path.unlink()
    server.rotate()
    assert len(server.rotated) == 1


@pytest.mark.parametrize("content", [None, "", "text", "-1", "0", "99999999", pytest.param(str(os.getpid()), id="own")])
def test_only_nginx_is_nginx(tmp_path: Path, content: str | None) -> None:
    """A stale pid file may hold anything, and name anybody, even this process."""
    pid_file = tmp_path / "nginx.pid"
    if content is not None:
        pid_file.write_text(content)
    assert nginx_pid(pid_file) is None


def test_nginx_is_known_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path)
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "comm").write_text("nginx\n")
    (tmp_path / "nginx.pid").write_text("17\n")
    assert nginx_pid(tmp_path / "nginx.pid") == 17


def make_process(proc: Path, pid: int, opened: Path | None = None) -> Path:
    descriptors = proc / str(pid) / "fd"
    descriptors.mkdir(parents=True)
    if opened:
        (descriptors / "3").symlink_to(opened)
    return descriptors


def test_who_holds_a_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc, file = tmp_path / "proc", tmp_path / "file"
    monkeypatch.setattr(processes, "PROC", proc)
    file.touch()
    where = file.stat()
    assert held_open(where.st_dev, where.st_ino) is None, "no /proc, no answer"
    make_process(proc, os.getpid(), file)
    make_process(proc, 1, tmp_path / "gone")
    (proc / "uptime").touch()
    assert held_open(where.st_dev, where.st_ino) is False, "this process itself does not count"
    make_process(proc, 2, file)
    assert held_open(where.st_dev, where.st_ino) is True


def test_a_process_that_cannot_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_process(tmp_path, 1)
    monkeypatch.setattr(processes, "PROC", tmp_path)

    def refuse(path: Path) -> list[Path]:
        if path.name == "fd":
            raise PermissionError(13, "Permission denied")
        return [tmp_path / "1"]

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert held_open(1, 1) is None


def test_the_kernel_tells_of_a_writer_that_cannot_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "held_open", lambda _device, _inode: None)
    file = tmp_path / "file"
    with file.open("wb"):
        assert written_to(file) is True
    with file.open("rb"):
        assert written_to(file) is False
    with pytest.raises(FileNotFoundError):
        written_to(tmp_path / "missing")


def test_a_file_system_may_tell_nothing_of_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "held_open", lambda _device, _inode: None)
    monkeypatch.setattr("fcntl.fcntl", lambda *_: os.open(tmp_path / "missing", os.O_RDONLY))
    (tmp_path / "file").touch()
    assert written_to(tmp_path / "file") is None
