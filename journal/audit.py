"""Proves from the outside what became of every byte of the log: written, acknowledged, archived, missing, pending.

It believes no status: the bytes are those on disk, the acknowledgements those of the checkpoint, and archived is what
the ledgers in the bucket say at this moment. `appliance audit` prints it, the dashboard shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from common.aws import S3Client
from common.clock import Clock
from common.settings import Settings
from journal.archived import Archived, ArchivedFile, Known
from journal.checkpoint import Checkpoint, CheckpointFile, Generation
from journal.expiry import expire
from journal.files import Found, Key, continues, files_of, line_start
from journal.ledgers import Ledgers, LedgersError
from journal.ranges import Ranges

# A log that was written to a moment ago may be written to again
QUIET_SECONDS = 10.0
READ_SECONDS = 120.0


class OnDisk(NamedTuple):
    """A log file. `complete`: behind its last newline. `age`: seconds since it was written to."""

    found: Found
    complete: int
    age: float

    @property
    def name(self) -> str:
        return self.found.path.name


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one generation. `id` is empty for a log the producer has not seen yet; `file` is None when no
    file on disk holds it any more. `removed`: archived once, and not in the bucket now: its owner has
    deleted the object, or named another bucket or prefix."""

    id: str
    name: str
    file: OnDisk | None
    written: Ranges
    acknowledged: Ranges
    archived: Ranges
    removed: Ranges
    missing: Ranges
    pending: Ranges

    @property
    def unacknowledged(self) -> Ranges:
        return self.written - self.acknowledged


