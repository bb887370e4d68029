"""Proves from the outside what became of every byte of the log: written, acknowledged, archived, missing, pending.

It believes nobody: the bytes are those on disk, the acknowledgements those of the checkpoint, and archived is what the
ledgers in the bucket say at this moment. `appliance audit` prints it, the dashboard shows it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from common.clock import Clock
from common.settings import Settings
from journal.archived import Acknowledged, Archived, ArchivedFile
from journal.checkpoint import CheckpointFile, Fingerprint, Generation
from journal.ledgers import Ledgers, LedgersError
from journal.lines import line_start
from journal.names import log_files
from journal.ranges import Ranges

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# A log that was written to a moment ago may be written to again
QUIET_SECONDS = 10.0
READ_SECONDS = 120.0


class OnDisk(NamedTuple):
    """A log file. `complete`: behind its last newline. `age`: seconds since it was written to."""

    name: str
    live: bool
    size: int
    complete: int
    age: float


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one generation. `id` is empty for a log the producer has not seen yet; `file` is None when no
    file on disk holds it any more. `removed`: archived once, but its owner has deleted the object since."""

    id: str
    name: str
    file: OnDisk | None
    written: Ranges
    acknowledged: Ranges
    archived: Ranges
    removed: Ranges
    missing: Ranges
    pending: Ranges


