"""The producer's main path: read, batch, put, checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from common.log import event
from common.status import Place
from journal.archived import Archived, ArchivedFile
from journal.checkpoint import WITNESS, Checkpoint, CheckpointFile
from producer.batch import Cut, batches
from producer.put import Put, Sink, Traffic
from producer.record import Record
from producer.setback import boot_id
from producer.source import Source

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Shipped:
    """What one tick got acknowledged: complete lines, records, bytes of the log.

    `first` and `last`: the stream's answers for the first and last of them, in the log's order. `ranges`: generation,
    start, end. `lag`: bytes in the log that are not acknowledged, `lag_lines`: their lines, None when not counted.
    `error`: why it ended early. `stopped`: it was told to end early. For the user: `problems` of the log's files, and
    `absent`, that there is no log.
    """

    lines: int = 0
    records: int = 0
    bytes: int = 0
    first: Place | None = None
    last: Place | None = None
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    lag: int = 0
    lag_lines: int | None = 0
    error: str | None = None
    stopped: bool = False
    problems: list[str] = field(default_factory=list)
    absent: str | None = None
    traffic: Traffic = field(default_factory=Traffic)

    def add(self, batch: Sequence[Record], put: Put) -> None:
        self.traffic.add(put.traffic)
        for record, ack in zip(batch, put.acknowledged, strict=True):
            if ack is None:
                continue
            self.lines += record.lines
            self.records += 1
            self.bytes += record.end - record.start
            self.first = self.first or ack
            self.last = ack
            if self.ranges and self.ranges[-1][0] == record.generation and self.ranges[-1][2] == record.start:
                self.ranges[-1] = (record.generation, self.ranges[-1][1], record.end)
            else:
                self.ranges.append((record.generation, record.start, record.end))


def why(problem: Exception) -> str:
    """What is said of a poll that ended early."""
    found = "the log or its checkpoint cannot be read or saved: " if isinstance(problem, OSError) else ""
    return f"{found}{problem}"


def ship_once(
    source: Source,
    checkpoint_file: CheckpointFile,
    sink: Sink,
    *,
    cut: Cut = batches,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[Shipped], None] = lambda _: None,
) -> Shipped:
    """Ship everything that is there, in bounded memory, until it is acknowledged, refused, or `stop` says so.

    `cut` makes the batches of this sink. Nothing is remembered between two calls but the checkpoint. Raises
    CheckpointError and SourceError with the remedy, and OSError when the checkpoint cannot be saved: what was sent
    since is then sent again.
    """
    checkpoint = checkpoint_file.load() or _first_start(checkpoint_file)
    report, again = Shipped(), True
    while again:
        poll = source.poll(checkpoint)
        report.problems, report.absent = [*report.problems, *poll.problems], poll.absent
        checkpoint_file.save(checkpoint)  # a generation is durable before anything is sent under its name
        if checkpoint.generations:
            _leave_witness(checkpoint_file)
        for batch in cut(source.pieces(poll)):
            if stop():
                report.stopped = True
                break
            put = sink.put(batch)
            report.add(batch, put)
            checkpoint.acknowledge(batch, put.acknowledged)
            checkpoint_file.save(checkpoint)
            report.lag, report.lag_lines = checkpoint.unread, None
            progress(report)
            if put.error:
                report.error = put.error
                break
        # what stands behind a generation's last line is the next one's
        done = any(each.limit is not None and not each.unread for each, _ in poll.unread)
        again = done and not report.error and not report.stopped
    report.lag, report.lag_lines = checkpoint.unread, source.count_lines(poll)
    return report


def _first_start(checkpoint_file: CheckpointFile) -> Checkpoint:
    log.info(
        "no checkpoint at %s: first start, all logs are sent from their beginning",
        checkpoint_file.path,
        extra=event("first_start", checkpoint=str(checkpoint_file.path)),
    )
    return Checkpoint(boot=boot_id())


def _leave_witness(checkpoint_file: CheckpointFile) -> None:
    """From the first line sent on, a checkpoint that is gone is no first start. After the checkpoint is saved: without
    it, a witness would keep the next start from sending what never was."""
    witness = ArchivedFile(checkpoint_file.path.with_name(WITNESS))
    if not witness.path.exists():
        witness.save(Archived())
