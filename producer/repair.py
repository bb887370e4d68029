"""Repair: what was acknowledged and did not reach S3 is sent again from the log on disk.

A stream may lose what it has acknowledged: an emulator is restarted, records expire, a mapping is deleted. So repair
compares the bucket's ledgers with the checkpoint. What was acknowledged a while ago and was never seen in a ledger goes
through the same records, batches and sink as the first time. The checkpoint does not move, and the ledgers make a
needless sending harmless.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from datetime import timedelta

from common.aws import S3Client
from common.clock import Clock
from common.log import event
from common.settings import Settings
from common.status import RepairStatus, write_status
from journal.archived import Archived, ArchivedError, ArchivedFile
from journal.checkpoint import CheckpointError, CheckpointFile
from journal.expiry import expire
from journal.ledgers import Ledgers, LedgersError
from journal.ranges import Ranges
from producer.put import ClosableSink, Traffic
from producer.reread import pieces_again
from producer.setback import SetBack
from producer.sink import sink_of
from producer.source import Source

log = logging.getLogger(__name__)

# Ledgers that are not read by then are read in the next run
READ_SECONDS = 30.0
# A tick waits while repair sends; the next run sends the rest
SEND_SECONDS = 10.0
# The same problem is logged only so often
REPEAT_SECONDS = 600.0
# How much later than two intervals a comparison may come before the last one counts as stale
LATE = timedelta(seconds=120)
# Ranges that are named in one log line, and problems in one message
NAMED = 5


@dataclass(slots=True)
class Repaired:
    """One run, in bytes of the log. `pending`: acknowledged lately, or not seen archived yet, and not missing.

    `lines`, `records` and `traffic` count what was sent. `error`: what failed, for the user.
    """

    archived: int = 0
    pending: int = 0
    missing: int = 0
    sent: int = 0
    records: int = 0
    lines: int = 0
    traffic: Traffic = field(default_factory=Traffic)
    error: str | None = None


class Repair:
    """`turn` keeps ticks out while repair sends; `connect` and `sink` make clients for one run. `proven`: what was
    appended without a stream since it was last asked."""

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
        proven: Callable[[], Mapping[str, Ranges]] = dict,
    ) -> None:
        self._proven = proven
        self._settings = settings
        self._source = source
        self._archive = f"s3://{settings.s3_bucket}/{settings.s3_prefix}"
        self._clock = clock
        self._connect = connect
        self._sink = sink
        self._turn = turn
        self._stop = stop
        self._ledgers = Ledgers(settings.s3_bucket, settings.s3_prefix, settings.target)
        self.set_back = SetBack(settings, turn, self._say)
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
            checkpoint, archived = self._checkpoint_file.load(), self._archived_file.load()
            # before anything is acknowledged a power cut may take the checkpoint, and must not leave its witness
            if checkpoint is None or not (archived.generations or any(each.offset for each in checkpoint.parts)):
                return repaired
            saved = self._settings.checkpoint_file.stat().st_mtime  # or a little later, but not earlier
            now, known = self._clock.now(), checkpoint.parts
            archived.note(known, now.timestamp(), self._settings.repair_after, saved=saved, finely=again)
            archived.absorb(self._proven())
            self._archived_file.save(archived)  # the times must not be lost with this process
            try:
                self._compare(archived)
                expire(archived, known, self._settings, now)
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

    def _bearable(self, error: LedgersError) -> str | None:
        """The message, unless the endpoint is only away for a moment."""
        now = self._clock.monotonic()
        if self._troubled_since is None:
            self._troubled_since = now
        if error.passing and now - self._troubled_since < self._settings.repair_after:
            log.debug("repair: %s", error, extra=event("unreachable", part="bucket", error=str(error)))
            return None
        return f"repair: {error}"

    def _compare(self, archived: Archived) -> None:
        """Bring `archived` up to what the bucket's ledgers say. Raises LedgersError."""
        bucket, prefix = self._settings.s3_bucket, self._settings.s3_prefix
        with closing(self._connect()) as s3:
            created = self._ledgers.created(s3)
            known = (archived.bucket, archived.prefix) == (bucket, prefix) and created in (None, archived.created)
            if known and not archived.unarchived():
                return
            read = self._ledgers.read(
                s3, archived.horizon(self._clock.now().timestamp()), self._stops_after(READ_SECONDS)
            )
        if archived.compared_with(bucket, prefix, created, read.oldest):
            log.warning(
                "bucket %s was created again: all lines still on disk that it lacks are sent again",
                bucket,
                extra=event("bucket_created_again", bucket=bucket),
            )
        self.set_back.check(read.ranges)
        archived.absorb(read.ranges)
        if read.problems:
            raise LedgersError("; ".join(read.problems[:NAMED]), passing=False)

    def _stops_after(self, seconds: float) -> Callable[[], bool]:
        """Whether so much time has passed, or the producer is to stop."""
        deadline = self._clock.monotonic() + seconds
        return lambda: self._stop() or self._clock.monotonic() >= deadline

    def _mend(self, archived: Archived, after: float, again: bool, repaired: Repaired) -> None:
        now = self._clock.now().timestamp()
        missing = archived.unarchived() if again and after == 0 else archived.missing(now, after)
        due = archived.due(missing, now if not again else float("inf"))
        repaired.archived = sum(known.archived.total for known in archived.generations.values())
        repaired.missing = _total(missing)
        repaired.pending = _total(archived.unarchived()) - repaired.missing
        if due:
            self._send(archived, due, repaired)
        for name, ranges in missing.items():
            known = archived.generations[name]
            if known.gone is not None:
                self._say(
                    logging.ERROR,
                    f"{ranges.total} bytes of {known.name} (generation {name}) were acknowledged, are in no ledger of "
                    f"{self._archive}, and the file is gone: put a backup of it beside access.log. Bytes {ranges}",
                )
        stubborn = sum(
            (missing[name] & Ranges.of(each.start, each.end)).total
            for name, known in archived.generations.items()
            if name in missing
            for each in known.sent
            if each.wait > 2 * self._settings.repair_after
        )
        if stubborn and not repaired.error:
            function = f"the function {self._settings.lambda_function} run, with this RECORD_KEY? Its log says;"
            cause = "another program write or delete there?" if self._settings.delivery.is_direct else function
            repaired.error = (
                f"{stubborn} bytes were sent again more than once and are still not in {self._archive}: does {cause} "
                "`audit` names the bytes"
            )

    def _send(self, archived: Archived, due: Mapping[str, Ranges], repaired: Repaired) -> None:
        """Send what is due and note what was acknowledged. Ticks wait meanwhile, for SEND_SECONDS and a call."""
        with self._turn():
            stop = self._stops_after(SEND_SECONDS)
            checkpoint = self._checkpoint_file.load()
            if checkpoint is None or stop():
                return
            log.warning(
                "repair: %d bytes were acknowledged but are in no ledger of %s, sending them again: %s",
                *(_total(due), self._archive, _named(archived, due)),
                extra=event("missing", bytes=_total(due)),
            )
            sent: dict[str, list[tuple[int, int]]] = {}
            with closing(self._sink(stop)) as sink:
                pieces = pieces_again(self._source, checkpoint, due, self._say)
                for batch in sink_of(self._settings.delivery).cut(pieces):
                    put = sink.put(batch)
                    for record, ack in zip(batch, put.acknowledged, strict=True):
                        if ack is not None:
                            sent.setdefault(record.generation, []).append((record.start, record.end))
                            repaired.records += 1
                            repaired.lines += record.lines
                    repaired.traffic.add(put.traffic)
                    if stop():
                        break
                    if put.error:
                        repaired.error = f"repair: {put.error}"
                        break
        now = self._clock.now().timestamp()
        for name, pairs in sent.items():
            archived.tried(name, Ranges(pairs), now, self._settings.repair_after)
            repaired.sent += Ranges(pairs).total
        log.warning(
            "repair: sent %d bytes again in %d records",
            *(repaired.sent, repaired.records),
            extra=event("repaired", bytes=repaired.sent, lines=repaired.lines, records=repaired.records),
        )

    def _requested(self) -> tuple[str | None, float]:
        """(id, seconds after which something counts as missing) of a request by `audit --repair`; else (None, …)."""
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
        now = self._clock.now()
        status = RepairStatus(
            due=now + timedelta(seconds=2 * self._settings.repair_interval) + LATE,
            checked_at=now,
            archived=repaired.archived,
            pending=repaired.pending,
            missing=repaired.missing,
            sent=repaired.sent,
            error=repaired.error,
            request=request,
        )
        try:
            write_status(self._settings.status_dir / self._settings.log_name, status)
        except OSError as error:
            self._say(logging.ERROR, f"the status cannot be written: {error}")

    def _say(self, level: int, message: str) -> None:
        now = self._clock.monotonic()
        self._logged = {text: at for text, at in self._logged.items() if now - at < REPEAT_SECONDS}
        if message not in self._logged:
            log.log(level, "%s", message, extra=event("concern", part="repair", problem=message))
            self._logged[message] = now


def _total(ranges: Mapping[str, Ranges]) -> int:
    return sum(each.total for each in ranges.values())


def _named(archived: Archived, ranges: Mapping[str, Ranges]) -> str:
    every = [
        f"{archived.generations[name].name} [{start}, {end})" for name, some in ranges.items() for start, end in some
    ]
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return f"{', '.join(every[:NAMED])}{more}"
