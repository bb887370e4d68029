"""Sets of bytes of a log, as half-open ranges [start, end). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise


class Ranges(tuple[tuple[int, int], ...]):
    """A set of bytes: its ranges in order, which neither overlap nor touch. `|`, `&` and `-` are those of sets."""

    __slots__ = ()

    def __new__(cls, pairs: Iterable[tuple[int, int]] = ()) -> Ranges:
        """Of any pairs, in any order; empty ones (start = end) vanish. Raises ValueError unless 0 <= start <= end."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted(pairs):
            if not 0 <= start <= end:
                raise ValueError(f"[{start}, {end}) is no range")
            if start == end:
                continue
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return super().__new__(cls, merged)

    @classmethod
    def of(cls, start: int, end: int) -> Ranges:
        """[start, end), or nothing when that is empty."""
        return cls([(start, end)] if start < end else [])

    @property
    def total(self) -> int:
        """How many bytes."""
        return sum(end - start for start, end in self)

    @property
    def end(self) -> int:
        """Behind the last byte; 0 when there is none."""
        return self[-1][1] if self else 0

    def __str__(self) -> str:
        return ", ".join(f"[{start}, {end})" for start, end in self) or "nothing"

    def __or__(self, other: Ranges) -> Ranges:
        return Ranges((*self, *other))

    def __sub__(self, other: Ranges) -> Ranges:
        if not other or not self:
            return self
        # what lies between the other's ranges is what stays
        gaps = ((end, start) for (_, end), (start, _) in pairwise(other))
        outside = Ranges([(0, other[0][0]), *gaps, (other.end, max(other.end, self.end))])
        return self & outside

    def __and__(self, other: Ranges) -> Ranges:
        common: list[tuple[int, int]] = []
        mine, theirs = iter(self), iter(other)
        one, two = next(mine, None), next(theirs, None)
        while one and two:
            start, end = max(one[0], two[0]), min(one[1], two[1])
            if start < end:
                common.append((start, end))
            if one[1] <= two[1]:
                one = next(mine, None)
            else:
                two = next(theirs, None)
        return Ranges(common)
