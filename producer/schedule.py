"""When to ship: on the minute, at the start, and once more before the end. The only place that knows APScheduler."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any, NoReturn

from apscheduler.events import EVENT_JOB_ERROR, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from appliance.archived import ArchivedFile
from appliance.clock import Clock, SystemClock
from appliance.ledgers import connect
from appliance.settings import Settings
from appliance.status import read_status, write_status
from producer.checkpoint import CheckpointError, CheckpointFile
from producer.repair import Repair
from producer.rotate import Rotator
from producer.ship import Shipped, ship_once
from producer.sink import Ack, Sink, kinesis_sink
from producer.source import Source, SourceError

log = logging.getLogger(__name__)

# All the time a stop takes: `docker stop` gives the whole container 10 s, and the others need some too
STOP_SECONDS = 3.0
# Time-outs of the last call, so that it ends within those
STOP_TIMEOUTS: dict[str, Any] = {"connect_timeout": 1.0, "read_timeout": 2.0}
# Beyond the poll interval, how long a tick may show no sign of life before it counts as overdue: RETRY_SECONDS of
# the sink, a call that runs into its time-out, and room for a slow machine
OVERDUE_AFTER = timedelta(seconds=60)
# The same error again is logged only so often
REPEAT_ERROR_SECONDS = 60.0
# Ticks whose acknowledgements `verify` can look up
REMEMBERED_TICKS = 20
# While a long backlog drains, the status is written only so often
STATUS_SECONDS = 1.0
# How often repair looks whether it is its time, or whether `audit --repair` asks for it
LOOK_SECONDS = 1.0


class Producer:
    """One tick after the other: ship, rotate, say how it went. Never raises; the next tick tries again."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        checkpoint_file: CheckpointFile,
        rotator: Rotator,
        clock: Clock,
    ) -> None:
        self._source = source
        self._checkpoint_file = checkpoint_file
        self._rotator = rotator
        self._clock = clock
        self._status_dir = settings.status_dir
        self._interval = timedelta(seconds=settings.poll_interval)
        self._running = threading.Lock()
        self._status = _carried_over(read_status(settings.status_dir, "producer") or {})
        self._status_written = -STATUS_SECONDS
        self._logged = ("", 0.0)
        self._error: str | None = None
        self._concerns: dict[str, str] = {}

    def tick(self, sink: Sink, stop: Callable[[], bool], *, rotate: bool = True) -> None:
        """Ship what is there until `stop`."""
        with self._running:
            if stop():
                return
            self._say("shipping")
            state, error = "failed", None
            try:
                report = ship_once(self._source, self._checkpoint_file, sink, stop=stop, progress=self._progress)
            except (CheckpointError, SourceError) as problem:
                error = str(problem)
            except OSError as problem:
                error = f"the log or its checkpoint cannot be read or saved: {problem}"
            except Exception as problem:
                log.exception("this tick failed")
                error = f"{type(problem).__name__}: {problem}"
            else:
                state, error = ("behind" if report.error or report.stopped else "idle"), report.error
                self._record(report)
            self._error = error
            self._complain(error)
            if rotate:
                self._concern("disk", self._rotator.run(self._checkpoint_file))
            self._say(state, last_tick=_iso(self._clock.now()))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep ticks waiting: whoever else sends does it between two of them."""
        with self._running:
            yield

    def concern(self, source: str, problem: str | None) -> None:
        """Take up, or let go of, what is wrong beside the ticks; the status says it at once, or after this tick."""
        changed = self._concern(source, problem)
        if changed and self._running.acquire(blocking=False):
            try:
                self._publish()
            finally:
                self._running.release()

    def idle_within(self, seconds: float) -> bool:
        """Wait for the tick that runs, if one does."""
        if not self._running.acquire(timeout=max(0.0, seconds)):
            return False
        self._running.release()
        return True

    def stopped(self) -> None:
        lag = self._status.get("lag_bytes", 0)
        log.info("stopped; %s", f"{lag} bytes are left for the next start" if lag else "everything is acknowledged")
        self._say("stopped")

    def failed(self, error: BaseException) -> None:
        """A tick has ended with what `tick` does not catch."""
        self._error = f"{type(error).__name__}: {error}"
        self._say("failed")

    def _record(self, report: Shipped) -> None:
        for problem in report.problems:
            log.error("%s", problem)
        self._status["lag_bytes"] = report.lag
        if not report.records:
            return
        log.info("%s", describe(report))
        facts = {
            "lines": report.lines,
            "records": report.records,
            "bytes": report.bytes,
            "first": _place(report.first),
            "last": _place(report.last),
        }
        now = _iso(self._clock.now())
        self._status |= facts | {"shipped_at": now, "total_lines": self._status["total_lines"] + report.lines}
        done = {"at": now, **facts, "ranges": [list(each) for each in report.ranges]}
        self._status["acknowledged"] = [*self._status["acknowledged"], done][-REMEMBERED_TICKS:]

    def _progress(self, report: Shipped) -> None:
        """Show that a long drain is alive."""
        if self._clock.monotonic() - self._status_written >= STATUS_SECONDS and not report.error:
            self._say("shipping")

    def _concern(self, source: str, problem: str | None) -> bool:
        before = self._concerns.get(source)
        self._concerns = {name: text for name, text in self._concerns.items() if name != source}
        if problem:
            self._concerns[source] = problem
        if problem and not before:
            log.error("%s", problem)
        elif before and not problem:
            log.info("no longer: %s", before)
        return before != problem

    def _say(self, state: str, **facts: Any) -> None:
        """The status of a tick; only this moves the time of the next one."""
        now = self._clock.now()
        self._status |= facts | {"state": state, "next_tick_due": _iso(now + self._interval + OVERDUE_AFTER)}
        self._status_written = self._clock.monotonic()
        self._publish()

    def _publish(self) -> None:
        self._status["error"] = "; ".join(filter(None, [self._error, *self._concerns.values()])) or None
        try:
            write_status(self._status_dir, "producer", self._status)
        except OSError as error:
            self._complain(f"the status cannot be written: {error}")

    def _complain(self, error: str | None) -> None:
        """Log an error when it is new, and now and then while it lasts."""
        now = self._clock.monotonic()
        if error is None:
            self._logged = ("", now)
        elif error != self._logged[0] or now - self._logged[1] >= REPEAT_ERROR_SECONDS:
            log.error("%s", error)
            self._logged = (error, now)


def serve(settings: Settings) -> int:
    """Ship at each poll until SIGTERM or SIGINT, then once more within STOP_SECONDS. Returns the exit code."""
    clock, rng = SystemClock(), random.SystemRandom()
    checkpoint_file = CheckpointFile(settings.checkpoint_file)
    rotator = Rotator(
        settings.log_file,
        settings.run_dir / "nginx.pid",
        settings.log_rotate_bytes,
        clock,
        archived_file=ArchivedFile(settings.archived_file),
        budget=settings.log_disk_bytes,
    )
    producer = Producer(settings, Source(settings.log_file, clock, rng), checkpoint_file, rotator, clock)
    stop = threading.Event()
    sink = kinesis_sink(settings, clock, rng, stop=stop.is_set, pause=stop.wait)
    repair = Repair(
        settings,
        Source(settings.log_file, clock, rng),
        clock,
        connect=lambda: connect(settings),
        sink=lambda ended: kinesis_sink(settings, clock, rng, stop=ended, pause=stop.wait),
        turn=producer.turn,
        stop=stop.is_set,
    )
    looking = threading.Lock()

    def look() -> None:
        with looking:
            repaired = repair.look()
        if repaired:
            producer.concern("repair", repaired.error)

    scheduler = make_scheduler(settings.poll_interval, lambda: producer.tick(sink, stop.is_set), producer.failed, look)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
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
            last = kinesis_sink(settings, clock, rng, stop=late, **STOP_TIMEOUTS)
            producer.tick(last, late, rotate=False)
            last.close()

    # In a thread of its own, so that a call that hangs does not take the time the other programs need to stop
    finishing = threading.Thread(target=finish, daemon=True)
    finishing.start()
    finishing.join(STOP_SECONDS)
    if finishing.is_alive() or not producer.idle_within(0):
        log.warning("stopped in the middle of a call; what it sent and got no answer for is sent again")
        logging.shutdown()
        os._exit(0)
    sink.close()
    producer.stopped()
    if not looking.acquire(blocking=False):
        # Repair waits for an answer about the bucket; nobody needs it any more
        logging.shutdown()
        os._exit(0)
    return 0


def make_scheduler(
    interval: float,
    tick: Callable[[], None],
    failed: Callable[[BaseException], None],
    look: Callable[[], None] | None = None,
) -> BlockingScheduler:
    """Runs `tick` at once and then at every poll, never two at a time, and never skips one because it is late.

    `look` (repair) is asked every LOOK_SECONDS, in a thread of its own: while it waits for S3, ticks go on.
    """
    scheduler = BlockingScheduler(
        timezone=UTC, executors={"default": ThreadPoolExecutor(1), "repair": ThreadPoolExecutor(1)}
    )
    if look:
        scheduler.add_job(
            look,
            IntervalTrigger(seconds=LOOK_SECONDS, timezone=UTC),
            id="repair",
            executor="repair",
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
    scheduler.add_job(
        tick,
        poll_trigger(interval),
        id="tick",
        next_run_time=datetime.now(UTC),
        misfire_grace_time=None,
        coalesce=True,
        max_instances=1,
    )

    def on_error(event: JobExecutionEvent) -> None:
        failed(event.exception)

    scheduler.add_listener(on_error, EVENT_JOB_ERROR)
    # It warns whenever a poll is due while a long backlog still drains, which is as it should be
    logging.getLogger("apscheduler.scheduler").setLevel(logging.ERROR)
    return scheduler


def poll_trigger(interval: float) -> CronTrigger | IntervalTrigger:
    """On the minute for 60, on its even parts for what divides it, else every `interval` seconds from now on."""
    if interval == 60:
        return CronTrigger(second=0, timezone=UTC)
    if interval >= 1 and 60 % interval == 0:
        return CronTrigger(second=f"*/{int(interval)}", timezone=UTC)
    return IntervalTrigger(seconds=interval, timezone=UTC)


def describe(report: Shipped) -> str:
    """The log line of a tick that shipped something."""
    first, last = report.first, report.last
    return (
        f"shipped {report.lines} lines in {report.records} records, {report.bytes} bytes; "
        f"first {first and f'{first.shard} {first.sequence_number}'}, "
        f"last {last and f'{last.shard} {last.sequence_number}'}; lag {report.lag} bytes"
    )


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


def _carried_over(status: dict[str, Any]) -> dict[str, Any]:
    """What a new process keeps of the last one's status."""
    acknowledged = status.get("acknowledged")
    total = status.get("total_lines")
    return status | {
        "acknowledged": acknowledged if isinstance(acknowledged, list) else [],
        "total_lines": total if isinstance(total, int) else 0,
        "lag_bytes": 0,
        "error": None,
    }


def _place(ack: Ack | None) -> dict[str, str] | None:
    return ack and {"shard": ack.shard, "sequence_number": ack.sequence_number}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
