"""The bucket itself (DELIVERY=s3): lines are filed and appended here by the function's own code.

What is acknowledged is archived. A failure is no loss and no doubling: the ledgers tell which lines of a batch that
comes again are there.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any

from common import archiver
from common.archiver import Archive, ContentionError, Elsewhere, HourlyObject, Item, Ledger, LedgerError, file_blocks
from common.aws import is_aws
from common.delivery import S3
from common.formats import Format, format_of, function_format
from common.settings import Settings
from common.status import Place
from common.together import COMBINED
from journal.ranges import Ranges
from producer.batch import appended_batches
from producer.large import TRUSTED, Large
from producer.put import Traffic
from producer.record import Record
from producer.retrying import Failure, RetryingSink

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# More memory is not taken by lines that are to be written, whatever they become: an empty line becomes 90 bytes, and a
# control character 6. A batch of ordinary lines is written at once.
FLUSH_BYTES = 20 * 1024 * 1024
# S3 copies so much in 5 s at 100 MB/s, well within the read time-out, and a tick shows no sign of life meanwhile
LIMITS = archiver.Limits(max_copy=512 * 1024 * 1024)
# Objects of rejected lines whose ledgers are read when one of entries grows long
FEW_OTHERS = 3


@dataclass(slots=True)
class BucketSink(RetryingSink):
    """Appends to the hourly objects below `prefix`. `trusted`: the endpoint honours conditions, as AWS does; any other
    is tried before the first write."""

    delivery = S3
    cut = staticmethod(appended_batches)

    _: KW_ONLY
    prefix: str = ""
    format: Format = field(default_factory=lambda: format_of(COMBINED, ""))
    trusted: bool = False
    large: Large = field(default_factory=Large)
    _archive: Archive | None = field(default=None, init=False)
    _requests: int = field(default=0, init=False)

    @staticmethod
    def own(settings: Settings) -> dict[str, Any]:
        large = Large(settings.large_file)
        return {"prefix": settings.s3_prefix, "format": function_format(settings), "large": large}

    def close(self) -> None:
        RetryingSink.close(self)
        self._archive = None

    def _attempt(
        self, batch: Sequence[Record], pending: Sequence[int], acknowledged: list[Place | None], traffic: Traffic
    ) -> Failure:
        before, committed, failure = self._requests, Ledger(), None
        for found, ended in self._flushes(batch, pending):
            done: set[HourlyObject] = set()
            failure = self._append(found, done, committed, traffic, len(pending))
            for index, mine in ended.items():
                if mine <= done:
                    acknowledged[index] = Place(key=min(mine).key)
            if failure:
                break
        traffic.calls += self._requests - before
        self.large.save()
        return failure or Failure("", True, {})

    def _flushes(
        self, batch: Sequence[Record], pending: Sequence[int]
    ) -> Iterator[tuple[dict[HourlyObject, list[Item]], dict[int, set[HourlyObject]]]]:
        """What to append to which objects, as much as fits the memory; the objects of each record that ends there."""
        found: dict[HourlyObject, list[Item]] = {}
        ended: dict[int, set[HourlyObject]] = {}
        waiting = 0
        for index in pending:
            mine: set[HourlyObject] = set()
            for _, filed in file_blocks(_event(batch[index]), self.prefix, self.format):
                for target, item in filed:
                    if waiting and waiting + item.memory > FLUSH_BYTES:
                        yield found, ended
                        found, ended, mine, waiting = {}, {}, set(), 0
                    found.setdefault(target, []).append(item)
                    mine.add(target)
                    waiting += item.memory
            ended[index] = mine
        yield found, ended

    def _append(
        self,
        found: dict[HourlyObject, list[Item]],
        done: set[HourlyObject],
        committed: Ledger,
        traffic: Traffic,
        count: int,
    ) -> Failure | None:
        """Append to one object after the other, rejected lines last: the entries around them close the ledger's holes.
        `done` and `committed` get what is written."""
        from common.errors import AWS_ERRORS  # as in sink.py

        order = sorted(found, key=lambda target: (target.rejected, target))
        elsewhere = Elsewhere(committed, [target for target in order if target.rejected][:FEW_OTHERS])
        try:
            client = self._connected()
            if self._archive is None:
                self.large.load(f"{client.meta.endpoint_url} {self.stream}")
            now = self.clock.now().timestamp()
            if not (self.trusted or is_aws(client) or 0 <= now - self.large.tried < TRUSTED):
                from common.conditions import COPY, ignored_conditions, refusal

                ignored = ignored_conditions(client, self.stream, self.prefix)
                if set(ignored) - {COPY}:
                    return Failure(refusal(self.stream, ignored), False, {"no conditional writes": count})
                self.large.tried = now
            self.trusted = True
            self._archive = self._archive or self._opened(client)
            for target in order:
                if self.stop():
                    return Failure("stopped before the rest was written", True, {})
                items = found.pop(target)  # so that its memory is free afterwards
                written = self._archive.append(target, items, elsewhere)
                traffic.bytes += written.bytes
                for item in items:
                    committed.add(str(item.owner), item.start, item.end)
                done.add(target)
        except ContentionError as error:
            return Failure(str(error), True, {"contention": count})
        except LedgerError as error:
            return Failure(str(error), False, {"ledger": count})
        except KeyError as error:
            return Failure(f"bucket {self.stream}: an answer lacks its {error}", True, {"unreadable": count})
        except (*AWS_ERRORS, OSError, ValueError) as error:
            return self._failed(error, count)
        return None

    def _opened(self, s3: S3Client) -> Archive:
        s3.meta.events.register("before-send.s3", self._count)
        # of which no two writers may have equal ones
        rng = random.Random(self.rng.getrandbits(128))  # noqa: S311 (names and jitter, no secret)
        return Archive(s3, self.stream, rng=rng, sleep=self.clock.sleep, limits=LIMITS, large=self.large.objects)

    def _count(self, **_: Any) -> None:
        self._requests += 1


class Proven:
    """What ticks have archived themselves, for repair, which runs beside them and then need not ask the bucket."""

    def __init__(self) -> None:
        self._ranges: deque[tuple[str, int, int]] = deque()

    def add(self, ranges: Iterable[tuple[str, int, int]]) -> None:
        """Take [start, end) of each generation."""
        self._ranges.extend(ranges)

    def take(self) -> dict[str, Ranges]:
        """What was added since the last time."""
        taken: dict[str, list[tuple[int, int]]] = {}
        while self._ranges:
            generation, start, end = self._ranges.popleft()
            taken.setdefault(generation, []).append((start, end))
        return {generation: Ranges(pairs) for generation, pairs in taken.items()}


def _event(record: Record) -> archiver.Record:
    """The record as the function gets it from a stream."""
    name, _, place = record.key.partition(":")
    folder, length = name.removesuffix(record.generation), place.partition(":")[2]
    return archiver.Record(
        record.data, record.generation, record.start, int(length) if length else None, 0.0, None, folder
    )
