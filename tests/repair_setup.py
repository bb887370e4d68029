"""Log, producer, stream, function and bucket in one process: what tests of repair and audit start from."""

from __future__ import annotations

import random
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from archiver.archive import Archive
from archiver.filing import Item
from archiver.layout import HourlyObject
from common.clock import Clock
from common.settings import Settings
from journal.archived import Archived, ArchivedFile
from journal.ranges import Ranges
from producer.repair import Repair, Repaired
from producer.ship import ship_once
from producer.sink import KinesisSink
from tests.fake_bucket import FakeBucket
from tests.fake_kinesis import FakeClock, FakeKinesis, checkpoint_of, delivered, sink_of, source_of

AFTER = 300.0


class World:
    """`deliver` is the function: it archives what is in the stream; a record that is not delivered is lost."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(data_dir=folder, s3_bucket="bucket", repair_after=AFTER, **settings)
        self.log = self.settings.log_file
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.settings.run_dir.mkdir(exist_ok=True)
        self.clock = FakeClock()
        self.stream = FakeKinesis()
        self.bucket = FakeBucket(bucket="bucket")
        self.bucket.page = 1000
        self.bucket.created = self.bucket.now = self.clock.now()
        self.source = source_of(self.log, self.clock)
        self.starts = 0
        self.archive = Archive(self.bucket.client, "bucket", rng=random.Random(1), sleep=lambda _: None)
        self.doubled: list[tuple[str, int]] = []
        self.start()

    def start(self) -> None:
        """A new producer; nothing in memory outlives it."""
        clock: Clock = self.clock

        def sink(stop: Any) -> KinesisSink:
            return sink_of(self.stream, self.clock, stop=stop)

        self.repair = Repair(
            self.settings, self.source, clock, connect=lambda: self.bucket.client, sink=sink, turn=nullcontext
        )
        self.repair.set_back.look_back()

    def write(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)

    def ship(self) -> None:
        """By a producer that was just started: it has no file open."""
        self.starts += 1
        source = source_of(self.log, self.clock, seed=self.starts)
        ship_once(source, checkpoint_of(self.log), sink_of(self.stream, self.clock))

    def deliver(self, *, lose: bool = False, hour: str = "2026/11/23/10") -> None:
        """Archive the stream's records, a batch of them at a time, or lose them; then the stream is empty."""
        records, self.stream.records = self.stream.records, []
        if lose:
            return
        self.bucket.now = self.clock.now()
        target = HourlyObject("", hour)
        items = [
            Item(generation, offset, offset + len(line) + 1, b"%s %d\n" % (generation.encode(), offset))
            for (generation, offset), line in sorted(delivered(records).items())
        ]
        for at in range(0, len(items), 100):
            self.archive.append(target, items[at : at + 100])

    @property
    def lines(self) -> list[bytes]:
        """Every line of every hourly object, as generation and offset."""
        return sorted(
            line for key, stored in self.bucket.objects.items() if key[0].isdigit() for line in stored.body.splitlines()
        )

    def sent(self) -> list[bytes]:
        """The lines that are in the stream."""
        return [line for _, line in sorted(delivered(self.stream.records).items())]

    def wait(self, seconds: float = AFTER) -> None:
        self.clock.advance(seconds)

    def run(self, after: float = AFTER, *, again: bool = False) -> Repaired:
        repaired = self.repair.run(after, again=again)
        assert self.bucket.closed > 0 or not self.bucket.calls
        return repaired

    def archived(self) -> Archived:
        return ArchivedFile(self.settings.archived_file).load()

    def seen(self) -> Ranges:
        (known,) = self.archived().generations.values()
        return known.archived
