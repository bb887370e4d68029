"""Repair: what was acknowledged and did not reach S3 is sent again from the log on disk.

A stream may lose what it has acknowledged: an emulator that was restarted, records that expired, a mapping that was
deleted. So now and then the ledgers of the bucket are compared with the checkpoint. What was acknowledged long enough
ago and was never seen in a ledger goes through the same records, batches and sink as the first time. Nothing here moves
the checkpoint, and a needless sending does no harm, as the ledgers remove it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from common.clock import Clock
from common.log import event
from common.settings import Settings
from common.status import write_status
from journal.archived import Acknowledged, Archived, ArchivedError, ArchivedFile
from journal.ledgers import Archive, Ledgers, LedgersError
from journal.lines import STEP, line_start
from journal.ranges import Ranges
from producer.batch import batches
from producer.checkpoint import Checkpoint, CheckpointError, CheckpointFile, Fingerprint, Generation
from producer.put import ClosableSink, Traffic
from producer.reader import BLOCK_BYTES, Found, continues
from producer.record import FRAGMENT_BYTES, WINDOW_BYTES, Piece
from producer.source import Poll, Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

# Reading the ledgers does not hold anybody up; what is not read by then is read in the next run
READ_SECONDS = 30.0
# A tick waits while something is sent again; what is left then is sent in the next run
SEND_SECONDS = 10.0
# The same trouble is logged only so often
REPEAT_SECONDS = 600.0
# Ranges that are named in one log line
NAMED = 5


@dataclass(slots=True)
class Repaired:
    """One run, in bytes of the log. `pending`: acknowledged lately, or not seen archived yet, and not missing.

    `unsent`: missing, and its log is gone. `lines` and `records` were sent, `traffic` is what that took. `error`: why
    nothing can be told, or does not get better; for the user.
    """

    archived: int = 0
    pending: int = 0
    missing: int = 0
    unsent: int = 0
    sent: int = 0
    records: int = 0
    lines: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    error: str | None = None


class Repair:
    """The job. `turn` keeps ticks out while something is sent; `connect` and `sink` make clients for one run."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        clock: Clock,
        *,
        connect: Callable[[], S3Client],
        sink: Callable[[Callable[[], bool]], ClosableSink],
        turn: Callable[[], AbstractContextManager[object]],
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._source = source
        self._clock = clock
        self._connect = connect
        self._sink = sink
        self._turn = turn
        self._stop = stop
        self._ledgers = Ledgers(settings.s3_bucket, settings.s3_prefix)
        self._checkpoint_file = CheckpointFile(settings.checkpoint_file)
        self._archived_file = ArchivedFile(settings.archived_file)
        self._next = clock.monotonic() + settings.repair_interval
        self._troubled_since: float | None = None
        self._logged: dict[str, float] = {}

    def look(self) -> Repaired | None:
        """Run if it is time, or if `audit --repair` asks for it; None when it is not. Never raises."""
        request, after = self._requested()
        now = self._clock.monotonic()
        if (now < self._next and request is None) or self._stop():
            return None
        self._next = now + self._settings.repair_interval
        try:
            repaired = self.run(after, again=request is not None)
        except Exception as error:
            log.exception("repair failed", extra=event("failed", part="repair", error=str(error)))
            repaired = Repaired(error=f"repair failed: {type(error).__name__}: {error}")
        if repaired.error:
            self._say(logging.ERROR, repaired.error)
        self._publish(repaired, request)
        return repaired

    def run(self, after: float, *, again: bool = False) -> Repaired:
        """Compare and send. `after`: seconds after which something counts as missing; `again`: wait for nothing."""
        repaired = Repaired()
        try:
            checkpoint = self._checkpoint_file.load()
            if checkpoint is None:
                return repaired
            archived = self._archived_file.load()
            saved = self._settings.checkpoint_file.stat().st_mtime  # or a little later, but not earlier
            archived.note(
                map(_acknowledged, checkpoint.generations),
                self._clock.now().timestamp(),
                self._settings.repair_after,
                saved=saved,
                finely=again,
            )
            self._archived_file.save(archived)  # the times must not be lost with this process
            try:
                self._read(archived)
            except LedgersError as error:
                repaired.error = f"repair: {error}" if again else self._bearable(error)
            else:
                self._troubled_since = None
                self._mend(archived, after, again, repaired)
            self._archived_file.save(archived)
        except (CheckpointError, ArchivedError) as error:
            repaired.error = f"repair: {error}"
        except OSError as error:
            repaired.error = f"repair: the log's folder cannot be read or written: {error}"
        return repaired

    # What is archived

    def _read(self, archived: Archived) -> None:
        """Bring `archived` up to what the bucket's ledgers say. Raises LedgersError."""
        bucket, prefix = self._settings.s3_bucket, self._settings.s3_prefix
        deadline = self._clock.monotonic() + READ_SECONDS
        s3 = self._connect()
        try:
            created = self._ledgers.created(s3)
            known = (archived.bucket, archived.prefix) == (bucket, prefix) and created in (None, archived.created)
            if known and not archived.unarchived():
                return
            since = archived.horizon(self._clock.now().timestamp())
            read = self._ledgers.read(s3, since, lambda: self._stop() or self._clock.monotonic() >= deadline)
        finally:
            s3.close()
        self._take_over(archived, read, created)
        if read.problems:
            raise LedgersError("; ".join(read.problems[:NAMED]), passing=False)

    def _take_over(self, archived: Archived, read: Archive, created: datetime | None) -> None:
        bucket, prefix = self._settings.s3_bucket, self._settings.s3_prefix
        new = archived.is_new(bucket, prefix, created, read.oldest)
        if new:
            log.warning(
                "bucket %s was created again: all lines still on disk that it lacks are sent again",
                bucket,
                extra=event("bucket_created_again", bucket=bucket),
            )
        archived.compared_with(bucket, prefix, created, new=new)
        archived.absorb(read.ranges)

    def _bearable(self, error: LedgersError) -> str | None:
        """What is to be said of it: an endpoint that is away for a moment is no news."""
        now = self._clock.monotonic()
        if self._troubled_since is None:
            self._troubled_since = now
        if error.passing and now - self._troubled_since < self._settings.repair_after:
            log.debug("repair: %s", error, extra=event("unreachable", part="bucket", error=str(error)))
            return None
        return f"repair: {error}"

    # What is sent again

    def _mend(self, archived: Archived, after: float, again: bool, repaired: Repaired) -> None:
        now = self._clock.now().timestamp()
        missing = archived.missing(now, after)
        if again and after == 0:
            missing = archived.unarchived()
        due = archived.due(missing, now if not again else float("inf"))
        repaired.archived = sum(known.archived.total for known in archived.generations.values())
        repaired.missing = _total(missing)
        repaired.pending = _total(archived.unarchived()) - repaired.missing
        if due:
            self._send(archived, due, repaired)
        for name, ranges in missing.items():
            known = archived.generations[name]
            if known.gone is not None:
                repaired.unsent += ranges.total
                self._say(
                    logging.ERROR,
                    f"{ranges.total} bytes of {known.name} (generation {name}) were acknowledged by the stream, are in "
                    f"no ledger of s3://{self._settings.s3_bucket}/{self._settings.s3_prefix}, and the file is gone: "
                    f"put it back from a backup beside access.log. Bytes {ranges}",
                )
        stubborn = sum(
            (missing[name] & Ranges.of(each.start, each.end)).total
            for name, known in archived.generations.items()
            if name in missing
            for each in known.sent
            if each.wait > 2 * self._settings.repair_after
        )
        if stubborn and not repaired.error:
            repaired.error = (
                f"{stubborn} bytes were sent again more than once and are still not in "
                f"s3://{self._settings.s3_bucket}/{self._settings.s3_prefix}: does the function "
                f"{self._settings.lambda_function} run? Its log says what keeps it; `audit` names the bytes"
            )

    def _send(self, archived: Archived, due: Mapping[str, Ranges], repaired: Repaired) -> None:
        """Send what is due and note what was acknowledged. Ticks wait meanwhile, for SEND_SECONDS and a call."""
        with self._turn():
            deadline = self._clock.monotonic() + SEND_SECONDS

            def stop() -> bool:
                return self._stop() or self._clock.monotonic() >= deadline

            checkpoint = self._checkpoint_file.load()
            if checkpoint is None or stop():
                return
            log.warning(
                "repair: %d bytes were acknowledged by the stream but are in no ledger of s3://%s/%s, sending them "
                "again: %s",
                *(_total(due), self._settings.s3_bucket, self._settings.s3_prefix, _named(archived, due)),
                extra=event("missing", bytes=_total(due)),
            )
            sent: dict[str, list[tuple[int, int]]] = {}
            sink = self._sink(stop)
            try:
                for batch in batches(self._pieces(checkpoint, due)):
                    put = sink.put(batch)
                    for record, ack in zip(batch, put.acknowledged, strict=True):
                        if ack is not None:
                            sent.setdefault(record.generation, []).append((record.start, record.end))
                            repaired.records += 1
                            repaired.lines += record.lines
                    repaired.traffic.add(put.traffic)
                    if put.error and not stop():
                        repaired.error = f"repair: {put.error}"
                    if put.error or stop():
                        break
            finally:
                sink.close()
        now = self._clock.now().timestamp()
        for name, pairs in sent.items():
            archived.tried(name, Ranges(pairs), now, self._settings.repair_after)
            repaired.sent += Ranges(pairs).total
        log.warning(
            "repair: sent %d bytes again in %d records",
            *(repaired.sent, repaired.records),
            extra=event("repaired", bytes=repaired.sent, lines=repaired.lines, records=repaired.records),
        )

    def _pieces(self, checkpoint: Checkpoint, due: Mapping[str, Ranges]) -> Iterator[Piece]:
        """The bytes that are due, extended to whole lines, as long as their file is what it was."""
        for generation in checkpoint.generations:
            if generation.id not in due:
                continue
            try:
                yield from self._of(generation, due[generation.id])
            except OSError as error:
                self._say(logging.ERROR, f"repair: {generation.name} cannot be read: {error}")

    def _of(self, generation: Generation, ranges: Ranges) -> Iterator[Piece]:
        found = self._open(generation)
        if found is None:
            self._say(logging.WARNING, f"repair: {generation.name} is not there, or not what it was: left alone")
            return
        seen, descriptor = found
        try:
            for start, end in _whole(descriptor, ranges, seen.size):
                before = os.pread(descriptor, min(WINDOW_BYTES, start), start - min(WINDOW_BYTES, start))
                part = replace(
                    generation,
                    offset=start,
                    tail=Fingerprint.of(before) if before else Fingerprint(),
                    inside_line=bool(before) and not before.endswith(b"\n"),
                    closed=False,
                )
                limit = replace(seen, size=min(end, seen.size))
                for piece in self._source.pieces(Poll([(part, limit)])):
                    # asked after the bytes were read: had the log been emptied and filled anew before, this would show
                    if not continues(descriptor, generation):
                        return
                    yield piece
        finally:
            os.close(descriptor)

    def _open(self, generation: Generation) -> tuple[Found, int] | None:
        """A file that holds all that is acknowledged of the generation; originals before copies."""
        wanted = {file.key: file.copy for file in generation.files}
        places: list[tuple[bool, Path]] = []
        for path in self._source.log.parent.iterdir():
            try:
                status = path.stat()
            except OSError:
                continue
            if (status.st_dev, status.st_ino) in wanted:
                places.append((wanted[status.st_dev, status.st_ino], path))
        for _, path in sorted(places):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                continue
            status = os.fstat(descriptor)
            key = status.st_dev, status.st_ino
            if key in wanted and continues(descriptor, generation):
                live = path == self._source.log
                return Found(path, *key, status.st_size, status.st_mtime, live), descriptor
            os.close(descriptor)
        return None

    # What is said

    def _requested(self) -> tuple[str | None, float]:
        """Who asks for a run by `audit --repair`, and after how many seconds something counts as missing for him."""
        after = self._settings.repair_after
        try:
            request = json.loads(self._settings.repair_request.read_bytes())
            self._settings.repair_request.unlink()
            return str(request["id"]), float(request["after"])
        except FileNotFoundError:
            return None, after
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._say(logging.ERROR, f"{self._settings.repair_request} cannot be read: {error}")
            return None, after

    def _publish(self, repaired: Repaired, request: str | None) -> None:
        facts = {
            "checked_at": self._clock.now().isoformat(),
            "archived": repaired.archived,
            "pending": repaired.pending,
            "missing": repaired.missing,
            "sent": repaired.sent,
            "error": repaired.error,
            "request": request,
        }
        try:
            write_status(self._settings.status_dir, "repair", facts)
        except OSError as error:
            self._say(logging.ERROR, f"the status cannot be written: {error}")

    def _say(self, level: int, message: str) -> None:
        now = self._clock.monotonic()
        self._logged = {text: at for text, at in self._logged.items() if now - at < REPEAT_SECONDS}
        if message not in self._logged:
            log.log(level, "%s", message, extra=event("concern", part="repair", problem=message))
            self._logged[message] = now


