"""What a batch holds never decides whether the function ends: its own peak, and its invocations, in a fresh process."""

from __future__ import annotations

import sys

import pytest

from bench import hostile


@pytest.mark.parametrize("name", ["an escape in every line", "all rejected (another format)"])
def test_a_hostile_log_is_archived_within_the_memory(name: str) -> None:
    cost = hostile.measure(name, sys.executable)
    assert cost.peak_mib < 200
    assert cost.invocations <= 3
