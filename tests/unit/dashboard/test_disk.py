from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import disk
from dashboard.disk import Disk, LogDirectory
from journal.checkpoint import CheckpointFile, FileId, Fingerprint, Generation
from journal.ranges import Ranges
from producer.ship import ship_once
from tests.fake_kinesis import FakeClock, FakeKinesis, Fault, refuse_all, sink_of, source_of

LINE = b'127.0.0.1 - - [23/Nov/2026:12:00:%02d +0200] "GET /%d HTTP/1.1" 200 5 "-" "test"\n'


def line(number: int) -> bytes:
    return LINE % (number % 60, number)


def checkpointed(path: Path, position: int, *, closed: bool = False) -> Generation:
    status = path.stat()
    files = [FileId(status.st_dev, status.st_ino)]
    name = "6b045ce8" + "0" * 16
    return Generation(name, files, Fingerprint(), position + closed, closed=closed, name=path.name, start=0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log" / "access.log"
    path.parent.mkdir()
    return path


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    found = LogDirectory(tmp_path / "nowhere" / "access.log").look([])
    assert (found.bytes, found.files, found.lines, found.new_lines, found.new_since) == (0, 0, 0, 0, None)


def test_what_is_not_acknowledged_and_since_when(log: Path) -> None:
    directory = LogDirectory(log)
    log.write_bytes(line(1) + line(2) + line(3) + b"half a li")
    found = directory.look([checkpointed(log, len(line(1)))])
    assert (found.new_lines, found.new_bytes) == (2, len(line(2) + line(3)))
    assert found.new_since == datetime(2026, 11, 23, 10, 0, 2, tzinfo=UTC)
    found = directory.look([checkpointed(log, len(line(1) + line(2) + line(3)))])
    assert (found.new_lines, found.new_bytes, found.new_since) == (0, 0, None)
    assert found.lines == 3


def test_a_log_that_was_moved_is_known_by_its_inode(log: Path) -> None:
    moved = log.parent / "old" / "whatever"
    moved.parent.mkdir()
    moved.write_bytes(line(1) + line(2))
    generation = checkpointed(moved, len(line(1)))
    generation.name = "old/whatever"
    directory = LogDirectory(log)
    found = directory.look([generation])
    assert (found.files, found.lines, found.new_lines) == (1, 2, 1)
    assert directory.lines_in("whatever", Ranges.of(0, moved.stat().st_size)) == 2


@pytest.mark.parametrize("name", ["access.log.1.gz", "access.log.1"])
def test_a_compressed_log_that_waits_counts_as_the_producer_has_seen_it(log: Path, name: str) -> None:
    """Whatever it is called."""
    text = line(1) + line(2)
    path = log.with_name(name)
    path.write_bytes(gzip.compress(text))
    checkpoint, stream, clock = CheckpointFile(log.with_name("checkpoint.json")), FakeKinesis(), FakeClock()
    directory = LogDirectory(log)

    def found(script: list[Fault | None]) -> Disk:
        stream.script = script
        ship_once(source_of(log, clock), checkpoint, sink_of(stream, clock))
        known = checkpoint.load()
        assert known
        return directory.look(known.generations, known.ignored)

    waiting = found([refuse_all] * 1000)
    assert (waiting.new_bytes, waiting.new_lines) == (len(text), None)
    done = found([])
    assert (done.new_bytes, done.new_lines) == (0, 0)


def test_a_file_that_holds_no_lines_does_not_wait(log: Path) -> None:
    path = log.with_name("access.log.1.gpg")
    path.write_bytes(bytes(range(256)) * 4)
    checkpoint = CheckpointFile(log.with_name("checkpoint.json"))
    ship_once(source_of(log, FakeClock()), checkpoint, sink_of(FakeKinesis(), FakeClock()))
    known = checkpoint.load()
    assert known
    assert LogDirectory(log).look(known.generations, known.ignored).new_lines == 0
    with path.open("ab") as file:
        file.write(line(1))
    assert LogDirectory(log).look(known.generations, known.ignored).new_lines == 5, "it is another one now"


def test_a_log_that_the_checkpoint_does_not_know_is_new_from_its_beginning(log: Path) -> None:
    log.write_bytes(line(7))
    rotated = log.with_name("access.log.1")
    rotated.write_bytes(line(5) + line(6))
    log.with_name("access.log.2.gz").write_bytes(b"compressed\n")
    log.with_name("other.log").write_bytes(b"another\n")
    found = LogDirectory(log).look([checkpointed(rotated, len(line(5)))])
    assert (found.files, found.lines, found.new_lines) == (2, 3, 2)
    assert found.new_since == datetime(2026, 11, 23, 10, 0, 6, tzinfo=UTC)


def test_growth_is_what_is_seen_after_the_first_look(log: Path) -> None:
    log.write_bytes(line(1))
    directory = LogDirectory(log)
    assert (directory.look([]).grown_lines, directory.look([]).grown_bytes) == (0, 0)
    with log.open("ab") as file:
        file.write(line(2) + line(3))
    assert directory.look([]).grown_lines == 2
    log.rename(log.with_name("access.log.1"))
    log.write_bytes(line(4))
    assert directory.look([]).grown_lines == 3
    log.with_name("access.log.1").unlink()
    found = directory.look([])
    assert (found.grown_lines, found.lines) == (3, 1)
    assert found.grown_bytes == len(line(2) + line(3) + line(4))


def test_a_log_that_was_emptied_is_counted_anew(log: Path) -> None:
    log.write_bytes(line(1) + line(2))
    directory = LogDirectory(log)
    directory.look([])
    log.write_bytes(line(3))
    found = directory.look([])
    assert (found.lines, found.bytes) == (1, len(line(3)))


def test_a_large_log_is_counted_in_several_looks(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "BLOCK", 64)
    monkeypatch.setattr(disk, "READ_BYTES", 256)
    log.write_bytes(b"".join(map(line, range(20))))
    directory = LogDirectory(log)
    looks = 1
    while directory.look([]).lines is None:
        assert directory.lines_in("access.log", Ranges.of(0, log.stat().st_size)) is None
        looks += 1
    assert looks == -(-log.stat().st_size // 256)
    assert directory.look([]).lines == 20
    assert directory.look([]).grown_lines == 0


def test_the_newline_that_a_last_line_lacks_is_counted_where_a_ledger_has_it(log: Path) -> None:
    log.write_bytes(line(1) + line(2)[:-1])
    directory = LogDirectory(log)
    directory.look([])
    assert directory.lines_in("access.log", Ranges.of(0, log.stat().st_size + 1)) == 2
    assert directory.lines_in("access.log", Ranges.of(0, log.stat().st_size + 2)) is None
    assert directory.lines_in("another.log", Ranges.of(0, 1)) is None


def test_a_line_without_a_time_has_none(log: Path) -> None:
    log.write_bytes(b"\x16\x03\x01\n" + line(2))
    directory = LogDirectory(log)
    assert directory.look([]).new_since is None
    assert directory.time_at("access.log", 4) == datetime(2026, 11, 23, 10, 0, 2, tzinfo=UTC)
    assert directory.time_at("another.log", 4) is None
    log.write_bytes(b"[99/Xyz/2026:12:00:00 +0200]\n")
    assert directory.time_at("access.log", 0) is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.binary(max_size=300)),
        st.tuples(st.just("rotate"), st.just(b"")),
        st.tuples(st.just("empty"), st.just(b"")),
        st.tuples(st.just("look"), st.just(b"")),
    ),
    max_size=20,
)


