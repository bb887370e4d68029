"""The daemon's loop: wait for the endpoint, provision, and look every few seconds whether all is still there."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from common import aws
from common.clock import Clock, backoff
from common.errors import AWS_ERRORS, explain
from common.log import event
from common.settings import Settings
from common.status import HONOURED, EntrypointStatus, StatusError, read_status, write_status
from entrypoint.errors import ProvisionError, UnavailableError
from entrypoint.provision import PIPELINES, SERVICES, Clients, connect, look_on_aws, provision
from entrypoint.resources import Outcome
from entrypoint.run import Run

log = logging.getLogger("entrypoint")

State = Literal["waiting", "provisioning", "ready", "failed"]

# Seconds between two looks. What was forgotten is to be there again within 15: one look, and time to provision.
LOOK_EVERY = 5.0
# The same by lookout.py: the less often, the less an idle emulator works, which needs a millisecond for each answer
LOOK_QUIETLY_EVERY = 8.0
# On AWS looks are billed and throttled, and it is terraform that mends, not this loop.
LOOK_EVERY_ON_AWS = 60.0
# Seconds between two attempts to reach an endpoint that does not answer: at first, and at most.
RETRY_BASE = 0.25
RETRY_CAP = 3.0
# Seconds after which "still waiting" is said again, and after which a setting that did not keep is tried again.
REMIND_EVERY = 30.0
# The resources whose capabilities are tried again when they were made anew.
PROBED = {"bucket", "delivery stream"}
# Seconds one run of provisioning may wait for stream, function and mapping to become ready.
PROVISION_WITHIN = 60.0
# Beyond the longest round: a wait of LOOK_EVERY_ON_AWS, PROVISION_WITHIN, and calls that run into their time-outs
STALE_AFTER = timedelta(seconds=300)


@dataclass
class Watch:
    """Converges in rounds, for ever; each process and each test brings its own clock, random numbers and clients.

    `publish=False` leaves the status file to the daemon. `within` limits, in seconds, one run of provisioning. `quiet`:
    the last round only looked, and found all as it was made. `lines`: what was said of the resources, by kind.
    """

    settings: Settings
    code: bytes
    clock: Clock
    rng: random.Random = field(default_factory=random.Random)
    _: KW_ONLY
    connect: Callable[[Settings], Clients] = connect
    publish: bool = True
    within: float = PROVISION_WITHIN

    def __post_init__(self) -> None:
        self.quiet = False
        self.state: State = "waiting"
        self.error: str | None = None
        self._pipeline = PIPELINES[self.settings.delivery]
        self._clients: Clients | None = None
        self._endpoints: list[str | None] = []
        self._pauses = backoff(self.rng, RETRY_BASE, RETRY_CAP)
        self._complete = False
        self._resources: dict[str, str] = {}
        self.lines: dict[str, str] = {}
        self._provisioned_at: datetime | None = None
        self._capability: str | None = None
        self._unseen = False  # for a reason that passes: then it is tried again
        self._mended: list[str] = []
        self._mended_at = 0.0
        self._reminded_at: float | None = None
        self._status_error = ""

    def resume(self, lines: dict[str, str]) -> None:
        """Go on from the status that another one wrote, and from its `lines`; from the start if that cannot be read."""
        with suppress(StatusError):
            if (said := read_status(self.settings.status_dir, EntrypointStatus)) and said.state == "ready":
                self.state, self._complete, self.lines = "ready", True, lines
                self._resources, self._provisioned_at = said.resources, said.provisioned_at
                self._capability = getattr(said, self._pipeline.capability)

    def round(self) -> float:
        """Look once, mend what is missing, and return the seconds until the next look. Raises no Exception."""
        self.quiet = False
        try:
            clients = self._connected()
            if self.settings.target == "aws":
                self._look_on_aws(clients)
            elif not self._complete or self._differs(clients):
                self._provision(clients)
            else:
                if self._unseen:
                    self._probe(clients)
                self._ready()
                self.quiet = not (self._mended or self._status_error or self._unseen)
        except UnavailableError as error:
            self._wait(str(error))
            return next(self._pauses)
        except ProvisionError as error:
            self._fail(str(error))
        except Exception as error:
            # the loop outlives what was not foreseen, and shows where it was
            self._fail(f"{type(error).__name__}: {error}", trace=True)
        self._pauses = backoff(self.rng, RETRY_BASE, RETRY_CAP)
        return LOOK_EVERY_ON_AWS if self.settings.target == "aws" else LOOK_EVERY

    @property
    def _endpoint(self) -> str:
        return (self._endpoints and self._endpoints[0]) or "AWS"

    def _connected(self) -> Clients:
        """The clients of the last round, unless the endpoint was lost and has been found at another port."""
        if self._clients is None or self.state == "waiting":
            endpoints = [aws.endpoint_url(self.settings, service) for service in SERVICES]
            if self._clients is None or endpoints != self._endpoints:
                self._clients, self._endpoints = self.connect(self.settings), endpoints
        return self._clients

    def _tell(self, outcome: Outcome, line: str) -> None:
        """Keep what is known of a resource, and log what was done with it or is new about it."""
        kind, state = outcome.kind, outcome.state
        if state in ("created", "updated") or line != self.lines.get(kind):
            log.info("%s", line, extra=event("provisioned", kind=kind, resource=outcome.name, state=state))
        self.lines[kind], self._resources[kind] = line, state

    def _provision(self, clients: Clients) -> None:
        self._complete = False
        for outcome in provision(clients, self.settings, self.code, Run(self.clock, self.within)):
            if self.state != "provisioning":
                self._set("provisioning")
            self._tell(outcome, str(outcome))
        if self._capability is None or "created" in (self._resources[kind] for kind in PROBED & self._resources.keys()):
            self._probe(clients)
        self._complete = True
        self._provisioned_at = self.clock.now()
        self._ready()

    def _probe(self, clients: Clients) -> None:
        """Whether the endpoint has what the chosen delivery needs: said when it has not, and never a failure."""
        self._unseen = False
        try:
            run = Run(self.clock, self.within)
            found = self._pipeline.shortcoming(clients, self.settings, self._endpoint, run) or HONOURED
        except AWS_ERRORS as error:
            needs = f"whether {self._endpoint} has what DELIVERY={self.settings.delivery} needs cannot be seen"
            failure = explain(error, "the probe", self.settings.target)
            found, self._unseen = f"{needs}: {failure}", failure.passing
        if found not in (HONOURED, self._capability):
            log.warning("%s", found, extra=event("concern", part="endpoint", problem="capability", error=found))
        self._capability = found

    def _differs(self, clients: Clients) -> bool:
        """Whether to provision again: something is gone, or is not as it was made."""
        plan = provision(clients, self.settings, self.code, Run(self.clock, self.within, apply=False))
        due = [outcome for outcome in plan if outcome.state != "unchanged"]
        lines = [str(outcome) for outcome in due]
        gone = [f"{outcome.kind} {outcome.name}" for outcome in due if outcome.state == "created"]
        now = self.clock.monotonic()
        if gone:
            problem, what = "forgotten", ", ".join(gone)
            sentence = f"{self._endpoint} has forgotten {what}: provisioning again"
        elif lines and (lines != self._mended or now >= self._mended_at + REMIND_EVERY):
            # an endpoint that never shows what it was told would otherwise be updated every few seconds
            problem, what = "changed", ", ".join(lines)
            sentence = f"not as it was made: {what}: provisioning again"
        else:
            self._mended = lines
            return False
        log.warning("%s", sentence, extra=event("concern", part="endpoint", problem=problem, error=what))
        self._mended, self._mended_at = lines, now
        return True

    def _look_on_aws(self, clients: Clients) -> None:
        found = look_on_aws(clients, self.settings)
        words = {"unchanged": "is there", "missing": "is missing", "unseen": "cannot be seen by these credentials"}
        for outcome in found:
            self._tell(outcome, f"{outcome.kind} {outcome.name}: {words[outcome.state]}")
        missing = [f"{outcome.kind} {outcome.name}" for outcome in found if outcome.state == "missing"]
        if missing:
            delivery = self.settings.delivery
            others = () if delivery.is_direct else (delivery.stream_setting, "LAMBDA_FUNCTION")
            raise ProvisionError(
                f"not on AWS: {', '.join(missing)}. With TARGET=aws nothing is made from here: apply terraform/, or "
                f"take its names: {' '.join(f'-e {name}=…' for name in ('S3_BUCKET', *others, 'AWS_DEFAULT_REGION'))}"
            )
        self._ready()

    def _ready(self) -> None:
        if self.state != "ready":
            log.info("ready at %s", self._endpoint, extra=event("provisioned", endpoint=self._endpoint))
        self._reminded_at = None
        self._set("ready")

    def _wait(self, reason: str) -> None:
        now = self.clock.monotonic()
        if self._reminded_at is None or now >= self._reminded_at + REMIND_EVERY:
            # at a start the endpoint may be starting, too
            first = self._reminded_at is None and self._provisioned_at is None
            log.log(
                logging.INFO if first else logging.WARNING,
                "waiting for %s: %s; nginx serves and logs meanwhile",
                *(self._endpoint, reason),
                extra=event("unreachable", part="endpoint", error=reason),
            )
            self._reminded_at = now
        self._set("waiting", reason)

    def _fail(self, reason: str, *, trace: bool = False) -> None:
        if reason != self.error:
            log.error("%s", reason, exc_info=trace, extra=event("failed", part="provisioning", error=reason))
        self._set("failed", reason)

    def _set(self, state: State, error: str | None = None) -> None:
        # while it is tried again, the reason why it failed before stays known, so that it is logged once; an endpoint
        # that is provisioned answers again
        if state != "provisioning" or self.state == "waiting":
            self.error = error
        self.state = state
        if not self.publish:
            return
        now = self.clock.now()
        status = EntrypointStatus(
            due=now + STALE_AFTER,
            state=state,
            endpoint=self._endpoint,
            resources=self._resources,
            checked_at=now,
            provisioned_at=self._provisioned_at,
            error=self.error,
            **{self._pipeline.capability: self._capability},  # type: ignore[arg-type]
        )
        try:
            write_status(self.settings.status_dir, status)
            self._status_error = ""
        except OSError as problem:
            if str(problem) != self._status_error:
                said = event("concern", part="status", problem="unwritable", error=str(problem))
                log.warning("the status cannot be written: %s", problem, extra=said)
            self._status_error = str(problem)
