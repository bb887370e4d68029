"""`appliance repair-ledger KEY`: gives an hourly object a ledger again, so that the function can append to it.

The object's lines are matched with those of the logs on disk, filed by the function's own code. Of logs that are gone,
what was once seen archived is taken over whole.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from botocore.exceptions import ClientError

from cli.filed import WRITING, digest, digests, filed
from cli.parser import are_hours
from cli.screen import OK, UNUSABLE, CommandError
from cli.which import log_of_key
from common.archiver import Archive, HourlyObject, Item, Ledger, LedgerError, Reader, State
from common.aws import S3Client, client
from common.clock import Clock, SystemClock
from common.errors import AWS_ERRORS, explain, status_of, unreadable
from common.formats import function_format
from common.settings import Settings
from journal.archived import Archived, ArchivedError, ArchivedFile
from journal.audit import held_by, look_at_files
from journal.checkpoint import Checkpoint, CheckpointError, CheckpointFile
from journal.hourly import HOUR, NAME, REJECTED

_KEY = re.compile(rf"(.*?)({re.escape(REJECTED)})?({HOUR})/{re.escape(NAME)}", re.DOTALL)


class Found(NamedTuple):
    """What the new ledger was made of. `lines`: those of the object. `matched`: of them, those of logs on disk.

    `ranges`: those entered; `taken`: of them, how many were taken over from logs that are gone.
    """

    lines: int
    matched: int
    ranges: int
    taken: int


def target_of(key: str, prefix: str) -> HourlyObject:
    """Raises CommandError for what is no key of an hourly object below the prefix."""
    found = _KEY.fullmatch(key)
    if not found or found[1] != prefix or not are_hours(found[3]):
        example = HourlyObject(prefix, "2020/04/18/01").key
        raise CommandError(f"{key} is no hourly object of this archive: give a key such as {example}", UNUSABLE)
    return HourlyObject(prefix, found[3], found[2] is not None)


def repair(settings: Settings, clock: Clock, s3: S3Client, key: str) -> Found:
    """Raises CommandError, CheckpointError, ArchivedError, OSError, and the errors of S3."""
    target = target_of(key, settings.s3_prefix)
    bucket, name = settings.s3_bucket, f"s3://{settings.s3_bucket}/{key}"
    try:
        if Reader(s3, bucket).read(target).ledgered:
            raise CommandError(f"{name} has a ledger that can be read: nothing is to be repaired")
    except LedgerError:
        pass  # it is what is to be mended
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if status_of(error) != 404:
            raise
        raise CommandError(f"{name} does not exist: it begins with the next line of that hour") from None
    left = Counter(digests(s3, bucket, key, IfMatch=head["ETag"]))
    lines, ledger = left.total(), Ledger()
    checkpoint = CheckpointFile(settings.checkpoint_file).load() or Checkpoint()
    files, _ = look_at_files(settings, checkpoint, clock.now().timestamp())
    there = set()
    for generation in checkpoint.parts:
        held, _ = held_by(generation, files)
        if held and generation.start is not None:
            there.add(generation.id)
            end = generation.within(held[0].found.size if generation.closed else held[0].complete)
            format_ = function_format(settings)
            log = filed(held[0].found, generation.id, generation.start, end, target.prefix, format_)
            _enter(ledger, left, target, log)
    taken = _take_over(ledger, ArchivedFile(settings.archived_file).load(), there)
    state = State(head["ETag"], head["ContentLength"], Ledger(), None, ledgered=False, intact=False, lines=None)
    archive = Archive(s3, bucket, rng=random.SystemRandom(), sleep=time.sleep)
    try:
        archive.rewrite(target, state, ledger, lines)
    except ClientError as error:
        if status_of(error) not in (409, 412):
            raise
        raise CommandError(f"{name} was written meanwhile: repair it again if it is still needed") from None
    return Found(lines, lines - left.total(), sum(1 for _ in ledger.ranges()), taken)


def _enter(
    ledger: Ledger, left: Counter[bytes], target: HourlyObject, log: Iterable[tuple[HourlyObject, Item]]
) -> None:
    """Cover each line of a log whose text is in the object, as often as it is there."""
    for where, run in log:
        if where != target or run.owner is None or run.owner.startswith("~"):
            continue
        for item in run.singly():
            text = digest(item.text[:-1])
            if left[text] or not item.text:
                left[text] -= bool(item.text)
                ledger.add(run.owner, item.start, item.end)


def _take_over(ledger: Ledger, archived: Archived, there: set[str]) -> int:
    """Enter what was seen archived of the logs that are gone; the number of ranges."""
    ranges = [
        (name, start, end)
        for name, known in archived.generations.items()
        if name not in there
        for start, end in known.archived
    ]
    for each in ranges:
        ledger.add(*each)
    return len(ranges)


def report(found: Found) -> list[str]:
    return [
        f"{found.lines:,} lines are in the object",
        f"{found.matched:,} of them are in logs on disk, and covered now",
        f"{found.lines - found.matched:,} are of logs that are gone, of other programs, or filed with other settings",
        f"{found.taken:,} ranges were taken over from logs that are gone",
        f"{found.ranges:,} ranges are in its new ledger",
    ]


def main(settings: Settings, options: argparse.Namespace) -> int:
    if not settings.delivery.has_ledger:
        raise CommandError("with DELIVERY=firehose no object has a ledger")
    settings = log_of_key(settings, options.key)
    s3 = client(settings, "s3", **WRITING)
    try:
        found = repair(settings, SystemClock(), s3, options.key)
    except (CheckpointError, ArchivedError) as error:
        raise CommandError(str(error)) from error
    except AWS_ERRORS as error:
        raise CommandError(str(explain(error, f"s3://{settings.s3_bucket}/{options.key}", settings.target))) from error
    except FileNotFoundError as error:
        raise CommandError(f"{error}: the log was rotated meanwhile, so repair again") from error
    except OSError as error:
        raise CommandError(unreadable(error)) from error
    finally:
        s3.close()
    print(json.dumps(found._asdict()) if options.json else "\n".join(report(found)))
    return OK