def _acknowledged(generation: Generation) -> Acknowledged:
    return Acknowledged(generation.id, generation.name, *generation.acknowledged)


def _whole(descriptor: int, ranges: Ranges, size: int) -> Ranges:
    """The ranges, extended to whole lines: what is sent again is then cut into records as it was the first time.

    Only a line that is longer than a block, and went as fragments for that, is taken up at the fragment: sent from its
    beginning each time, a line that is too long for one run would never come to its end.
    """
    whole = []
    for start, end in ranges:
        begin = line_start(descriptor, min(start, size))
        ending = end if end >= size else _line_end(descriptor, end - 1, size)
        if min(_line_end(descriptor, begin, size), size) - begin > BLOCK_BYTES:
            begin += (start - begin) // FRAGMENT_BYTES * FRAGMENT_BYTES
        whole.append((begin, ending))
    return Ranges(whole)


def _line_end(descriptor: int, position: int, size: int) -> int:
    """Behind the newline of the line that the byte at `position` is in, or the file's end."""
    while position < size:
        block = os.pread(descriptor, min(STEP, size - position), position)
        if not block:
            break
        newline = block.find(b"\n")
        if newline >= 0:
            return position + newline + 1
        position += len(block)
    return size


def _total(ranges: Mapping[str, Ranges]) -> int:
    return sum(each.total for each in ranges.values())


def _named(archived: Archived, ranges: Mapping[str, Ranges]) -> str:
    every = [
        f"{archived.generations[name].name} [{start}, {end})" for name, some in ranges.items() for start, end in some
    ]
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return f"{', '.join(every[:NAMED])}{more}"
