"""Sets of bytes of a log, as half-open ranges [start, end). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise


class Ranges:
    """An immutable set of bytes; iterates over its ranges in order, which neither overlap nor touch.

    `|`, `&` and `-` are those of sets; `len` would be limited to sys.maxsize and is called `total` here.
    """

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
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
        self._pairs = tuple(merged)

    @classmethod
    def of(cls, start: int, end: int) -> Ranges:
        """[start, end), or nothing when that is empty."""
        return cls([(start, end)] if start < end else [])

    @property
    def total(self) -> int:
        """How many bytes."""
        return sum(end - start for start, end in self._pairs)

    @property
    def end(self) -> int:
        """Behind the last byte; 0 when there is none."""
        return self._pairs[-1][1] if self._pairs else 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._pairs)

    def __bool__(self) -> bool:
        return bool(self._pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and self._pairs == other._pairs

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __repr__(self) -> str:
        return f"Ranges({list(self._pairs)})"

    def __str__(self) -> str:
        return ", ".join(f"[{start}, {end})" for start, end in self._pairs) or "nothing"

    def __or__(self, other: Ranges) -> Ranges:
        return Ranges((*self._pairs, *other._pairs))

    def __sub__(self, other: Ranges) -> Ranges:
        if not other._pairs or not self._pairs:
            return self
        # what lies between the other's ranges is what stays
        gaps = ((end, start) for (_, end), (start, _) in pairwise(other._pairs))
        outside = Ranges([(0, other._pairs[0][0]), *gaps, (other.end, max(other.end, self.end))])
        return self & outside

    def __and__(self, other: Ranges) -> Ranges:
        common: list[tuple[int, int]] = []
        mine, theirs = iter(self._pairs), iter(other._pairs)
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
