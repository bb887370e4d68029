"""When to ship: on the minute, at the start, and once more before the end. The only place that knows APScheduler."""

from __future__ import annotations

import logging
import math
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from common import door
from common.clock import Clock, SystemClock
from common.log import event
from common.settings import Settings
from common.status import EntrypointStatus, StatusError, read_status
from common.unused import unused
from journal.archived import ArchivedFile
from journal.checkpoint import CheckpointFile
from journal.ledgers import connect
from journal.logs import logs_of
from producer.bucket import Proven
from producer.logs import Logs
from producer.repair import Repair
from producer.rotate import DROP_FROM, Rotator
from producer.sink import make_sink
from producer.source import Source
from producer.tick import Producer

with unused("asyncio", "concurrent.futures.process", "multiprocessing", "tzlocal"):  # for schedulers of other kinds
    from apscheduler.events import EVENT_JOB_ERROR
    from apscheduler.executors.pool import ThreadPoolExecutor
    from apscheduler.schedulers.blocking import BlockingScheduler
    from apscheduler.triggers.base import BaseTrigger

log = logging.getLogger(__name__)

# All the time a stop takes: `docker stop` gives the whole container 10 s, and the others need some too
STOP_SECONDS = 3.0
# Time-outs of the last call, so that it ends within those
STOP_TIMEOUTS: dict[str, Any] = {"connect_timeout": 1.0, "read_timeout": 2.0}
# How often it is looked whether a poll or a repair is asked for, whether it is repair's time, and how large the log is
LOOK_SECONDS = 1.0
# By how much wall clock and monotonic clock may part within LOOK_SECONDS before the wall clock counts as set
JUMP = timedelta(seconds=1)
# How long the entrypoint may take to make what lines are sent to, before it is tried without its word
START_SECONDS = 30.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def serve(settings: Settings) -> int:
    """Ship at each poll until SIGTERM or SIGINT, then once more within STOP_SECONDS. Returns the exit code."""
    clock, rng = SystemClock(), random.SystemRandom()
    rotator, proven = rotator_for(settings, clock), Proven()
    # of several logs each would take what is another's
    direct = settings.delivery.is_direct and not settings.log_files
    producer = Producer(
        settings,
        Logs(settings, clock, rng).look,
        rotator,
        clock,
        next_poll(settings.poll_interval),
        until_provisioned(settings, clock),
        proven.add if direct else lambda _: None,
    )
    stop = threading.Event()
    sink = make_sink(settings, clock, rng, stop=stop.is_set, pause=stop.wait)
    repairs: dict[tuple[str, Path], Repair] = {}
    looking = threading.Lock()

    def repair_of(one: Settings) -> Repair:
        key = one.log_name, one.log_file
        if key not in repairs:
            repairs[key] = Repair(
                one,
                Source.of(one, clock, rng),
                clock,
                connect=lambda: connect(one),
                sink=lambda ended: make_sink(settings, clock, rng, stop=ended, pause=stop.wait),
                turn=producer.turn,
                stop=stop.is_set,
                proven=proven.take,
            )
        return repairs[key]

    def look() -> None:
        for one in logs_of(settings):
            with looking:
                repaired = repair_of(one).look()
            if repaired:
                producer.repaired(repaired, one.log_name)

    others = {"answer": lambda: producer.answer(sink, stop.is_set)}
    if settings.delivery.has_ledger:
        others["repair"] = look
    if rotator:
        others["rotate"] = rotator.look
    scheduler = make_scheduler(settings.poll_interval, lambda: producer.tick(sink, stop.is_set), producer.failed)
    logs = settings.log_files or str(settings.log_file)
    log.info(
        "started: %s is polled every %g s",
        *(logs, settings.poll_interval),
        extra=event("started", log=logs, interval=settings.poll_interval, delivery=settings.delivery.name),
    )
    threading.Thread(target=follow_clock, args=(scheduler, clock, stop), name="clock", daemon=True).start()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit())
        if settings.delivery.has_ledger:
            for one in logs_of(settings):
                repair_of(one).set_back.look_back()
        for name, job in others.items():
            threading.Thread(target=repeat, args=(name, job, producer.failed, stop), name=name, daemon=True).start()
        scheduler.start()
    except SystemExit:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
    deadline = clock.monotonic() + STOP_SECONDS
    stop.set()
    if scheduler.running:
        scheduler.shutdown(wait=False)

    def late() -> bool:
        return clock.monotonic() >= deadline

    def finish() -> None:
        if producer.idle_within(deadline - clock.monotonic()):
            last = make_sink(settings, clock, rng, stop=late, **STOP_TIMEOUTS)
            producer.tick(last, late)
            last.close()

    # In a thread of its own, so that a call that hangs does not take the time the other programs need to stop
    finishing = threading.Thread(target=finish, daemon=True)
    finishing.start()
    finishing.join(STOP_SECONDS)
    if finishing.is_alive() or not producer.idle_within(0):
        log.warning(
            "stopped in the middle of a call; what it sent and got no answer for is sent again",
            extra=event("stopped", cut_off=True),
        )
        logging.shutdown()
        os._exit(0)
    sink.close()
    producer.stopped()
    if not looking.acquire(blocking=False):
        # Repair waits for an answer about the bucket; it is needed no more
        logging.shutdown()
        os._exit(0)
    return 0


