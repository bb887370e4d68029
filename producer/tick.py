"""One tick: ship, and report to the status and the log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from common.atomic import keep_reserve
from common.clock import Clock
from common.log import Event, event
from common.settings import Settings
from common.status import Acknowledged, LogStatus, Place, ProducerStatus, State, read_all, write_status
from journal.checkpoint import CheckpointError
from producer.counters import Counting
from producer.logs import Log, log_shipped, wrong_format
from producer.put import Sink
from producer.repair import Repaired
from producer.rotate import Rotator
from producer.ship import Shipped, ship_once, why
from producer.sink import sink_of
from producer.whereabouts import SourceError

log = logging.getLogger(__name__)

# Beyond the poll interval, how long a tick may show no sign of life before it counts as overdue: RETRY_SECONDS of
# the sink, a call that runs into its time-out, and room for a slow machine
OVERDUE_AFTER = timedelta(seconds=60)
# The same error again is logged only so often
REPEAT_ERROR_SECONDS = 60.0
# Ticks whose acknowledgements `verify` can look up
REMEMBERED_TICKS = 20
# While a long backlog drains, the status is written only so often
STATUS_SECONDS = 1.0
# What is wrong with a log's format is no error of the producer's
FORMAT = "format"
_WORST_FIRST: tuple[State, ...] = ("failed", "behind")


class Producer:
    """Runs one tick after the other. Never raises; the next tick tries again.

    `look`: the logs that there are, and the problems with others. `next_poll`: the time of the first poll after a
    moment. `hold`: whether what lines are sent to is still being made.
    `acknowledged` gets the ranges (generation, start, end) that a tick has got acknowledged.
    """

    def __init__(
        self,
        settings: Settings,
        look: Callable[[], tuple[list[Log], list[str]]],
        rotator: Rotator | None,
        clock: Clock,
        next_poll: Callable[[datetime], datetime],
        hold: Callable[[], bool] = lambda: False,
        acknowledged: Callable[[Sequence[tuple[str, int, int]]], None] = lambda _: None,
    ) -> None:
        self._hold = hold
        self._acknowledged = acknowledged
        self._look = look
        self._logs: dict[str, LogStatus] = {}
        self._rotator = rotator
        self._clock = clock
        self._settings = settings
        self._next_poll = next_poll
        self._counting = Counting(clock.now())
        self._running = threading.Lock()
        last = read_all(settings.status_dir).producer or ProducerStatus()
        self._status = replace(last, error=None, lag_bytes=None, lag_lines=None, lag_since=None, logs={}, formats={})
        self._status_written = -STATUS_SECONDS
        self._logged: dict[str, tuple[str, float]] = {}
        self._error: str | None = None
        self._concerns: dict[tuple[str, str], str] = {}
        self._held = False

    def tick(self, sink: Sink, stop: Callable[[], bool]) -> None:
        """Ship what is there until `stop`."""
        with self._running:
            if stop():
                return
            self._held = self._hold()
            if self._held:
                self._say("starting", last_tick=self._clock.now())
                return
            begun = self._clock.monotonic()
            self._say("shipping")
            logs, problems = self._look()
            self._concern("logs", "; ".join(problems))
            states: set[State] = set()
            errors = []
            for each in logs:
                state, error = self._ship(each, sink, stop)
                states.add(state)
                if error:
                    errors.append(each.told + error)
                if state == "behind":  # the others are looked at: the stream would not take theirs now, either
                    stop = _always
                unknown: dict[str, Any] = {"lag_bytes": None, "lag_lines": None} if state == "failed" else {}
                self._logs[each.name] = replace(self._logs.get(each.name, LogStatus()), **unknown)
            self._sum()
            self._error = "; ".join(errors) or None
            self._complain("tick", self._error, "failed" if "failed" in states else "refused")
            self._counting.tick(self._clock.monotonic() - begun, self._rotator)
            worst: State = next((state for state in _WORST_FIRST if state in states), "idle")
            self._say(worst, last_tick=self._clock.now())

    def _ship(self, each: Log, sink: Sink, stop: Callable[[], bool]) -> tuple[State, str | None]:
        """How it ended, and the error if it did early. A log that fails does not hold up the others."""
        self._counting.begin()
        with suppress(OSError):  # no room for it now
            keep_reserve(each.checkpoint_file.path.parent)
        try:
            report = ship_once(
                each.source,
                each.checkpoint_file,
                sink,
                cut=sink_of(self._settings.delivery).cut,
                stop=stop,
                progress=partial(self._progress, each),
            )
        except (CheckpointError, SourceError, OSError) as problem:
            return "failed", why(problem)
        except Exception as problem:
            log.exception("this tick failed", extra=event("failed", part="tick", error=str(problem)))
            return "failed", f"{type(problem).__name__}: {problem}"
        self._record(each, report)
        return "behind" if report.error or report.stopped else "idle", report.error

    def answer(self, sink: Sink, stop: Callable[[], bool]) -> None:
        """Tick now if a request asks for it, then put its id into the status, and remove the request.

        Without room for log lines every look ticks: the sooner all is archived, the sooner requests are taken again.
        What was held back at the start goes as soon as it may.
        """
        if self._hold():
            return
        if self._held:
            self.tick(sink, stop)
        try:
            request = self._settings.ship_request.read_text(errors="replace").strip()
        except OSError:  # mostly: there is none
            if self._rotator and self._rotator.is_full():
                self.tick(sink, stop)
            return
        self.tick(sink, stop)
        with self._running:
            if stop():
                return  # perhaps nothing was shipped: the next start answers
            self._status = replace(self._status, ship_request=request)
            self._publish()
        self._settings.ship_request.unlink(missing_ok=True)

    def turn(self) -> AbstractContextManager[object]:
        """Keep ticks waiting: repair sends between two of them."""
        return self._running

    def repaired(self, repaired: Repaired, name: str = "") -> None:
        """Count what repair has sent, and set or clear its problem; the status says so at once, or after this tick."""
        self._counting.repair(repaired.sent, repaired.lines, repaired.traffic)
        changed = self._concern("repair", repaired.error, name) or repaired.sent
        if changed and self._running.acquire(blocking=False):
            try:
                self._publish()
            finally:
                self._running.release()

    def idle_within(self, seconds: float) -> bool:
        """Wait for the tick that runs, if one does."""
        idle = self._running.acquire(timeout=max(0.0, seconds))
        if idle:
            self._running.release()
        return idle

    def stopped(self) -> None:
        lag = self._status.lag_bytes
        left = f"{lag} bytes are left for the next start" if lag else "everything is acknowledged"
        left = "what is left for the next start is not known" if lag is None else left
        log.info("stopped; %s", left, extra=event("stopped", lag=lag))
        self._say("stopped")

    def failed(self, error: BaseException) -> None:
        """Report an error that `tick` does not catch."""
        self._error = f"{type(error).__name__}: {error}"
        self._say("failed")

    def _record(self, each: Log, report: Shipped) -> None:
        if not (self._settings.owns_log or each.found):  # else it is nginx's to make, at its start
            self._concern("log", report.absent, each.name)
        for problem in report.problems:
            log.error("%s%s", each.told, problem, extra=event("concern", part="log", problem=problem))
        self._count(each, report)
        if not report.records:
            return
        known = self._logs[each.name]
        self._logs[each.name] = replace(known, lines=known.lines + report.lines, bytes=known.bytes + report.bytes)
        log_shipped(each, report)
        wrong = wrong_format(each, self._settings)
        if wrong is not None:
            self._concern(FORMAT, wrong, each.name)
        self._acknowledged(report.ranges)
        done = Acknowledged(
            at=self._clock.now(),
            lines=report.lines,
            records=report.records,
            first=report.first or Place(),
        )
        self._status = replace(
            self._status,
            shipped_at=done.at,
            acknowledged=[*self._status.acknowledged, done][-REMEMBERED_TICKS:],
        )

    def _progress(self, each: Log, report: Shipped) -> None:
        """Show that a long drain is alive."""
        self._count(each, report)
        if self._clock.monotonic() - self._status_written >= STATUS_SECONDS and not report.error:
            self._say("shipping")

    def _count(self, each: Log, report: Shipped) -> None:
        self._counting.ship(report)
        known = self._logs.get(each.name, LogStatus())
        since = (known.lag_since or self._clock.now()) if report.lag else None
        self._logs[each.name] = replace(known, lag_bytes=report.lag, lag_lines=report.lag_lines, lag_since=since)
        self._sum()

    def _sum(self) -> None:
        """What is behind in all logs; unknown, if it is of one."""
        lags = self._logs.values()
        size = [one.lag_bytes for one in lags if one.lag_bytes is not None]
        lines = [one.lag_lines for one in lags if one.lag_lines is not None]
        self._status = replace(
            self._status,
            lag_bytes=sum(size) if len(size) == len(lags) else None,
            lag_lines=sum(lines) if len(lines) == len(lags) else None,
            lag_since=min((one.lag_since for one in lags if one.lag_since), default=None),
        )

    def _concern(self, source: str, problem: str | None, log_name: str = "") -> bool:
        problem = f"{log_name}: {problem}" if problem and log_name else problem
        key = source, log_name
        before = self._concerns.get(key)
        # a new dictionary: repair's thread may be here while a tick reads the old one
        others = {each: text for each, text in self._concerns.items() if each != key}
        self._concerns = others | ({key: problem} if problem else {})
        if problem and not before:
            log.error("%s", problem, extra=event("concern", part=source, problem=problem))
        elif before and not problem:
            log.info("no longer: %s", before, extra=event("resolved", part=source, problem=before))
        return before != problem

    def _say(self, state: State, **facts: Any) -> None:
        """The status of a tick; only this moves the time by which the next one is due."""
        due = self._clock.now() + timedelta(seconds=self._settings.poll_interval) + OVERDUE_AFTER
        self._status = replace(self._status, state=state, due=due, **facts)
        self._status_written = self._clock.monotonic()
        self._publish()

    def _publish(self) -> None:
        errors = [self._error, *(text for (source, _), text in self._concerns.items() if source != FORMAT)]
        self._status = replace(
            self._status,
            error="; ".join(filter(None, errors)) or None,
            formats={name: text for (source, name), text in self._concerns.items() if source == FORMAT},
            counters=self._counting.counters,
            next_poll=self._next_poll(self._clock.now()),
            logs=dict(sorted(self._logs.items())) if self._settings.log_files else {},
        )
        try:
            write_status(self._settings.status_dir, self._status)
        except OSError as error:
            self._complain("status", f"the status cannot be written: {error}", "failed")

    def _complain(self, part: str, error: str | None, name: Event) -> None:
        """Log an error of a part when it is new, and now and then while it lasts."""
        now = self._clock.monotonic()
        logged, at = self._logged.get(part, ("", now))
        if error is None:
            self._logged.pop(part, None)
        elif error != logged or now - at >= REPEAT_ERROR_SECONDS:
            log.error("%s", error, extra=event(name, part=part, error=error))
            self._logged[part] = (error, now)


def _always() -> bool:
    return True
