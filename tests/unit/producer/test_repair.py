"""What was acknowledged and is not archived is sent again; what was, is not."""

from __future__ import annotations

import gzip
import json
import logging
import os
import random
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from archiver.filing import Item
from archiver.layout import HourlyObject
from common.delivery import KINESIS, S3, Delivery
from common.status import RepairStatus
from journal.archived import CLOCKS_APART, Archived
from journal.audit import audit
from journal.checkpoint import EARLIER, Checkpoint, CheckpointError, CheckpointFile
from journal.ranges import Ranges
from producer import reread
from producer.reader import BLOCK_BYTES, FINAL_AFTER
from producer.record import FRAGMENT_BYTES
from producer.ship import ship_once
from tests.fake_kinesis import checkpoint_of, error, lose_answer, refuse_all, sink_of
from tests.fake_s3 import DOWN, LOST
from tests.repair_setup import AFTER, World
from tests.statuses import status_json


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_arrives_is_never_sent_again(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    assert world.run().pending == 4
    world.deliver()
    world.wait()
    repaired = world.run()
    assert (repaired.archived, repaired.pending, repaired.missing, repaired.sent) == (4, 0, 0, 0)
    assert world.stream.records == []
    assert world.seen() == Ranges([(0, 4)])


def test_what_the_stream_has_lost_is_sent_again_once_it_is_old_enough(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write(b"a\nb\nc\n")
    world.ship()
    world.deliver()
    world.write(b"d\ne\n")
    world.ship()
    before = world.settings.checkpoint_file.read_bytes()
    world.deliver(lose=True)
    world.run()
    world.wait(AFTER - 1)
    assert world.run().sent == 0
    world.wait(1)
    repaired = world.run()
    assert (repaired.missing, repaired.sent, repaired.records) == (4, 4, 2)
    assert world.sent() == [b"d", b"e"]
    assert "4 bytes were acknowledged but are in no ledger of s3://bucket/" in caplog.text
    assert "access.log [6, 10)" in caplog.text
    assert world.settings.checkpoint_file.read_bytes() == before
    world.deliver()
    world.wait(10 * AFTER)
    assert world.run().missing == 0
    assert len(world.lines) == 5


def test_the_same_range_waits_longer_each_time(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver(lose=True)
    world.run()
    times, start = [], world.clock.monotonic()
    for _ in range(400):
        world.wait(60)
        if world.run().sent:
            times.append(world.clock.monotonic() - start)
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert gaps[:5] == [300, 600, 1200, 2400, 3600]
    assert set(gaps[5:]) == {3600}
    world.start()
    world.wait(60)
    assert world.run().sent == 0, "a new process remembers it"


@pytest.mark.parametrize(
    ("delivery", "cause"),
    [(KINESIS, "stream-transformation run, with this RECORD_KEY?"), (S3, "does another program write")],
)
def test_what_does_not_arrive_however_often_it_is_sent_is_said(world: World, delivery: Delivery, cause: str) -> None:
    world.settings = world.settings.model_copy(update={"delivery": delivery})
    world.start()
    world.write(b"a\n")
    world.ship()
    world.deliver(lose=True)
    errors = []
    for _ in range(60):
        errors.append(world.run().error)
        world.wait(60)
    assert errors[0] is None
    assert cause in (errors[-1] or "")


def test_an_object_that_was_deleted_does_not_come_back_even_to_a_new_process(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver()
    world.run()
    world.bucket.objects.clear()
    world.write(b"c\n")
    world.ship()
    for _ in range(5):
        world.start()
        world.wait()
        world.run()
    assert set(world.sent()) == {b"c"}


def test_a_bucket_created_again_gets_everything_that_is_on_disk(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver()
    world.run()
    world.wait()
    world.bucket.make_again(world.clock.now())
    world.start()
    assert world.run().sent == 4
    assert "created again" in caplog.text
    world.deliver()
    assert len(world.lines) == 2
    world.wait()
    assert world.run().missing == 0
    world.bucket.objects.clear()
    world.wait()
    assert world.run().missing == 0, "it is remembered that the new one has had them"


def test_a_creation_date_that_changes_by_itself_is_no_new_bucket(world: World) -> None:
    """AWS changes it with the policy, MiniStack when it was killed; but nothing is older than the bucket it is in."""
    world.write(b"a\n")
    world.ship()
    world.deliver(hour="2026/11/23/10")
    world.wait(3600)
    world.write(b"b\n")
    world.ship()
    world.deliver(hour="2026/11/23/11")
    world.run()
    del world.bucket.objects["2026/11/23/11/web-access.log"]
    world.wait()
    world.bucket.created = world.clock.now()
    world.write(b"c\n")
    world.ship()
    world.wait()
    world.run()
    assert set(world.sent()) == {b"c"}
    assert world.archived().created == world.bucket.created


def test_the_first_bucket_is_not_a_new_one(world: World) -> None:
    """A fresh start: no bucket, then one, then its first object."""
    world.write(b"a\n")
    world.ship()
    world.bucket.bucket = "elsewhere"
    assert world.run().error is None, "the entrypoint may be about to make it"
    world.wait(10)
    world.bucket.bucket = "bucket"
    world.bucket.make_again(world.clock.now())
    world.run()
    world.deliver()
    world.run()
    world.bucket.objects.clear()
    world.wait()
    assert world.run().sent == 0


def test_another_bucket_is_the_users_decision_and_no_loss(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver()
    world.run()
    world.settings = world.settings.model_copy(update={"s3_prefix": "logs/"})
    world.bucket.created = world.clock.now() + timedelta(days=1)
    world.start()
    world.wait()
    assert world.run().sent == 0
    assert world.archived().prefix == "logs/"


def test_an_endpoint_that_does_not_say_when_a_bucket_was_created(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver()
    world.run()
    created = world.archived().created
    world.bucket.created = None
    world.wait()
    assert world.run().sent == 0
    assert world.archived().created == created


def test_nothing_is_concluded_from_what_cannot_be_read(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver()
    (key,) = world.bucket.objects
    good = world.bucket.objects[key].metadata["ledger"]
    world.bucket.objects[key].metadata["ledger"] = "1;0;oops"
    for _ in range(3):
        world.wait()
        repaired = world.run()
        assert repaired.sent == 0, "its lines would come to an object that takes none, and block the shard"
        assert f"the ledger of s3://bucket/{key} cannot be read" in (repaired.error or "")
    world.bucket.objects[key].metadata["ledger"] = good
    world.start()
    assert world.run().missing == 0


def test_an_endpoint_that_is_away_is_no_news_at_first(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.bucket.fault_from_now_on = (0, DOWN)
    errors = []
    for _ in range(7):
        errors.append(world.run().error)
        world.wait(60)
    assert errors[0] is None
    assert "does not answer" in (errors[-1] or "")
    assert world.stream.records[1:] == []
    world.bucket.fault_from_now_on = None
    assert world.run().error is None
    world.bucket.fault_from_now_on = (0, DOWN)
    assert "does not answer" in (world.run(again=True).error or ""), "who asks is told"


def test_a_refusal_is_said_at_once(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.bucket.faults[len(world.bucket.calls) + 1] = lambda: world.bucket._refuse(
        403, "AccessDenied", "ListObjectsV2"
    )
    assert "s3:ListBucket" in (world.run().error or "")


def test_when_all_is_archived_the_bucket_is_left_alone(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver()
    world.run()
    world.bucket.calls.clear()
    world.wait()
    world.run()
    assert {name for name, _ in world.bucket.calls} == {"list_buckets"}


def test_a_stream_that_refuses_is_tried_again_in_the_next_run(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.wait()
    world.stream.script = [error("ResourceNotFoundException")]
    repaired = world.run()
    assert (repaired.sent, repaired.missing) == (0, 4)
    assert "The entrypoint makes it" in (repaired.error or "")
    world.stream.script = [refuse_all] * 100
    assert world.run().sent == 0
    world.stream.script = []
    assert world.run().sent == 4


def test_a_run_takes_turns_with_the_ticks(world: World) -> None:
    """It stops after a while, and the next run goes on where it stopped."""
    rng = random.Random(1)
    world.write(b"".join(rng.randbytes(500).hex().encode() + b"\n" for _ in range(12_000)))
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.wait()
    size = world.log.stat().st_size
    sent, runs = 0, 0
    accept = world.stream.accept

    def slow(records):  # type: ignore[no-untyped-def]
        world.clock.advance(11)
        return accept(records)

    world.stream.accept = slow  # type: ignore[method-assign]
    while sent < size:
        runs += 1
        repaired = world.run()
        assert 0 < repaired.sent < size
        sent += repaired.sent
    assert runs > 1
    world.deliver()
    assert len(world.lines) == 12_000


def test_a_log_that_is_gone_is_said_and_remembered(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.log.rename(world.settings.data_dir / "gone")
    world.ship()
    world.wait()
    repaired = world.run()
    assert (repaired.missing, repaired.sent) == (4, 0)
    assert "4 bytes of access.log" in caplog.text
    assert "the file is gone" in caplog.text
    world.wait(40 * 86400)
    world.run()
    assert world.archived().generations == {}


def test_a_log_that_was_deleted_after_all_of_it_was_archived_is_forgotten(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver()
    world.run()
    world.log.unlink()
    world.ship()
    world.run()
    assert world.archived().generations == {}


def test_a_rotated_log_is_read_under_its_new_name(world: World) -> None:
    world.write(b"a\nb")
    world.ship()
    world.log.rename(world.log.with_name("access.log.1"))
    world.write(b"c\n")
    os.utime(world.log.with_name("access.log.1"), (0, 0))
    world.wait(FINAL_AFTER)
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.wait()
    repaired = world.run()
    assert (repaired.missing, repaired.sent) == (6, 6)
    assert sorted(world.sent()) == [b"a", b"b", b"c"]


def test_other_bytes_in_the_same_file_are_not_sent_for_the_lost_ones(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.log.write_bytes(b"x\ny\nz\n")  # emptied and filled anew, and no tick has noticed yet
    world.wait()
    assert world.run().sent == 0
    assert "not what it was" in caplog.text


def test_what_is_emptied_and_filled_while_it_is_read_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.wait()
    pieces = world.source.pieces

    def late(poll):  # type: ignore[no-untyped-def]
        world.log.write_bytes(b"x\ny\n")
        yield from pieces(poll)

    monkeypatch.setattr(world.source, "pieces", late)
    assert world.run().sent == 0


def test_what_is_emptied_and_filled_before_its_middle_is_read_is_not_sent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands before the range is read from the new content, too: only a look after the bytes were read tells."""
    world.write(b"a\n")
    world.ship()
    world.deliver()
    world.write(b"b\n")
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.wait()
    whole = reread._whole

    def late(*arguments):  # type: ignore[no-untyped-def]
        world.log.write_bytes(b"x\ny\n")
        return whole(*arguments)

    monkeypatch.setattr(reread, "_whole", late)
    assert world.run().sent == 0


def test_the_times_outlive_a_process_that_dies_while_it_reads_the_bucket(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver(lose=True)

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.repair, "_compare", killed)
    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.wait()
    world.write(b"b\n")
    world.ship()
    now = world.clock.now().timestamp()
    os.utime(world.settings.checkpoint_file, (now, now))
    world.start()
    assert world.run().missing == 2


def test_repair_leaves_no_witness_of_a_checkpoint_that_a_power_cut_may_take(world: World) -> None:
    """Its writer failed before the folder was durable; a checkpoint that is gone is then a first start."""
    world.write(b"a\n")
    checkpoint = Checkpoint()
    world.source.poll(checkpoint)
    checkpoint_of(world.log).save(checkpoint)
    assert world.run().error is None
    world.settings.checkpoint_file.unlink()
    world.ship()
    assert len(world.stream.records) == 1


def test_what_was_lost_is_sent_again_from_the_longest_copy(world: World) -> None:
    lines = [b"line %d of a log\n" % number for number in range(200)]
    for name, count in (("access.log.1", 100), ("access.log.2", 150), ("access.log.3", 120)):
        world.log.with_name(name).write_bytes(b"".join(lines[:count]))
    world.write(b"".join(lines))
    world.ship()
    world.deliver(lose=True)
    os.truncate(world.log, 0)
    world.write(b"next\n")
    world.ship()
    world.run()
    world.wait()
    assert world.run().lines == 151


def test_what_was_lost_is_sent_again_from_a_compressed_log(world: World) -> None:
    world.write(b"a\nb\nc\n")
    world.ship()
    world.bucket.now = world.clock.now()
    (generation,) = checkpoint_of(world.log).load().generations  # type: ignore[union-attr]
    world.bucket.file("2026/11/23/10", (generation.id, 0, 2))
    world.deliver(lose=True)
    world.log.with_name("access.log.1.gz").write_bytes(gzip.compress(world.log.read_bytes()))
    world.log.unlink()
    world.ship()
    world.run()
    world.wait()
    assert world.run().sent == 4
    assert world.sent() == [b"b", b"c"]


def test_a_part_of_a_line_is_sent_as_the_line_it_is_of(world: World) -> None:
    """A rejected line is kept in pieces of its own, so a ledger may hold a part of it."""
    world.write(b"first\nsecond line\nthird\n")
    world.ship()
    world.deliver(lose=True)
    (generation,) = checkpoint_of(world.log).load().generations  # type: ignore[union-attr]
    world.bucket.now = world.clock.now()
    world.bucket.file("2026/11/23/10", (generation.id, 0, 10), (generation.id, 18, 24))
    world.run()
    world.wait()
    assert world.run().missing == 8
    assert world.sent() == [b"second line"]


@pytest.mark.parametrize("newline", [b"\n", b""])
def test_a_line_longer_than_a_block_is_taken_up_at_the_fragment(world: World, newline: bytes) -> None:
    visible = bytes(ord("!") + number % 94 for number in range(256))
    long = random.Random(1).randbytes(BLOCK_BYTES + 3 * FRAGMENT_BYTES // 2).translate(visible)
    world.write(b"first\n" + long + newline)
    world.log.rename(world.log.with_name("access.log.1"))
    os.utime(world.log.with_name("access.log.1"), (0, 0))
    world.write(b"")
    world.log.touch()
    world.wait(FINAL_AFTER)
    world.ship()
    keys = [record.key for record in world.stream.records]
    world.deliver(lose=True)
    (generation,) = checkpoint_of(world.log).load().generations  # type: ignore[union-attr]
    held = 6 + 2 * FRAGMENT_BYTES
    world.bucket.now = world.clock.now()
    world.bucket.file("2026/11/23/10", (generation.id, 0, held + 17))
    world.run()
    world.wait()
    world.run()
    assert [record.key for record in world.stream.records] == keys[3:]


def test_without_a_checkpoint_nothing_is_done_and_with_its_witness_nothing_is_sent(world: World) -> None:
    assert world.run().error is None
    assert world.bucket.calls == []
    world.write(b"a\n")
    world.ship()
    world.run()
    world.settings.checkpoint_file.unlink()
    with pytest.raises(CheckpointError, match=r"is gone, but archived\.json"):
        CheckpointFile(world.settings.checkpoint_file).load()
    assert "put it back" in (world.run().error or "")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version": 1}', b'{"version": 2}', b"\xff"])
def test_a_damaged_memory_is_an_error_with_a_remedy(world: World, content: bytes) -> None:
    world.write(b"a\n")
    world.ship()
    world.settings.archived_file.write_bytes(content)
    assert "archived.json" in (world.run().error or "")
    assert world.settings.archived_file.read_bytes() == content


def test_a_clock_that_is_set_back_stops_nothing(world: World) -> None:
    world.write(b"a\n")
    world.wait(365 * 86400)
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.wait(-364 * 86400)
    world.run()
    world.wait()
    assert world.run().sent == 2


DAYS = 7


def line(moment: datetime) -> bytes:
    return f'10.0.0.1 - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "GET / HTTP/1.1" 200 5 "-" "x"\n'.encode()


def expired(folder: Path) -> World:
    """A line of nine days ago and one of now, acknowledged; the object with the first has expired."""
    world = World(folder, s3_expire_days=DAYS)
    world.write(line(world.clock.now()))
    world.ship()
    world.deliver()
    world.wait(9 * 86400)
    world.bucket.objects.clear()
    world.write(line(world.clock.now()))
    world.ship()
    world.deliver(lose=True)
    return world


def test_what_has_expired_is_not_missing_though_nobody_has_seen_it_archived(tmp_path: Path) -> None:
    world = expired(tmp_path)
    world.wait()
    repaired = world.run()
    assert (repaired.missing, repaired.records) == (len(line(world.clock.now())), 1)
    assert len(world.sent()) == 1
    world.deliver()
    world.wait()
    assert world.run().missing == 0


def test_a_bucket_that_seems_new_does_not_get_back_what_has_expired(tmp_path: Path) -> None:
    world = expired(tmp_path)
    world.run()
    # as AWS does when the bucket's policy changes
    world.bucket.created = world.clock.now()
    world.wait()
    assert world.run().records == 1
    world.deliver()
    world.settings.archived_file.unlink()
    world.start()
    world.wait()
    world.run()
    world.wait()
    assert world.run().sent == 0
    assert audit(world.settings, world.clock, world.bucket.client, grace=0).total("missing") == 0


def test_an_audit_of_its_own_finds_nothing_missing_that_has_expired(tmp_path: Path) -> None:
    world = expired(tmp_path)
    for days, missing in ((DAYS, 1), (0, 2)):
        settings = world.settings.model_copy(update={"s3_expire_days": days})
        found = audit(settings, world.clock, world.bucket.client, grace=0)
        assert found.total("missing") == missing * len(line(world.clock.now()))


def test_a_log_that_is_gone_is_not_asked_for_once_it_has_expired(tmp_path: Path) -> None:
    world = World(tmp_path, s3_expire_days=DAYS)
    world.write(line(world.clock.now()))
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.log.unlink()
    world.write(b"another\n")
    world.ship()
    world.deliver()
    world.wait()
    assert world.run().missing > 0
    world.wait(9 * 86400)
    assert world.run().missing == 0


def test_a_late_line_of_an_expired_hour_begins_a_new_object(world: World) -> None:
    hour = HourlyObject("", "2026/11/23/10")
    many = [Item("a" * 24, 10 * number, 10 * number + 5, b"old\n") for number in range(900)]
    world.archive.append(hour, many)
    (side,) = (key for key in world.bucket.objects if key.startswith("ledger/"))
    del world.bucket.objects[hour.key]
    world.archive.append(hour, [Item("a" * 24, 5, 10, b"late\n")])
    assert world.bucket.objects[hour.key].body == b"late\n"
    assert side in world.bucket.objects


def test_old_objects_are_not_asked(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.run()
    seen, now = int(next(iter(world.archived().generations))[:8], 16), world.clock.now().timestamp()
    assert world.archived().horizon(now + 1000).timestamp() == seen - CLOCKS_APART.total_seconds()
    early = seen - 3600 * 24 * 365
    assert world.archived().horizon(early).timestamp() == early - CLOCKS_APART.total_seconds(), "a clock set back"


def test_it_looks_at_its_times_and_when_it_is_asked(world: World) -> None:
    world.write(b"a\n")
    world.ship()
    world.deliver(lose=True)
    assert world.repair.look() is None
    world.wait(world.settings.repair_interval)
    assert world.repair.look() is not None
    assert world.repair.look() is None
    world.settings.repair_request.write_text(json.dumps({"id": "me", "after": 0}))
    repaired = world.repair.look()
    assert repaired
    assert repaired.sent == 2
    status = status_json(world.settings.status_dir, RepairStatus)
    assert status
    assert (status["request"], status["sent"], status["error"]) == ("me", 2, None)
    assert not world.settings.repair_request.exists()
    world.settings.repair_request.write_text(json.dumps({"id": "me", "after": 0}))
    repaired = world.repair.look()
    assert repaired
    assert repaired.sent == 2, "who asks does not wait"


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_request_that_is_none_is_thrown_away(world: World, content: str) -> None:
    world.settings.repair_request.write_text(content)
    assert world.repair.look() is None
    assert world.repair.look() is None


def test_what_nobody_foresaw_ends_the_run_and_not_the_job(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    world.write(b"a\n")
    world.ship()
    monkeypatch.setattr(Archived, "horizon", lambda *_: 1 / 0)
    for _ in range(2):
        world.wait(world.settings.repair_interval)
        repaired = world.repair.look()
        assert repaired
        assert "ZeroDivisionError" in (repaired.error or "")


def test_a_full_disk_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    world.write(b"a\n")
    world.ship()
    monkeypatch.setattr("journal.archived.write_atomic", full)
    assert "No space left" in (world.run().error or "")


def test_a_lost_answer_sends_it_once_more_and_the_ledger_takes_it_out(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    world.deliver()
    world.bucket.faults[len(world.bucket.calls) + 2] = LOST
    world.run()
    world.wait()
    assert world.run().missing == 0
    assert len(world.lines) == 2


# A log that was set back


@pytest.fixture
def snapshot(world: World) -> Callable[[], None]:
    """Restores, by the bytes of the files, what is in the folder now, with a line that is half there."""
    world.write(b"a\nb\n")
    world.ship()
    world.deliver()
    world.write(b"hal")
    world.ship()
    world.run()
    saved = {path: path.read_bytes() for path in world.log.parent.iterdir() if path.is_file()}

    def restore() -> None:
        for path, content in saved.items():
            path.write_bytes(content)

    return restore


def go_on(world: World, text: bytes) -> None:
    world.write(text)
    world.ship()
    world.deliver()


@pytest.mark.parametrize("waiting", [False, True])
def test_a_log_that_was_set_back_goes_on_as_a_new_generation(
    world: World, snapshot: Callable[[], None], waiting: bool
) -> None:
    """Also while what was sent before still waits in the stream: no look into the bucket would tell."""
    world.write(b"f\nc\nd\n")
    world.ship()
    if not waiting:
        world.deliver()
    snapshot()
    world.start()
    world.write(b"F\nx\n")
    world.ship()
    world.deliver()
    assert len(world.lines) == 7, "half-F and x"
    go_on(world, b"y\nz\n")
    world.wait()
    assert (world.run().missing, len(world.lines)) == (0, 9)
    found = audit(world.settings, world.clock, world.bucket.client, grace=0)
    assert (found.parted, found.total("archived"), found.total("written")) == ([], 15, 15)


def test_what_the_stream_lost_of_a_log_that_was_set_back(world: World, snapshot: Callable[[], None]) -> None:
    go_on(world, b"f\nc\nd\n")
    snapshot()
    world.bucket.objects.clear()  # an endpoint that forgot everything
    world.settings.archived_file.unlink()
    world.start()
    world.write(b"F\nx\n")
    world.ship()
    world.deliver(lose=True)
    found = audit(world.settings, world.clock, world.bucket.client, grace=0)
    assert (found.total("missing"), found.total("written")) == (11, 11)
    world.run()
    world.wait()
    world.run()
    assert sorted(world.sent()) == [b"a", b"b", b"halF", b"x"]


def test_a_machine_that_is_set_back_with_its_memory(
    world: World, snapshot: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    go_on(world, b"f\nc\nd\n")
    snapshot()
    go_on(world, b"F\n")
    assert len(world.lines) == 5, "taken for what was there before"
    world.run()
    world.ship()
    world.deliver()
    assert len(world.lines) == 8, "a, b and half-F again, under another name"
    assert "was set back, or a clone of this machine carries it on" in caplog.text


@pytest.mark.parametrize("rotated", [False, True])
def test_a_folder_that_was_copied_goes_on_apart_from_the_other(world: World, rotated: bool) -> None:
    """With its checkpoint, under other inodes; perhaps rotated before the first poll."""
    go_on(world, b"a\nb\n")
    copy = World(world.log.parents[1].with_name("copy"))
    for path in world.log.parent.iterdir():
        shutil.copyfile(path, copy.log.with_name(path.name))
    copy.stream, copy.bucket, copy.archive = world.stream, world.bucket, world.archive
    copy.starts = 100
    copy.write(b"C\nD\n")
    if rotated:
        copy.log.rename(copy.log.with_name("access.log.1"))
        copy.write(b"E\n")
    go_on(world, b"c\nd\n")
    copy.ship()
    copy.deliver()
    assert len(world.lines) == (7 if rotated else 6)


def test_what_the_stream_lost_of_a_log_that_was_put_back_from_a_copy(world: World) -> None:
    world.write(b"a\nb\n")
    world.ship()
    copy = world.log.with_name("copy")
    shutil.copyfile(world.log, copy)
    copy.replace(world.log)
    world.write(b"c\n")
    world.ship()
    world.deliver(lose=True)
    world.run()
    world.wait()
    world.run()
    assert world.sent() == [b"a", b"b", b"c"]


def test_what_the_stream_lost_of_a_last_line_to_which_more_was_written(world: World) -> None:
    """It was sent without its end, which came later: what came is a line of its own."""
    rotated = world.log.with_name("access.log.1")
    rotated.write_bytes(b"a\nb")
    world.log.touch()
    world.wait()
    world.ship()
    with rotated.open("ab") as file:
        file.write(b"c\n")
    world.ship()
    assert world.sent() == [b"a", b"b", b"c"]
    world.deliver(lose=True)
    world.run()
    world.wait()
    world.run()
    assert world.sent() == [b"a", b"b", b"c"]


def test_what_the_stream_lost_of_a_log_that_was_edited_is_taken_from_a_backup(world: World) -> None:
    """`sed -i.bak`: the log is another file, the old one has another name."""
    lines = [b"line %d of many" % number for number in range(200)]
    world.write(b"".join(line + b"\n" for line in lines[:100]))
    world.ship()
    world.write(lines[100] + b"\n")
    old = world.log.read_bytes()
    world.log.rename(world.log.with_name("access.log.bak"))
    world.write(old.replace(lines[3] + b"\n", b""))
    world.ship()
    world.write(lines[101] + b"\n")
    world.ship()
    assert world.sent() == lines[:102]
    world.deliver(lose=True)
    world.run()
    world.wait()
    world.run()
    assert sorted(world.sent()) == sorted(lines[:102])


def test_a_backup_of_an_edited_log_is_known_beside_an_old_copy(world: World) -> None:
    """The copy is shorter: it does not hold what the backup does."""
    lines = [b"line %d of many" % number for number in range(300)]
    world.write(b"".join(line + b"\n" for line in lines[:100]))
    world.ship()
    shutil.copyfile(world.log, world.log.with_name("access.log.1"))
    world.write(b"".join(line + b"\n" for line in lines[100:]))
    world.ship()
    shutil.copyfile(world.log, world.log.with_name("access.log.bak"))
    world.log.write_bytes(world.log.read_bytes().replace(lines[200] + b"\n", b""))
    world.ship()
    assert world.sent() == lines
    world.deliver(lose=True)
    world.run()
    world.wait()
    world.run()
    assert world.sent() == lines


def test_the_audit_calls_nothing_archived_that_another_log_may_have_sent(
    world: World, snapshot: Callable[[], None]
) -> None:
    go_on(world, b"f\nc\nd\n")
    snapshot()
    go_on(world, b"F\n")
    found = audit(world.settings, world.clock, world.bucket.client, grace=0)
    assert found.parted == ["access.log"]
    assert found.total("archived") == 0
    assert found.total("missing") == 9


def test_what_was_sent_before_a_kill_is_sent_again_under_its_name(world: World) -> None:
    world.write(b"a\n")
    world.stream.script = [lose_answer]
    ship_once(world.source, checkpoint_of(world.log), sink_of(world.stream, world.clock, stop=lambda: True))
    world.start()
    world.write(b"b\n")
    world.ship()
    world.deliver()
    assert len(world.lines) == 2


def test_a_log_has_only_so_many_generations(world: World) -> None:
    """A producer that ends again and again: the checkpoint stays small, and all can be repaired."""
    for number in range(EARLIER + 10):
        world.start()
        world.write(b"%d\n" % number)
        world.ship()
    checkpoint = checkpoint_of(world.log).load()
    assert checkpoint
    assert len(checkpoint.parts) == EARLIER + 1
    world.deliver(lose=True)
    world.run()
    world.wait()
    world.run()
    assert len(world.sent()) == EARLIER + 10
