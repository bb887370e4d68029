"""`appliance audit`: what became of every byte of the log, as a table or JSON; and the request for a repair."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from typing import Any

from common.atomic import write_atomic
from common.clock import Clock, SystemClock
from common.errors import AWS_ERRORS, explain
from common.settings import Settings
from common.status import ProducerStatus, RepairStatus, last_status
from journal.archived import ArchivedError
from journal.audit import Audit, audit
from journal.checkpoint import CheckpointError
from journal.ledgers import LedgersError, connect

NOTHING_MISSING = 0
MISSING = 1
CANNOT_TELL = 2

# How long `--repair` waits for the producer's answer, and then for the lines to arrive
ANSWER_SECONDS = 90.0
ARRIVAL_SECONDS = 60.0
LOOK_AGAIN = 0.5
ONLY_ACKNOWLEDGED = (
    "Firehose delivers at least once, names its objects itself and keeps no ledger, so what it has acknowledged is all "
    "that can be known"
)


class AuditError(Exception):
    """The command cannot do what it was asked for; the message says what to do."""


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


# Asking for a repair


def ask_for_repair(settings: Settings, clock: Clock, grace: float) -> str:
    """Have the producer send again what is missing; what it answered. Raises AuditError, OSError."""
    producer = last_status(settings.status_dir, ProducerStatus)
    if producer is None or producer.state == "stopped":
        raise AuditError("no producer runs that could send anything: start the appliance, then repair again")
    name = secrets.token_hex(8)
    write_atomic(settings.repair_request, json.dumps({"id": name, "after": grace}).encode(), durable=False)
    end = clock.monotonic() + ANSWER_SECONDS
    while clock.monotonic() < end:
        answer = last_status(settings.status_dir, RepairStatus)
        if answer and answer.request == name:
            if answer.error:
                raise AuditError(answer.error)
            return f"repair: {answer.sent:,} bytes were sent again"
        clock.sleep(LOOK_AGAIN)
    settings.repair_request.unlink(missing_ok=True)
    raise AuditError(f"the producer did not answer within {ANSWER_SECONDS:.0f} s: its lines in the log say why")


def main(settings: Settings, options: argparse.Namespace) -> int:
    clock = SystemClock()
    try:
        grace = settings.repair_after if options.grace is None else options.grace
        if not 0 <= grace <= settings.repair_after:
            raise AuditError(f"--grace is from 0 to REPAIR_AFTER ({settings.repair_after:g})")
        if options.repair and not settings.delivery.has_ledger:
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
    except (AuditError, CheckpointError, ArchivedError, LedgersError) as error:
        print(f"cannot tell: {error}", file=sys.stderr)
        return CANNOT_TELL
    except AWS_ERRORS as error:
        print(f"cannot tell: {explain(error, 'the bucket', settings.target)}", file=sys.stderr)
        return CANNOT_TELL
    except OSError as error:
        print(f"cannot tell: {error}: let this user read DATA_DIR", file=sys.stderr)
        return CANNOT_TELL
    if not settings.delivery.has_ledger:
        print(json.dumps(acknowledged_json(answer)) if options.json else "\n".join(acknowledged_table(answer)))
        return CANNOT_TELL
    print(json.dumps(as_json(answer)) if options.json else "\n".join(table(answer)))
    return MISSING if answer.total("missing") else NOTHING_MISSING
