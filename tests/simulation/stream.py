"""Kinesis between the two: shards, sequence numbers, and every way PutRecords can go wrong."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from archiver import event
from archiver.filing import Item, file_record
from archiver.format import COMBINED, Format, compiled
from archiver.layout import HourlyObject
from producer import batch as batching
from producer import record as recording
from tests.fake_kinesis import FakeClock
from tests.simulation.faults import Faults, Violation

CODES = [
    ("ProvisionedThroughputExceededException", 400),
    ("LimitExceededException", 400),
    ("ResourceInUseException", 400),
    ("ResourceNotFoundException", 400),
    ("ExpiredTokenException", 400),
    ("AccessDeniedException", 400),
    ("KMSThrottlingException", 400),
    ("InternalFailure", 500),
    ("ServiceUnavailable", 503),
    ("TooManyRequestsException", 429),
]


# What another program sends, and how the archive ends a line of it when it is taken for what it is
FORGED = b"forged "
FOREIGN = b'"generation":null,"offset":null}'
# The second one has the same entries, but of the lines of 1, 10 to 19, 100 to 199 … bytes only
FORMATS = (
    COMBINED,
    compiled('$remote_addr - - [$time_local] "$request" $status 1$body_bytes_sent "-" "$http_user_agent"'),
)


class Sent(NamedTuple):
    """A record as a shard holds it."""

    key: str
    data: bytes
    number: int
    arrived: float


class Ranges:
    """Byte ranges of generations; not the archive's ledger, which is what it is compared with."""

    def __init__(self) -> None:
        self._ranges: dict[str, set[tuple[int, int]]] = {}

    def add(self, generation: str, start: int, end: int) -> None:
        self._ranges.setdefault(generation, set()).add((start, end))

    def reach(self, generation: str, start: int) -> int:
        """Up to where everything from `start` on is in it."""
        for first, end in sorted(self._ranges.get(generation, ())):
            if first > start:
                break
            start = max(start, end)
        return start

    def merged(self) -> list[tuple[str, int, int]]:
        found: list[tuple[str, int, int]] = []
        for generation in sorted(self._ranges):
            for start, end in sorted(self._ranges[generation]):
                if found and found[-1][0] == generation and found[-1][2] >= start:
                    found[-1] = (generation, found[-1][1], max(end, found[-1][2]))
                else:
                    found.append((generation, start, end))
        return found


