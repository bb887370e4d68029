"""Each line exactly once, whatever S3 does: a model, and a loop that fails every call in turn.

The limits are made tiny, so that a few lines reach the multipart path, several copied parts and the side object.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from archiver.archive import Archive, Limits
from archiver.filing import Item
from archiver.layout import HourlyObject
from archiver.ledger import Ledger, referenced
from archiver.stored import LINES_KEY, METADATA_KEY
from tests.fake_s3 import DOWN, LOST, SLOW_DOWN, FakeS3, Fault

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TINY = Limits(min_part=60, max_copy=130, max_metadata=80)
TARGET = HourlyObject("", "2020/04/18/01")
OWNERS = ("0a", "0b")
LINE = 10  # bytes of log each line stands for
LINES = 40  # of each owner
SEEDS = count()  # each writer has random numbers of its own


def fake() -> FakeS3:
    return FakeS3(min_part=TINY.min_part, max_copy=TINY.max_copy, max_metadata=TINY.max_metadata + len(METADATA_KEY))


def archive(s3: FakeS3, *, alone: bool = False) -> Archive:
    rng, client = random.Random(next(SEEDS)), cast("S3Client", s3)
    return Archive(client, s3.bucket, rng=rng, sleep=lambda _: None, limits=TINY, large={} if alone else None)


def item(owner: str, number: int) -> Item:
    return Item(owner, number * LINE, (number + 1) * LINE, f"{owner}-{number}\n".encode())


def run(numbers: list[tuple[str, int]]) -> Item:
    singly = [item(*each) for each in numbers]
    text = b"".join(each.text for each in singly)
    raw = (b"x" * (LINE - 1) + b"\n") * len(singly)
    return Item(singly[0].owner, singly[0].start, singly[-1].end, text, raw, len(singly))


def archived(s3: FakeS3, target: HourlyObject = TARGET) -> Counter[bytes]:
    stored = s3.objects.get(target.key)
    return Counter(stored.body.splitlines(keepends=True)) if stored else Counter()


def ledger_of(s3: FakeS3, target: HourlyObject = TARGET) -> Ledger:
    stored = s3.objects.get(target.key)
    if stored is None:
        return Ledger()
    text = stored.metadata[METADATA_KEY]
    found = referenced(text)
    if found:
        content = s3.objects[target.ledger_key(found[1])].body
        assert hashlib.sha256(content).hexdigest() == found[1]
        text = content.decode().partition("\n")[0]
    ledger, length = Ledger.decode(text)
    assert length == len(stored.body)
    return ledger


def side_objects(s3: FakeS3) -> set[str]:
    return {key for key in s3.objects if key.startswith("ledger/")}


def named_side(s3: FakeS3) -> set[str]:
    found = referenced(s3.objects[TARGET.key].metadata[METADATA_KEY]) if TARGET.key in s3.objects else None
    return {TARGET.ledger_key(found[1])} if found else set()


NUMBERS = st.lists(st.tuples(st.sampled_from(OWNERS), st.integers(0, LINES - 1)), min_size=1, max_size=12)


class ExactlyOnce(RuleBasedStateMachine):
    """Writers deliver batches with repetitions; calls fail, answers are lost, others win races.

    The model is the set of lines that were acknowledged (append returned) and those that may be there (it raised).
    """

    @initialize(alone=st.booleans())
    def empty(self, alone: bool) -> None:
        self.s3 = fake()
        self.archive = archive(self.s3, alone=alone)
        self.acknowledged: set[bytes] = set()
        self.sent: set[bytes] = set()

    @rule(lines=NUMBERS)
    def deliver(self, lines: list[tuple[str, int]]) -> None:
        self._deliver(lines)

    @rule(first=st.integers(0, LINES - 1), count=st.integers(1, 8), lines=NUMBERS)
    def deliver_a_run(self, first: int, count: int, lines: list[tuple[str, int]]) -> None:
        """Lines that follow one another as one item, of which some may stand already."""
        numbers = [(OWNERS[0], number) for number in range(first, min(first + count, LINES))]
        self.sent |= {item(*line).text for line in [*numbers, *lines]}
        self.archive.append(TARGET, [*(item(*line) for line in lines), run(numbers)])
        self._count(numbers + lines)

    @rule(
        lines=NUMBERS, nth=st.integers(0, 9), fault=st.sampled_from([DOWN, LOST, SLOW_DOWN]), persistent=st.booleans()
    )
    def deliver_with_a_fault(self, lines: list[tuple[str, int]], nth: int, fault: str, persistent: bool) -> None:
        at = len(self.s3.calls) + nth
        if persistent:
            self.s3.fault_from_now_on = (at, fault)
        else:
            self.s3.faults = {at: fault}
        try:
            self._deliver(lines)
        except (ClientError, BotoCoreError):
            pass
        finally:
            self.s3.faults, self.s3.fault_from_now_on = {}, None

    @rule(mine=NUMBERS, theirs=NUMBERS, nth=st.integers(0, 9))
    def deliver_and_lose_the_race(self, mine: list[tuple[str, int]], theirs: list[tuple[str, int]], nth: int) -> None:
        def other_writer() -> None:
            archive(self.s3).append(TARGET, [item(*line) for line in theirs])
            self._count(theirs)

        self.s3.faults = {len(self.s3.calls) + nth: other_writer}
        self._deliver(mine)
        self.s3.faults = {}

    @rule()
    def delete(self) -> None:
        """Another program deletes the object; what comes again is archived again."""
        for key in (TARGET.key, *named_side(self.s3)):
            self.s3.objects.pop(key, None)
        self.acknowledged.clear()

    def _deliver(self, lines: list[tuple[str, int]]) -> None:
        self.sent |= {item(*line).text for line in lines}
        before = archived(self.s3)
        done = self.archive.append(TARGET, [item(*line) for line in lines])
        assert done.lines <= len(set(lines))
        assert sum(archived(self.s3).values()) >= sum(before.values()) + done.lines
        self._count(lines)

    def _count(self, lines: list[tuple[str, int]]) -> None:
        texts = {item(*line).text for line in lines}
        self.sent |= texts
        self.acknowledged |= texts

    @invariant()
    def each_line_once(self) -> None:
        there = archived(self.s3)
        assert all(count == 1 for count in there.values())
        assert self.acknowledged <= there.keys() <= self.sent

    @invariant()
    def the_ledger_says_what_is_there(self) -> None:
        ledger, there = ledger_of(self.s3), archived(self.s3)
        for owner in OWNERS:
            for number in range(LINES):
                line = item(owner, number)
                assert ledger.covers(owner, line.start, line.end) == (line.text in there)

    @invariant()
    def the_lines_are_counted(self) -> None:
        if stored := self.s3.objects.get(TARGET.key):
            assert stored.metadata[LINES_KEY] == str(stored.body.count(b"\n"))

    @invariant()
    def the_side_object_is_there(self) -> None:
        assert named_side(self.s3) <= side_objects(self.s3)


def test_a_lone_writer_asks_for_no_state_of_a_large_object_until_another_one_comes() -> None:
    s3 = fake()
    mine, begun = archive(s3, alone=True), 0

    def asked(writer: Archive, *lines: Item) -> tuple[int, list[str]]:
        nonlocal begun
        begun = len(s3.calls)
        conflicts = writer.append(TARGET, list(lines)).conflicts
        reads = [name for name, _ in s3.calls[begun:] if name in ("get_object", "head_object")]
        return conflicts, reads

    mine.append(TARGET, [run([("0a", number) for number in range(60)])])
    assert asked(mine, item("0b", 0)) == (0, [])
    assert asked(archive(s3), item("0b", 1)) == (0, ["get_object"])
    assert asked(mine, item("0b", 1), item("0b", 2)) == (1, ["head_object"]), "its condition found out"
    # they go on by turns, and no round is lost
    assert asked(archive(s3), item("0b", 3)) == (0, ["get_object"])
    assert asked(mine, item("0b", 4)) == (0, ["head_object"])
    assert asked(mine, item("0b", 4)) == (0, ["head_object"]), "nothing is written"
    assert archived(s3) == Counter(item("0a", number).text for number in range(60)) + Counter(
        item("0b", number).text for number in range(5)
    )
    # the bucket is made anew
    del s3.objects[TARGET.key]
    assert asked(mine, item("0b", 4)) == (0, ["head_object"])
    assert asked(mine, item("0b", 5)) == (0, ["get_object"])
    assert archived(s3) == Counter([item("0b", 4).text, item("0b", 5).text])


def test_a_lone_writer_finds_out_that_a_large_object_is_gone() -> None:
    s3 = fake()
    mine = archive(s3, alone=True)
    lines = [run([("0a", number) for number in range(60)])]
    mine.append(TARGET, lines)
    del s3.objects[TARGET.key]
    assert mine.append(TARGET, lines).lines == 60, "also where there would be nothing to write"
    del s3.objects[TARGET.key]
    assert mine.append(TARGET, [item("0b", 0)]) == (1, 5, 1, True)
    assert archived(s3) == Counter([item("0b", 0).text])


ExactlyOnce.TestCase.settings = settings(max_examples=100, stateful_step_count=20)
TestExactlyOnce = ExactlyOnce.TestCase


def start_sizes() -> list[int]:
    """Lines that stand already: none; few (PUT); so many that there are one, and several copied parts."""
    return [0, 3, 20, 60]


@pytest.mark.parametrize("standing", start_sizes())
@pytest.mark.parametrize("fault", [DOWN, LOST, SLOW_DOWN])
@pytest.mark.parametrize("persistent", [False, True])
def test_fail_every_call_in_turn(standing: int, fault: Fault, persistent: bool) -> None:
    """Fail the 1st, 2nd, 3rd … call until none fails; after each, one retry makes it right."""
    # every other line, so that the ledger does not collapse into one range and has to move out of the metadata
    old = [item("0a", 2 * number) for number in range(standing)]
    new = [item("0b", number) for number in (0, 1, 3)]
    for nth in range(100):
        s3 = fake()
        if old:
            archive(s3).append(TARGET, old)
        at = len(s3.calls) + nth
        s3.faults, s3.fault_from_now_on = ({}, (at, fault)) if persistent else ({at: fault}, None)
        failed = False
        try:
            archive(s3).append(TARGET, new)
        except (ClientError, BotoCoreError):
            failed = True
        reached = len(s3.calls) > at
        s3.faults, s3.fault_from_now_on = {}, None
        if failed:
            assert sum(archived(s3).values()) in (len(old), len(old) + len(new)), "all of a batch or nothing"
            archive(s3).append(TARGET, new)
        assert archived(s3) == Counter(line.text for line in old + new)
        assert named_side(s3) <= side_objects(s3)
        if not reached:
            assert not failed
            assert nth >= 2
            assert side_objects(s3) == named_side(s3)
            assert s3.uploads == {}
            return
    raise AssertionError("there was no end of calls")


@pytest.mark.parametrize("standing", start_sizes())
def test_another_writer_wins_before_every_call_in_turn(standing: int) -> None:
    old = [item("0a", 2 * number) for number in range(standing)]
    mine = [item("0b", number) for number in (0, 1, 3)]
    theirs = [item("0b", number) for number in (1, 2, 5)]
    for nth in range(100):
        s3 = fake()
        if old:
            archive(s3).append(TARGET, old)
        at = len(s3.calls) + nth
        s3.faults = {at: lambda s3=s3: archive(s3).append(TARGET, theirs) and None}  # type: ignore[misc]
        archive(s3).append(TARGET, mine)
        if len(s3.calls) <= at:
            return
        assert archived(s3) == Counter({line.text for line in old + mine + theirs})
        assert side_objects(s3) == named_side(s3), "what the lost round left behind is gone"
        assert s3.uploads == {}
    raise AssertionError("there was no end of calls")


@pytest.mark.parametrize("standing", start_sizes())
def test_the_same_batch_twice_at_the_same_time(standing: int) -> None:
    """A batch that Lambda runs twice makes two writers of the very same object."""
    old = [item("0a", 2 * number) for number in range(standing)]
    new = [item("0b", number) for number in (0, 1, 3)]
    for nth in range(100):
        s3 = fake()
        if old:
            archive(s3).append(TARGET, old)
        at = len(s3.calls) + nth
        s3.faults = {at: lambda s3=s3: archive(s3).append(TARGET, new) and None}  # type: ignore[misc]
        archive(s3).append(TARGET, new)
        assert archived(s3) == Counter({line.text for line in old + new})
        assert side_objects(s3) == named_side(s3)
        if len(s3.calls) <= at:
            return
    raise AssertionError("there was no end of calls")
