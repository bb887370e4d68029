from __future__ import annotations

import logging
import threading

import pytest

from common.clock import SystemClock
from dashboard.periodic import Audience, LookError, Periodic
from tests.waiting import eventually


class Look:
    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.go = threading.Event()
        self.go.set()

    def __call__(self) -> int:
        self.calls += 1
        self.go.wait(90)
        if self.error:
            raise self.error
        return self.calls


def periodic(
    look: Look, busy: float = 0.02, idle: float = 600, *, waits: bool = False
) -> tuple[Periodic[int], Audience]:
    clock = SystemClock()
    audience = Audience(clock)
    return Periodic("part", look, clock, audience, busy=busy, idle=idle, waits=waits), audience


@pytest.mark.parametrize("asks", ["page", "scrape"])
def test_one_that_waits_does_not_look_before_it_is_asked(asks: str) -> None:
    look = Look()
    part, audience = periodic(look, idle=0.01, waits=True)
    part.start()
    part._thread.join(0.1)
    assert look.calls == 0
    if asks == "page":
        audience.ask()
        eventually(lambda: look.calls > 1, within=5)
    else:
        assert part.fresh(0, 60)
        eventually(lambda: look.calls > 1, within=5, why="it goes on")
    part.end()


def test_one_that_waits_ends() -> None:
    part, _ = periodic(Look(), waits=True)
    part.start()
    part.end()
    part._thread.join(60)
    assert not part._thread.is_alive()


def test_it_looks_often_only_while_somebody_watches() -> None:
    look = Look()
    part, audience = periodic(look)
    part.start()
    eventually(lambda: look.calls == 1)
    audience.ask()
    eventually(lambda: look.calls > 5, within=5)
    part.end()


def test_who_needs_a_fresh_look_gets_one() -> None:
    look = Look()
    part, _ = periodic(look)
    part.start()
    assert part.fresh(0, 60)
    assert part.fresh(0, 60)
    assert look.calls >= 2
    before = look.calls
    assert part.fresh(600, 60)
    assert look.calls == before
    part.end()


def test_an_error_is_shown_without_its_secrets() -> None:
    look = Look()
    part, _ = periodic(look)
    for error in (LookError("http://me:h1dden@host/%3Fcode=h1dden"), ValueError("token=h1dden")):
        look.error = error
        part.once()
        assert part.seen.error
        assert "h1dden" not in part.seen.error


def test_a_look_that_hangs_keeps_nobody() -> None:
    look = Look()
    part, _ = periodic(look)
    look.go.clear()
    part.start()
    assert not part.fresh(0, 0.05)
    assert part.seen.value is None
    look.go.set()
    assert part.fresh(0, 60)
    part.end()


def test_errors_are_kept_beside_what_was_seen_last(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    look = Look()
    part, _ = periodic(look)
    part.once()
    look.error = LookError("the bucket is down")
    part.once()
    first = part.seen
    assert (first.value, first.error) == (1, "the bucket is down")
    part.once()
    assert part.seen.error_since == first.error_since
    look.error = ValueError("a bug")
    part.once()
    assert part.seen.error == "ValueError: a bug"
    look.error = None
    part.once()
    last = part.seen
    assert (last.value, last.error, last.error_since) == (5, None, None)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "part: the bucket is down",
        "part: ValueError: a bug",
        "part: no longer: ValueError: a bug",
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True, False]


class NobodyError(LookError):
    unanswered = True


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (NobodyError("does not answer"), "unreachable"),
        (LookError("the stream is not there (yet)"), "concern"),
        (ValueError("a bug"), "failed"),
    ],
)
def test_the_event_says_whether_anybody_answered(caplog: pytest.LogCaptureFixture, error: Exception, name: str) -> None:
    caplog.set_level(logging.INFO)
    look = Look()
    part, _ = periodic(look)
    part.once()
    look.error = error
    part.once()
    look.error = None
    part.once()
    assert [vars(record)["event"] for record in caplog.records] == [name, "resolved"]


def test_what_is_not_there_at_the_start_is_said_when_it_stays_away(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for looks, said in (
        (1, []),
        (3, ["part: the stream is not there (yet)", "part: no longer: the stream is not there (yet)"]),
    ):
        look = Look()
        part, _ = periodic(look)
        look.error = LookError("the stream is not there (yet)")
        for _ in range(looks):
            part.once()
        assert part.seen.error == "the stream is not there (yet)"
        look.error = None
        part.once()
        assert caplog.messages == said
