"""`appliance audit`: what became of every byte of the log, as a table or JSON; and the request for a repair."""

from __future__ import annotations

import argparse
import json
import secrets
from contextlib import closing
from typing import TYPE_CHECKING, Any

from cli.screen import OK, PROBLEM, UNUSABLE, CommandError, columns, note, progress
from common.atomic import write_atomic
from common.aws import S3Client
from common.clock import Clock, SystemClock
from common.delivery import Delivery
from common.errors import AWS_ERRORS, explain, unreadable
from common.settings import Settings
from common.status import ProducerStatus, RepairStatus, StatusError, read_status
from journal.archived import ArchivedError
from journal.audit import Audit, audit
from journal.checkpoint import CheckpointError
from journal.ledgers import LedgersError, connect
from journal.logs import logs_of, problems_of

if TYPE_CHECKING:
    from cli.deep import Deep

# How long `--repair` waits for the producer's answer, and then for the lines to arrive
ANSWER_SECONDS = 90.0
ARRIVAL_SECONDS = 60.0
LOOK_AGAIN = 0.5
WITHOUT_LEDGER = ("written", "acknowledged")
REMOVED = (
    "archived once, and not in the bucket now: the object was deleted or has expired, or S3_BUCKET or S3_PREFIX changed"
)
FILED_OTHERWISE = (
    "each line was compared as the present settings make it; of what was archived with other values of "
    "ACCESS_LOG_FORMAT, FIELDS, TRUSTED_PROXIES, ANONYMIZE_IP, DROP_QUERY or LOG_SKIP, or by another version, the "
    "lines are otherwise, too"
)
COLUMNS = (*WITHOUT_LEDGER, "archived", "missing", "pending")


def _only_acknowledged(delivery: Delivery) -> str:
    return (
        f"{delivery.title} delivers at least once, names its objects itself and keeps no ledger, so what it has "
        "acknowledged is all that can be known"
    )


def _verdict(audit: Audit, delivery: Delivery) -> str:
    if delivery.has_ledger:
        return audit.verdict
    return f"cannot tell what is in S3: {_only_acknowledged(delivery)}"


def table(audit: Audit, delivery: Delivery) -> list[str]:
    """The lines for people, the verdict last."""
    shown = COLUMNS if delivery.has_ledger else (*WITHOUT_LEDGER, "unacknowledged")
    cells = [("log", "generation", *(column.replace("unacknowledged", "not yet") for column in shown))]
    for row in audit.rows:
        name = row.name if row.file else f"{row.name} (gone)"
        cells.append((name, row.id or "(not seen yet)", *(f"{getattr(row, column).total:,}" for column in shown)))
    lines = columns(cells, words=2)
    if not delivery.has_ledger:
        lines.append(
            f"{audit.total('written'):,} bytes written, {audit.total('acknowledged'):,} acknowledged by "
            f"{delivery.title}, {audit.total('unacknowledged'):,} not yet"
        )
        return [*lines, _verdict(audit, delivery)]
    for row in audit.rows:
        for what, ranges in (("missing", row.missing), ("pending", row.pending), ("removed", row.removed)):
            if ranges:
                why = f": {REMOVED}" if what == "removed" else ""
                lines.append(f"{what} in {f'{row.name} {row.id}'.strip()}: bytes {ranges}{why}")
    lines += [
        f"{name} was set back, or a clone of this machine carries it on: the bucket holds more of it than was sent "
        "from here, so nothing of it counts as archived. The producer lets it go on as a new generation"
        for name in audit.parted
    ]
    for name, may, reason in audit.rotated():
        lines.append(f"{name} may be deleted: {'yes' if may else 'no'}, because {reason}")
    return [*lines, _verdict(audit, delivery)]


def as_json(audit: Audit, delivery: Delivery) -> dict[str, Any]:
    shown = (*COLUMNS, "removed") if delivery.has_ledger else WITHOUT_LEDGER
    tree: dict[str, Any] = {
        "verdict": _verdict(audit, delivery),
        "totals": {column: audit.total(column) for column in shown},
        "generations": [
            {"id": row.id or None, "name": row.name, "on_disk": row.file is not None}
            | {column: list(getattr(row, column)) for column in shown}
            for row in audit.rows
        ],
    }
    if delivery.has_ledger:
        rotated = [{"name": name, "deletable": may, "reason": reason} for name, may, reason in audit.rotated()]
        return tree | {"rotated": rotated}
    tree["totals"]["pending"] = audit.total("unacknowledged")
    return tree


def compared(audit: Audit, settings: Settings, s3: S3Client, clock: Clock) -> Deep:
    """Raises OSError and the errors of S3."""
    from cli.deep import compare

    tell = progress(clock)
    return compare(audit, settings, s3, lambda deep: tell(f"{deep.compared:,} lines compared"))