@dataclass(slots=True)
class Audit:
    """`copies`: files that hold nothing but what another one holds. `unread`: files that no poll has read as logs.
    `parted`: logs of which the bucket holds more than was sent from here; nothing of theirs counts as archived."""

    rows: list[Row] = field(default_factory=list)
    copies: list[tuple[OnDisk, Row]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    parted: list[str] = field(default_factory=list)

    def total(self, column: str) -> int:
        return sum(getattr(row, column).total for row in self.rows)

    @property
    def verdict(self) -> str:
        parts = {part: f"{self.total(part):,} {part}" for part in ("acknowledged", "archived", "missing", "pending")}
        if removed := self.total("removed"):
            parts["archived"] += f" ({removed:,} of them not in the bucket now)"
        return ", ".join([f"{self.total('written'):,} bytes written", *parts.values()])

    def rotated(self) -> list[tuple[str, bool, str]]:
        """(name, whether it may be deleted, why) of every rotated log."""
        rows: dict[OnDisk, list[Row]] = {}
        for file, row in [*((row.file, row) for row in self.rows if row.file), *self.copies]:
            rows.setdefault(file, []).append(row)
        answers = [(file.name, *deletable(file, some)) for file, some in rows.items() if not file.found.live]
        reason = "it is no log of its own, or it is compressed and no poll has read it yet"
        return sorted([*answers, *((name, False, reason) for name in self.unread)])


# Pure


def compare(
    generation: str,
    known: Known,
    file: OnDisk | None,
    *,
    ledgers: Ranges,
    acknowledged_before: Ranges,
    complete: int = 0,
) -> Row:
    """`known`: what was acknowledged, and archived once; `ledgers`: archived now; `acknowledged_before`: long enough
    ago to be missing; `complete`: behind the last newline that is the generation's."""
    acknowledged, seen = known.acknowledged, known.archived
    written = Ranges.of(known.start, max(complete, known.offset)) if file else Ranges()
    everything = written | acknowledged
    archived = (ledgers | seen) & everything
    missing = (acknowledged_before & acknowledged) - archived
    return Row(
        id=generation,
        name=file.name if file else known.name,
        file=file,
        written=written,
        acknowledged=acknowledged,
        archived=archived,
        removed=(seen - ledgers) & everything,
        missing=missing,
        pending=everything - archived - missing,
    )


def deletable(file: OnDisk, rows: Sequence[Row]) -> tuple[bool, str]:
    """Whether a rotated log, which holds what the rows tell of, may be deleted, and why."""
    size = file.found.size
    missing, pending, removed = (
        sum(getattr(row, what).total for row in rows) for what in ("missing", "pending", "removed")
    )
    if not all(row.id for row in rows):
        return False, "the producer has not seen it yet"
    if missing:
        return False, f"{missing:,} of its bytes are missing in S3 and are sent again from it"
    if pending:
        return False, f"{pending:,} of its bytes are not archived yet"
    if max((row.acknowledged | row.written).end for row in rows) < size:
        return False, "its last line has no end: it is archived once no program writes to the file any more"
    if file.age < QUIET_SECONDS:
        return False, f"it was written to {file.age:.0f} s ago"
    if removed:
        return True, f"all of its {size:,} bytes were archived ({removed:,} of them not in the bucket now)"
    return True, f"all of its {size:,} bytes are archived"


# Looking


def look_at_files(settings: Settings, checkpoint: Checkpoint, now: float) -> tuple[list[OnDisk], list[str]]:
    """The files of the log, and the names of those that no poll has read as such. Raises OSError."""
    files, unread = [], []
    stamped = {file.key: file for generation in checkpoint.generations for file in generation.files if file.stamp}
    ignored = {(file.key, file.stamp) for file in checkpoint.ignored}
    for found in files_of(settings.log_file, checkpoint.generations, settings.rotated_dirs):
        age = found.age(now)
        if known := found.key in stamped and found.remembered(stamped[found.key]):
            files.append(OnDisk(known, known.size, age))
        elif found.compressed or (found.key, found.look) in ignored:
            unread.append(found.path.name)
        else:
            with suppress(FileNotFoundError), found.content() as content:  # rotated or deleted meanwhile
                files.append(OnDisk(found, line_start(content, found.size), age))
    return files, unread


def _holds(file: OnDisk, generation: Generation) -> bool:
    """Whether the file still has the bytes that were acknowledged last: it may have been emptied and filled anew."""
    known = next((each for each in generation.files if each.key == file.found.key), None)
    if known is None:
        return False
    if known.stamp:
        return known.stamp == file.found.stamp and (not known.copy or known.size >= generation.position)
    with suppress(OSError), file.found.content() as content:
        return continues(content, generation)
    return False


def held_by(generation: Generation, files: Sequence[OnDisk]) -> tuple[list[OnDisk], list[OnDisk]]:
    """The files that have the bytes of a generation, the one with the most first; and those that are mere copies."""
    copied = {file.key for file in generation.files if file.copy}
    copies = [file for file in files if file.found.key in copied]
    held = [file for file in files if _holds(file, generation)]
    return sorted(held, key=lambda one: (one in copies, -one.found.size)), copies


def audit(settings: Settings, clock: Clock, s3: S3Client, *, grace: float, ledgers: Ledgers | None = None) -> Audit:
    """Look at log, checkpoint and ledgers, in this order. Raises ArchivedError, CheckpointError, LedgersError, OSError.

    `ledgers` remembers what it has read, from one audit to the next. With a delivery that keeps none nothing is
    archived and nothing missing, as far as can be known.
    """
    now = clock.now().timestamp()
    archived = ArchivedFile(settings.archived_file).load()
    checkpoint = CheckpointFile(settings.checkpoint_file).load()
    saved = settings.checkpoint_file.stat().st_mtime if checkpoint else now
    generations = checkpoint.parts if checkpoint else []
    files, unread = look_at_files(settings, checkpoint or Checkpoint(), now)
    # what the producer would note now; nothing of it is saved
    archived.note(generations, now, settings.repair_after, saved=saved, finely=True)
    kept = settings.delivery.has_ledger
    ledgers = ledgers or Ledgers(settings.s3_bucket, settings.s3_prefix, settings.target)
    held_there = _ledgers(ledgers, clock, s3, settings, archived) if kept else {}
    if kept:
        expire(archived, generations, settings, clock.now())
    answer = Audit(unread=unread)
    # read again: what was sent since is more than the first one knows of
    latest = CheckpointFile(settings.checkpoint_file).load() or Checkpoint()
    parted = {
        each.id
        for each in latest.generations
        if each.exceeded_by(held_there) and (each.limit is None or each.position > each.limit)
    }
    claimed: set[Key] = set()
    for generation in generations:
        held, copies = held_by(generation, files)
        best = held[0] if held else None
        claimed |= {one.found.key for one in [*held, *copies]}
        known = archived.generations[generation.id]
        if generation.id in parted:
            answer.parted.append(generation.name)
            known.archived = Ranges()
        old = known.acknowledged if now - saved >= grace else known.acknowledged_before(now - grace)
        row = compare(
            generation.id,
            known,
            best,
            ledgers=held_there.get(generation.id, Ranges()) if generation.id not in parted else Ranges(),
            acknowledged_before=old if kept else Ranges(),
            complete=generation.within(best.complete) if best else 0,
        )
        answer.rows.append(row)
        answer.copies += [(one, row) for one in copies if one is not best]
    if kept:
        # logs that were deleted before all of them was archived
        for name in sorted(archived.generations.keys() - {each.id for each in generations}):
            known = archived.generations[name]
            there = held_there.get(name, Ranges())
            row = compare(name, known, None, ledgers=there, acknowledged_before=known.acknowledged)
            if row.missing:
                answer.rows.append(row)
    for file in files:
        if not (file.found.hinted or file.found.key in claimed):
            written, none = Ranges.of(0, file.complete), Ranges()
            answer.rows.append(Row("", file.name, file, written, none, none, none, none, written))
    return answer


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
    archived.compared_with(settings.s3_bucket, settings.s3_prefix, created, read.oldest)
    return read.ranges
