"""The source and its checkpoint against a model of the log.

A machine writes, rotates, copies, empties and refills a log as nginx and logrotate do, polls it, lets the stream refuse
what it likes, and restarts the producer. The model is a list of the lines that must arrive. What was in the log when
it was emptied, had not arrived and is in no copy, is gone for good: it may have arrived or not.

In the end an exactly-once reader of the stream must have each line exactly once, under one generation and offset.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from common.status import Place
from producer import batch as batching
from producer import reader as reading
from producer import record as recording
from producer.put import Put
from producer.record import Record
from producer.ship import ship_once
from producer.signed import SIGNATURE_BYTES
from tests.fake_kinesis import FakeClock, Stored, checkpoint_of, delivered, source_of

# A rotated log that is full of control characters is taken for no text
NO_CONTROL = bytes(number if number >= 32 and number != 127 else ord("_") for number in range(256))


class Stream:
    """Takes every record, and acknowledges those the next draws say."""

    def __init__(self) -> None:
        self.records: list[Stored] = []
        self.refusals: random.Random | None = None

    def put(self, batch: Sequence[Record]) -> Put:
        answer: list[Place | None] = []
        for record in batch:
            fate = self.refusals.randrange(3) if self.refusals else 0
            if fate != 1:  # 1: refused; 2: stored, but the answer was lost
                self.records.append(Stored(record.key, record.data))
            answer.append(Place(shard="shardId-0", sequence_number=str(len(self.records))) if fate == 0 else None)
        return Put(answer, None if all(answer) else "refused")


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="source-"))
        self.log = self.folder / "access.log"
        self.clock = FakeClock()
        self.stream = Stream()
        self.source = source_of(self.log, self.clock, seed=0)
        self.file = checkpoint_of(self.log)
        self.must: list[bytes] = []
        self.may: list[bytes] = []
        self.unread: list[bytes] = []  # lines of the live log, since it was last emptied
        self.partial = b""
        self.count = 0
        self.copying: tuple[Path, int] | None = None
        self.patch = pytest.MonkeyPatch()
        # small enough that a few lines reach every limit
        self.patch.setattr(reading, "BLOCK_BYTES", 200)
        self.patch.setattr(reading, "FRAGMENT_BYTES", 96)
        self.patch.setattr(reading, "WINDOW_BYTES", 40)
        self.patch.setattr(recording, "MAX_RECORD_BYTES", 160 + SIGNATURE_BYTES)
        self.patch.setattr(recording, "PACK_BYTES", 90)
        self.patch.setattr(recording, "FRAGMENT_BYTES", 96)
        self.patch.setattr(recording, "WINDOW_BYTES", 40)
        self.patch.setattr(batching, "MAX_BATCH_RECORDS", 4)
        self.patch.setattr(batching, "MAX_BATCH_BYTES", 500 + 4 * SIGNATURE_BYTES)

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.patch.undo()
            shutil.rmtree(self.folder)

    # What the web server does

    def text(self, length: int, compressible: bool) -> bytes:
        self.count += 1
        fill = b"x" * length if compressible else random.Random(self.count).randbytes(length).translate(NO_CONTROL)
        return b"<%d %s %d>" % (self.count, fill, self.count)

    def append(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)

    @rule(count=st.integers(1, 7), length=st.sampled_from([0, 5, 30, 150, 500]), compressible=st.booleans())
    def write_lines(self, count: int, length: int, compressible: bool) -> None:
        for _ in range(count):
            line = self.text(length, compressible)
            self.append(line + b"\n")
            self.unread.append(self.partial + line)
            self.partial = b""

    @rule(length=st.sampled_from([0, 20, 300]))
    def write_part_of_a_line(self, length: int) -> None:
        part = self.text(length, compressible=False)
        self.append(part)
        self.partial += part

    # What logrotate does

    def free_name(self) -> Path:
        self.count += 1
        return self.log.with_name(f"{self.log.name}{'.-'[self.count % 2]}{self.count}")

    def settle(self) -> None:
        """The lines of the live log now stand in a file that stays."""
        self.must += self.unread
        if self.partial:
            self.must.append(self.partial)
        self.unread, self.partial = [], b""

    def present(self) -> bool:
        return self.log.exists() and self.copying is None

    @precondition(present)
    @rule(recreate=st.booleans())
    def rotate_by_rename(self, recreate: bool) -> None:
        self.log.rename(self.free_name())
        self.settle()
        if recreate:
            self.log.touch()

    @precondition(present)
    @rule()
    def move_rotated_on(self) -> None:
        """Names go up by one, as logrotate has it; the inodes stay."""
        for path in sorted(self.folder.glob("access.log?*")):
            path.rename(self.free_name())

    @precondition(lambda self: self.present() and self.log.stat().st_size)
    @rule(partly=st.booleans())
    def begin_copytruncate(self, partly: bool) -> None:
        """The copy is there, the log is not emptied yet; a poll may come in between."""
        copy = self.free_name()
        data = self.log.read_bytes()
        copy.write_bytes(data[: len(data) // 2] if partly else data)
        self.copying = (copy, len(data))

    @precondition(lambda self: self.copying is not None)
    @rule()
    def end_copytruncate(self) -> None:
        assert self.copying
        copy, _ = self.copying
        copy.write_bytes(self.log.read_bytes())  # logrotate loses what comes after this; the model does not go there
        os.truncate(self.log, 0)
        self.copying = None
        self.settle()

    @precondition(present)
    @rule(refill=st.booleans())
    def truncate(self, refill: bool) -> None:
        """Somebody empties the log. What had not arrived is gone."""
        size = self.log.stat().st_size
        os.truncate(self.log, 0)
        arrived = set(whole_lines(self.stream.records))
        whole = [*self.unread, *([self.partial] if self.partial else [])]
        self.must += [line for line in whole if line in arrived]
        self.may += [line for line in whole if line not in arrived]
        self.unread, self.partial = [], b""
        while refill and self.log.stat().st_size <= size:
            self.write_lines(1, 60, False)

    # What the producer does

    @rule(seed=st.one_of(st.none(), st.integers(0, 20)))
    def poll(self, seed: int | None) -> None:
        self.stream.refusals = None if seed is None else random.Random(seed)
        ship_once(self.source, self.file, self.stream)
        self.no_byte_is_passed_over()

    @rule()
    def restart(self) -> None:
        self.count += 1
        self.source = source_of(self.log, self.clock, seed=self.count)
        self.file = checkpoint_of(self.log)

    @rule()
    def time_passes(self) -> None:
        """Long enough that a rotated file's unterminated last line is a line."""
        if self.copying is None:
            self.age()

    def age(self) -> None:
        for path in self.folder.glob("access.log*"):
            modified = path.stat().st_mtime_ns - 60 * 10**9
            os.utime(path, ns=(modified, modified))

    def no_byte_is_passed_over(self) -> None:
        """Below each generation's offset, everything is in the stream."""
        ends: dict[str, set[tuple[int, int]]] = {}
        for record in self.stream.records:
            for (name, start), line in delivered([record]).items():
                newline = 1 if record.key.count(":") == 1 else 0
                ends.setdefault(name, set()).add((start, start + len(line) + newline))
        checkpoint = self.file.load()
        assert checkpoint
        for generation in checkpoint.parts:
            covered = generation.acknowledged[0]
            for start, end in sorted(ends.get(generation.id, ())):
                if start <= covered:
                    covered = max(covered, end)
            assert generation.offset <= covered

    def finish(self) -> None:
        if self.copying is not None:
            self.end_copytruncate()
        self.stream.refusals = None
        for _ in range(2):
            ship_once(self.source, self.file, self.stream)
            self.age()
        assert ship_once(self.source, self.file, self.stream).records == 0
        self.must += self.unread
        self.no_byte_is_passed_over()
        arrived = whole_lines(self.stream.records, self.must)
        assert len(set(arrived)) == len(arrived), "a line arrived under two names"
        assert set(self.must) <= set(arrived), "a line is lost"
        assert not set(arrived) - {*self.must, *self.may}, "a line arrived that was never written"


