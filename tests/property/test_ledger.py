"""The ledger against the plainest model there is: a set of (owner, byte number)."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from archiver.ledger import Ledger

OWNERS = st.sampled_from(["0a", "0b", "~0a"])
RANGES = st.tuples(st.integers(0, 30), st.integers(1, 6)).map(lambda span: (span[0], span[0] + span[1]))


class LedgerIsASet(RuleBasedStateMachine):
    @initialize()
    def empty(self) -> None:
        self.ledger = Ledger()
        self.model: set[tuple[str, int]] = set()

    @rule(owner=OWNERS, span=RANGES)
    def add(self, owner: str, span: tuple[int, int]) -> None:
        self.ledger.add(owner, *span)
        self.model |= {(owner, at) for at in range(*span)}

    @rule(owner=OWNERS, span=RANGES)
    def covers(self, owner: str, span: tuple[int, int]) -> None:
        assert self.ledger.covers(owner, *span) == all((owner, at) in self.model for at in range(*span))

    @rule(owner=OWNERS, span=RANGES)
    def misses(self, owner: str, span: tuple[int, int]) -> None:
        assert self.ledger.misses(owner, *span) == all((owner, at) not in self.model for at in range(*span))

    @rule(known=st.lists(st.tuples(OWNERS, RANGES), max_size=8))
    def fill(self, known: list[tuple[str, tuple[int, int]]]) -> None:
        """Whole holes between two ranges, and nothing else."""
        before = list(self.ledger.ranges())
        other, there = Ledger(), set[tuple[str, int]]()
        for owner, span in known:
            other.add(owner, *span)
            there |= {(owner, at) for at in range(*span)}
        for (owner, _, end), (same, start, _) in pairwise(before):
            hole = {(owner, at) for at in range(end, start)}
            if owner == same and hole <= there:
                self.model |= hole
        self.ledger.fill(other)

    @rule(length=st.integers(0, 2**40))
    def write_and_read(self, length: int) -> None:
        text = self.ledger.encode(length)
        self.ledger, again = Ledger.decode(text)
        assert again == length
        assert self.ledger.encode(length) == text

    @invariant()
    def same_set(self) -> None:
        ranges = list(self.ledger.ranges())
        assert {(owner, at) for owner, start, end in ranges for at in range(start, end)} == self.model
        # as few ranges as possible: sorted, and none touches the next
        assert ranges == sorted(ranges)
        assert all(a[0] != b[0] or a[2] < b[1] for a, b in pairwise(ranges))


TestLedgerIsASet = LedgerIsASet.TestCase


RANGE_LISTS = st.lists(
    st.tuples(st.from_regex(r"~?[0-9a-f]{24}", fullmatch=True), st.integers(0, 2**60), st.integers(1, 2**40))
)


@given(RANGE_LISTS)
def test_round_trip_and_one_text_for_one_set(ranges: list[tuple[str, int, int]]) -> None:
    ledger, backwards = Ledger(), Ledger()
    for owner, start, size in ranges:
        ledger.add(owner, start, start + size)
    for owner, start, size in reversed(ranges):
        backwards.add(owner, start, start + size)
    text = ledger.encode(7)
    assert text == backwards.encode(7)
    assert text.isascii()
    assert text.isprintable()
    assert list(Ledger.decode(text)[0].ranges()) == list(ledger.ranges())
    assert all(ledger.covers(owner, start, start + size) for owner, start, size in ranges)
