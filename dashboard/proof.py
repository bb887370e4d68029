"""The audit in one line: what became of every line of the logs that are on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from common.clock import Clock
from common.settings import Settings
from dashboard.disk import LogDirectory
from dashboard.periodic import LookError
from journal.archived import ArchivedError
from journal.audit import audit
from journal.checkpoint import CheckpointError
from journal.ledgers import Ledgers, LedgersError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from journal.audit import Audit, Row

# How often the audit is made anew because a log was rotated, so renamed, meanwhile
ROUNDS = 3
COLUMNS = ("written", "acknowledged", "archived", "missing", "pending")


@dataclass(frozen=True, slots=True)
class Proof:
    """`totals`: by the names of COLUMNS, in `unit`. `unarchived_*`: acknowledged, and in no ledger, the lines None when
    they cannot be counted; `since`: when the first of them was logged."""

    at: datetime
    unit: Literal["lines", "bytes"]
    totals: dict[str, int]
    unarchived_bytes: int
    unarchived_lines: int | None
    since: datetime | None

    @property
    def verdict(self) -> str:
        return "missing" if self.totals["missing"] else "pending" if self.totals["pending"] else "complete"

    def as_json(self) -> dict[str, Any]:
        return {**self.totals, "unit": self.unit, "at": self.at.isoformat(), "verdict": self.verdict, "error": None}


class Auditor:
    """Remembers the ledgers it has read, so that a look costs what has changed. One thread."""

    def __init__(
        self, settings: Settings, clock: Clock, directory: LogDirectory, connect: Callable[[], S3Client]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._directory = directory
        self._connect = connect
        self._ledgers = Ledgers(settings.s3_bucket, settings.s3_prefix, settings.target)

    def look(self) -> Proof:
        """Raises LookError."""
        try:
            found, totals = self._audit(self._connect())
        except (CheckpointError, ArchivedError, LedgersError, OSError) as error:
            raise LookError(f"the audit cannot tell: {error}") from error
        open_ = [(row.name, ranges) for row in found.rows if (ranges := row.acknowledged - row.archived)]
        firsts = [self._directory.time_at(name, next(iter(ranges))[0]) for name, ranges in open_]
        counts = [self._directory.lines_in(name, ranges) for name, ranges in open_] if totals else [None]
        known = [count for count in counts if count is not None]
        return Proof(
            at=self._clock.now(),
            unit="bytes" if totals is None else "lines",
            totals=totals or {column: found.total(column) for column in COLUMNS},
            unarchived_bytes=sum(ranges.total for _, ranges in open_),
            unarchived_lines=sum(known) if len(known) == len(counts) else None,
            since=min((first for first in firsts if first), default=None),
        )

    def _audit(self, s3: S3Client) -> tuple[Audit, dict[str, int] | None]:
        """What the audit found, and its columns in lines; None when they cannot be told."""
        for _ in range(ROUNDS):
            before = self._directory.names()
            found = audit(self._settings, self._clock, s3, grace=self._settings.repair_after, ledgers=self._ledgers)
            if self._directory.names() == before:
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
                lines = self._directory.lines_in(row.file.name, getattr(row, column))
                if lines is None:
                    return None
                totals[column] += lines
        return totals
