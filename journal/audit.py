"""Proves from the outside what became of every byte of the log: written, acknowledged, archived, missing, pending.

It believes nobody: the bytes are those on disk, the acknowledgements those of the checkpoint, and archived is what the
ledgers in the bucket say at this moment. `appliance audit` prints it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError

from common.atomic import write_atomic
from common.clock import Clock, SystemClock
from common.settings import Settings, SettingsError, load_settings
from common.status import read_status
from journal.archived import Acknowledged, Archived, ArchivedError, ArchivedFile
from journal.ledgers import Ledgers, LedgersError, connect
from journal.lines import line_start
from journal.ranges import Ranges

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOTHING_MISSING = 0
MISSING = 1
CANNOT_TELL = 2

# The version of checkpoint.json that this knows; `producer/checkpoint.py` has the other end
CHECKPOINT_VERSION = 1
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip")
# A log that was written to a moment ago may be written to again
QUIET_SECONDS = 10.0
READ_SECONDS = 120.0
# How long `--repair` waits for the producer's answer, and then for the lines to arrive
ANSWER_SECONDS = 90.0
ARRIVAL_SECONDS = 60.0
LOOK_AGAIN = 0.5
ONLY_ACKNOWLEDGED = (
    "Firehose delivers at least once, names its objects itself and keeps no ledger, so what it has acknowledged is all "
    "that can be known"
)

HELP = f"""\
The columns, in bytes:
  written       complete lines on disk
  acknowledged  the stream has confirmed them (log/checkpoint.json)
  archived      in an hourly object, by the ledgers in the bucket, or seen there once and deleted by its owner since
  missing       acknowledged more than REPAIR_AFTER seconds ago, and in no ledger
  pending       the rest: not acknowledged yet, or only lately

What is missing is sent again by the producer every REPAIR_INTERVAL seconds, as long as the log is on disk; --repair
asks for that at once and shows the result. A rotated log that "may be deleted" is no longer needed for anything; the
appliance deletes those it has rotated itself.

With DELIVERY=firehose there are no ledgers: what is acknowledged is shown, and that is all that can be known.

Exit codes:
  {NOTHING_MISSING}  nothing is missing
  {MISSING}  something is missing; the lines above the verdict name the bytes
  {CANNOT_TELL}  cannot tell: the settings, the endpoint, the checkpoint or a ledger; the message says what mends it.
     Always with DELIVERY=firehose
"""


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


def table(audit: Audit) -> list[str]:
    """The lines for people, the verdict last."""
    columns = ("written", "acknowledged", "archived", "missing", "pending")
    cells: list[tuple[str, ...]] = [("log", "generation", *columns)]
    for row in audit.rows:
        name = row.name if row.file else f"{row.name} (gone)"
        cells.append((name, row.id or "(not seen yet)", *(f"{getattr(row, column).total:,}" for column in columns)))
    lines = _aligned(cells)
    for row in audit.rows:
        for what, ranges in (("missing", row.missing), ("pending", row.pending), ("removed", row.removed)):
            if ranges:
                why = ": archived once, the object was deleted since" if what == "removed" else ""
                lines.append(f"{what} in {row.name} {row.id}: bytes {ranges}{why}".replace("  ", " "))
    for name, may, reason in audit.rotated():
        lines.append(f"{name} may be deleted: {'yes' if may else 'no'}, because {reason}")
    return [*lines, audit.verdict]


def _aligned(cells: list[tuple[str, ...]]) -> list[str]:
    """Words to the left, numbers, from the third column on, to the right."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) if at < 2 else cell.rjust(width) for at, (cell, width) in enumerate(pairs)).rstrip()
        for pairs in (list(zip(row, widths, strict=True)) for row in cells)
    ]


def acknowledged_table(audit: Audit) -> list[str]:
    """As `table`, of what can be told without ledgers: what Firehose has acknowledged and what it has not yet."""
    cells: list[tuple[str, ...]] = [("log", "generation", "written", "acknowledged", "not yet")]
    for row in audit.rows:
        left = (row.written - row.acknowledged).total
        name = row.name if row.file else f"{row.name} (gone)"
        counts = (f"{row.written.total:,}", f"{row.acknowledged.total:,}", f"{left:,}")
        cells.append((name, row.id or "(not seen yet)", *counts))
    return [
        *_aligned(cells),
        f"{audit.total('written'):,} bytes written, {audit.total('acknowledged'):,} acknowledged by Firehose, "
        f"{audit.unacknowledged:,} not yet",
        f"cannot tell what is in S3: {ONLY_ACKNOWLEDGED}",
    ]


