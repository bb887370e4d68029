"""When it ticks, and what it says of each tick."""

from __future__ import annotations

import errno
import logging
import os
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from common import door
from common.atomic import RESERVE
from common.settings import Settings
from common.status import EntrypointStatus, ProducerStatus
from producer.logs import Log
from producer.put import Traffic
from producer.repair import Repaired
from producer.schedule import (
    START_SECONDS,
    Every,
    follow_clock,
    make_scheduler,
    next_poll,
    repeat,
    rotator_for,
    until_provisioned,
)
from producer.tick import OVERDUE_AFTER, REMEMBERED_TICKS, Producer
from tests.fake_kinesis import (
    FakeClock,
    FakeFirehose,
    FakeKinesis,
    checkpoint_of,
    delivered,
    error,
    firehose_sink_of,
    refuse,
    sink_of,
    source_of,
)
from tests.statuses import say, status_json
from tests.waiting import eventually

START = datetime(2020, 4, 18, 1, 42, 18, 500_000, tzinfo=UTC)


def fires(interval: float, count: int) -> list[datetime]:
    trigger, times = Every(interval), [START]
    for _ in range(count):
        times.append(trigger.get_next_fire_time(None, times[-1]))
    return times[1:]


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [(60, [0, 0, 0]), (30, [30, 0, 30]), (15, [30, 45, 0]), (20, [20, 40, 0]), (1, [19, 20, 21])],
)
def test_polls_are_on_the_minute_and_its_parts(interval: float, seconds: list[int]) -> None:
    assert [(moment.second, moment.microsecond) for moment in fires(interval, 3)] == [(s, 0) for s in seconds]


@pytest.mark.parametrize("interval", [0.2, 0.5, 7, 45, 90, 3600])
def test_other_intervals_are_kept_as_they_are(interval: float) -> None:
    first, second, third = fires(interval, 3)
    assert START < first <= START + timedelta(seconds=interval)
    assert (second - first).total_seconds() == (third - second).total_seconds() == interval


