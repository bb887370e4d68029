"""What `audit` says, and that it says nothing when it cannot tell."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli import audit as command
from cli.parser import parser
from cli.screen import OK, PROBLEM, UNUSABLE
from common.delivery import KINESIS
from common.status import ProducerStatus
from journal import audit
from journal.archived import ArchivedError
from journal.checkpoint import CheckpointError
from journal.ledgers import LedgersError
from producer.reader import FINAL_AFTER
from tests.fake_kinesis import checkpoint_of
from tests.fake_s3 import DOWN
from tests.repair_setup import AFTER, World
from tests.statuses import say


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def audited(world: World, grace: float = AFTER) -> audit.Audit:
    return audit.audit(world.settings, world.clock, world.bucket.client, grace=grace)


def numbers(world: World, grace: float = AFTER) -> list[int]:
    """written, acknowledged, archived, missing, pending"""
    answer = audited(world, grace)
    return [answer.total(name) for name in ("written", "acknowledged", "archived", "missing", "pending")]


def test_a_line_on_its_way(world: World) -> None:
    assert numbers(world) == [0, 0, 0, 0, 0]
    world.write(b"a\nb\nhalf")
    assert numbers(world) == [4, 0, 0, 0, 4]
    (row,) = audited(world).rows
    assert (row.id, row.name) == ("", "access.log")
    world.ship()
    assert numbers(world) == [4, 4, 0, 0, 4]
    world.deliver()
    assert numbers(world) == [4, 4, 4, 0, 0]
    world.write(b" line\nc\n")
    assert numbers(world) == [16, 4, 4, 0, 12]


def test_what_is_lost_is_pending_and_then_missing(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver(lose=True)
    assert numbers(world) == [4, 4, 0, 0, 4]
    world.wait(AFTER + 5)
    assert numbers(world) == [4, 4, 0, 4, 0]
    world.write(b"c\n")
    world.run()
    world.wait(5)
    world.ship()
    os.utime(world.settings.checkpoint_file, (world.clock.now().timestamp(),) * 2)
    assert numbers(world) == [6, 6, 0, 4, 2], "the last line is acknowledged for a moment only"
    assert numbers(world, grace=0) == [6, 6, 0, 6, 0]
    world.deliver()
    assert numbers(world)[2:] == [6, 0, 0]


def test_an_object_deleted_by_its_owner_is_not_missing(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver()
    world.run()
    world.bucket.objects.clear()
    world.wait(2 * AFTER)
    answer = audited(world)
    assert (answer.total("archived"), answer.total("removed"), answer.total("missing")) == (4, 4, 0)
    *_, removed, verdict = command.table(answer, KINESIS)
    assert removed.startswith("removed in access.log ")
    assert "not in the bucket now: the object was deleted or has expired, or S3_BUCKET or S3_PREFIX changed" in removed
    assert "4 archived (4 of them not in the bucket now)" in verdict
    world.bucket.make_again(world.clock.now())
    assert numbers(world) == [4, 4, 0, 4, 0], "but a bucket that was made again has lost it"


def test_the_table(world: World) -> None:
    world.write(b"x" * 12_344 + b"\n")
    world.ship()
    world.deliver()
    world.write(b"b\n")
    world.ship()
    lines = command.table(audited(world), KINESIS)
    (generation,) = [each.id for each in checkpoint_of(world.log).load().generations]  # type: ignore[union-attr]
    assert lines == [
        "log         generation                written  acknowledged  archived  missing  pending",
        f"access.log  {generation}   12,347        12,347    12,345        0        2",
        f"pending in access.log {generation}: bytes [12345, 12347)",
        "12,347 bytes written, 12,347 acknowledged, 12,345 archived, 0 missing, 2 pending",
    ]


def test_the_table_before_the_first_poll(world: World) -> None:
    world.write(b"a\n")
    _, row, pending, _ = command.table(audited(world), KINESIS)
    assert row.startswith("access.log  (not seen yet) ")
    assert pending == "pending in access.log: bytes [0, 2)"


def test_json_says_the_same(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver()
    world.write(b"c\n")
    tree = json.loads(json.dumps(command.as_json(audited(world), KINESIS)))
    assert tree["verdict"] == "6 bytes written, 4 acknowledged, 4 archived, 0 missing, 2 pending"
    (generation,) = tree["generations"]
    assert (generation["written"], generation["pending"]) == ([[0, 6]], [[4, 6]])
    assert tree["totals"]["archived"] == 4


def rotated(world: World, data: bytes, name: str = "access.log.1", age: float = 3600) -> Path:
    world.write(data)
    path = world.log.with_name(name)
    world.log.rename(path)
    old = world.clock.now().timestamp() - age
    os.utime(path, (old, old))
    world.log.touch()
    return path


def answer_for(world: World, name: str = "access.log.1") -> tuple[bool, str]:
    return next((may, why) for found, may, why in audited(world).rotated() if found == name)


def test_may_i_delete_this_rotated_log(world: World) -> None:
    path = rotated(world, b"a\nb\n")
    assert answer_for(world) == (False, "the producer has not seen it yet")
    world.ship()
    assert answer_for(world) == (False, "4 of its bytes are not archived yet")
    world.deliver(lose=True)
    world.wait(2 * AFTER)
    assert answer_for(world) == (False, "4 of its bytes are missing in S3 and are sent again from it")
    world.run(again=True)
    world.deliver()
    assert answer_for(world) == (True, "all of its 4 bytes are archived")
    now = world.clock.now().timestamp() - 3
    os.utime(path, (now, now))
    assert answer_for(world) == (False, "it was written to 3 s ago")
    lines = command.table(audited(world), KINESIS)
    assert "access.log.1 may be deleted: no, because it was written to 3 s ago" in lines
    os.utime(path, (0, 0))
    world.run()
    world.bucket.objects.clear()
    assert answer_for(world) == (True, "all of its 4 bytes were archived (4 of them not in the bucket now)")
    with path.open("ab") as file:
        file.write(b"late\n")
    os.utime(path, (0, 0))
    assert answer_for(world) == (False, "5 of its bytes are not archived yet")


def test_a_last_line_without_its_end(world: World) -> None:
    rotated(world, b"a\nhalf", age=0)
    world.write(b"c\n")
    world.ship()
    world.deliver()
    assert answer_for(world)[1].startswith("its last line has no end")
    world.wait(FINAL_AFTER)
    world.ship()
    world.deliver()
    assert answer_for(world) == (True, "all of its 6 bytes are archived")
    assert numbers(world)[2:] == [9, 0, 0]


def test_a_compressed_log_that_was_read_is_like_any_other(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.write(b"c\n")
    world.log.with_name("access.log.1.gz").write_bytes(gzip.compress(world.log.read_bytes()))
    world.log.unlink()
    world.ship()
    world.deliver()
    assert numbers(world) == [6, 6, 6, 0, 0]
    os.utime(world.log.with_name("access.log.1.gz"), (0, 0))
    world.ship()
    may, why = answer_for(world, "access.log.1.gz")
    assert (may, why) == (True, "all of its 6 bytes are archived")


def test_a_log_that_was_compressed_beside_its_original(world: World) -> None:
    """A poll has seen both, so that the compressed one counts as a copy."""
    path = rotated(world, b"a\nb\n")
    world.ship()
    world.log.with_name("access.log.1.gz").write_bytes(gzip.compress(path.read_bytes()))
    world.ship()
    path.unlink()
    world.ship()
    world.deliver()
    assert numbers(world) == [4, 4, 4, 0, 0]
    assert not [row.name for row in audited(world).rows if row.file is None]


def test_a_compressed_log_that_no_poll_has_seen_cannot_be_answered_for(world: World) -> None:
    world.log.with_name("access.log.2.gz").write_bytes(gzip.compress(b"a\n"))
    may, why = answer_for(world, "access.log.2.gz")
    assert not may
    assert "compressed" in why
    assert numbers(world) == [0, 0, 0, 0, 0]


def test_a_file_that_is_no_log_counts_for_nothing(world: World) -> None:
    world.log.with_name("access.log.1").write_bytes(bytes(range(1, 32)) * 100)
    world.ship()
    assert numbers(world) == [0, 0, 0, 0, 0]
    assert answer_for(world, "access.log.1") == (
        False,
        "it is no log of its own, or it is compressed and no poll has read it yet",
    )


def test_another_file_that_has_the_inode_of_a_log_counts_for_nothing(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver()
    world.settings.log_file.rename(world.settings.log_file.with_name("notes")).write_bytes(b"more than the log\n")
    assert numbers(world) == [0, 2, 2, 0, 0]
    assert audited(world).rotated() == []


def test_a_copy_is_answered_for_as_what_it_is_a_copy_of(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    copy = world.log.with_name("access.log.1")
    shutil.copy(world.log, copy)
    os.utime(copy, (0, 0))
    world.write(b"c\n")
    world.ship()
    world.deliver()
    assert numbers(world) == [6, 6, 6, 0, 0], "its bytes are not counted twice"
    assert answer_for(world)[0]


def test_a_log_emptied_and_filled_anew_is_not_what_was_acknowledged(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver()
    world.log.write_bytes(b"x\ny\nz\n")
    answer = audited(world)
    assert [(row.name, bool(row.id), row.pending.total) for row in answer.rows] == [
        ("access.log", True, 0),
        ("access.log", False, 6),
    ]


def test_a_log_deleted_before_it_was_archived_stays_missing(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.log.unlink()
    world.ship()
    world.run()
    answer = audited(world)
    assert answer.total("missing") == 4
    assert any(line.startswith("access.log (gone)") for line in command.table(answer, KINESIS))


def test_what_cannot_be_told(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.bucket.fault_from_now_on = (0, DOWN)
    with pytest.raises(LedgersError, match="does not answer"):
        audited(world)
    world.bucket.fault_from_now_on = None
    world.bucket.file("2026/11/23/10", ("ab", 0, 1))
    next(iter(world.bucket.objects.values())).metadata["ledger"] = "oops"
    with pytest.raises(LedgersError, match=r"appliance repair-ledger 2026/11/23/10/web-access\.log"):
        audited(world)
    world.bucket.objects.clear()
    checkpoint = world.settings.checkpoint_file
    good = checkpoint.read_bytes()
    for bad, message in [(b"{", "damaged"), (b'{"version": 1}', "damaged"), (b'{"version": 2}', "version 2")]:
        checkpoint.write_bytes(bad)
        with pytest.raises(CheckpointError, match=message):
            audited(world)
    checkpoint.write_bytes(good)
    world.run()
    checkpoint.unlink()
    with pytest.raises(CheckpointError, match="is gone"):
        audited(world)
    checkpoint.write_bytes(good)
    world.settings.archived_file.write_bytes(b"{")
    with pytest.raises(ArchivedError, match="put back a good one"):
        audited(world)


def run(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(command, "connect", lambda _: world.bucket.client)
    monkeypatch.setattr(command, "SystemClock", lambda: world.clock)
    return command.main(world.settings, parser().parse_args(["audit", *arguments]))


def test_exit_codes(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver(lose=True)
    assert run(world, monkeypatch) == OK, "it may still arrive"
    world.wait(2 * AFTER)
    assert run(world, monkeypatch) == PROBLEM
    assert capsys.readouterr().out.splitlines()[-1].endswith("0 archived, 2 missing, 0 pending")
    assert run(world, monkeypatch, "--json") == PROBLEM
    assert json.loads(capsys.readouterr().out)["totals"]["missing"] == 2
    world.bucket.fault_from_now_on = (0, DOWN)
    assert run(world, monkeypatch) == UNUSABLE
    captured = capsys.readouterr()
    assert captured.err.startswith("cannot tell: ")
    assert captured.out == ""
    assert run(world, monkeypatch, "--grace", str(AFTER + 1)) == UNUSABLE
    assert "REPAIR_AFTER" in capsys.readouterr().err


def test_with_firehose_acknowledged_is_all_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path, delivery="firehose")
    world.write(b"a\nb\n")
    world.ship()
    world.write(b"c\n")
    world.wait(2 * AFTER)
    world.bucket.fault_from_now_on = (0, DOWN)  # the bucket is not even asked
    assert run(world, monkeypatch) == UNUSABLE
    *_, numbers, verdict = capsys.readouterr().out.splitlines()
    assert numbers == "6 bytes written, 4 acknowledged by Firehose, 2 not yet"
    assert verdict.startswith("cannot tell what is in S3: ")
    assert verdict.endswith("acknowledged is all that can be known")
    assert run(world, monkeypatch, "--json") == UNUSABLE
    assert json.loads(capsys.readouterr().out)["totals"] == {"written": 6, "acknowledged": 4, "pending": 2}
    assert run(world, monkeypatch, "--repair") == UNUSABLE
    assert "nothing is sent again" in capsys.readouterr().err
    answer = audited(world)
    assert (answer.total("missing"), answer.total("archived")) == (0, 0)


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["audit", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for word in (
        "written",
        "acknowledged",
        "archived",
        "missing",
        "pending",
        "may be deleted",
        "--repair",
        "Exit codes",
    ):
        assert word in out


def test_repair_asks_the_producer_and_waits_for_the_lines(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver(lose=True)
    world.wait(2 * AFTER)
    assert run(world, monkeypatch, "--repair") == UNUSABLE
    assert "no producer runs" in capsys.readouterr().err
    say(world.settings.status_dir, ProducerStatus, {"state": "idle"})
    sleep = world.clock.sleep
    steps: list[Any] = [lambda: None, world.repair.look, lambda: None, world.deliver]

    def producer_works(seconds: float) -> None:
        sleep(seconds)
        if steps:
            steps.pop(0)()

    monkeypatch.setattr(world.clock, "sleep", producer_works)
    assert run(world, monkeypatch, "--repair") == OK
    captured = capsys.readouterr()
    assert captured.err == "repair: 4 bytes were sent again\n"
    assert captured.out.splitlines()[-1] == "4 bytes written, 4 acknowledged, 4 archived, 0 missing, 0 pending"


def test_repair_of_what_is_pending_says_what_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write(b"a\nb\n")
    world.ship()
    os.utime(world.settings.checkpoint_file, (world.clock.now().timestamp(),) * 2)
    world.write(b"c\n")
    assert run(world, monkeypatch, "--repair") == OK
    assert capsys.readouterr().err == (
        "repair: nothing is missing yet, so nothing is sent again: 2 bytes wait for the next poll (`appliance "
        f"ship-now`), and 4 were acknowledged less than {AFTER:g} s ago and may still arrive; --grace 0 takes these "
        "for missing now\n"
    )
    world.ship()
    world.deliver()
    assert run(world, monkeypatch, "--repair") == OK
    assert capsys.readouterr().err == "repair: nothing is missing, so nothing is sent again\n"


def test_a_producer_that_cannot_repair_or_does_not_answer(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver(lose=True)
    world.wait(2 * AFTER)
    say(world.settings.status_dir, ProducerStatus, {"state": "idle"})
    assert run(world, monkeypatch, "--repair") == UNUSABLE
    assert "did not answer within 90 s" in capsys.readouterr().err
    assert not world.settings.repair_request.exists(), "nobody repairs after the one who asked has gone"

    def fail(_: float) -> None:
        world.settings.archived_file.write_bytes(b"{")
        world.repair.look()
        world.settings.archived_file.unlink()

    monkeypatch.setattr(world.clock, "sleep", fail)
    assert run(world, monkeypatch, "--repair") == UNUSABLE
    assert "put back a good one" in capsys.readouterr().err