def acknowledged_json(audit: Audit) -> dict[str, Any]:
    return {
        "verdict": f"cannot tell what is in S3: {ONLY_ACKNOWLEDGED}",
        "totals": {
            "written": audit.total("written"),
            "acknowledged": audit.total("acknowledged"),
            "pending": audit.unacknowledged,
        },
        "generations": [
            {"id": row.id or None, "name": row.name, "on_disk": row.file is not None}
            | {column: [list(pair) for pair in getattr(row, column)] for column in ("written", "acknowledged")}
            for row in audit.rows
        ],
    }


def as_json(audit: Audit) -> dict[str, Any]:
    columns = ("written", "acknowledged", "archived", "removed", "missing", "pending")
    return {
        "verdict": audit.verdict,
        "totals": {column: audit.total(column) for column in columns},
        "generations": [
            {"id": row.id or None, "name": row.name, "on_disk": row.file is not None}
            | {column: [list(pair) for pair in getattr(row, column)] for column in columns}
            for row in audit.rows
        ],
        "rotated": [{"name": name, "deletable": may, "reason": reason} for name, may, reason in audit.rotated()],
    }


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
        if not live and not path.name.startswith((f"{log.name}.", f"{log.name}-")):
            continue
        if path.name.endswith(COMPRESSED):
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

    Who audits again and again hands in `ledgers`, which remembers what it has read. With DELIVERY=firehose there are
    none, so nothing is archived and nothing missing, as far as anybody knows.
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
    kept = settings.delivery == "kinesis"
    ledgers = ledgers or Ledgers(settings.s3_bucket, settings.s3_prefix)
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


# Asking for a repair


def ask_for_repair(settings: Settings, clock: Clock, grace: float) -> str:
    """Have the producer send again what is missing; what it answered. Raises AuditError, OSError."""
    facts = read_status(settings.status_dir, "producer")
    if facts is None or facts.get("state") == "stopped":
        raise AuditError("no producer runs that could send anything: start the appliance, then repair again")
    name = secrets.token_hex(8)
    write_atomic(settings.repair_request, json.dumps({"id": name, "after": grace}).encode(), durable=False)
    end = clock.monotonic() + ANSWER_SECONDS
    while clock.monotonic() < end:
        answer = read_status(settings.status_dir, "repair") or {}
        if answer.get("request") == name:
            if answer.get("error"):
                raise AuditError(str(answer["error"]))
            return f"repair: {answer['sent']:,} bytes were sent again"
        clock.sleep(LOOK_AGAIN)
    settings.repair_request.unlink(missing_ok=True)
    raise AuditError(f"the producer did not answer within {ANSWER_SECONDS:.0f} s: its lines in the log say why")


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="appliance audit",
        description="Compare the log on disk, the checkpoint and the ledgers in the bucket, and say which bytes of "
        "which log are written, acknowledged, archived, missing or pending.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.add_argument("--repair", action="store_true", help="send what is missing again now, then audit")
    parser.add_argument(
        "--grace",
        type=float,
        metavar="SECONDS",
        help="count as missing what was acknowledged this long ago; at most, and by default, REPAIR_AFTER",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    options = parsed(arguments)
    clock = SystemClock()
    try:
        settings = load_settings()
        grace = settings.repair_after if options.grace is None else options.grace
        if not 0 <= grace <= settings.repair_after:
            raise AuditError(f"--grace is from 0 to REPAIR_AFTER ({settings.repair_after:g})")
        if options.repair and settings.delivery == "firehose":
            raise AuditError(f"{ONLY_ACKNOWLEDGED}; nothing is sent again")
        s3 = connect(settings)
        try:
            answer = audit(settings, clock, s3, grace=grace)
            if options.repair and answer.total("missing"):
                print(ask_for_repair(settings, clock, grace), file=sys.stderr)
                end = clock.monotonic() + ARRIVAL_SECONDS
                while answer.total("missing") and clock.monotonic() < end:
                    clock.sleep(LOOK_AGAIN)
                    answer = audit(settings, clock, s3, grace=grace)
        finally:
            s3.close()
    except (SettingsError, AuditError, ArchivedError, LedgersError) as error:
        print(f"cannot tell: {error}", file=sys.stderr)
        return CANNOT_TELL
    except BotoCoreError as error:
        print(f"cannot tell: {error}: check the AWS settings", file=sys.stderr)
        return CANNOT_TELL
    except OSError as error:
        print(f"cannot tell: {error}: let this user read DATA_DIR", file=sys.stderr)
        return CANNOT_TELL
    if settings.delivery == "firehose":
        print(json.dumps(acknowledged_json(answer)) if options.json else "\n".join(acknowledged_table(answer)))
        return CANNOT_TELL
    print(json.dumps(as_json(answer)) if options.json else "\n".join(table(answer)))
    return MISSING if answer.total("missing") else NOTHING_MISSING
