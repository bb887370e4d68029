"""A wait takes an exception for "not yet", and a port that was given away stays free until it is listened on."""

from __future__ import annotations

import pytest
from botocore.exceptions import ReadTimeoutError

from tests.waiting import LOWEST_PORT, RANGE, eventually, free_port


def test_what_fails_in_passing_is_looked_at_again() -> None:
    answers: list[Exception] = [OSError("reset"), ReadTimeoutError(endpoint_url="http://a"), ValueError("half")]

    def look() -> str:
        if answers:
            raise answers.pop(0)
        return "there"

    assert eventually(look, every=0) == "there"


def test_what_never_comes_is_told_with_what_was_seen_last() -> None:
    def look() -> bool:
        raise OSError("reset by peer")

    with pytest.raises(AssertionError, match=r"not within 0 s: the answer; last seen: OSError\('reset by peer'\)"):
        eventually(look, within=0, every=0, patience=0, why="the answer")


def test_what_can_no_longer_come_is_not_waited_for() -> None:
    def look() -> bool:
        raise RuntimeError("it has ended")

    with pytest.raises(RuntimeError, match="it has ended"):
        eventually(look)


def test_a_port_is_none_of_the_kernels_and_given_once() -> None:
    ports = [free_port() for _ in range(100)]
    assert len(set(ports)) == len(ports)
    assert LOWEST_PORT <= min(ports) <= max(ports) < int(RANGE.read_text().split()[0])
