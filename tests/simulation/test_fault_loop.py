"""Fail the 1st, 2nd, 3rd … thing that is done, until nothing fails; what follows without faults makes it right.

tests/property/test_ship.py does so with the fsyncs and renames of the checkpoint and with PutRecords,
tests/property/test_archive.py with the S3 calls of one append. Here: each operation on any file and each call of
`ship_once`, failing or killing the process; each S3 call of a whole invocation, likewise.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import BotoCoreError, ClientError

import index
from archiver.archive import Archive, Limits
from archiver.stored import METADATA_KEY
from common import atomic
from journal import files
from journal.checkpoint import CheckpointFile
from producer import batch as batching
from producer import reader as reading
from producer.ship import ship_once
from tests.fake_kinesis import FakeClock, FakeKinesis, delivered, sink_of, source_of
from tests.fake_s3 import DOWN, LOST, SLOW_DOWN, FakeS3
from tests.lambda_events import GENERATION, combined, event, record
from tests.simulation.disk import Disk, SimOs, SimPath, broken, full
from tests.simulation.faults import Crash

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# More operations than any run here has: to come so far means that the loop does not end
TOO_MANY = 1000


class Fails:
    """The `nth` step fails, and with `persistent` all that follow. A process that is killed does nothing any more."""

    def __init__(self, nth: int, fault: str, persistent: bool) -> None:
        self.nth, self.fault, self.persistent = nth, fault, persistent
        self.count = 0
        self.dead = False

    def __call__(self, kind: str, name: str) -> None:
        if self.dead:
            raise Crash(name)
        self.count += 1
        if self.count != self.nth and not (self.persistent and self.count > self.nth):
            return
        if self.fault == "killed":
            self.dead = True
            raise Crash(name)
        # A directory that cannot be listed, or a file that cannot be deleted, fails like the rest
        raise full() if kind == "write" else broken()


class Client:
    """The stream as the producer's client sees it: a call may end before it arrives or after it was answered."""

    def __init__(self, stream: FakeKinesis, fails: Callable[[str, str], None]) -> None:
        self._stream = stream
        self._fails = fails

    def put_records(self, **request: Any) -> dict[str, Any]:
        self._fails("call", "PutRecords")
        answer = self._stream.put_records(**request)
        self._fails("call", "PutRecords answered")
        return answer

    def close(self) -> None:
        pass


class Scene:
    """A log, and producers that were just started."""

    def __init__(self, log: Path) -> None:
        log.parent.mkdir()
        self.log, self.saved = log, log.with_name("checkpoint.json")
        self.clock, self.stream = FakeClock(), FakeKinesis()

    def tick(self, fails: Callable[[str, str], None]) -> None:
        self.clock.advance(1)
        source = source_of(SimPath(self.log), self.clock, seed=int(self.clock.monotonic()))
        sink = sink_of(cast(Any, Client(self.stream, fails)), self.clock, retry_seconds=0)
        with suppress(OSError, Crash), Disk(fails, lambda _: None).running():
            ship_once(source, CheckpointFile(SimPath(self.saved)), sink)
        if self.saved.exists():
            self.claims_no_more_than_is_stored()

    def claims_no_more_than_is_stored(self) -> None:
        places = delivered(self.stream.records)
        for generation in json.loads(self.saved.read_bytes())["generations"]:
            position = 0
            while position < generation["offset"]:
                assert (generation["id"], position) in places, f"{position} is claimed and nowhere stored"
                position += len(places[generation["id"], position]) + 1

    def arrived(self) -> list[bytes]:
        return sorted(delivered(self.stream.records).values())


@pytest.mark.parametrize(("fault", "persistent"), [("error", False), ("error", True), ("killed", False)])
def test_each_operation_of_shipping_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, persistent: bool
) -> None:
    """A first start, then a rotation that leaves an unterminated line; several calls a tick."""
    monkeypatch.setattr(files, "os", SimOs())
    monkeypatch.setattr(reading, "os", SimOs())
    monkeypatch.setattr(atomic, "os", SimOs())
    monkeypatch.setattr(batching, "MAX_BATCH_RECORDS", 2)
    for nth in range(1, TOO_MANY):
        scene, fails = Scene(tmp_path / str(nth) / "access.log"), Fails(nth, fault, persistent)
        scene.log.write_bytes(b"a\nb\nc\n")
        scene.tick(fails)
        with scene.log.open("ab") as file:
            file.write(b"d\ne")
        scene.log.rename(scene.log.with_name("access.log.1"))
        scene.log.write_bytes(b"f\ng\n")
        fails.dead = False
        scene.tick(fails)
        scene.tick(lambda *_: None)
        assert scene.arrived() == [b"a", b"b", b"c", b"d", b"e", b"f", b"g"], f"operation {nth}"
        calls = len(scene.stream.calls)
        scene.tick(lambda *_: None)
        assert len(scene.stream.calls) == calls, f"operation {nth}: something was left"
        if fails.count < nth:
            assert nth > 40
            return
    raise AssertionError("there was no end of operations")


