"""The Lambda function, with an entry point for each delivery.

`handler`: a batch of Kinesis records becomes lines of hourly objects in S3, each line exactly once.
`firehose_handler`: the transform of a delivery stream; Firehose delivers the entries that it answers.

Environment: S3_BUCKET (required), S3_PREFIX, RECORD_KEY, ACCESS_LOG_FORMAT, FIELDS; for a host's log TRUSTED_PROXIES,
ANONYMIZE_IP, DROP_QUERY, LOG_SKIP; AWS_ENDPOINT_URL or LOCALSTACK_HOSTNAME where S3 is no AWS.

A batch that fails raises and comes back whole; the ledgers keep what it had written from being written again.
(`batchItemFailures` is no alternative: some emulators ignore it and go on, which loses the records.)

Each invocation prints one JSON line with its event (`archived`, `transformed` or `failed`), its counts and the
milliseconds it took; warnings are JSON lines too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from archiver.archive import Appended, Archive, Elsewhere
from archiver.connect import client
from archiver.event import Key, kinesis_record
from archiver.filing import Item, file_blocks
from archiver.firehose import Transform
from archiver.format import COMBINED, Format
from archiver.kept import format_of
from archiver.layout import HourlyObject
from archiver.ledger import Ledger
from archiver.progress import Done, Position, Progress

# Below this much remaining time no further object is begun: one append takes some tenths of a second, a slow one 2 s
TIME_MARGIN_MS = 8_000
# Lines are written once they take this much memory, so that the function stays below 200 MiB whatever the batch holds
FLUSH_BYTES = 32 * 1024 * 1024
# An object beside its items; rounded up
OBJECT_BYTES = 800
# A batch with more than that, of base64 or of objects, is worth a look for what was done of it before
LARGE_BYTES = 1024 * 1024
FEW_OBJECTS = 20
FEW_OTHERS = 3  # objects of rejected lines whose ledgers are read when one of entries grows long
COPIES = 8  # at the same time; botocore keeps 10 connections


class Flush(NamedTuple):
    """Lines that are written together, up to `end`; None: the batch ends there."""

    items: dict[HourlyObject, list[Item]]
    end: Position | None


class Context(Protocol):
    """The part of Lambda's context object that is used."""

    def get_remaining_time_in_millis(self) -> int: ...


class ConfigurationError(Exception):
    """The function's environment lacks something."""


class OutOfTimeError(Exception):
    """The function stopped before its time-out; what it has written stays, the batch comes again."""


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Archive one batch. Returns and prints its counts; raises when not every line of it is archived.

    After a change of delivery the function may still be handed an event of the other kind.
    """
    _warn_as_json()
    if "deliveryStreamArn" in event:
        return _transform(event)
    prefix, key = os.environ.get("S3_PREFIX", ""), Key.of(os.environ.get("RECORD_KEY"))
    return Run(archive(), prefix, context, key, _format()).archive(event)


def firehose_handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Answer every record of a Firehose event: `{"records": [{"recordId", "result", "data", "metadata"}, ...]}`."""
    _warn_as_json()
    if "Records" in event:
        return handler(event, context)
    return _transform(event)


def _transform(event: Mapping[str, Any]) -> dict[str, Any]:
    prefix = os.environ.get("S3_PREFIX", "")
    transform = Transform(lambda target, items: archive().append(target, items), prefix, _format())
    with _reporting("transformed", transform.counts):
        return transform.answer(event)


@contextmanager
def _reporting(done: str, counts: dict[str, int]) -> Iterator[None]:
    """Print one line for what is done within: the event, the counts as they are in the end, and the milliseconds."""
    begun = time.monotonic()
    outcome: dict[str, Any] = {"event": done}
    try:
        yield
    except Exception as error:
        outcome = {"event": "failed", "error": f"{type(error).__name__}: {error}"}
        raise
    finally:
        print(json.dumps(outcome | counts | {"ms": round((time.monotonic() - begun) * 1000)}), flush=True)


