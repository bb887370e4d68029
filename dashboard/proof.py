"""The audit in one line: what became of every line of the logs that are on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from common.aws import S3Client
from common.clock import Clock, iso
from common.settings import Settings
from dashboard.disk import Disk, LogDirectory, total
from dashboard.logs import LogDirectories
from dashboard.periodic import LookError, Seen
from journal.archived import ArchivedError
from journal.audit import Audit, Row, audit
from journal.checkpoint import CheckpointError
from journal.ledgers import Ledgers, LedgersError

# How often the audit is made anew because a log was rotated, so renamed, meanwhile
ROUNDS = 3
COLUMNS = ("written", "acknowledged", "archived", "missing", "pending")


@dataclass(frozen=True, slots=True)
class Proof:
    """`totals`: by the names of COLUMNS, in `unit`. `unarchived_*`: acknowledged, and in no ledger, the lines None when
    they cannot be counted; `since`: when the first of them was logged. `in_bytes`: the totals. `logs`: that of each of
    LOG_FILES, by its name."""

    at: datetime
    unit: Literal["lines", "bytes"]
    totals: dict[str, int]
    unarchived_bytes: int
    unarchived_lines: int | None
    since: datetime | None
    in_bytes: dict[str, int] = field(default_factory=dict)
    logs: dict[str, Proof] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        return "missing" if self.totals["missing"] else "pending" if self.totals["pending"] else "complete"

    def as_json(self) -> dict[str, Any]:
        return {**self.totals, "unit": self.unit, "at": self.at.isoformat(), "verdict": self.verdict, "error": None}


def shown(seen: Seen[Proof]) -> dict[str, Any] | None:
    """The last one that succeeded as JSON, with the error of the last one."""
    if seen.error is None:
        return seen.value.as_json() if seen.value else None
    last = seen.value.as_json() if seen.value else {"unit": "lines", "at": iso(seen.error_since)}
    return dict.fromkeys(COLUMNS, 0) | last | {"verdict": "unknown", "error": seen.error}


def of_each(disks: Mapping[str, Disk], proof: Proof | None) -> list[dict[str, Any]]:
    """What waits in each of LOG_FILES, and what became of it, as JSON."""
    audits = {name: one.as_json() for name, one in proof.logs.items()} if proof else {}
    return [
        {"name": name, "bytes": disk.new_bytes, "lines": disk.new_lines, "audit": audits.get(name)}
        for name, disk in disks.items()
    ]


def together(logs: dict[str, Proof], now: datetime) -> Proof:
    """All of them as one; in lines, if all of them are."""
    each = logs.values()
    in_lines = all(one.unit == "lines" for one in each)
    in_bytes = {column: sum(one.in_bytes[column] for one in each) for column in COLUMNS}
    return Proof(
        at=now,
        unit="lines" if in_lines else "bytes",
        totals={column: sum(one.totals[column] for one in each) for column in COLUMNS} if in_lines else in_bytes,
        unarchived_bytes=sum(one.unarchived_bytes for one in each),
        unarchived_lines=total(one.unarchived_lines for one in each),
        since=min((one.since for one in each if one.since), default=None),
        in_bytes=in_bytes,
        logs=logs,
    )


class Audits:
    """Those of all logs. One thread."""

    def __init__(self, directories: LogDirectories, clock: Clock, connect: Callable[[], S3Client]) -> None:
        self._directories = directories
        self._clock = clock
        self._connect = connect
        self._auditors: dict[str, Auditor] = {}

    def look(self) -> Proof:
        """Raises LookError."""
        logs: dict[str, Proof] = {}
        for one, directory in self._directories.each():
            if one.log_name not in self._auditors:
                self._auditors[one.log_name] = Auditor(one, self._clock, directory, self._connect)
            logs[one.log_name] = self._auditors[one.log_name].look()
        return logs[""] if "" in logs else together(logs, self._clock.now())


@dataclass(eq=False)
class Auditor:
    """Remembers the ledgers it has read, so that a look costs what has changed. One thread."""

    settings: Settings
    clock: Clock
    directory: LogDirectory
    connect: Callable[[], S3Client]

    def __post_init__(self) -> None:
        self._ledgers = Ledgers(self.settings.s3_bucket, self.settings.s3_prefix, self.settings.target)

    def look(self) -> Proof:
        """Raises LookError."""
        try:
            found, totals = self._audit(self.connect())
        except (CheckpointError, ArchivedError, LedgersError, OSError) as error:
            told = f" of {self.settings.log_name}" if self.settings.log_name else ""
            raise LookError(f"the audit cannot tell{told}: {error}") from error
        open_ = [(row.name, ranges) for row in found.rows if (ranges := row.acknowledged - row.archived)]
        firsts = [self.directory.time_at(name, next(iter(ranges))[0]) for name, ranges in open_]
        counts = [self.directory.lines_in(name, ranges) for name, ranges in open_] if totals else [None]
        in_bytes = {column: found.total(column) for column in COLUMNS}
        return Proof(
            at=self.clock.now(),
            unit="bytes" if totals is None else "lines",
            totals=totals or in_bytes,
            unarchived_bytes=sum(ranges.total for _, ranges in open_),
            unarchived_lines=total(counts),
            since=min((first for first in firsts if first), default=None),
            in_bytes=in_bytes,
        )

    def _audit(self, s3: S3Client) -> tuple[Audit, dict[str, int] | None]:
        """What the audit found, and its columns in lines; None when they cannot be told."""
        for _ in range(ROUNDS):
            before = self.directory.names()
            found = audit(self.settings, self.clock, s3, grace=self.settings.repair_after, ledgers=self._ledgers)
            if self.directory.names() == before:
                return found, self._lines(found.rows)
        return found, None

    def _lines(self, rows: list[Row]) -> dict[str, int] | None:
        """The columns in lines; None when they cannot be told: of a log that is gone something is missing."""
        totals = dict.fromkeys(COLUMNS, 0)
        for row in rows:
            if row.file is None:
                if row.missing or row.pending:
                    return None
                continue  # all of it is archived, and it can no longer be counted
            for column in COLUMNS:
                lines = self.directory.lines_in(row.file.name, getattr(row, column))
                if lines is None:
                    return None
                totals[column] += lines
        return totals
