"""Where the lines end that are older than S3_EXPIRE_DAYS: found by halves, whatever stands between them."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal import expiry
from journal.expiry import older_than
from journal.files import Plain

START = datetime(2026, 11, 1, tzinfo=UTC)
FAKE = b"[01/Jan/2000:00:00:00 +0000]"


def line(minute: int, agent: bytes = b"x") -> bytes:
    time = f"{START + timedelta(minutes=minute):%d/%b/%Y:%H:%M:%S} +0000"
    return b'10.0.0.1 - - [%b] "GET /%b HTTP/1.1" 200 5 "-" "%b \\"\n' % (time.encode(), FAKE, agent)


def older(content: bytes, minute: int) -> int:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return older_than(START + timedelta(minutes=minute), Plain(file.fileno()), os.fstat(file.fileno()).st_size)


@given(
    minutes=st.lists(st.integers(0, 100), max_size=60).map(sorted),
    sizes=st.lists(st.integers(0, 400), min_size=1, max_size=5),
    step=st.integers(100, 2000),
    moment=st.integers(-1, 101),
)
def test_they_are_those_that_are_older(minutes: list[int], sizes: list[int], step: int, moment: int) -> None:
    lines = [line(minute, b"x" * sizes[number % len(sizes)]) for number, minute in enumerate(minutes)]
    expected = sum(len(each) for each, minute in zip(lines, minutes, strict=True) if minute < moment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expiry, "STEP", step)
        found = older(b"".join(lines), moment)
    # a line longer than a step hides its time, and those before it count as younger
    assert found == expected or (found < expected and max(map(len, lines)) > step // 2)


ANY = st.binary(max_size=80).map(lambda each: each + b"\n")


@given(st.lists(st.integers(0, 9).map(line) | ANY, max_size=40))
def test_whatever_stands_in_a_log_no_younger_line_counts_as_older(lines: list[bytes]) -> None:
    lines = sorted(lines, key=lambda each: each if each.startswith(b"10.0.0.1 - - [") else b"10.0.0.1 - - [05")
    content = b"".join(lines)
    assert line(5) not in content[: older(content, 5)]


def test_a_time_that_a_client_has_sent_does_not_count() -> None:
    assert older(line(10), 5) == 0
    assert older(FAKE + b' "GET\n' + line(10), 5) == len(FAKE) + 6
    assert older(b'- [99/Nov/2026:00:00:00 +0000] "\n', 5) == 0
    assert older(line(1)[:-1], 5) == 0
