"""The audit in lines, over the parts that `audit` itself is tested with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dashboard import proof
from dashboard.disk import LogDirectory
from dashboard.periodic import LookError
from dashboard.proof import Auditor, Proof
from journal import audit as auditing
from tests.fake_s3 import DOWN
from tests.repair_setup import AFTER, World

LINE = b'127.0.0.1 - - [23/Nov/2026:12:00:%02d +0000] "GET / HTTP/1.1" 200 5 "-" "test"\n'


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def auditor(world: World) -> Auditor:
    directory = LogDirectory(world.settings.log_file)
    return Auditor(world.settings, world.clock, directory, lambda: world.bucket.client)


def columns(found: Proof) -> list[int]:
    """written, acknowledged, archived, missing, pending"""
    return [found.totals[column] for column in proof.COLUMNS]


def test_the_way_of_a_line(world: World, auditor: Auditor) -> None:
    assert columns(auditor.look()) == [0, 0, 0, 0, 0]
    world.write(LINE % 1 + LINE % 2 + b"half")
    found = auditor.look()
    assert (columns(found), found.verdict, found.unit) == ([2, 0, 0, 0, 2], "pending", "lines")
    assert (found.unarchived_bytes, found.since) == (0, None)
    world.ship()
    found = auditor.look()
    assert columns(found) == [2, 2, 0, 0, 2]
    assert (found.unarchived_bytes, found.unarchived_lines) == (2 * len(LINE % 1), 2)
    assert found.since == datetime(2026, 11, 23, 12, 0, 1, tzinfo=UTC)
    world.deliver()
    found = auditor.look()
    assert (columns(found), found.verdict) == ([2, 2, 2, 0, 0], "complete")
    assert found.as_json() | {"at": ""} == {
        "written": 2,
        "acknowledged": 2,
        "archived": 2,
        "missing": 0,
        "pending": 0,
        "unit": "lines",
        "at": "",
        "verdict": "complete",
        "error": None,
    }


def test_a_line_that_was_lost(world: World, auditor: Auditor) -> None:
    world.write(LINE % 1 + LINE % 2)
    world.ship()
    world.deliver(lose=True)
    world.wait(AFTER + 5)
    found = auditor.look()
    assert (columns(found), found.verdict) == ([2, 2, 0, 2, 0], "missing")
    world.run()
    world.deliver()
    assert auditor.look().verdict == "complete"


def test_a_look_costs_what_has_changed(world: World, auditor: Auditor) -> None:
    world.write(LINE % 1)
    world.ship()
    world.deliver()
    auditor.look()
    heads = len(world.bucket.asked("head_object"))
    assert auditor.look().verdict == "complete"
    assert len(world.bucket.asked("head_object")) == heads


def test_a_rotated_log_that_is_gone(world: World, auditor: Auditor) -> None:
    """Archived, it is counted no more; with lines missing, only bytes can be told."""
    world.write(LINE % 1)
    world.ship()
    world.deliver()
    world.log.rename(world.log.with_name("access.log.1"))
    world.write(LINE % 2 + LINE % 3)
    world.ship()
    world.deliver(lose=True)
    assert columns(auditor.look()) == [3, 3, 1, 0, 2]
    world.log.with_name("access.log.1").unlink()
    assert columns(auditor.look()) == [2, 2, 0, 0, 2]
    world.log.rename(world.log.with_name("access.log.2"))
    world.write(b"")
    world.log.with_name("access.log.2").unlink()
    found = auditor.look()
    assert (found.unit, found.totals["pending"]) == ("bytes", 2 * len(LINE % 2))
    assert (found.unarchived_bytes, found.unarchived_lines) == (2 * len(LINE % 2), None)


def test_a_log_that_is_renamed_meanwhile_is_audited_anew(
    world: World, auditor: Auditor, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write(LINE % 1 + LINE % 2)
    world.ship()
    world.deliver()
    audit, times = auditing.audit, 1

    def rotating(*arguments: object, **named: object) -> object:
        nonlocal times
        found = audit(*arguments, **named)  # type: ignore[arg-type]
        if times:
            times -= 1
            world.log.rename(world.log.with_name(f"access.log.{times}"))
            world.write(LINE % 3)
        return found

    monkeypatch.setattr(proof, "audit", rotating)
    assert columns(auditor.look()) == [3, 2, 2, 0, 1]
    times = 100
    assert auditor.look().unit == "bytes"


def test_what_cannot_be_told_is_said(world: World, auditor: Auditor) -> None:
    world.write(LINE % 1)
    world.ship()
    world.bucket.fault_from_now_on = (0, DOWN)
    with pytest.raises(LookError, match=r"the audit cannot tell: .* does not answer"):
        auditor.look()
    world.bucket.fault_from_now_on = None
    assert auditor.look().verdict == "pending"
    world.settings.checkpoint_file.write_text("{")
    with pytest.raises(LookError, match="is damaged"):
        auditor.look()