def whole_lines(records: Sequence[Stored], unterminated: Sequence[bytes] = ()) -> list[bytes]:
    """What an exactly-once reader has, fragments put together again.

    Fragments with no newline at their end are a line only if the model says so: else the rest of it was emptied away.
    Those with a hole between them are none: what was there was refused, and emptied away before it was sent again.
    """
    fragments = {(generation, int(offset)) for generation, offset, *rest in split_keys(records) if rest}
    arrived = delivered(records)
    lines = [line for place, line in arrived.items() if place not in fragments]
    long, ends, torn = b"", ("", 0), False
    for place in sorted(fragments):
        begins = re.match(rb"<\d+ ", arrived[place])  # as each line of the model
        torn = (torn or place != ends) if place[0] == ends[0] else not begins
        long = long + arrived[place] if place == ends else arrived[place]
        ends = (place[0], place[1] + len(arrived[place]))
        if long.endswith(b"\n") or (long in unterminated and ends not in fragments):
            lines += [] if torn else [long.removesuffix(b"\n")]
            ends = ("", 0)
    return lines


def split_keys(records: Sequence[Stored]) -> list[list[str]]:
    return [record.key.split(":") for record in records]


TestLog = LogMachine.TestCase
TestLog.settings = settings(max_examples=150, stateful_step_count=30)


@pytest.mark.parametrize(("length", "seeds", "left"), [(500, [18, 4], ["384:96", "480:27"]), (150, [7], ["96:61"])])
def test_a_line_of_which_a_fragment_was_refused_before_the_log_was_emptied_is_no_line(
    length: int, seeds: list[int], left: list[str]
) -> None:
    machine = LogMachine()
    machine.write_lines(compressible=False, count=1, length=length)
    for seed in seeds:
        machine.poll(seed=seed)
    assert [record.key.partition(":")[2] for record in machine.stream.records][-len(left) :] == left
    machine.truncate(refill=False)
    machine.teardown()
