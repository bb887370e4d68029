"""The whole path against a stream that fails in every way: nothing is lost, nothing unacknowledged is passed over."""

from __future__ import annotations

import itertools
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal import checkpoint as checkpointing
from journal.checkpoint import CheckpointFile
from producer.batch import hourly_batches
from producer.ship import Shipped, ship_once
from tests.fake_kinesis import (
    FakeClock,
    FakeFirehose,
    FakeKinesis,
    Fault,
    answer_nonsense,
    answer_short,
    checkpoint_of,
    delivered,
    error,
    firehose_sink_of,
    lines_in,
    lose_answer,
    refuse,
    refuse_all,
    sink_of,
    source_of,
    unreachable,
)

ROOT = Path(__file__).parents[2]

faults: st.SearchStrategy[Fault | None] = st.one_of(
    st.none(),
    st.sampled_from(
        [
            refuse_all,
            lose_answer,
            unreachable,
            answer_short,
            answer_nonsense,
            error("ProvisionedThroughputExceededException"),
            error("ResourceNotFoundException"),
            error("ExpiredTokenException"),
            error("InternalFailure", 500),
            error("AccessDeniedException"),
        ]
    ),
    st.tuples(st.sets(st.integers(0, 499)), st.integers(0, 500)).map(lambda draw: refuse(draw[0], lie=draw[1])),
)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ship-") as name:
        yield Path(name) / "access.log"


def watched(stream: FakeKinesis, file: CheckpointFile) -> Callable[[Shipped], None]:
    """Fails at once when the durable checkpoint claims a byte that the stream has not stored."""

    def check(_report: Shipped) -> None:
        checkpoint = file.load()
        assert checkpoint
        stored = delivered(stream.records)
        for generation in checkpoint.generations:
            position = 0
            while position < generation.offset:
                assert (generation.id, position) in stored, f"byte {position} is claimed and nowhere stored"
                position += len(stored[generation.id, position]) + 1

    return check


@settings(max_examples=60)
@given(
    script=st.lists(faults, max_size=12),
    ticks=st.lists(st.integers(0, 1200), min_size=1, max_size=4),
)
def test_everything_arrives_and_the_checkpoint_never_runs_ahead(script: list[Fault | None], ticks: list[int]) -> None:
    with folder() as log:
        clock, stream = FakeClock(), FakeKinesis(list(script))
        source, file, sink = source_of(log, clock), checkpoint_of(log), sink_of(stream, clock)
        check = watched(stream, file)
        written: list[bytes] = []
        for count in ticks:
            lines = [b"line %d" % number for number in range(len(written), len(written) + count)]
            written += lines
            with log.open("ab") as out:
                out.write(b"".join(line + b"\n" for line in lines))
            report = ship_once(source, file, sink, progress=check)
            check(report)
            assert report.lag == 0 or report.error
        for _ in script:
            ship_once(source, file, sink, progress=check)
        last = ship_once(source, file, sink, progress=check)
        assert (last.error, last.lag) == (None, 0)
        assert sorted(delivered(stream.records).values()) == sorted(written)
        calls = len(stream.calls)
        assert ship_once(source, file, sink).records == 0
        assert len(stream.calls) == calls, "a tick with nothing to do called the stream"