def deep_table(deep: Deep) -> list[str]:
    left = f"; {deep.long:,} longer than a record were not" if deep.long else ""
    return [
        *(f"otherwise in S3 than in {row.name} {row.id}: bytes {ranges}" for row, ranges in deep.unlike),
        f"{deep.compared:,} archived lines were compared with the logs{left}: {deep.total:,} bytes are otherwise in S3",
        *([FILED_OTHERWISE] if deep.total else ()),
    ]


def deep_as_json(deep: Deep) -> dict[str, Any]:
    unlike = [{"id": row.id, "name": row.name, "ranges": list(ranges)} for row, ranges in deep.unlike]
    return {"compared": deep.compared, "not_compared": deep.long, "bytes": deep.total, "otherwise": unlike}


def nothing_to_repair(audit: Audit, grace: float) -> str:
    pending, sent = audit.total("pending"), audit.total("unacknowledged")
    if not pending:
        return "repair: nothing is missing, so nothing is sent again"
    return (
        f"repair: nothing is missing yet, so nothing is sent again: {sent:,} bytes wait for the next poll (`appliance "
        f"ship-now`), and {pending - sent:,} were acknowledged less than {grace:g} s ago and may still arrive; --grace "
        "0 takes these for missing now"
    )


def ask_for_repair(settings: Settings, clock: Clock, grace: float) -> str:
    """Have the producer send again what is missing; what it answered. Raises CommandError, StatusError, OSError."""
    producer = read_status(settings.status_dir, ProducerStatus)
    if producer is None or producer.state == "stopped":
        raise CommandError("no producer runs that could send anything: start the appliance, then repair again")
    name = secrets.token_hex(8)
    write_atomic(settings.repair_request, json.dumps({"id": name, "after": grace}).encode(), durable=False)
    end = clock.monotonic() + ANSWER_SECONDS
    while clock.monotonic() < end:
        answer = read_status(settings.status_dir / settings.log_name, RepairStatus)
        if answer and answer.request == name:
            if answer.error:
                raise CommandError(answer.error)
            return f"repair: {answer.sent:,} bytes were sent again"
        clock.sleep(LOOK_AGAIN)
    settings.repair_request.unlink(missing_ok=True)
    raise CommandError(f"the producer did not answer within {ANSWER_SECONDS:.0f} s: its lines in the log say why")


def main(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status: 0 nothing is missing, 1 something is, 2 it cannot tell."""
    codes = set()
    for problem in problems_of(settings):
        note(problem)
        codes.add(UNUSABLE)  # it is of logs that are not looked at
    trees: dict[str, Any] = {}
    for one in logs_of(settings):
        code, trees[one.log_name] = _of_one(one, options)
        codes.add(code)
    if options.json and trees != {"": None}:
        print(json.dumps(trees.get("", {"logs": trees})))
    return next((code for code in (UNUSABLE, PROBLEM) if code in codes), OK)


def _of_one(settings: Settings, options: argparse.Namespace) -> tuple[int, dict[str, Any] | None]:
    """The exit status, and what --json prints of this log; else it is printed here."""
    clock, delivery, name = SystemClock(), settings.delivery, settings.log_name
    grace = settings.repair_after if options.grace is None else options.grace
    try:
        if not 0 <= grace <= settings.repair_after:
            raise CommandError(f"--grace is from 0 to REPAIR_AFTER ({settings.repair_after:g})")
        if (options.repair or options.deep) and not delivery.has_ledger:
            raise CommandError(f"{_only_acknowledged(delivery)}; nothing is sent again, or compared")
        with closing(connect(settings)) as s3:
            answer = audit(settings, clock, s3, grace=grace)
            if not (answer.rows or settings.data_dir.exists()):
                raise CommandError(f"DATA_DIR {settings.data_dir} is not there: name the appliance's own, or start it")
            if options.repair and not answer.total("missing"):
                note(nothing_to_repair(answer, grace))
            elif options.repair:
                note(ask_for_repair(settings, clock, grace))
                end = clock.monotonic() + ARRIVAL_SECONDS
                while answer.total("missing") and clock.monotonic() < end:
                    clock.sleep(LOOK_AGAIN)
                    answer = audit(settings, clock, s3, grace=grace)
            deep = compared(answer, settings, s3, clock) if options.deep else None
    except (CommandError, CheckpointError, ArchivedError, LedgersError, StatusError) as error:
        reason = str(error)
    except AWS_ERRORS as error:
        reason = str(explain(error, "the bucket", settings.target))
    except OSError as error:
        reason = unreadable(error)
    else:
        if not options.json:
            title = [f"{name}, s3://{settings.s3_bucket}/{settings.s3_prefix}"] if name else []
            print("\n".join([*title, *table(answer, delivery), *(deep_table(deep) if deep else ())]))
        wrong = answer.total("missing") or (deep and deep.total)
        code = (PROBLEM if wrong else OK) if delivery.has_ledger else UNUSABLE
        return code, as_json(answer, delivery) | ({"deep": deep_as_json(deep)} if deep else {})
    note(f"{name}: cannot tell: {reason}" if name else f"cannot tell: {reason}")
    return UNUSABLE, {"error": reason} if name else None
