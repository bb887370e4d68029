"""Audit and repair against models: sets of single bytes, and a world in which anything may be lost."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from journal.archived import Archived, ArchivedFile, Known
from journal.audit import OnDisk, compare
from journal.files import Found
from journal.ranges import Ranges
from tests.fake_kinesis import checkpoint_of
from tests.repair_setup import AFTER, World

SIZE = 40
Pairs = list[tuple[int, int]]
PAIRS = st.lists(
    st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda pair: (min(pair), max(pair))), max_size=8
)
GENERATION = "5e9a5f2a" + "1" * 16


def members(pairs: Pairs | Ranges) -> set[int]:
    return {at for start, end in pairs for at in range(start, end)}


@given(PAIRS, PAIRS)
def test_ranges_are_sets_of_bytes(one: Pairs, two: Pairs) -> None:
    a, b = Ranges(one), Ranges(two)
    assert members(a) == members(one)
    assert members(a | b) == members(one) | members(two)
    assert members(a & b) == members(one) & members(two)
    assert members(a - b) == members(one) - members(two)
    assert a.total == len(members(one))
    assert a.end == max(members(one), default=-1) + 1
    for start, end in [*a, *(a | b), *(a & b), *(a - b)]:
        assert start < end
    for ranges in (a, a | b, a & b, a - b):
        assert all(before[1] < after[0] for before, after in pairwise(ranges))
    assert (a == b) == (members(one) == members(two))


@given(
    st.integers(0, SIZE),
    st.integers(0, SIZE),
    st.integers(0, SIZE),
    st.integers(0, SIZE),
    PAIRS,
    PAIRS,
    st.booleans(),
)
def test_every_byte_is_in_exactly_one_column(
    start: int, offset: int, old: int, complete: int, ledgers: Pairs, seen: Pairs, on_disk: bool
) -> None:
    offset, complete, old = max(start, offset), max(start, complete), max(start, old)
    file = OnDisk(Found(Path("access.log"), 0, 0, complete, 0.0, live=True), complete, 0.0)
    row = compare(
        GENERATION,
        Known("access.log", start, offset, archived=Ranges(seen)),
        file if on_disk else None,
        ledgers=Ranges(ledgers),
        acknowledged_before=Ranges.of(start, old),
        complete=complete,
    )
    acknowledged, once = set(range(start, offset)), members(ledgers) | members(seen)
    written = set(range(start, max(offset, complete))) if on_disk else set()
    assert members(row.written) == written
    assert members(row.archived) == (written | acknowledged) & once
    assert members(row.missing) == acknowledged & set(range(start, old)) - once
    assert members(row.pending) == (written | acknowledged) - once - members(row.missing)
    assert members(row.removed) == (written | acknowledged) & members(seen) - members(ledgers)


@given(PAIRS, st.lists(st.tuples(st.integers(0, 10), PAIRS), max_size=6), st.integers(0, 400))
def test_nothing_is_sent_before_its_wait_is_over_and_nothing_is_forgotten(
    archived: Pairs, tries: list[tuple[int, Pairs]], later: int
) -> None:
    known = Known("access.log", 0, SIZE, archived=Ranges(archived), marks=[(0.0, SIZE)])
    state = Archived(generations={GENERATION: known})
    now, last = 1000.0, dict.fromkeys(range(SIZE), -1e9)
    waits = dict.fromkeys(range(SIZE), 0.0)
    for seconds, pairs in tries:
        now += seconds
        due = state.due({GENERATION: Ranges(pairs)}, now).get(GENERATION, Ranges())
        assert members(due) == {at for at in members(pairs) if now >= last[at] + waits[at]}
        if due:
            state.tried(GENERATION, due, now, 5.0)
            wait = {at: each.wait for each in known.sent for at in range(each.start, each.end)}
            for at in members(due):
                assert wait[at] >= max(5.0, min(2 * waits[at], 3600))
                last[at], waits[at] = now, wait[at]
    missing = state.missing(now + later, 0.0)
    assert members(missing.get(GENERATION, Ranges())) == set(range(SIZE)) - members(archived)
    with tempfile.TemporaryDirectory() as folder:
        file = ArchivedFile(Path(folder) / "archived.json")
        file.save(state)
        assert ArchivedFile(file.path).load() == state


class Losses(RuleBasedStateMachine):
    """A stream that loses what it acknowledged, objects that are deleted, buckets that are made anew, restarts.

    The model: which lines the log has, and which of them were once seen archived by a run of repair. Whatever happens:
    no line is archived twice, no deleted line comes back, and once the losses end, every line that was never seen
    archived is archived.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.count = 0
        self.deleted: set[bytes] = set()

    @initialize()
    def begin(self) -> None:
        self.world.write(b"first\n")
        self.world.ship()

    @rule(lines=st.integers(1, 5))
    def write_and_ship(self, lines: int) -> None:
        for _ in range(lines):
            self.count += 1
            self.world.write(b"line %d\n" % self.count)
        self.world.ship()

    @rule()
    def deliver(self) -> None:
        self.world.deliver()

    @rule()
    def lose_the_stream(self) -> None:
        self.world.deliver(lose=True)

    @rule(seconds=st.sampled_from([1, 60, AFTER, 4000]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule()
    def repair(self) -> None:
        self.world.run()

    @rule()
    def restart(self) -> None:
        self.world.start()

    @rule()
    def rotate(self) -> None:
        self.count += 1
        self.world.log.rename(self.world.log.with_name(f"access.log.{self.count}"))
        self.world.write(b"line %d\n" % self.count)
        self.world.ship()

    @rule()
    def owner_deletes_what_was_seen(self) -> None:
        self.world.run()
        self.deleted |= set(self.world.lines)
        self.world.deliver(lose=True)  # else what is in the stream by now would rightly arrive
        self.world.bucket.objects.clear()

    @rule()
    def bucket_is_made_again(self) -> None:
        self.world.wait(2)
        self.world.bucket.make_again(self.world.clock.now())
        self.world.run()
        self.deleted.clear()

    @invariant()
    def nothing_is_doubled_nor_comes_back(self) -> None:
        lines = self.world.lines
        assert len(lines) == len(set(lines))
        assert not set(lines) & self.deleted

    def teardown(self) -> None:
        world = self.world
        for _ in range(3):
            world.run()
            world.wait(8000)
            world.deliver()
        assert world.run().missing == 0
        checkpoint = checkpoint_of(world.log).load()
        if checkpoint:
            expected = set()
            for part in checkpoint.parts:
                start, end = part.acknowledged
                at = start
                for line in world.log.with_name(part.name).read_bytes()[start:end].splitlines(keepends=True):
                    expected.add(b"%s %d" % (part.id.encode(), at))
                    at += len(line)
            assert set(world.lines) | self.deleted == expected
        world.run()
        assert world.stream.records == [], "what was seen archived is not sent again"
        self.nothing_is_doubled_nor_comes_back()
        self.folder.cleanup()


Losses.TestCase.settings = settings(max_examples=40, stateful_step_count=25, suppress_health_check=list(HealthCheck))
test_whatever_is_lost_comes_back_once = Losses.TestCase