@settings(max_examples=40)
@given(
    script=st.lists(faults, max_size=8),
    ticks=st.lists(st.integers(0, 300), min_size=1, max_size=4),
)
def test_firehose_gets_everything_too(script: list[Fault | None], ticks: list[int]) -> None:
    """It has no keys to tell a repetition by, so the lines here do; a line an hour, so that there is more than one."""
    with folder() as log:
        clock, stream = FakeClock(), FakeFirehose(list(script))
        source, file, sink = source_of(log, clock), checkpoint_of(log), firehose_sink_of(stream, clock)
        written: list[bytes] = []

        def check(_report: Shipped) -> None:
            stored = {line for record in stream.records for line in lines_in(record.data)}
            checkpoint = file.load()
            assert checkpoint
            for generation in checkpoint.generations:
                claimed = log.read_bytes()[: generation.offset].split(b"\n")[:-1]
                assert stored.issuperset(claimed)

        for count in ticks:
            lines = [
                b"[18/Apr/2020:%02d:00:00 +0000] %d" % (n % 24, n) for n in range(len(written), len(written) + count)
            ]
            written += lines
            with log.open("ab") as out:
                out.write(b"".join(line + b"\n" for line in lines))
            check(ship_once(source, file, sink, cut=hourly_batches, progress=check))
        for _ in script:
            ship_once(source, file, sink, cut=hourly_batches, progress=check)
        last = ship_once(source, file, sink, cut=hourly_batches, progress=check)
        assert (last.error, last.lag) == (None, 0)
        assert {line for record in stream.records for line in lines_in(record.data)} == set(written)


def test_only_the_refused_entries_are_sent_again(tmp_path: Path) -> None:
    log, clock = tmp_path / "access.log", FakeClock()
    log.write_bytes(b"a\nb\nc\nd\n")
    stream = FakeKinesis([refuse([1, 3], lie=0), refuse([0])])
    report = ship_once(source_of(log, clock), checkpoint_of(log), sink_of(stream, clock))
    assert stream.calls == [4, 2, 1]
    assert [record.data for record in stream.records] == [b"a", b"c", b"d", b"b"]
    assert (report.lines, report.records, report.bytes, report.lag, report.error) == (4, 4, 8, 0, None)
    assert [(start, end) for _, start, end in report.ranges] == [(0, 8)]


def test_a_gap_holds_the_checkpoint_back(tmp_path: Path) -> None:
    log, clock = tmp_path / "access.log", FakeClock()
    log.write_bytes(b"a\nb\nc\n")
    stream = FakeKinesis([refuse([1]), error("AccessDeniedException")])
    file = checkpoint_of(log)
    report = ship_once(source_of(log, clock), file, sink_of(stream, clock))
    assert report.error
    assert "kinesis:PutRecords" in report.error
    assert (report.records, report.lag) == (2, 4)
    checkpoint = file.load()
    assert checkpoint
    assert [generation.offset for generation in checkpoint.generations] == [2]
    ship_once(source_of(log, clock), file, sink_of(stream, clock))
    assert sorted(delivered(stream.records).values()) == [b"a", b"b", b"c"]


class Disk:
    """Lets the n-th operation on the checkpoint's file fail, once or from then on, before or after it is done."""

    def __init__(self, fail_at: int, persistent: bool, afterwards: bool) -> None:
        self.fail_at, self.persistent, self.afterwards, self.count = fail_at, persistent, afterwards, 0

    def wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            fails = self.count == self.fail_at or (self.persistent and self.count > self.fail_at)
            if fails and not self.afterwards:
                raise OSError(28, "No space left on device")
            result = operation(*arguments, **options)
            if fails:
                raise OSError(5, "Input/output error")
            return result

        return wrapped


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("afterwards", [False, True])
def test_fail_each_disk_operation_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, persistent: bool, afterwards: bool
) -> None:
    """The 1st, 2nd, 3rd ... operation on the checkpoint fails; after it is mended, every line is there."""
    for fail_at in itertools.count(1):
        log, clock, stream = tmp_path / str(fail_at) / "access.log", FakeClock(), FakeKinesis()
        log.parent.mkdir()
        disk = Disk(fail_at, persistent, afterwards)
        failures = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", disk.wrap(os.fsync))
            patch.setattr(Path, "replace", disk.wrap(Path.replace))
            patch.setattr(Path, "read_bytes", disk.wrap(Path.read_bytes))
            source, file, sink = source_of(log, clock), checkpoint_of(log), sink_of(stream, clock)
            for text in (b"a\nb\n", b"c\n", b"d\n"):
                with log.open("ab") as out:
                    out.write(text)
                try:
                    ship_once(source, file, sink)
                except OSError:
                    failures += 1
        check = watched(stream, file)
        ship_once(source, file, sink, progress=check)
        assert sorted(delivered(stream.records).values()) == [b"a", b"b", b"c", b"d"], f"operation {fail_at}"
        if disk.count < fail_at:
            assert not failures
            break
    assert fail_at > 5


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("fault", [refuse_all, lose_answer, unreachable, answer_short, error("KMSThrottlingException")])
def test_fail_each_call_in_turn(tmp_path: Path, fault: Fault, persistent: bool) -> None:
    for fail_at in range(4):
        log, clock = tmp_path / str(fail_at) / "access.log", FakeClock()
        log.parent.mkdir()
        stream = FakeKinesis([None] * fail_at + [fault] * (10_000 if persistent else 1))
        source, file, sink = source_of(log, clock), checkpoint_of(log), sink_of(stream, clock)
        check = watched(stream, file)
        for text in (b"a\nb\n", b"c\n", b"d\n"):
            with log.open("ab") as out:
                out.write(text)
            check(ship_once(source, file, sink))
        stream.script.clear()
        ship_once(source, file, sink)
        assert sorted(delivered(stream.records).values()) == [b"a", b"b", b"c", b"d"]