class Run:
    """One invocation."""

    def __init__(
        self, archive: Archive, prefix: str, context: Context, key: Key | None = None, format_: Format = COMBINED
    ) -> None:
        self._archive, self._prefix, self._format = archive, prefix, format_
        self._context = context
        self._key = key
        self._committed = Ledger()
        # objects: conditional writes; conflicts: those that lost a race
        names = ("records", "lines", "rejected", "written", "duplicates", "objects", "conflicts", "bytes")
        self.counts = dict.fromkeys(names, 0)

    def archive(self, event: Mapping[str, Any]) -> dict[str, int]:
        with _reporting("archived", self.counts):
            self._file(event)
        return self.counts

    def _file(self, event: Mapping[str, Any]) -> None:
        entries = event.get("Records") or ()
        self.counts["records"] = len(entries)
        progress = Progress(self._archive, self._prefix, entries)
        if sum(len(str((entry.get("kinesis") or {}).get("data"))) for entry in entries) > LARGE_BYTES:
            progress.look()
        try:
            end: Position | None = Position()
            while end is not None:
                flush = self._gather(entries, progress)
                if _worth_a_look(flush) and progress.look():
                    flush.items.clear()
                    flush = self._gather(entries, progress)
                end = flush.end
                self._commit(flush, progress)
                if end is not None:
                    progress.done = Done(end)
        except Exception:
            progress.save()
            raise
        progress.forget()

    def _gather(self, entries: Sequence[Mapping[str, Any]], progress: Progress) -> Flush:
        """The lines that are not done, as many as fit the memory, and as can be parsed in half of the time.

        A flush that was begun before is made up the same way, up to the same end, in more of the time if need be.
        """
        self._stop_when_late(progress)
        done = progress.done
        until = max(self._context.get_remaining_time_in_millis() // (4 if done.objects else 2), TIME_MARGIN_MS)
        found: dict[HourlyObject, list[Item]] = {}
        here, waiting = done.start, 0
        for number in range(here.record, len(entries)):
            record = kinesis_record(entries[number], self._key)
            first = done.start.block if number == done.start.record else 0
            for block, filed in file_blocks(record, self._prefix, self._format, first):
                if found and self._context.get_remaining_time_in_millis() <= until:
                    return Flush(found, here)
                skipped = done.start.byte if (number, block) == done.start[:2] else None
                for target, item in filed:
                    byte = item.end - record.offset
                    if skipped is not None and byte <= skipped:
                        continue
                    here = Position(number, block, byte)
                    if target not in found:
                        found[target] = []
                        waiting += OBJECT_BYTES
                    found[target].append(item)
                    waiting += item.memory
                    if waiting >= FLUSH_BYTES or here == done.end:
                        return Flush(found, here)
        return Flush(found, None)

    def _commit(self, flush: Flush, progress: Progress) -> None:
        """Append to one object after the other, always in the same order.

        Foreign lines are in no ledger, so their objects come last: a failure elsewhere then does not repeat them. Of
        the others, rejected lines come last: the entries around them are archived then, which keeps the ledger short.
        """
        items = flush.items
        order = sorted(items, key=lambda target: (_has_foreign(items[target]), target.rejected, target))
        elsewhere = Elsewhere(self._committed, [target for target in order if target.rejected][:FEW_OTHERS])
        form, before = _form(items, order), progress.done
        skipped = before.objects if before.form == form else 0
        for number, target in enumerate(order):
            mine = items.pop(target)  # so that its memory is free afterwards
            lines = sum(item.lines for item in mine)
            self.counts["lines"] += lines
            self.counts["rejected"] += target.rejected * lines
            written = Appended(0, 0)
            if number >= skipped:
                self._stop_when_late(progress)
                written = self._archive.append(target, mine, elsewhere)
            for item in mine:
                if item.owner is not None:
                    self._committed.add(item.owner, item.start, item.end)
            self.counts["written"] += written.lines
            self.counts["duplicates"] += lines - written.lines
            self.counts["objects"] += written.changed
            self.counts["conflicts"] += written.conflicts
            self.counts["bytes"] += written.bytes
            if number < skipped:
                continue
            progress.done = Done(before.start, flush.end, number + 1, form)

    def _stop_when_late(self, progress: Progress) -> None:
        """Raise OutOfTimeError, but only after work that stays done: each invocation gets further than the last."""
        if (
            self.counts["objects"] or progress.is_new
        ) and self._context.get_remaining_time_in_millis() < TIME_MARGIN_MS:
            raise OutOfTimeError(f"{self.counts['objects']} objects written, the rest when the batch comes again")


def _has_foreign(items: Iterable[Item]) -> bool:
    return any(item.owner is None for item in items)


def _worth_a_look(flush: Flush) -> bool:
    """Whether it costs much to write it once more, or doubles lines."""
    foreign = sum(map(_has_foreign, flush.items.values()))
    return flush.end is not None or len(flush.items) > FEW_OBJECTS or foreign > 1


def _form(items: Mapping[HourlyObject, Sequence[Item]], order: Iterable[HourlyObject]) -> str:
    """Tells whether a flush has the same lines in the same order of objects."""
    digest = hashlib.blake2b(digest_size=16)
    for target in order:
        mine = items[target]
        lines, size = sum(item.lines for item in mine), sum(len(item.text) for item in mine)
        digest.update(f"{target.key} {lines} {size}\n".encode())
    return digest.hexdigest()


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"event": "concern", "level": record.levelname, "message": record.getMessage()})


@functools.cache
def _warn_as_json() -> None:
    """In Lambda, warnings look like the other lines; elsewhere the caller configures logging."""
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        root = logging.getLogger()
        if not root.handlers:
            root.addHandler(logging.StreamHandler(sys.stdout))
        for each in root.handlers:
            each.setFormatter(_JsonFormatter())


@functools.cache
def _format() -> Format:
    """That of the log. Raises FormatError."""
    return format_of(os.environ)


@functools.cache
def archive() -> Archive:
    """The archive of this execution environment, made at its first batch and kept for the later ones."""
    bucket = os.environ.get("S3_BUCKET")
    if not bucket:
        raise ConfigurationError("S3_BUCKET is not set: give the function the name of the bucket in its environment")
    from concurrent.futures import ThreadPoolExecutor  # needed for the largest objects, and costs some milliseconds

    rng = random.Random()  # noqa: S311 (jitter, no secret)
    return Archive(client(), bucket, rng=rng, sleep=time.sleep, side_by_side=ThreadPoolExecutor(COPIES).map)