@dataclass(slots=True)
class Audit:
    """`copies`: files that hold nothing but what another one holds. `unread`: compressed files, which nobody reads."""

    rows: list[Row] = field(default_factory=list)
    copies: list[tuple[OnDisk, Row]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def total(self, column: str) -> int:
        return sum(getattr(row, column).total for row in self.rows)

    @property
    def unacknowledged(self) -> int:
        return sum((row.written - row.acknowledged).total for row in self.rows)

    @property
    def verdict(self) -> str:
        parts = ("written", "acknowledged", "archived", "missing", "pending")
        first, *rest = (f"{self.total(part):,} {part}" for part in parts)
        return ", ".join([first.replace(" ", " bytes ", 1), *rest])

    def rotated(self) -> list[tuple[str, bool, str]]:
        """(name, whether it may be deleted, why) of every rotated log."""
        files = [(row.file, row) for row in self.rows if row.file] + self.copies
        answers = [(file.name, *deletable(file, row)) for file, row in files if not file.live]
        reason = "it is compressed, so nobody reads it; the ledgers do not tell whether its lines are archived"
        return sorted([*answers, *((name, False, reason) for name in self.unread)])


# Pure


def compare(
    generation: Acknowledged,
    file: OnDisk | None,
    *,
    ledgers: Ranges,
    seen: Ranges,
    acknowledged_before: Ranges,
) -> Row:
    """`ledgers`: archived now; `seen`: archived once; `acknowledged_before`: long enough ago to be missing."""
    acknowledged = Ranges.of(generation.start, generation.offset)
    written = Ranges.of(generation.start, max(file.complete, generation.offset)) if file else Ranges()
    everything = written | acknowledged
    archived = (ledgers | seen) & everything
    missing = (acknowledged_before & acknowledged) - archived
    return Row(
        id=generation.id,
        name=file.name if file else generation.name,
        file=file,
        written=written,
        acknowledged=acknowledged,
        archived=archived,
        removed=(seen - ledgers) & everything,
        missing=missing,
        pending=everything - archived - missing,
    )


def deletable(file: OnDisk, row: Row) -> tuple[bool, str]:
    """Whether a rotated log, which holds what the row tells of, may be deleted, and why."""
    size = file.size
    if not row.id:
        return False, "the producer has not seen it yet"
    if row.missing:
        return False, f"{row.missing.total:,} of its bytes are missing in S3 and are sent again from it"
    if row.pending:
        return False, f"{row.pending.total:,} of its bytes are not archived yet"
    if max(row.acknowledged.end, row.written.end) < size:
        return False, "its last line has no end: it is archived once nobody writes to the file any more"
    if file.age < QUIET_SECONDS:
        return False, f"it was written to {file.age:.0f} s ago"
    if row.removed:
        return True, f"all of its {size:,} bytes were archived ({row.removed.total:,} of them deleted since)"
    return True, f"all of its {size:,} bytes are archived"


# Looking


class _File(NamedTuple):
    path: Path
    key: tuple[int, int]
    facts: OnDisk


def look_at_files(log: Path, now: float) -> tuple[list[_File], list[str]]:
    """The log and its rotated siblings, and the names of those that are compressed. Raises OSError."""
    found = []
    readable, compressed = log_files(log)
    for path in readable:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # rotated or deleted meanwhile
        try:
            status = os.fstat(descriptor)
            complete = line_start(descriptor, status.st_size)
        finally:
            os.close(descriptor)
        facts = OnDisk(path.name, path == log, status.st_size, complete, max(0.0, now - status.st_mtime))
        found.append(_File(path, (status.st_dev, status.st_ino), facts))
    return found, [path.name for path in compressed]


def _holds(file: _File, generation: Generation) -> bool:
    """Whether the file still has the bytes that were acknowledged last: it may have been emptied and filled anew."""
    tail = generation.tail
    if all(file.key != each.key for each in generation.files) or file.facts.size < generation.position:
        return False
    if not tail.length:
        return True
    try:
        with file.path.open("rb") as opened:
            opened.seek(generation.position - tail.length)
            return Fingerprint.of(opened.read(tail.length)) == tail
    except OSError:
        return False


def audit(settings: Settings, clock: Clock, s3: S3Client, *, grace: float, ledgers: Ledgers | None = None) -> Audit:
    """Look at log, checkpoint and ledgers, in this order. Raises CheckpointError, ArchivedError,
    LedgersError, OSError.

    Who audits again and again hands in `ledgers`, which remembers what it has read. Without ledgers nothing
    is archived and nothing missing, as far as can be known.
    """
    now = clock.now().timestamp()
    archived = ArchivedFile(settings.archived_file).load()
    checkpoint = CheckpointFile(settings.checkpoint_file).load()
    saved = settings.checkpoint_file.stat().st_mtime if checkpoint is not None else now
    generations = checkpoint.generations if checkpoint else []
    files, unread = look_at_files(settings.log_file, now)
    # what the producer would note now; nothing of it is saved
    known = [Acknowledged(each.id, each.name, *each.acknowledged) for each in generations]
    archived.note(known, now, settings.repair_after, saved=saved, finely=True)
    kept = settings.delivery.has_ledger
    ledgers = ledgers or Ledgers(settings.s3_bucket, settings.s3_prefix, settings.target)
    held_there = _ledgers(ledgers, clock, s3, settings, archived) if kept else {}
    answer = Audit(unread=unread)
    claimed: set[tuple[int, int]] = set()
    for generation, each in zip(generations, known, strict=True):
        held = [file for file in files if _holds(file, generation)]
        copied = {each.key for each in generation.files if each.copy}
        copies = [file for file in files if file.key in copied]
        file = max(held, key=lambda one: (one not in copies, one.facts.size), default=None)
        claimed |= {one.key for one in [*held, *copies]}
        seen = archived.generations[each.id]
        old = seen.acknowledged if now - saved >= grace else seen.acknowledged_before(now - grace)
        answer.rows.append(
            compare(
                each,
                file.facts if file else None,
                ledgers=held_there.get(each.id, Ranges()),
                seen=seen.archived,
                acknowledged_before=old if kept else Ranges(),
            )
        )
        answer.copies += [(one.facts, answer.rows[-1]) for one in copies if one is not file]
    if kept:
        answer.rows += _unknown(archived, {each.id for each in known}, held_there)
    for file in files:
        if file.key not in claimed:
            written = Ranges.of(0, file.facts.complete)
            none = Ranges()
            answer.rows.append(Row("", file.facts.name, file.facts, written, none, none, none, none, written))
    return answer


def _unknown(archived: Archived, checkpointed: Iterable[str], ledgers: Mapping[str, Ranges]) -> list[Row]:
    """Logs that were deleted before all of them was archived."""
    rows = []
    for name in sorted(archived.generations.keys() - set(checkpointed)):
        known = archived.generations[name]
        row = compare(
            Acknowledged(name, known.name, known.start, known.offset),
            None,
            ledgers=ledgers.get(name, Ranges()),
            seen=known.archived,
            acknowledged_before=known.acknowledged,
        )
        if row.missing:
            rows.append(row)
    return rows


def _ledgers(
    ledgers: Ledgers, clock: Clock, s3: S3Client, settings: Settings, archived: Archived
) -> Mapping[str, Ranges]:
    """What the bucket holds now. If it was created again, `archived` forgets what it has seen in the old one."""
    if not archived.generations:
        return {}
    deadline = clock.monotonic() + READ_SECONDS
    since = archived.horizon(clock.now().timestamp())
    created = ledgers.created(s3)
    read = ledgers.read(s3, since, lambda: clock.monotonic() >= deadline)
    if read.problems:
        raise LedgersError("\n".join(read.problems), passing=False)
    if archived.is_new(settings.s3_bucket, settings.s3_prefix, created, read.oldest):
        archived.compared_with(settings.s3_bucket, settings.s3_prefix, created, new=True)
    return read.ranges