class Stream:
    def __init__(
        self, shards: int, clock: FakeClock, rng: random.Random, prefix: str, say: Callable[[str], None]
    ) -> None:
        self.shards: list[list[Sent]] = []
        self.reshard(shards)
        self.faults = Faults()
        self.clock = clock
        self.rng = rng
        self.acknowledged = Ranges()
        self.lines: set[bytes] = set()
        self.lost: set[tuple[str | None, int]] = set()  # places of lines that it had, and lost
        # key of an object → text → the line that is to be in it, in one format or the other
        self.items: dict[str, dict[bytes, Item]] = {}
        self.held: set[tuple[str | None, int]] = set()  # places of lines that were sent
        self._prefix = prefix
        self._say = say
        self._numbers = 0
        self._known: set[tuple[str, bytes]] = set()
        self.places: dict[tuple[str, int], bytes] = {}
        self._throttled_until = 0.0

    def put_records(self, *, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        del StreamName
        sizes = [len(record["Data"]) + len(record["PartitionKey"]) for record in Records]
        if not 1 <= len(Records) <= batching.MAX_BATCH_RECORDS or sum(sizes) > batching.MAX_BATCH_BYTES:
            raise Violation(f"a call with {len(Records)} records, {sum(sizes)} bytes")
        if max(sizes) > recording.MAX_RECORD_BYTES:
            raise Violation(f"a record of {max(sizes)} bytes")
        rng, faults = self.rng, self.faults
        if rng.random() < faults.put_unreachable:
            self._say("  PutRecords does not arrive")
            raise EndpointConnectionError(endpoint_url="http://stream")
        if rng.random() < faults.throttled_for_minutes:
            self._throttled_until = self.clock.monotonic() + rng.uniform(10, 200)
        code, status = CODES[0] if self.clock.monotonic() < self._throttled_until else rng.choice(CODES)
        if rng.random() < faults.put_refused:
            self._say(f"  PutRecords is refused: {code}")
            raise ClientError(
                {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
                "PutRecords",
            )
        refused = [False] * len(Records)
        if self.clock.monotonic() < self._throttled_until:
            refused = [True] * len(Records)
        elif rng.random() < faults.put_partial:
            share = rng.random()
            refused = [rng.random() < share for _ in Records]
        entries: list[dict[str, Any]] = [
            {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded"} for _ in Records
        ]
        order = [at for at in range(len(Records)) if not refused[at]]
        if rng.random() < faults.put_unordered:
            rng.shuffle(order)
        for at in order:
            entries[at] = self._store(Records[at]["PartitionKey"], Records[at]["Data"])
        self._say(f"  PutRecords stores {len(order)} of {len(Records)}: {Records[0]['PartitionKey']} ...")
        if rng.random() < faults.answer_lost:
            self._say("  its answer is lost")
            raise ReadTimeoutError(endpoint_url="http://stream")
        if rng.random() < faults.answer_nonsense:
            return {"message": "<html>"}
        if rng.random() < faults.answer_short:
            entries = entries[: rng.randrange(len(entries))]
        for record, entry in zip(Records, entries, strict=False):
            if "SequenceNumber" in entry:
                self.acknowledged.add(*covered(place_of(record["PartitionKey"]), record["Data"]))
        count = sum(refused)
        return {
            "FailedRecordCount": rng.randint(0, len(entries)) if rng.random() < faults.put_lies else count,
            "Records": entries,
        }

    def close(self) -> None:
        pass

    def reshard(self, count: int) -> None:
        """So many new shards take what comes; the old ones keep what they have."""
        self._open = len(self.shards)
        self.shards += [[] for _ in range(count)]

    def lose(self, shard: int, start: int, end: int) -> None:
        """Records of a shard, before they were read."""
        for record in self.shards[shard][start:end]:
            if not record.data.startswith(FORGED):
                self.lost.update((item.owner, item.start) for _, item in self.filed(place_of(record.key), record.data))
        del self.shards[shard][start:end]

    def _store(self, key: str, data: bytes) -> dict[str, Any]:
        shard = self.add(key, data)
        self.learn(place_of(key), data)
        return {"ShardId": f"shardId-{shard:012}", "SequenceNumber": str(self._numbers)}

    def add(self, key: str, data: bytes) -> int:
        """A record of the producer's, or of anybody's; the shard it is in."""
        self._numbers += 1
        shard = self._open + int(hashlib.md5(place_of(key).encode()).hexdigest(), 16) % (len(self.shards) - self._open)
        self.shards[shard].append(Sent(key, data, self._numbers, self.clock.now().timestamp()))
        return shard

    def learn(self, key: str, data: bytes) -> None:
        """What is sent at this place, by whatever way."""
        if (key, data) in self._known:
            return
        self._known.add((key, data))
        for place, line in places(key, data):
            if self.places.setdefault(place, line) != line:
                raise Violation(f"{place} names two lines: {self.places[place]!r} and {line!r}")
            self.lines.add(line)
        self.held.update((item.owner, item.start) for _, item in self.filed(key, data))
        for target, item in [each for format_ in FORMATS for each in self.filed(key, data, format_)]:
            if self.items.setdefault(target.key, {}).setdefault(item.text, item) != item:
                first = self.items[target.key][item.text]
                raise Violation(f"a line is sent under two names: {first} and {item}")

    def end(self, generation: str) -> int:
        """Behind all that was sent of it."""
        ends = [at + len(line) + 1 for (owner, at), line in self.places.items() if owner == generation]
        return max(ends, default=0)

    def filed(self, key: str, data: bytes, format_: Format = COMBINED) -> list[tuple[HourlyObject, Item]]:
        generation, *numbers = key.split(":")
        length = int(numbers[1]) if len(numbers) == 2 else None
        record = event.Record(data, generation, int(numbers[0]), length, 0.0, None)
        return list(file_record(record, self._prefix, format_))


def foreign(line: bytes) -> bool:
    return b'"raw":"' + FORGED in line and line.endswith(FOREIGN)


def place_of(key: str) -> str:
    """A partition key without its signature."""
    return key.rpartition(":")[0]


def covered(key: str, data: bytes) -> tuple[str, int, int]:
    """Generation, start and end of what a record stands for."""
    generation, start, *length = key.split(":")
    if length:
        return generation, int(start), int(start) + int(length[0])
    if data.startswith(b"\x1f\x8b"):
        return generation, int(start), int(start) + len(gzip.decompress(data))
    return generation, int(start), int(start) + len(data) + 1


def places(key: str, data: bytes) -> Iterator[tuple[tuple[str, int], bytes]]:
    """Each line of a record, or its fragment, with its place."""
    generation, offset, *length = key.split(":")
    start = int(offset)
    if length:
        yield (generation, start), data
    elif data.startswith(b"\x1f\x8b"):
        for line in gzip.decompress(data).split(b"\n")[:-1]:
            yield (generation, start), line
            start += len(line) + 1
    else:
        yield (generation, start), data
