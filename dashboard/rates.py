"""Rates from counters that begin anew with their process. Pure."""

from __future__ import annotations

from collections import deque


class Rate:
    """What a counter gained a second, over the last `window` seconds."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._samples: deque[tuple[float, float]] = deque()
        self._last: float | None = None
        self._total = 0.0

    def add(self, at: float, value: float | None) -> None:
        """The counter said `value` at `at` (monotonic); None: it said nothing."""
        if value is None:
            return
        if self._last is not None:
            # less than before: its process has begun anew
            self._total += value - self._last if value >= self._last else value
        self._last = value
        if self._samples and at <= self._samples[-1][0]:
            return
        self._samples.append((at, self._total))
        # one sample is older than the window, so that the window is covered
        while len(self._samples) > 2 and self._samples[1][0] <= at - self._window:
            self._samples.popleft()

    def per_second(self, now: float) -> float | None:
        """None until there are two samples, and when the last one is older than the window."""
        if len(self._samples) < 2 or now - self._samples[-1][0] > self._window:
            return None
        (begin, before), (_, after) = self._samples[0], self._samples[-1]
        return (after - before) / (max(now, self._samples[-1][0]) - begin)