@given(steps=STEPS, data=st.data())
def test_counting_what_is_new_is_counting_all(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, bytes]], data: st.DataObject
) -> None:
    """Whatever is written, rotated and looked at in between: the lines of any range are its newlines."""
    folder = tmp_path_factory.mktemp("log")
    log = folder / "access.log"
    directory = LogDirectory(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "BLOCK", 32)
        for number, (step, content) in enumerate(steps):
            if step == "append":
                with log.open("ab") as file:
                    file.write(content.replace(b"x", b"\n"))
            elif step == "rotate" and log.exists():
                directory.look([])
                log.rename(folder / f"access.log.{number}")
            elif step == "empty" and log.exists():
                log.write_bytes(b"")
                directory.look([])
            else:
                directory.look([])
        found = directory.look([])
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert found.lines == sum(content.count(b"\n") for content in files.values())
        assert found.new_bytes == sum(content.rfind(b"\n") + 1 for content in files.values())
        assert found.new_lines == found.lines
        for name, content in files.items():
            start = data.draw(st.integers(0, len(content)))
            end = data.draw(st.integers(start, len(content)))
            assert directory.lines_in(name, Ranges.of(start, end)) == content[start:end].count(b"\n")


def test_lines_written_since_the_last_look_are_counted(log: Path) -> None:
    log.write_bytes(line(1))
    directory = LogDirectory(log)
    directory.look([])
    log.write_bytes(line(1) + line(2))
    assert directory.lines_in("access.log", Ranges.of(0, log.stat().st_size)) == 2
