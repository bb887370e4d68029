"""The sink that appends by itself, in the simulated world: its own code, with what the judge has to know of it."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from typing import Any

from archiver.archive import Archive, Limits
from producer.bucket import BucketSink
from producer.put import Put
from producer.record import Record
from tests.simulation.stream import Stream


class Direct(BucketSink):
    """`simulated` comes before the first use."""

    def simulated(self, stream: Stream, limits: Limits) -> None:
        """What it sends is told to the stream of the others; the bucket's parts are as small as `limits` say."""
        self._told, self._limits, self.trusted = stream, limits, True

    def put(self, batch: Sequence[Record]) -> Put:
        told, sent = self._told, []
        for record in batch:
            whole = record.data.endswith(b"\n") and record.key.count(":") == 1
            data = gzip.compress(record.data) if whole else record.data
            sent.append({(item.owner, item.start) for _, item in told.filed(record.key, data)})
            # until it is acknowledged nothing has it but the log
            told.lost.update(place for place in sent[-1] if place not in told.places)
            told.learn(record.key, data)
        put = BucketSink.put(self, batch)
        for record, places, ack in zip(batch, sent, put.acknowledged, strict=True):
            if ack:
                told.acknowledged.add(record.generation, record.start, record.end)
                told.lost -= places
        return put

    def _opened(self, s3: Any) -> Archive:
        rng = random.Random(self.rng.getrandbits(128))
        options: dict[str, Any] = {"limits": self._limits, "large": self.large.objects}
        return Archive(s3, self.stream, rng=rng, sleep=self.clock.sleep, **options)
