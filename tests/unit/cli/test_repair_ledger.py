"""A ledger that is gone is made again from the logs: nothing is doubled afterwards, and what is missing still comes."""

from __future__ import annotations

import argparse
import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import index
from archiver.archive import Limits
from archiver.layout import HourlyObject
from archiver.stored import METADATA_KEY
from cli import repair_ledger
from cli.parser import parser
from cli.repair_ledger import Found, repair
from cli.screen import CommandError
from common.settings import Settings
from journal.archived import Archived, ArchivedFile, Known
from journal.audit import held_by
from journal.ranges import Ranges
from tests.fake_s3 import Stored
from tests.lambda_events import combined
from tests.repair_setup import World

TARGET = HourlyObject("", "2020/04/18/01")
REJECTED = TARGET.counterpart
OTHER = b"18/Apr/2020:05:00:00 +0000"


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.archive._limits = Limits(max_metadata=150)
    return made


def line(number: int, **more: Any) -> bytes:
    return combined(agent=b"%d" % number, **more) + b"\n"


def deliver(world: World, *, only: range | None = None) -> int:
    """The function with the stream's records, or some of them; how many lines it wrote."""
    sent, world.stream.records = world.stream.records, []
    entries = [
        {"kinesis": {"partitionKey": each.key, "data": base64.b64encode(each.data).decode()}}
        for number, each in enumerate(sent)
        if only is None or number in only
    ]
    return index.Run(world.archive, "", Context()).archive({"Records": entries})["written"]


def archived(world: World, target: HourlyObject = TARGET) -> Counter[bytes]:
    return Counter(json.loads(each)["userAgent"] for each in world.bucket.objects[target.key].body.splitlines())


def lose_ledger(world: World, target: HourlyObject = TARGET) -> None:
    sides = [key for key in world.bucket.objects if key.startswith("ledger/")]
    for side in sides:
        del world.bucket.objects[side]
    if not sides:
        stored = world.bucket.objects[target.key]
        world.bucket.objects[target.key] = Stored(stored.body, stored.etag, {METADATA_KEY: "rubbish"})


def mend(world: World, target: HourlyObject = TARGET) -> Found:
    return repair(world.settings, world.clock, world.bucket.client, target.key)


def write(world: World, *lines: bytes) -> None:
    world.write(b"".join(lines))
    world.ship()


@pytest.mark.parametrize("holes", [False, True], ids=["metadata", "side object"])
def test_an_hour_goes_on_and_nothing_is_doubled(world: World, holes: bool) -> None:
    """With holes: every other line belongs to another hour, so the ledger is in a side object."""
    more: dict[str, Any] = {"time": OTHER} if holes else {}
    write(world, *(line(number, **(more if number % 2 else {})) for number in range(60)))
    records = list(world.stream.records)
    world.archive._limits = Limits(max_metadata=150)
    deliver(world, only=range(40))
    lose_ledger(world)
    found = mend(world)
    assert found.lines == found.matched == (20 if holes else 40)
    world.stream.records = list(records)
    assert deliver(world) == 20, "what was not there, and nothing else"
    assert set(archived(world).values()) == {1}
    assert len(archived(world)) == (30 if holes else 60)


def test_equal_lines_are_covered_as_often_as_they_are_there(world: World) -> None:
    write(world, *[line(7)] * 5)
    records = list(world.stream.records)
    deliver(world, only=range(1, 4))
    lose_ledger(world)
    assert mend(world).matched == 3
    world.stream.records = records
    assert deliver(world) == 2
    assert archived(world) == {"7": 5}


def test_rejected_lines(world: World) -> None:
    write(world, *(line(number).replace(b"\n", b"more\n") for number in range(5)))
    records = list(world.stream.records)
    deliver(world)
    lose_ledger(world, REJECTED)
    assert mend(world, REJECTED).matched == 5
    world.stream.records = records
    assert deliver(world) == 0


def test_of_a_log_that_is_gone_what_was_seen_archived_is_taken_over(world: World) -> None:
    write(world, line(1), line(2))
    records = list(world.stream.records)
    deliver(world)
    lose_ledger(world)
    generation = records[0].key.partition(":")[0]
    size = world.log.stat().st_size
    world.log.unlink()
    seen = Archived(generations={generation: Known("access.log.1", 0, size, Ranges.of(0, size))})
    ArchivedFile(world.settings.archived_file).save(seen)
    assert mend(world) == Found(lines=2, matched=0, ranges=1, taken=1)
    world.stream.records = records
    assert deliver(world) == 0


def test_what_it_refuses(world: World) -> None:
    write(world, line(1))
    deliver(world)
    with pytest.raises(CommandError, match="can be read: nothing is to be repaired"):
        mend(world)
    with pytest.raises(CommandError, match="does not exist"):
        mend(world, REJECTED)
    for key in ("x", f"logs/{TARGET.key}", "ledger/2020/04/18/01/entries-x"):
        with pytest.raises(CommandError, match=r"give a key such as 2020/04/18/01/web-access\.log"):
            repair(world.settings, world.clock, world.bucket.client, key)


def test_an_object_that_was_written_meanwhile_is_left_alone(world: World) -> None:
    write(world, line(1))
    deliver(world)
    lose_ledger(world)
    stored = world.bucket.objects[TARGET.key]

    def other() -> None:
        world.bucket.objects[TARGET.key] = Stored(stored.body + b"x\n", '"other"', stored.metadata)

    world.bucket.faults = {len(world.bucket.calls) + 4: other}  # head, head, get, get, put
    with pytest.raises(CommandError, match="written meanwhile"):
        mend(world)


def test_a_log_that_is_rotated_meanwhile_is_not_taken_for_another(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(world, line(1))
    deliver(world)
    lose_ledger(world)

    def rotated(*arguments: Any) -> Any:
        found = held_by(*arguments)
        world.log.rename(world.log.with_name("access.log.1"))
        world.log.write_bytes(line(1))
        return found

    monkeypatch.setattr(repair_ledger, "held_by", rotated)
    monkeypatch.setattr(repair_ledger, "client", lambda *_, **__: world.bucket)
    with pytest.raises(CommandError, match="rotated meanwhile, so repair again"):
        repair_ledger.main(world.settings, argparse.Namespace(key=TARGET.key, json=False))
    assert world.bucket.objects[TARGET.key].metadata == {METADATA_KEY: "rubbish"}


def test_the_command(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write(world, line(1))
    deliver(world)
    monkeypatch.setattr(repair_ledger, "client", lambda *_, **__: world.bucket)
    capsys.readouterr()
    for options in ([], ["--json"]):
        lose_ledger(world)
        assert repair_ledger.main(world.settings, parser().parse_args(["repair-ledger", TARGET.key, *options])) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == ["1 lines are in the object", "1 of them are in logs on disk, and covered now"]
    assert json.loads(out[-1]) == {"lines": 1, "matched": 1, "ranges": 1, "taken": 0}
    firehose = Settings(data_dir=world.settings.data_dir, delivery="firehose")
    with pytest.raises(CommandError, match="DELIVERY=firehose"):
        repair_ledger.main(firehose, argparse.Namespace(key=TARGET.key, json=False))
