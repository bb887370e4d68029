"""Proves from the outside what became of every byte of the log: written, acknowledged, archived, missing, pending.

It believes nobody: the bytes are those on disk, the acknowledgements those of the checkpoint, and archived is what the
ledgers in the bucket say at this moment. `appliance audit` prints it, the dashboard shows it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from common.clock import Clock
from common.settings import Settings
from journal.archived import Acknowledged, Archived, ArchivedFile
from journal.ledgers import Ledgers, LedgersError
from journal.lines import line_start
from journal.names import is_compressed, is_rotated
from journal.ranges import Ranges

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The version of checkpoint.json that this knows; `producer/checkpoint.py` has the other end
CHECKPOINT_VERSION = 1
# A log that was written to a moment ago may be written to again
QUIET_SECONDS = 10.0
READ_SECONDS = 120.0


class AuditError(Exception):
    """It cannot be told; the message says what to do."""


class Checkpointed(NamedTuple):
    """A generation as the checkpoint has it. `files`: (device, inode); `copies`: those made by copytruncate. `tail`:
    length and digest of what was sent last.

    `position`: the first byte of the file that is not acknowledged; `offset` is one more when the newline that the
    file's last line lacks is acknowledged too.
    """

    id: str
    name: str
    start: int
    offset: int
    position: int
    files: list[tuple[int, int]]
    copies: list[tuple[int, int]]
    tail: tuple[int, str]


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


def read_checkpoint(path: Path) -> list[Checkpointed] | None:
    """The generations of the checkpoint, or None when there is none. Raises AuditError, OSError."""
    try:
        tree = json.loads(path.read_bytes())
        if tree["version"] != CHECKPOINT_VERSION:
            raise AuditError(f"the checkpoint {path} has version {tree['version']}: audit with the program it is of")
        found = []
        for each in tree["generations"]:
            offset, closed = int(each["offset"]), bool(each["closed"])
            start = each.get("start", 0)
            found.append(
                Checkpointed(
                    id=str(each["id"]),
                    name=str(each["name"]),
                    start=offset if start is None else int(start),
                    offset=offset,
                    position=offset - 1 if closed else offset,
                    files=[(int(file["device"]), int(file["inode"])) for file in each["files"]],
                    copies=[(int(file["device"]), int(file["inode"])) for file in each["files"] if file["copy"]],
                    tail=(int(each["tail"]["length"]), str(each["tail"]["digest"])),
                )
            )
        return found
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise AuditError(
            f"the checkpoint {path} is damaged ({type(error).__name__}: {error}): put back a good one"
        ) from error


class _File(NamedTuple):
    path: Path
    key: tuple[int, int]
    facts: OnDisk


def look_at_files(log: Path, now: float) -> tuple[list[_File], list[str]]:
    """The log and its rotated siblings, and the names of those that are compressed. Raises OSError."""
    found, unread = [], []
    paths = sorted(log.parent.iterdir()) if log.parent.exists() else []
    for path in paths:
        live = path == log
        if not live and not is_rotated(path, log):
            continue
        if is_compressed(path):
            unread.append(path.name)
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # rotated or deleted meanwhile
        try:
            status = os.fstat(descriptor)
            complete = line_start(descriptor, status.st_size)
        finally:
            os.close(descriptor)
        facts = OnDisk(path.name, live, status.st_size, complete, max(0.0, now - status.st_mtime))
        found.append(_File(path, (status.st_dev, status.st_ino), facts))
    return found, unread


def _holds(file: _File, generation: Checkpointed) -> bool:
    """Whether the file still has the bytes that were acknowledged last: it may have been emptied and filled anew."""
    length, digest = generation.tail
    if file.key not in generation.files or file.facts.size < generation.position:
        return False
    if not length:
        return True
    try:
        with file.path.open("rb") as opened:
            opened.seek(generation.position - length)
            return hashlib.blake2b(opened.read(length), digest_size=16).hexdigest() == digest
    except OSError:
        return False


def audit(settings: Settings, clock: Clock, s3: S3Client, *, grace: float, ledgers: Ledgers | None = None) -> Audit:
    """Look at log, checkpoint and ledgers, in this order. Raises AuditError, ArchivedError, LedgersError, OSError.

    Who audits again and again hands in `ledgers`, which remembers what it has read. Without ledgers nothing
    is archived and nothing missing, as far as can be known.
    """
    now = clock.now().timestamp()
    archived = ArchivedFile(settings.archived_file).load()
    checkpoint = read_checkpoint(settings.checkpoint_file)
    if checkpoint is None and settings.archived_file.exists():
        raise AuditError(f"the checkpoint {settings.checkpoint_file} is gone: put it back; the producer waits for that")
    saved = settings.checkpoint_file.stat().st_mtime if checkpoint is not None else now
    generations = checkpoint or []
    files, unread = look_at_files(settings.log_file, now)
    # what the producer would note now; nothing of it is saved
    known = [Acknowledged(each.id, each.name, each.start, each.offset) for each in generations]
    archived.note(known, now, settings.repair_after, saved=saved, finely=True)
    kept = settings.delivery.has_ledger
    ledgers = ledgers or Ledgers(settings.s3_bucket, settings.s3_prefix, settings.target)
    held_there = _ledgers(ledgers, clock, s3, settings, archived) if kept else {}
    answer = Audit(unread=unread)
    claimed: set[tuple[int, int]] = set()
    for generation, each in zip(generations, known, strict=True):
        held = [file for file in files if _holds(file, generation)]
        copies = [file for file in files if file.key in generation.copies]
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
