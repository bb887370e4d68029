from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.rates import Rate


def test_a_rate_needs_two_samples() -> None:
    rate = Rate(10)
    assert rate.per_second(0) is None
    rate.add(0, None)
    rate.add(0, 5)
    assert rate.per_second(0) is None
    rate.add(1, 15)
    assert rate.per_second(1) == 10


def test_it_is_that_of_the_window() -> None:
    rate = Rate(10)
    for at in range(30):
        rate.add(at, 0 if at < 20 else (at - 20) * 6)
    assert rate.per_second(29) == pytest.approx(54 / 10)
    assert rate.per_second(50) is None  # nobody has looked for long


def test_a_counter_that_begins_anew_does_not_count_backwards() -> None:
    rate = Rate(100)
    for at, value in enumerate([100, 110, 3, 5]):
        rate.add(at, value)
    assert rate.per_second(3) == pytest.approx(15 / 3)


@given(steps=st.lists(st.tuples(st.floats(0.1, 5), st.integers(0, 50)), min_size=2, max_size=60))
def test_it_is_never_negative_and_never_above_the_steepest_step(steps: list[tuple[float, int]]) -> None:
    rate = Rate(10)
    now, total = 0.0, 0
    for pause, gain in steps:
        now, total = now + pause, total + gain
        rate.add(now, total)
    found = rate.per_second(now)
    assert found is not None
    assert 0 <= found <= max(gain / pause for pause, gain in steps) * 1.0001
