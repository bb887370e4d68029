"""What the function says of itself: the JSON line it prints for each batch, read from CloudWatch Logs as it comes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from common.aws import CloudWatchLogsClient
from common.settings import Settings
from dashboard.endpoint import GoneError, explaining

# Events become readable some seconds after they were written, and not in their order (CloudWatch Logs)
OVERLAP = timedelta(seconds=30)
# How often one look asks until nothing new comes: an emulator gives 10,000 events and no token for those behind them
ROUNDS = 5
# Lines that are kept of an error
ERROR_LENGTH = 500


@dataclass(slots=True)
class Batches:
    """The sums of all batches. `counts`: the numbers of the function's lines, by their names, with `batches` and
    `failed`. `seconds`: what the batches took. `last`, `failed_at`: when one succeeded or failed."""

    counts: dict[str, int]
    seconds: float = 0.0
    last: datetime | None = None
    failed_at: datetime | None = None
    error: str | None = None

    @property
    def failing(self) -> bool:
        """Whether the last batch that is known has failed."""
        return self.failed_at is not None and (self.last is None or self.failed_at > self.last)


class FunctionLog:
    """Reads on from where the last look ended. One thread."""

    def __init__(self, settings: Settings, connect: Callable[[], CloudWatchLogsClient], since: datetime) -> None:
        self._settings = settings
        self._connect = connect
        self._since = since
        self._read_to = since
        self._seen: dict[str, int] = {}  # events that may be read again, with their times
        self._found = Batches(Counter())

    def look(self) -> Batches:
        """Raises LookError."""
        # there is no log until the function has run
        with (
            suppress(GoneError),
            explaining(f"the log of the function {self._settings.lambda_function}", self._settings),
        ):
            for event in self._events(f"/aws/lambda/{self._settings.lambda_function}"):
                for line in event["message"].splitlines():
                    self._take(line, _moment(event["timestamp"]))
        return replace(self._found, counts=dict(self._found.counts))

    def _events(self, group: str) -> Iterator[Any]:
        """Each event that was not seen before."""
        listing = self._connect().get_paginator("filter_log_events")
        for _ in range(ROUNDS):
            start = max(self._since, self._read_to - OVERLAP)
            pages = listing.paginate(logGroupName=group, startTime=_milliseconds(start))
            fresh = 0
            repeated: Counter[str] = Counter()
            for event in (event for page in pages for event in page["events"]):
                # an emulator gives no id; equal lines of the same millisecond are then told apart by their number
                name = event.get("eventId") or f"{event.get('logStreamName')} {event['timestamp']} {event['message']}"
                repeated[name] += 1
                name = f"{name} {repeated[name]}"
                if name not in self._seen:
                    fresh += 1
                    self._seen[name] = event["timestamp"]
                    self._read_to = max(self._read_to, _moment(event["timestamp"]))
                    yield event
            oldest = _milliseconds(self._read_to - OVERLAP)
            self._seen = {name: at for name, at in self._seen.items() if at >= oldest}
            if not fresh:
                return

    def _take(self, line: str, at: datetime) -> None:
        try:
            facts = json.loads(line)
        except ValueError:
            return
        if not isinstance(facts, dict) or not isinstance(facts.get("records"), int):
            return
        found, error, took = self._found, facts.get("error"), facts.get("ms")
        counts = {name: value for name, value in facts.items() if type(value) is int and value >= 0}
        counts["failed" if error else "batches"] = 1
        for name, value in counts.items():
            found.counts[name] += value
        found.seconds += took / 1000 if isinstance(took, int | float) else 0.0
        if error:
            found.failed_at, found.error = at, str(error)[:ERROR_LENGTH]
        else:
            found.last = at


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