class Killing(FakeS3):
    """The `nth` step kills, and with `persistent` all that follow; each call is one step before and one after it."""

    nth, persistent, steps = TOO_MANY, False, 0

    def _call(self, name: str, request: dict[str, Any], act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self._step(name)
        answer = super()._call(name, request, act)
        self._step(name)
        return answer

    def _step(self, name: str) -> None:
        if self.steps == self.nth or (self.persistent and self.steps > self.nth):
            self.steps += 1
            raise Crash(name)
        self.steps += 1


class PlentyOfTime:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


LIMITS = Limits(min_part=300, max_copy=700, max_metadata=80)


def invoke(s3: FakeS3, batch: dict[str, Any]) -> None:
    rng = random.Random(len(s3.calls))  # each writer has random numbers of its own
    archive = Archive(cast("S3Client", s3), s3.bucket, rng=rng, sleep=lambda _: None, limits=LIMITS)
    index.Run(archive, "", PlentyOfTime()).archive(batch)


def batch_of(first: int) -> dict[str, Any]:
    """Twelve records of two hours, each fourth of them rejected; every other place of the log stays empty."""
    found = []
    for number in range(first, first + 12):
        line = b"junk %d" % number
        if number % 4:
            line = combined(time=b"18/Apr/2020:%02d:00:00 +0000" % (number % 2), agent=b"%d" % number)
        found.append(record(line, f"{GENERATION}:{number * 2000}"))
    return event(found)


def lines_of(s3: FakeS3) -> list[bytes]:
    found = [
        line for key in s3.objects if key.endswith("web-access.log") for line in s3.objects[key].body.splitlines(True)
    ]
    return sorted(found)


def sound() -> list[bytes]:
    s3 = fake()
    for first in (0, 12):
        invoke(s3, batch_of(first))
    return lines_of(s3)


def fake() -> Killing:
    return Killing(
        min_part=LIMITS.min_part, max_copy=LIMITS.max_copy, max_metadata=LIMITS.max_metadata + len(METADATA_KEY)
    )


@pytest.mark.parametrize("fault", ["killed", DOWN, LOST, SLOW_DOWN])
@pytest.mark.parametrize("persistent", [False, True])
def test_each_call_of_an_invocation_in_turn(fault: str, persistent: bool) -> None:
    """Objects of several parts, ledgers in side objects; the batch comes again, split in two the second time."""
    expected = sound()
    assert len(expected) == len(set(expected)) == 24
    for nth in range(TOO_MANY):
        s3, batch, failed = fake(), batch_of(12), False
        invoke(s3, batch_of(0))
        if fault == "killed":
            s3.steps, s3.nth, s3.persistent = 0, nth, persistent
        elif persistent:
            s3.fault_from_now_on = (len(s3.calls) + nth, fault)
        else:
            s3.faults = {len(s3.calls) + nth: fault}
        before = len(s3.calls)
        try:
            invoke(s3, batch)
        except (ClientError, BotoCoreError, Crash):
            failed = True
        reached = nth < (s3.steps if fault == "killed" else len(s3.calls) - before)
        s3.nth, s3.persistent, s3.faults, s3.fault_from_now_on = TOO_MANY, False, {}, None
        there = lines_of(s3)
        assert len(there) == len(set(there)), f"call {nth}: doubled"
        assert set(there) <= set(expected)
        if failed:
            invoke(s3, {"Records": batch["Records"][5:]})
            invoke(s3, {"Records": batch["Records"][:7]})
        assert lines_of(s3) == expected, f"call {nth}: failed {failed}"
        if not reached:
            assert not failed
            assert nth > 10
            return
    raise AssertionError("there was no end of calls")
