"""The one that looks: at the log, the processes' status files, the stream, the function's log and the bucket.

While a page is open, each at most once a second (on AWS, where a look is billed, once in 10 s); otherwise so rarely
that it costs next to nothing, and at stream and bucket not before the first page. The parts do not wait for each other,
so that one that is down hides no other.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from appliance import health
from common import aws
from common.atomic import write_atomic
from common.clock import Clock
from common.settings import Settings
from common.status import read_all
from dashboard.bucket import Bucket
from dashboard.endpoint import connecting, where
from dashboard.function import FunctionLog
from dashboard.logs import LogDirectories, added
from dashboard.periodic import Audience, Periodic
from dashboard.proof import Audits
from dashboard.rates import Rate
from dashboard.state import ORDER, Local, Views, state
from dashboard.stream import look_at_stream

T = TypeVar("T")

# Seconds between two looks: at this machine, and at the endpoint
LOCAL_BUSY, LOCAL_IDLE = 1.0, 10.0
REMOTE_BUSY, REMOTE_IDLE = 1.0, 60.0
AWS_BUSY, AWS_IDLE = 10.0, 900.0
# A rate covers one poll, so that it does not swing with the polls; but not more than a minute, and some looks
LEAST_WINDOW, LONGEST_WINDOW = 5.0, 60.0


class Collector:
    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        appliance = read_all(settings.status_dir).appliance
        started = appliance.started_at if appliance else clock.now()
        audience = self._audience = Audience(clock)
        directories = self._directories = LogDirectories(settings)
        s3, logs = connecting(settings, "s3"), connecting(settings, "logs")
        stream = connecting(settings, settings.delivery.service)
        self._least_age = AWS_BUSY if settings.target == "aws" else 0.0
        busy, idle = (AWS_BUSY, AWS_IDLE) if settings.target == "aws" else (REMOTE_BUSY, REMOTE_IDLE)

        def remote(name: str, look: Callable[[], T], *, waits: bool = True) -> Periodic[T]:
            return Periodic(name, look, clock, audience, busy=busy, idle=idle, waits=waits)

        self.bucket = Bucket(settings, clock, s3)
        self._local = Periodic("log", self.look, clock, audience, busy=LOCAL_BUSY, idle=LOCAL_IDLE)
        self._stream = remote("stream", lambda: look_at_stream(settings, stream))
        # what it has not counted, the endpoint may forget
        self._function = remote("function", FunctionLog(settings, logs, started).look, waits=False)
        self._inventory = remote("bucket", self.bucket.look)
        self._proof = remote("audit", Audits(directories, clock, s3).look)
        self._parts: list[Periodic[Any]] = [self._local, self._inventory]
        if not settings.delivery.is_direct:
            self._parts += [self._stream, self._function]
        if settings.delivery.has_ledger:
            self._parts.append(self._proof)
        window = min(max(LEAST_WINDOW, settings.poll_interval), LONGEST_WINDOW)
        self._rates = {node: (Rate(window), Rate(window)) for node in ORDER[1:]}
        self._target = "bucket" if settings.delivery.is_direct else "stream"  # what the producer's records go to
        self._sampling = threading.Lock()

    def start(self) -> None:
        for part in self._parts:
            part.start()

    def end(self) -> None:
        for part in self._parts:
            part.end()

    def watch(self) -> None:
        """A page is open."""
        self._audience.ask()

    def fresh(self, age: float, timeout: float) -> None:
        """Wait until every part was looked at within the last `age` seconds (on AWS: 10), or `timeout` is over."""
        age = max(age, self._least_age)
        end = self.clock.monotonic() + timeout
        for part in self._parts:
            part.fresh(age, max(0.0, end - self.clock.monotonic()))

    @property
    def views(self) -> Views:
        return Views(self._local.seen, self._stream.seen, self._function.seen, self._inventory.seen, self._proof.seen)

    def state(self) -> dict[str, Any]:
        """What GET /api/state answers."""
        now = self.clock.monotonic()
        with self._sampling:
            rates = {node: (lines.per_second(now), size.per_second(now)) for node, (lines, size) in self._rates.items()}
        return state(self.settings, self.views, rates, self.clock.now(), where(self.settings))

    def checks(self) -> list[health.Check]:
        """What `health` says."""
        return health.check(self.settings, read_all(self.settings.status_dir), self.clock.now())

    def ship_now(self) -> str:
        """Have the producer ship soon; the id it answers with in its status. Raises OSError."""
        name = secrets.token_hex(8)
        try:
            # an earlier request must get its answer, too
            name = self.settings.ship_request.read_text(errors="replace").strip() or name
        except FileNotFoundError:
            write_atomic(self.settings.ship_request, name.encode(), durable=False)
        self._local.fresh(0, LOCAL_BUSY)
        return name

    def look(self) -> Local:
        """What can be seen on this machine."""
        settings = self.settings
        disks, problems = self._directories.look()
        disk = added(disks.values()) if disks else None
        said, requested = read_all(settings.status_dir), settings.ship_request.exists()
        formats = said.producer.formats.values() if said.producer else []
        problem, wrong = "; ".join(problems), "; ".join([*problems, *formats])
        logs = disks if settings.log_files else {}
        checks = health.check(settings, said, self.clock.now())
        local = Local(checks, said, disk, problem or None, wrong or None, self._answers(), requested, logs)
        self._sample(local)
        return local

    def _answers(self) -> bool:
        if self.settings.target == "aws":
            return True
        parts = urlsplit(where(self.settings))
        return aws.answers(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))

    def _sample(self, local: Local) -> None:
        """Each edge has the rate of what its end has taken."""
        now = self.clock.monotonic()
        values: dict[str, tuple[float, Any, Any]] = {}
        counters = local.said.producer and local.said.producer.counters
        if counters:
            values["producer"] = (now, counters.lines, counters.bytes)
            values[self._target] = (now, counters.lines, counters.sent_bytes)
        if local.disk:
            values["log"] = (now, local.disk.grown_lines, local.disk.grown_bytes)
        seen = self._function.seen
        if seen.looked is not None:
            # it may have been looked at much earlier than this machine
            counts = seen.value.counts if seen.value else {}
            values["function"] = (seen.looked, counts.get("lines", 0), None)
            values["bucket"] = (seen.looked, counts.get("written", 0), counts.get("bytes", 0))
        with self._sampling:
            for node, (at, lines, size) in values.items():
                self._rates[node][0].add(at, lines)
                self._rates[node][1].add(at, size)
