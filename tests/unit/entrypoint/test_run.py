"""Every wait ends: with what was waited for, or with a word about it."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from common.errors import code_of
from entrypoint.errors import UnavailableError
from entrypoint.run import LONGEST_PAUSE, Run
from tests.unit.entrypoint.fakes import FakeClock, refusal


def test_until_returns_the_first_answer_and_does_not_sleep_before_it() -> None:
    clock = FakeClock()
    assert Run(clock, 10).until("a thing", lambda: "here") == "here"
    assert clock.slept == []


def test_until_waits_ever_longer_but_not_longer_than_the_limit() -> None:
    clock = FakeClock()
    answers = iter([None] * 8 + ["here"])
    assert Run(clock, 60).until("a thing", lambda: next(answers)) == "here"
    assert clock.slept == sorted(clock.slept)
    assert max(clock.slept) == LONGEST_PAUSE


def test_until_gives_up_at_the_deadline_and_says_on_what() -> None:
    clock = FakeClock()
    with pytest.raises(UnavailableError, match="gave up waiting for a thing"):
        Run(clock, 5).until("a thing", lambda: None)
    assert clock.seconds == pytest.approx(5)


def test_retry_waits_out_what_passes() -> None:
    clock = FakeClock()
    calls: list[int] = []

    def call() -> str:
        calls.append(1)
        if len(calls) < 4:
            raise refusal("ResourceConflictException")
        return "done"

    assert Run(clock, 60).retry(call, lambda error: code_of(error) == "ResourceConflictException") == "done"
    assert len(calls) == 4


def test_retry_raises_at_once_what_does_not_pass_and_in_the_end_what_did_not() -> None:
    clock = FakeClock()

    def call() -> str:
        raise refusal("AccessDenied")

    with pytest.raises(ClientError):
        Run(clock, 60).retry(call, lambda _: False)
    assert clock.seconds == 0
    with pytest.raises(ClientError, match="AccessDenied"):
        Run(clock, 60).retry(call, lambda _: True)
    assert clock.seconds == pytest.approx(60)


def test_within_never_reaches_beyond_its_parent() -> None:
    clock = FakeClock()
    parent = Run(clock, 10)
    assert parent.within(30).left == 10
    assert parent.within(3).left == 3
    clock.sleep(8)
    assert parent.within(3).left == pytest.approx(2)