class SetClock:
    """The system's clocks, with a wall clock that can be set, for APScheduler too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = timedelta()
        monkeypatch.setattr("apscheduler.schedulers.base.datetime", SimpleNamespace(now=lambda _: self.now()))

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("at_first", "then"),
    [
        (timedelta(), timedelta(hours=-2)),
        (timedelta(days=-20_000), timedelta()),  # a board without a clock; then NTP sets it
        (timedelta(), timedelta(days=20_000)),
    ],
    ids=["back", "from-1970", "ahead"],
)
def test_polls_go_on_when_the_wall_clock_is_set(
    at_first: timedelta, then: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, stop = SetClock(monkeypatch), threading.Event()
    clock.offset = at_first
    ticks: list[float] = []
    scheduler = make_scheduler(0.2, lambda: ticks.append(time.monotonic()), lambda _: None)
    scheduler.modify_job("tick", next_run_time=clock.now())
    following = threading.Thread(target=follow_clock, args=(scheduler, clock, stop))
    running = threading.Thread(target=scheduler.start)
    running.start()
    following.start()
    try:
        eventually(lambda: len(ticks) > 1, every=0.02)
        clock.offset = then
        before, spent = len(ticks), time.process_time()
        eventually(lambda: len(ticks) >= before + 3, within=10, every=0.02)
        assert time.process_time() - spent < 2, "what the jump passed over is not counted one by one"
    finally:
        stop.set()
        following.join()
        scheduler.shutdown(wait=False)
        running.join()


def test_the_scheduler_starts_at_once_never_skips_and_reports_what_escapes() -> None:
    """APScheduler by itself drops a tick that is a second late, and swallows even SystemExit."""
    ticks, reported = threading.Event(), threading.Event()
    failures, jobs = [], []

    def tick() -> None:
        ticks.set()
        raise SystemExit(3)

    def failed(error: BaseException) -> None:
        failures.append(error)
        reported.set()

    def end() -> None:
        reported.wait(60)
        jobs.extend(scheduler.get_jobs())
        scheduler.shutdown(wait=False)

    scheduler = make_scheduler(3600, tick, failed)
    ending = threading.Thread(target=end)
    ending.start()
    scheduler.start()
    ending.join()
    assert ticks.is_set()
    assert [type(failure) for failure in failures] == [SystemExit]
    assert {(job.misfire_grace_time, job.coalesce, job.max_instances) for job in jobs} == {(None, True, 1)}


def test_what_is_looked_at_beside_the_ticks_goes_on_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("producer.schedule.LOOK_SECONDS", 0.001)
    stop = threading.Event()
    failures: list[BaseException] = []

    def job() -> None:
        if len(failures) == 3:
            stop.set()
        raise OSError("no disk")

    repeat("rotate", job, failures.append, stop)
    assert [str(each) for each in failures] == ["no disk"] * 4
    assert caplog.messages == ["rotate failed"] * 4


class Setup:
    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(data_dir=folder, poll_interval=60, **settings)
        self.log = self.settings.log_file
        self.log.parent.mkdir(parents=True)
        self.clock = FakeClock()
        self.stream = FakeKinesis()
        self.sink = sink_of(self.stream, self.clock)
        self.producer = self.start()

    def start(self) -> Producer:
        rotator = rotator_for(self.settings, self.clock)
        log = Log("", source_of(self.log, self.clock), checkpoint_of(self.log))
        return Producer(
            self.settings,
            lambda: ([log], []),
            rotator,
            self.clock,
            next_poll(self.settings.poll_interval),
        )

    def tick(self) -> dict[str, Any]:
        self.producer.tick(self.sink, lambda: False)
        return self.status()

    def status(self) -> dict[str, Any]:
        status = status_json(self.settings.status_dir, ProducerStatus)
        assert status
        return status

    def due_in(self) -> timedelta:
        due = datetime.fromisoformat(self.status()["due"])
        return timedelta(milliseconds=round((due - self.clock.now()).total_seconds() * 1000))


def test_lines_wait_for_the_entrypoint_at_a_start_and_go_at_once_then(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    hold = until_provisioned(setup.settings, setup.clock)
    log = Log("", source_of(setup.log, setup.clock), checkpoint_of(setup.log))
    setup.producer = Producer(
        setup.settings,
        lambda: ([log], []),
        None,
        setup.clock,
        next_poll(60),
        hold,
    )
    setup.log.write_text("one\n")
    assert setup.tick()["state"] == "starting"
    setup.settings.ship_request.write_text("asked")
    setup.producer.answer(setup.sink, lambda: False)
    assert (delivered(setup.stream.records), setup.settings.ship_request.exists()) == ({}, True)
    say(setup.settings.status_dir, EntrypointStatus, {"state": "provisioning"})
    assert hold()
    say(setup.settings.status_dir, EntrypointStatus, {"state": "ready"})
    setup.producer.answer(setup.sink, lambda: False)
    assert list(delivered(setup.stream.records).values()) == [b"one"]
    assert setup.status()["ship_request"] == "asked"
    say(setup.settings.status_dir, EntrypointStatus, {"state": "failed"})
    assert not hold(), "only a start waits"
    assert [each.levelname for each in caplog.records if each.levelno > logging.INFO] == []


def test_lines_do_not_wait_for_ever(setup: Setup) -> None:
    hold = until_provisioned(setup.settings, setup.clock)
    assert hold()
    setup.clock.sleep(START_SECONDS)
    assert not hold()
    elsewhere = setup.settings.model_copy(update={"log_file": setup.log.with_name("other.log")})
    assert not until_provisioned(elsewhere, setup.clock)(), "a host has no entrypoint"


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


def test_the_status_of_a_tick(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    setup.log.write_bytes(b"a\nb\npart")
    status = setup.tick()
    assert status["state"] == "idle"
    assert (status["lag_bytes"], status["error"]) == (4, None)
    (tick,) = status["acknowledged"]
    assert (tick["lines"], tick["records"]) == (2, 2)
    assert tick["first"] == {"shard": "shardId-000000000000", "sequence_number": "1", "record_id": None, "key": None}
    assert tick["at"] == status["shipped_at"] == status["last_tick"]
    assert abs(setup.due_in() - timedelta(seconds=60) - OVERDUE_AFTER) < timedelta(milliseconds=2)
    line = caplog.messages[-1]
    assert line == (
        "shipped 2 lines in 2 records, 4 bytes; first shardId-000000000000 1, last shardId-000000000000 2; lag 4 bytes"
    )


def test_a_tick_with_nothing_to_do_is_quiet(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.log.write_bytes(b"a\n")
    setup.tick()
    caplog.clear()
    caplog.set_level(logging.INFO)
    status = setup.tick()
    assert caplog.records == []
    assert (status["counters"]["lines"], len(status["acknowledged"])) == (1, 1)


def test_a_tick_that_failed_says_why_and_the_next_tries_again(setup: Setup) -> None:
    setup.log.write_bytes(b"a\n")
    setup.stream.script = [error("AccessDeniedException")]
    status = setup.tick()
    assert (status["state"], status["lag_bytes"]) == ("behind", 2)
    assert "kinesis:PutRecords" in status["error"]
    status = setup.tick()
    assert (status["state"], status["error"], status["lag_bytes"]) == ("idle", None, 0)


def test_the_same_error_is_logged_now_and_then(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.log.write_bytes(b"a\n")
    setup.stream.script = [error("ResourceNotFoundException")] * 10
    for _ in range(4):
        setup.tick()
        setup.clock.advance(20)
    assert caplog.text.count("ResourceNotFoundException") == 2


@pytest.mark.parametrize("refused", [0, 9], ids=["ticks-that-work", "ticks-that-fail"])
def test_a_status_that_cannot_be_written_is_logged_now_and_then(
    setup: Setup, caplog: pytest.LogCaptureFixture, refused: int
) -> None:
    setup.log.write_bytes(b"a\n")
    setup.settings.run_dir.mkdir(exist_ok=True)
    setup.settings.status_dir.write_text("a file where a directory should be")
    setup.stream.script = [error("ResourceNotFoundException")] * refused
    for _ in range(9):
        setup.settings.ship_request.write_text("asked")
        setup.producer.answer(setup.sink, lambda: False)
        setup.clock.advance(10)
    assert caplog.text.count("the status cannot be written") == 2
    assert caplog.text.count("ResourceNotFoundException") == (2 if refused else 0)


def test_a_damaged_checkpoint_fails_each_tick_until_it_is_mended(setup: Setup) -> None:
    setup.log.write_bytes(b"a\n")
    setup.tick()
    path = setup.settings.checkpoint_file
    good = path.read_bytes()
    path.write_bytes(good[:-30])
    setup.log.write_bytes(b"a\nb\n")
    for _ in range(2):
        status = setup.tick()
        assert status["state"] == "failed"
        assert "put back a good one" in status["error"]
        assert (status["lag_bytes"], status["lag_lines"]) == (None, None), "it cannot be known"
    assert len(setup.stream.records) == 1
    path.write_bytes(good)
    assert setup.tick()["state"] == "idle"
    assert [record.data for record in setup.stream.records] == [b"a", b"b"]


def test_what_nobody_foresaw_fails_the_tick_and_not_the_process(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def surprise(*_: object, **__: object) -> None:
        raise ZeroDivisionError("surprise")

    monkeypatch.setattr("producer.tick.ship_once", surprise)
    status = setup.tick()
    assert (status["state"], status["error"]) == ("failed", "ZeroDivisionError: surprise")


def test_a_long_drain_is_not_overdue(setup: Setup) -> None:
    """While batches are acknowledged, the next tick is not due."""
    rng = random.Random(1)
    setup.log.write_bytes(b"".join(rng.randbytes(500).hex().encode() + b"\n" for _ in range(4_000)))
    seen = []

    def put(batch: Any) -> Any:
        answer = setup.sink.put(batch)
        seen.append((setup.status()["state"], setup.due_in()))
        setup.clock.advance(50)
        return answer

    class Slow:
        def put(self, batch: Any) -> Any:
            return put(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("producer.batch.MAX_BATCH_BYTES", 600_000)
        setup.producer.tick(Slow(), lambda: False)
    assert len(seen) > 3
    assert all(state == "shipping" and due > timedelta(seconds=60) for state, due in seen)


def test_what_is_wrong_beside_the_ticks_is_said_with_them(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    setup.log.write_bytes(b"a\n")
    due = setup.tick()["due"]
    setup.clock.advance(5)
    setup.producer.repaired(Repaired(error="403 from the bucket"))
    setup.producer.repaired(Repaired(error="403 from the bucket"))
    status = setup.status()
    assert (status["error"], status["state"]) == ("403 from the bucket", "idle")
    assert status["due"] == due, "only a tick shows that ticks go on"
    setup.stream.script = [error("AccessDeniedException")]
    setup.log.write_bytes(b"a\nb\n")
    assert "kinesis:PutRecords" in setup.tick()["error"]
    assert setup.status()["error"].endswith("; 403 from the bucket")
    setup.producer.repaired(Repaired(error=None))
    assert setup.tick()["error"] is None
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors.count("403 from the bucket") == 1


def test_a_repair_waits_for_the_tick_and_the_tick_for_the_repair(setup: Setup) -> None:
    setup.log.write_bytes(b"a\n")
    with setup.producer.turn():
        assert not setup.producer.idle_within(0)
        setup.producer.repaired(Repaired(error="said with the next tick"))
    assert setup.tick()["error"] == "said with the next tick"


def test_without_room_for_lines_each_look_is_a_tick(setup: Setup) -> None:
    setup.log.write_bytes(b"a\n")
    for word in ("open", "full"):
        door.turn(setup.settings.run_dir, word)
        setup.producer.answer(setup.sink, lambda: False)
        assert len(setup.stream.records) == (word == "full")


def test_a_tick_on_a_full_disk_saves_what_it_has_shipped(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup.log.write_bytes(b"a\n")
    reserve, real, room = setup.log.with_name(RESERVE), os.fsync, False

    def fsync(descriptor: int) -> None:
        if reserve.exists() and not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    assert setup.tick()["error"] is None
    checkpoint = checkpoint_of(setup.log).load()
    assert checkpoint
    assert checkpoint.generations[0].acknowledged == (0, 2)
    assert not reserve.exists()
    room = True
    setup.tick()
    assert reserve.exists()


def test_only_so_many_ticks_are_remembered(setup: Setup) -> None:
    for number in range(REMEMBERED_TICKS + 5):
        with setup.log.open("ab") as file:
            file.write(b"%d\n" % number)
        status = setup.tick()
    assert len(status["acknowledged"]) == REMEMBERED_TICKS
    assert status["counters"]["lines"] == REMEMBERED_TICKS + 5


def test_a_restarted_producer_keeps_what_was_said(setup: Setup) -> None:
    setup.log.write_bytes(b"a\n")
    setup.tick()
    setup.producer = setup.start()
    with setup.log.open("ab") as file:
        file.write(b"b\n")
    status = setup.tick()
    assert (status["counters"]["lines"], len(status["acknowledged"])) == (1, 2)


def test_a_status_that_cannot_be_written_stops_nothing(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("producer.tick.write_status", full)
    setup.log.write_bytes(b"a\n")
    setup.producer.tick(setup.sink, lambda: False)
    assert len(setup.stream.records) == 1


def test_a_stopped_tick_leaves_the_rest(setup: Setup) -> None:
    setup.log.write_bytes(b"a\n")
    setup.producer.tick(setup.sink, lambda: True)
    assert setup.stream.records == []
    setup.producer.stopped()
    assert setup.status()["state"] == "stopped"


def test_the_counters_of_the_process(setup: Setup) -> None:
    setup.stream.script = [refuse([1]), None]
    setup.log.write_bytes(b"a\nb\nc\n")
    counters = setup.tick()["counters"]
    assert (counters["lines"], counters["records"], counters["bytes"], counters["ticks"]) == (3, 3, 6, 1)
    assert (counters["calls"], counters["sent_bytes"]) == (2, 4)
    assert counters["retries"] == {"ProvisionedThroughputExceededException": 1}
    assert counters["throttled"] == 1
    (shard,) = counters["shards"]
    assert counters["shards"] == {shard: 3}
    seconds = counters["tick_seconds"]
    assert seconds["count"] == 1
    assert list(seconds["buckets"].values()) == sorted(seconds["buckets"].values())
    assert seconds["buckets"]["60"] == 1
    setup.log.write_bytes(b"a\nb\nc\nd\n")
    setup.tick()
    counters = setup.tick()["counters"]
    assert (counters["lines"], counters["bytes"], counters["ticks"], counters["calls"]) == (4, 8, 3, 3)
    assert counters["shards"] == {shard: 4}
    setup.producer.repaired(Repaired(sent=5, lines=2, traffic=Traffic(1, 7, Counter({"no answer": 1}))))
    counters = setup.status()["counters"]
    assert (counters["repaired_bytes"], counters["repaired_lines"], counters["calls"]) == (5, 2, 4)
    assert counters["retries"]["no answer"] == 1


def test_a_long_drain_counts_as_it_goes(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(1)
    setup.log.write_bytes(b"".join(rng.randbytes(500).hex().encode() + b"\n" for _ in range(4_000)))
    monkeypatch.setattr("producer.batch.MAX_BATCH_BYTES", 600_000)
    seen: list[dict[str, Any]] = []

    class Slow:
        def put(self, batch: Any) -> Any:
            setup.clock.advance(50)
            seen.append(setup.status())
            return setup.sink.put(batch)

    setup.producer.tick(Slow(), lambda: False)
    lines = [status["counters"]["lines"] for status in seen]
    assert lines == sorted(lines)
    assert 0 < lines[-1] < 4_000
    assert 0 < seen[-1]["lag_bytes"] < seen[1]["lag_bytes"]
    assert seen[-1]["lag_since"] == seen[1]["lag_since"]
    done = setup.status()
    assert (done["counters"]["lines"], done["lag_bytes"], done["lag_lines"], done["lag_since"]) == (4_000, 0, 0, None)


def test_since_when_it_is_behind_and_by_how_many_lines(setup: Setup) -> None:
    setup.log.write_bytes(b"a\nb\n")
    setup.stream.script = [error("AccessDeniedException")] * 3
    first = setup.tick()
    assert (first["lag_bytes"], first["lag_lines"]) == (4, 2)
    setup.clock.advance(60)
    second = setup.tick()
    assert second["lag_since"] == first["lag_since"]
    assert datetime.fromisoformat(second["next_poll"]) > setup.clock.now()
    setup.stream.script = []
    assert setup.tick()["lag_since"] is None


def test_a_large_lag_is_not_counted(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.source.COUNTED_BYTES", 3)
    setup.log.write_bytes(b"a\nb\n")
    setup.stream.script = [error("AccessDeniedException")]
    assert setup.tick()["lag_lines"] is None


def test_whoever_asks_gets_a_tick_at_once(setup: Setup) -> None:
    request = setup.settings.ship_request
    setup.producer.answer(setup.sink, lambda: False)
    assert setup.stream.calls == []
    setup.log.write_bytes(b"a\n")
    request.parent.mkdir(parents=True, exist_ok=True)
    request.write_text("id-1\n")
    setup.producer.answer(setup.sink, lambda: True)
    assert request.exists(), "one that stops leaves it to the next"
    setup.producer.answer(setup.sink, lambda: False)
    assert setup.stream.calls == [1]
    assert setup.status()["ship_request"] == "id-1"
    assert not request.exists()


def test_with_firehose(tmp_path: Path) -> None:
    setup = Setup(tmp_path, delivery="firehose")
    stream = FakeFirehose()
    setup.log.write_bytes(b"a\nb\n")
    setup.producer.tick(firehose_sink_of(stream, setup.clock), lambda: False)
    status = setup.status()
    assert [stored.data for stored in stream.records] == [b"a\nb\n"]
    (tick,) = status["acknowledged"]
    assert (tick["lines"], tick["records"], tick["first"]["record_id"]) == (2, 1, "record-1")


def test_a_log_of_others_that_is_not_there_is_said_once_while_it_lasts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "nginx" / "access.log"
    setup = Setup(tmp_path, log_file=log)
    setup.tick()
    status = setup.tick()
    assert caplog.text.count("is not there") == 1
    assert f"the log {log} is not there" in status["error"]
    log.touch()
    assert setup.tick()["error"] is None


def test_a_log_in_another_format_is_said_while_its_newest_lines_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A rotation, after which few lines are there, makes no difference; and it is no error of the producer's."""
    caplog.set_level("INFO")
    log = tmp_path / "nginx" / "access.log"
    setup = Setup(tmp_path, log_file=log)
    common = b'1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5'
    log.write_bytes(20 * (common + b"\n"))
    status = setup.tick()
    assert (status["state"], status["error"]) == ("idle", None)
    assert "set ACCESS_LOG_FORMAT=common" in status["formats"][""]
    log.rename(log.with_name("access.log.1"))
    log.write_bytes(3 * (common + b"\n"))
    assert setup.tick()["formats"] == status["formats"]
    assert caplog.text.count("go to rejected/") == 1
    with log.open("ab") as file:
        file.write(20 * (common + b' "-" "curl/8"\n'))
    assert setup.tick()["formats"] == {}
    assert "no longer: 20 of the newest 20 lines" in caplog.text
    setup.producer = setup.start()
    assert setup.tick()["formats"] == {}


def test_the_appliance_s_own_log_is_not_looked_at(setup: Setup) -> None:
    setup.log.write_bytes(20 * b"hello\n")
    assert setup.tick()["formats"] == {}


def test_a_log_of_others_is_not_rotated(tmp_path: Path) -> None:
    clock = FakeClock()
    ours = rotator_for(Settings(data_dir=tmp_path, log_disk_bytes=10**9), clock)
    assert ours
    assert ours.drop_at is None, "nothing that is not archived goes unless that is said"
    dropping = rotator_for(Settings(data_dir=tmp_path, log_disk_bytes=10**9, log_full="drop"), clock)
    assert dropping
    assert dropping.drop_at == 8 * 10**8
    assert rotator_for(Settings(data_dir=tmp_path, log_file=tmp_path / "other.log"), clock) is None
