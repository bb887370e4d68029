"""The ledger: which byte ranges of which generations an hourly object already holds.

A set of ranges, because lines arrive out of order, twice, and with holes that are filled later; a high-water mark
cannot say that. As text (ASCII, fit for S3 user metadata), numbers in hexadecimal:

    1;<length>;<generation>=<gap>-<size>,<gap>-<size>;<generation>=…
    1;<length>;@<SHA-256 of the side object whose first line is the text above>

`length` is the byte length of the object the ledger belongs to; a range starts `gap` bytes after the end of the one
before it (after 0, the first), and is `size` bytes long. Generations are sorted, so equal ledgers have equal texts.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise

_RANGES = r"[0-9a-f]+-[0-9a-f]+(?:,[0-9a-f]+-[0-9a-f]+)*"
_TEXT = re.compile(rf"1;([0-9a-f]+)((?:;~?[0-9a-f]+={_RANGES})*)")
_REFERENCE = re.compile(r"1;([0-9a-f]+);@([0-9a-f]{64})")


class LedgerError(Exception):
    """An object's ledger cannot be read, so nothing can be appended without the risk of doubling lines."""


class Ledger:
    """A set of half-open ranges [start, end) per owner (a generation), each a line or lines that are archived."""

    def __init__(self) -> None:
        # owner → [start, end, start, end, …], strictly increasing: neither overlapping nor touching
        self._bounds: dict[str, list[int]] = {}

    def covers(self, owner: str, start: int, end: int) -> bool:
        """Whether every byte of [start, end) is in the set."""
        bounds = self._bounds.get(owner)
        if not bounds:
            return False
        at = bisect_right(bounds, start)
        return at % 2 == 1 and end <= bounds[at]

    def misses(self, owner: str, start: int, end: int) -> bool:
        """Whether no byte of [start, end) is in the set."""
        bounds = self._bounds.get(owner, [])
        at = bisect_right(bounds, start)
        return at % 2 == 0 and bisect_left(bounds, end) == at

    def within(self, owner: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """What of [start, end) is in the set, in its parts."""
        bounds = self._bounds.get(owner, [])
        first, after = bisect_right(bounds, start), bisect_left(bounds, end)
        # an odd index is inside a range
        parts = [start] * (first % 2) + bounds[first:after] + [end] * (after % 2)
        yield from zip(parts[::2], parts[1::2], strict=True)

    def add(self, owner: str, start: int, end: int) -> None:
        """Put [start, end) into the set; 0 <= start < end."""
        if not 0 <= start < end:
            raise ValueError(f"[{start}, {end}) is no range")
        bounds = self._bounds.setdefault(owner, [])
        first, after = bisect_left(bounds, start), bisect_right(bounds, end)
        # an even index is outside every range; an odd one is inside, where the range's own bound is there already
        bounds[first:after] = ([start] if first % 2 == 0 else []) + ([end] if after % 2 == 0 else [])

    def update(self, other: Ledger) -> None:
        """Put all of another set into this one."""
        for each in other.ranges():
            self.add(*each)

    def fill(self, known: Ledger) -> None:
        """Close the holes between two ranges of an owner that `known` covers."""
        for owner, bounds in self._bounds.items():
            holes = zip(bounds[1:-1:2], bounds[2::2], strict=True)
            left = [bound for hole in holes if not known.covers(owner, *hole) for bound in hole]
            self._bounds[owner] = [bounds[0], *left, bounds[-1]]

    def ranges(self) -> Iterator[tuple[str, int, int]]:
        """Every (owner, start, end), sorted; ranges that touch are one."""
        for owner in sorted(self._bounds):
            bounds = self._bounds[owner]
            for start, end in zip(bounds[::2], bounds[1::2], strict=True):
                yield owner, start, end

    def encode(self, length: int) -> str:
        """The text form, for an object of `length` bytes."""
        fields = [f"1;{length:x}"]
        for owner in sorted(self._bounds):
            bounds = self._bounds[owner]
            steps = [after - before for before, after in pairwise([0, *bounds])]
            ranges = (f"{gap:x}-{size:x}" for gap, size in zip(steps[::2], steps[1::2], strict=True))
            fields.append(f"{owner}={','.join(ranges)}")
        return ";".join(fields)

    @staticmethod
    def decode(text: str) -> tuple[Ledger, int]:
        """The ledger and the length of its object. Raises LedgerError for what `encode` does not write."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise LedgerError(f"{text[:80]!r} is no ledger this version can read")
        ledger = Ledger()
        for field in match[2].split(";")[1:]:
            owner, _, ranges = field.partition("=")
            bounds: list[int] = []
            for step in re.split("[,-]", ranges):
                bounds.append((bounds[-1] if bounds else 0) + int(step, 16))
            if owner in ledger._bounds or any(a >= b for a, b in pairwise(bounds)):
                raise LedgerError(f"the ranges of {owner} are not in order: {ranges[:80]!r}")
            ledger._bounds[owner] = bounds
        return ledger, int(match[1], 16)


def reference(length: int, digest: str) -> str:
    """The text that stands in the metadata of an object of `length` bytes whose ledger is in a side object."""
    return f"1;{length:x};@{digest}"


def referenced(text: str) -> tuple[int, str] | None:
    """(length, SHA-256 of the side object) when the text is a reference, else None."""
    match = _REFERENCE.fullmatch(text)
    return (int(match[1], 16), match[2]) if match else None
