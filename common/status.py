"""What each process last said of itself, as one small JSON file a process under DATA_DIR/run/status.

Written by the process; read by health, the command and the dashboard. Losing one costs nothing but the answer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from common.atomic import write_atomic

# Of the producer: what its last tick came to, or what it does
State = Literal["starting", "shipping", "idle", "behind", "failed", "stopped"]
Endpoint = Literal["aws", "embedded", "endpoint"]


class StatusError(Exception):
    """A status file is not one that this version can read; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """`due`: when the next one is there at the latest; a status that is older is stale. None: it does not age."""

    process: ClassVar[str]
    version: Literal[1] = 1
    due: AwareDatetime | None = None

    def stale(self, now: datetime) -> bool:
        return self.due is not None and now > self.due


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplianceStatus(Status):
    """The start. `endpoint`: what it works with."""

    process: ClassVar[str] = "appliance"
    started_at: AwareDatetime
    endpoint: Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class EntrypointStatus(Status):
    """`resources`: name -> what became of it. The last two: whether the endpoint has what the delivery needs."""

    process: ClassVar[str] = "entrypoint"
    state: Literal["waiting", "provisioning", "ready", "failed"]
    endpoint: str | None = None
    resources: dict[str, str] = field(default_factory=dict)
    checked_at: AwareDatetime | None = None
    provisioned_at: AwareDatetime | None = None
    error: str | None = None
    conditional_writes: str | None = None
    event_time_prefixes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record is: in a shard of the data stream, or by the name that Firehose gave it."""

    shard: str | None = None
    sequence_number: str | None = None
    record_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """What one tick has got acknowledged. `ranges`: generation, start, end."""

    at: AwareDatetime
    lines: int
    records: int
    bytes: int
    first: Place
    last: Place
    ranges: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class TickSeconds:
    """A histogram, cumulative as Prometheus wants it. `buckets`: upper bound -> ticks."""

    buckets: dict[str, int]
    sum: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What the producer has done since it was started. `retries`: reason -> records; `shards`: shard -> records."""

    started_at: AwareDatetime
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
    repaired_bytes: int = 0
    repaired_lines: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerStatus(Status):
    """`lag_…`: what was seen in the log and is not acknowledged. `ship_request`: the last one that was answered.

    `acknowledged`: of the last ticks that had something.
    """

    process: ClassVar[str] = "producer"
    state: State = "starting"
    delivery: str = "kinesis"
    interval: float | None = None
    last_tick: AwareDatetime | None = None
    next_poll: AwareDatetime | None = None
    error: str | None = None
    lag_bytes: int | None = None
    lag_lines: int | None = None
    lag_since: AwareDatetime | None = None
    ship_request: str | None = None
    shipped_at: AwareDatetime | None = None
    acknowledged: list[Acknowledged] = field(default_factory=list)
    counters: Counters | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairStatus(Status):
    """The last comparison with the bucket, in bytes of the log. `request`: the `audit --repair` that it answers."""

    process: ClassVar[str] = "repair"
    checked_at: AwareDatetime
    archived: int = 0
    pending: int = 0
    missing: int = 0
    sent: int = 0
    error: str | None = None
    request: str | None = None


S = TypeVar("S", bound=Status)
_adapter: Callable[[Any], TypeAdapter[Any]] = functools.cache(TypeAdapter)


def write_status(directory: Path, status: Status) -> None:
    """Replace what the process has said before. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    data = _adapter(type(status)).dump_json(status)
    write_atomic(directory / f"{status.process}.json", data, durable=False)


def read_status(directory: Path, kind: type[S]) -> S | None:
    """What a process last said, None when it has not said anything yet. Raises StatusError."""
    path = directory / f"{kind.process}.json"
    try:
        found: S = _adapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged, or another version's"
        raise StatusError(f"{path} cannot be read: {reason}; start the appliance again") from None
    return found


def last_status(directory: Path, kind: type[S]) -> S | None:
    """As `read_status`; None also where it cannot be read, which health says."""
    try:
        return read_status(directory, kind)
    except StatusError:
        return None
