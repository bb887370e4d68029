"""What each process last said of itself, as one small JSON file a process under DATA_DIR/run/status.

Written by the process; read by health, the command and the dashboard. Losing one costs nothing but the answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from common.atomic import write_atomic
from common.typed import WrongError, read

# Of the producer: what its last tick came to, or what it does
State = Literal["starting", "shipping", "idle", "behind", "failed", "stopped"]
# What a status says of a capability that the endpoint has
HONOURED = "honoured"
Endpoint = Literal["aws", "embedded", "endpoint"]
# Goes up when an older reader would take a file for something else
VERSION: Literal[1] = 1


class StatusError(Exception):
    """A status cannot be used; the message says why, and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """`due`: when the next one is there at the latest. Once it has passed, the status is stale: its writer hangs or is
    gone, and the rest is of the past. None: it does not age."""

    process: ClassVar[str]
    version: Literal[1] = VERSION
    due: datetime | None = None

    def stale(self, now: datetime) -> bool:
        return self.due is not None and now > self.due


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplianceStatus(Status):
    """The start. `endpoint`: what it works with."""

    process: ClassVar[str] = "appliance"
    started_at: datetime
    endpoint: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchdogStatus(Status):
    """`ended`: program -> when it ended by itself, though it was started again; the last times."""

    process: ClassVar[str] = "watchdog"
    ended: dict[str, list[datetime]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrypointStatus(Status):
    """`resources`: name -> what became of it. The last two: whether the endpoint has what the delivery needs."""

    process: ClassVar[str] = "entrypoint"
    state: Literal["waiting", "provisioning", "ready", "failed"]
    endpoint: str | None = None
    resources: dict[str, str] = field(default_factory=dict)
    checked_at: datetime | None = None
    provisioned_at: datetime | None = None
    error: str | None = None
    conditional_writes: str | None = None
    event_time_prefixes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record is: in a shard of the data stream, by the name that Firehose gave it, or in the object `key`."""

    shard: str | None = None
    sequence_number: str | None = None
    record_id: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.shard, self.sequence_number, self.record_id, self.key)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """What one tick has got acknowledged."""

    at: datetime
    lines: int
    records: int
    first: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class TickSeconds:
    """A histogram, cumulative as Prometheus wants it. `buckets`: upper bound -> ticks."""

    buckets: dict[str, int]
    sum: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What the producer has done since it was started. `retries`: reason -> records; `shards`: shard -> records."""

    started_at: datetime
    lines: int = 0
    records: int = 0
    bytes: int = 0
    sent_bytes: int = 0
    calls: int = 0
    retries: dict[str, int] = field(default_factory=dict)
    throttled: int = 0
    shards: dict[str, int] = field(default_factory=dict)
    ticks: int = 0
    tick_seconds: TickSeconds | None = None
    rotations: int = 0
    deleted_logs: int = 0
    dropped_logs: int = 0
    repaired_bytes: int = 0
    repaired_lines: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatus:
    """One log. `lag_…`: what was seen in it and is not acknowledged; `lines`, `bytes`: acknowledged since the start."""

    lag_bytes: int | None = None
    lag_lines: int | None = None
    lag_since: datetime | None = None
    lines: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerStatus(Status):
    """`lag_…`: what was seen in all logs and is not acknowledged. `ship_request`: the last one that was answered.

    `acknowledged`: of the last ticks that had something. `logs`: those of LOG_FILES, by name. `formats`: what is wrong
    with the format of a log, by its name.
    """

    process: ClassVar[str] = "producer"
    state: State = "starting"
    last_tick: datetime | None = None
    next_poll: datetime | None = None
    error: str | None = None
    lag_bytes: int | None = None
    lag_lines: int | None = None
    lag_since: datetime | None = None
    ship_request: str | None = None
    shipped_at: datetime | None = None
    acknowledged: list[Acknowledged] = field(default_factory=list)
    counters: Counters | None = None
    logs: dict[str, LogStatus] = field(default_factory=dict)
    formats: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairStatus(Status):
    """The last comparison with the bucket, in bytes of the log. `request`: the `audit --repair` that it answers."""

    process: ClassVar[str] = "repair"
    checked_at: datetime
    archived: int = 0
    pending: int = 0
    missing: int = 0
    sent: int = 0
    error: str | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Statuses:
    """All but those of the repair, one for each log; None: nothing was said yet, or `unusable` says why it cannot be
    read, by process."""

    appliance: ApplianceStatus | None = None
    producer: ProducerStatus | None = None
    entrypoint: EntrypointStatus | None = None
    watchdog: WatchdogStatus | None = None
    unusable: dict[str, str] = field(default_factory=dict)


S = TypeVar("S", bound=Status)


def _plain(value: Any) -> Any:
    """What JSON lacks. `asdict` would copy all that is in it."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return {each.name: getattr(value, each.name) for each in fields(value)}


def write_status(directory: Path, status: Status) -> None:
    """Replace what the process has said before. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    data = json.dumps(status, default=_plain, separators=(",", ":"))
    write_atomic(directory / f"{status.process}.json", data.encode(), durable=False)


def read_status(directory: Path, kind: type[S]) -> S | None:
    """What a process last said, None when it has not said anything yet. Raises StatusError."""
    path = directory / f"{kind.process}.json"
    try:
        found: S = read(kind, json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StatusError(f"{path} cannot be read: {error.strerror}: let this user read DATA_DIR") from None
    except WrongError as error:
        if error.where == ("version",):
            raise StatusError(
                f"{path} has version {error.given}, and this release reads {VERSION}: its writer is of another "
                "release; restart the appliance, so that all of it is of one"
            ) from None
        raise StatusError(_damaged(path, ".".join(error.where) or "the file", error)) from None
    except ValueError as error:
        raise StatusError(_damaged(path, "the file", f"Invalid JSON: {error}")) from None
    return found


def _damaged(path: Path, where: str, why: object) -> str:
    return f"{path} is damaged ({where}: {why}): it is replaced soon; if it stays, restart the appliance"


def read_all(directory: Path) -> Statuses:
    found: dict[str, Any] = {}
    unusable: dict[str, str] = {}
    for kind in (ApplianceStatus, ProducerStatus, EntrypointStatus, WatchdogStatus):
        try:
            found[kind.process] = read_status(directory, kind)
        except StatusError as error:
            unusable[kind.process] = str(error)
    return Statuses(**found, unusable=unusable)
