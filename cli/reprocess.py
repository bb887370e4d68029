"""`appliance reprocess [HOURS]`: makes entries of the rejected lines that the present format can read.

The entries are appended first, then the object of rejected lines is written without them, on the condition that it is
as it was read. What is cut short begins again: the ledger of the entries knows those lines by an owner of its own,
`~0<generation>`, as that of the generation may cover what is archived elsewhere. Both ledgers keep the lines' places,
so that a line which is sent again is archived already.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from tempfile import SpooledTemporaryFile

from botocore.exceptions import ClientError

from cli.filed import WRITING
from cli.screen import OK, PROBLEM, UNUSABLE, CommandError, progress, say
from common.archiver import (
    Archive,
    ContentionError,
    HourlyObject,
    Item,
    LedgerError,
    Reader,
    Record,
    State,
    file_record,
)
from common.aws import S3Client, client
from common.clock import SystemClock
from common.errors import AWS_ERRORS, explain, status_of
from common.formats import Format, function_format
from common.settings import Settings
from journal.hourly import REJECTED, ChangedError, objects, pages, read
from journal.logs import logs_of, problems_of

CHUNK = 8 * 1024 * 1024
# How often an object is read again because the function has appended to it meanwhile
ROUNDS = 5

# Why a whole line is rejected; other reasons are those of records, and of parts of a line
_REASONS = ("not in ", "no such time")
_PLACE = re.compile(r"[0-9a-f]{24}:(?:0|[1-9][0-9]{0,17})")
_SHOWN = re.compile(rb"\\x([89A-F][0-9A-F]|5C)")


@dataclass(slots=True)
class Done:
    """`objects`: those looked at; `lines`: the rejected lines in them; `entries`: of these, those that became some."""

    objects: int = 0
    lines: int = 0
    entries: int = 0


class Reprocess:
    """One run. Raises CommandError, and the errors of S3."""

    def __init__(self, s3: S3Client, settings: Settings, format_: Format, progress: Callable[[Done], None]) -> None:
        self.done = Done()
        self._s3, self._bucket, self._format = s3, settings.s3_bucket, format_
        self._archive = Archive(s3, self._bucket, rng=random.SystemRandom(), sleep=time.sleep)
        self._progress = progress

    def run(self, prefix: str, hours: str) -> None:
        """All rejected lines of these hours: YYYY, or YYYY/MM and so on."""
        base = f"{prefix}{REJECTED}"
        found = pages(self._s3, self._bucket, Prefix=f"{base}{hours}")
        for each in sorted(objects(found, base)):
            self._object(HourlyObject(prefix, each.hour, True))

    def _object(self, target: HourlyObject) -> None:
        name = f"s3://{self._bucket}/{target.key}"
        for _ in range(ROUNDS):
            try:
                lines, entries = self._pass(target)
            except ChangedError:
                continue
            except ClientError as error:
                if status_of(error) not in (409, 412):
                    raise
                continue
            except (LedgerError, ContentionError) as error:
                raise CommandError(str(error)) from error
            self.done = Done(self.done.objects + 1, self.done.lines + lines, self.done.entries + entries)
            return
        raise CommandError(f"{name} was written to {ROUNDS} times meanwhile: run it again, nothing is doubled")

    def _pass(self, target: HourlyObject) -> tuple[int, int]:
        """How many lines the object has, and had as entries. Raises ChangedError, or ClientError with 409 or 412."""
        state = Reader(self._s3, self._bucket).read(target)
        lines = left = 0
        with SpooledTemporaryFile(CHUNK) as kept:
            for chunk in self._chunks(target, state):
                entries: dict[HourlyObject, list[Item]] = {}
                for line in chunk:
                    found = entry(line, target.prefix, self._format, f"{lines}:{state.etag}")
                    lines += 1
                    if found:
                        entries.setdefault(found[0], []).extend(found[1])
                    else:
                        kept.write(line + b"\n")
                        left += 1
                for there in sorted(entries):
                    self._archive.append(there, entries[there])
                self._progress(Done(self.done.objects, self.done.lines + lines, self.done.entries + lines - left))
            if left < lines:
                size = kept.tell()
                kept.seek(0)
                self._archive.replace(target, state, kept, size, left)
        return lines, lines - left

    def _chunks(self, target: HourlyObject, state: State) -> Iterator[list[bytes]]:
        rest = b""
        for start in range(0, state.size, CHUNK):
            end = min(start + CHUNK, state.size)
            *whole, rest = (rest + read(self._s3, self._bucket, target.key, start, end, state.etag)).split(b"\n")
            yield whole
        if rest:
            yield [rest]


def entry(line: bytes, prefix: str, format_: Format, name: str) -> tuple[HourlyObject, list[Item]] | None:
    """The object of a rejected line's entry, and what to append there; None for one that stays rejected.

    `name` tells a line without a place from all others.
    """
    record = _original(line)
    found = list(file_record(record, prefix, format_)) if record else []
    if len(found) != 1 or found[0][0].rejected or not found[0][1].text:  # what LOG_SKIP leaves out is not dropped here
        return None
    ((target, item),) = found
    if item.owner is None:
        place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
        return target, [item._replace(owner="~0", start=place, end=place + 1)]
    return target, [item._replace(owner=f"~0{item.owner}", others=()), item._replace(text=b"", lines=0, others=())]


def _original(line: bytes) -> Record | None:
    """The line that was rejected, at its place; None for anything else."""
    try:
        kept = json.loads(line)
        raw = _SHOWN.sub(lambda match: bytes.fromhex(match[1].decode()), kept["raw"].encode())
        reason, generation, offset = kept["reason"], kept["generation"], kept["offset"]
        if not reason.startswith(_REASONS) or (generation and not _PLACE.fullmatch(f"{generation}:{offset}")):
            return None
        return Record(raw, generation or None, int(offset or 0), None, 0.0, None)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def report(done: Done) -> str:
    left = done.lines - done.entries
    return f"{done.entries:,} of {done.lines:,} rejected lines are entries now, {left:,} stay rejected"


def main(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status: 0 all that can be read are entries, 1 not all, 2 wrong settings."""
    if not settings.delivery.has_ledger:
        raise CommandError(
            f"{settings.delivery.title} keeps no ledger, so what is interrupted would double lines: nothing is changed",
            UNUSABLE,
        )
    tell = progress(SystemClock())
    try:
        with closing(client(settings, "s3", **WRITING)) as s3:
            run = Reprocess(s3, settings, function_format(settings), lambda done: tell(report(done)))
            for prefix in dict.fromkeys([settings.s3_prefix, *(log.s3_prefix for log in logs_of(settings))]):
                run.run(prefix, options.hours or "")
    except AWS_ERRORS as error:
        explained = explain(error, f"s3://{settings.s3_bucket}", settings.target)
        raise CommandError(f"{explained}; run it again to go on: nothing is doubled") from error
    except OSError as error:  # an answer that lacks bytes, or no room for those of an object
        raise CommandError(f"{error}; run it again to go on: nothing is doubled") from error
    except KeyboardInterrupt:
        say("interrupted; run it again to go on: nothing is doubled")
        raise
    print(json.dumps(asdict(run.done)) if options.json else report(run.done))
    for problem in (left := problems_of(settings)):
        say(problem)  # the lines of these logs are not looked at
    return PROBLEM if left else OK