def test_a_checkpoint_that_cannot_be_saved_keeps_new_generations_from_being_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, clock, stream = tmp_path / "access.log", FakeClock(), FakeKinesis()
    log.write_bytes(b"a\n")

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpointing, "write_atomic", full)
    with pytest.raises(OSError, match="No space left"):
        ship_once(source_of(log, clock), checkpoint_of(log), sink_of(stream, clock))
    assert stream.calls == []


def test_stop_ends_between_two_batches(tmp_path: Path) -> None:
    log, clock, stream = tmp_path / "access.log", FakeClock(), FakeKinesis()
    rng = random.Random(3)
    log.write_bytes(b"".join(rng.randbytes(4000).hex().encode() + b"\n" for _ in range(2500)))
    file, sink = checkpoint_of(log), sink_of(stream, clock)
    report = ship_once(source_of(log, clock), file, sink, stop=lambda: len(stream.calls) == 1)
    assert report.stopped
    assert report.lag > 0
    assert len(stream.calls) == 1
    assert ship_once(source_of(log, clock), file, sink).lag == 0
    assert len(delivered(stream.records)) == 2500


BACKLOG = """
import resource, sys
from pathlib import Path
from common.clock import SystemClock
from journal.checkpoint import CheckpointFile
from producer.ship import ship_once
from producer.source import Source
from tests.fake_kinesis import NullSink
import random
log = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = ship_once(Source(log, SystemClock(), random.Random(1)), CheckpointFile(log.with_name("c.json")), NullSink())
assert report.lag == 0, report
print(report.lines, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("shape", ["lines", "one long line"])
def test_a_large_backlog_is_streamed(tmp_path: Path, shape: str) -> None:
    """300 MB go through in a few times the size of a call."""
    log = tmp_path / "access.log"
    with log.open("wb") as out:
        if shape == "lines":
            block = b"".join(
                b'192.168.99.%d - - [18/Apr/2020:01:42:%02d +0000] "GET /%d HTTP/1.1" 200 612 "-" "%s"\n'
                % (n % 250, n % 60, n, b"Mozilla/5.0 " * 10)
                for n in range(20_000)
            )
            count = 300_000_000 // len(block)
            for _ in range(count):
                out.write(block)
            lines = 20_000 * count
        else:
            out.truncate(300_000_000)  # a hole, read as one line of zeros
            out.seek(0, 2)
            out.write(b"\n")
            lines = 1
    result = subprocess.run(
        [sys.executable, "-c", BACKLOG, str(log)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    shipped, kilobytes = map(int, result.stdout.split())
    assert shipped == lines
    assert kilobytes < 64 * 1024


def test_memory_is_measured_here() -> None:
    """The number above is in KiB on Linux; the test would mean nothing otherwise."""
    assert sys.platform == "linux"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 1024