def make_scheduler(
    interval: float, tick: Callable[[], None], failed: Callable[[BaseException], None]
) -> BlockingScheduler:
    """Runs `tick` at once and then at every poll, never two at a time, and never skips one because it is late."""
    scheduler = BlockingScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    scheduler.add_job(tick, Every(interval), id="tick", next_run_time=datetime.now(UTC))

    scheduler.add_listener(lambda event: failed(event.exception), EVENT_JOB_ERROR)
    # It warns whenever a poll is due while a long backlog still drains, which is as it should be
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
    return scheduler


def repeat(name: str, job: Callable[[], None], failed: Callable[[BaseException], None], stop: threading.Event) -> None:
    """Run `job` every LOOK_SECONDS until `stop`, in a thread of its own: while repair waits for S3, ticks go on.

    No job of the scheduler's, which takes as much for running one as half of an idle container.
    """
    while not stop.wait(LOOK_SECONDS):
        try:
            job()
        except Exception as error:
            log.exception("%s failed", name, extra=event("failed", part=name, error=str(error)))
            failed(error)


class Every(BaseTrigger):  # type: ignore[misc]
    """At each multiple of `seconds` since 1970, so on the minute for 60; what a jump of the clock passed over is not
    made up for, as APScheduler's own triggers do, each of 30 million minutes from 1970 on."""

    def __init__(self, seconds: float) -> None:
        self.after = next_poll(seconds)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return self.after(now)


def next_poll(interval: float) -> Callable[[datetime], datetime]:
    """When the first poll after a moment is."""
    step = timedelta(seconds=interval)
    return lambda now: now + step - (now - EPOCH) % step


def until_provisioned(settings: Settings, clock: Clock) -> Callable[[], bool]:
    """Whether the appliance's entrypoint may still be making what lines are sent to: they wait, without a complaint."""
    end = clock.monotonic() + START_SECONDS if settings.owns_log else -math.inf

    def hold() -> bool:
        nonlocal end
        if clock.monotonic() < end:
            with suppress(StatusError):
                entrypoint = read_status(settings.status_dir, EntrypointStatus)
                if entrypoint and entrypoint.state == "ready":
                    end = -math.inf
        return clock.monotonic() < end

    return hold


def follow_clock(scheduler: BlockingScheduler, clock: Clock, stop: threading.Event) -> None:
    """Until `stop`: when the wall clock was set, by which APScheduler goes, run all jobs and go on from there."""

    def ahead() -> timedelta:
        return clock.now() - EPOCH - timedelta(seconds=clock.monotonic())

    known = ahead()
    while not stop.wait(LOOK_SECONDS):
        if abs(ahead() - known) > JUMP:
            known = ahead()
            for job in scheduler.get_jobs():
                job.modify(next_run_time=clock.now())


def rotator_for(settings: Settings, clock: Clock) -> Rotator | None:
    """What keeps the appliance's own log bounded; None for a log that belongs to another program."""
    if not settings.owns_log:
        return None
    return Rotator(
        settings.log_file,
        settings.run_dir / "nginx.pid",
        settings.log_rotate_bytes,
        settings.log_rotate_seconds,
        clock,
        CheckpointFile(settings.checkpoint_file),
        is_full=lambda: door.is_full(settings.run_dir),
        archived_file=ArchivedFile(settings.archived_file) if settings.delivery.has_ledger else None,
        drop_at=DROP_FROM * settings.log_disk_bytes if settings.log_full == "drop" else None,
    )
