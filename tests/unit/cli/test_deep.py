"""`audit --deep`: what is archived otherwise than the log has it is found, and nothing else is."""

from __future__ import annotations

import argparse
import base64
import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import index
from archiver.event import Key
from archiver.layout import HourlyObject
from cli import audit as command
from cli import deep, screen
from cli.deep import Deep, compare
from cli.screen import OK, PROBLEM, UNUSABLE
from common.formats import function_format, variables
from common.settings import Settings
from journal.audit import audit
from producer.signed import signed
from tests.fake_kinesis import checkpoint_of
from tests.fake_s3 import Stored
from tests.keys import KEY
from tests.lambda_events import combined
from tests.repair_setup import World
from tests.unit.cli.test_repair_ledger import Context, line, lose_ledger, mend

# each setting that changes what the function makes of a line
WITH_ALL = Settings(
    log_file="/a.log",
    access_log_format="main",
    fields="bytes",
    trusted_proxies="docker",
    anonymize_ip=True,
    drop_query="all",
    log_skip="/health",
)
TARGET = HourlyObject("", "2020/04/18/01")
OTHER = b"18/Apr/2020:05:00:00 +0000"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def deliver(world: World, key: str = "", forged: tuple[str, bytes] | None = None) -> None:
    """The function with what is in the stream, and what another program has put there before."""
    sent, world.stream.records = world.stream.records, []
    records = [forged] if forged else []
    records += [(signed(each.key, each.data, key) if key else each.key, each.data) for each in sent]
    entries = [{"kinesis": {"partitionKey": one, "data": base64.b64encode(data).decode()}} for one, data in records]
    world.bucket.now = world.clock.now()
    index.Run(world.archive, "", Context(), Key.of(key)).archive({"Records": entries})


def write(world: World, *lines: bytes) -> None:
    world.write(b"".join(lines))
    world.ship()


def looked(world: World) -> Deep:
    found = audit(world.settings, world.clock, world.bucket.client, grace=0)
    return compare(found, world.settings, world.bucket.client, lambda _: None)


def unlike(found: Deep) -> list[tuple[int, int]]:
    return [pair for _, ranges in found.unlike for pair in ranges]


def edit(world: World, old: bytes, new: bytes, key: str = TARGET.key) -> None:
    stored = world.bucket.objects[key]
    assert old in stored.body
    world.bucket.objects[key] = Stored(stored.body.replace(old, new, 1), stored.etag, stored.metadata)


def generation(world: World) -> str:
    checkpoint = checkpoint_of(world.log).load()
    assert checkpoint
    return checkpoint.generations[-1].id


MIXED = [line(1), line(2, time=OTHER), b"junk\n", b"\n", line(1), line(3), b"\0" * 30 + line(4), b"x" * 3000 + b"\n"]


@pytest.mark.parametrize("window", [1, 2, 3, 1000])
def test_what_is_archived_as_it_is_in_the_log_is_clean(
    world: World, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(deep, "WINDOW", window)
    write(world, *MIXED)
    deliver(world)
    world.log.rename(world.log.with_name("access.log.1"))
    write(world, line(5))
    deliver(world)
    write(world, line(6))  # not archived yet
    found = looked(world)
    assert (found.compared, found.long, unlike(found)) == (9, 0, [])


def forged(world: World, key: str = "") -> Deep:
    write(world, line(1))
    deliver(world, key)
    write(world, line(2), line(3), line(4))
    deliver(world, key, (f"{generation(world)}:{len(line(1))}", line(8)[:-1]))
    return looked(world)


def test_another_program_s_line_under_a_line_s_range_is_found(world: World) -> None:
    found = forged(world)
    assert unlike(found) == [(len(line(1)), 2 * len(line(1)))]
    assert found.total == len(line(1))
    assert audit(world.settings, world.clock, world.bucket.client, grace=0).total("missing") == 0


def test_with_a_key_it_cannot_be_there(world: World) -> None:
    assert unlike(forged(world, KEY)) == []
    assert b'"userAgent":"8"' in world.bucket.objects[TARGET.key].body  # as a foreign line


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"userAgent":"3"', b'"userAgent":"4"'),
        (b'"path":"/"', b'"path":"/other"'),
        (b"{", b"["),
    ],
)
def test_an_edited_line_is_found(world: World, old: bytes, new: bytes) -> None:
    write(world, *(line(number) for number in range(3, 8)))
    deliver(world)
    edit(world, old, new)
    assert unlike(looked(world)) == [(0, len(line(3)))]


def test_a_line_that_was_taken_out_is_found_also_one_of_several_equal_ones(world: World) -> None:
    write(world, *[line(7)] * 3, line(8))
    deliver(world)
    body = world.bucket.objects[TARGET.key].body
    edit(world, body[: body.index(b"\n") + 1], b"")
    found = looked(world)
    assert found.total == len(line(7))
    edit(world, b"", b'{"of":"another appliance"}\n')
    assert looked(world).total == len(line(7))
    edit(world, world.bucket.objects[TARGET.key].body, b"")
    assert looked(world).total == len(line(7)) * 3 + len(line(8)), "a range of nothing is refused"


def test_a_rejected_line_and_an_object_that_is_gone_though_its_ledger_is_claimed_elsewhere(world: World) -> None:
    write(world, line(1), b"junk\n", line(2))
    deliver(world)
    edit(world, b"junk", b"gem", f"rejected/{_rejected(world)}")
    size = len(line(1))
    assert unlike(looked(world)) == [(size, size + 5)]


def test_a_skipped_line_is_clean_and_its_place_is_not_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path, log_file=tmp_path / "log" / "other.log", log_skip="agent:health", anonymize_ip=True)
    skipped = combined(agent=b"health") + b"\n"
    write(world, line(1), skipped, skipped, line(2), skipped)
    sent = [
        {"kinesis": {"partitionKey": one.key, "data": base64.b64encode(one.data).decode()}}
        for one in world.stream.records
    ]
    run = index.Run(world.archive, "", Context(), format_=function_format(world.settings))
    run.archive({"Records": sent})
    assert (looked(world).compared, unlike(looked(world))) == (2, [])
    ledger = world.bucket.objects[TARGET.key].metadata["ledger"]
    lose_ledger(world)
    assert mend(world).matched == 2
    assert world.bucket.objects[TARGET.key].metadata["ledger"] == ledger


def _rejected(world: World) -> str:
    (key,) = (key for key in world.bucket.objects if key.startswith("rejected/"))
    return key.removeprefix("rejected/")


def test_a_deleted_object_claims_nothing_and_one_that_goes_meanwhile_has_nothing(world: World) -> None:
    write(world, line(1), line(2))
    deliver(world)
    found = audit(world.settings, world.clock, world.bucket.client, grace=0)
    del world.bucket.objects[TARGET.key]
    assert unlike(looked(world)) == []
    later = compare(found, world.settings, world.bucket.client, lambda _: None)
    assert unlike(later) == [(0, len(line(1)) + len(line(2)))]


def test_a_line_longer_than_a_record_is_left_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "LONGEST", 500)
    write(world, line(1), b"x" * 600 + b"\n")
    deliver(world)
    found = looked(world)
    assert (found.compared, found.long, unlike(found)) == (1, 1, [])


def test_the_last_line_of_a_rotated_log_has_no_newline(world: World) -> None:
    write(world, line(1))
    world.write(line(2)[:-1])
    world.log.rename(world.log.with_name("access.log.1"))
    write(world, line(3))
    world.clock.advance(1200)
    world.ship()
    deliver(world)
    found = looked(world)
    assert (found.compared, unlike(found)) == (3, [])
    edit(world, b'"userAgent":"2"', b'"userAgent":"x"')
    assert unlike(looked(world)) == [(len(line(1)), len(line(1)) + len(line(2)))]


def run(world: World, monkeypatch: pytest.MonkeyPatch, *, as_json: bool = False) -> int:
    @contextmanager
    def connected(_: object) -> Iterator[Any]:
        yield world.bucket.client

    monkeypatch.setattr(command, "connect", connected)
    monkeypatch.setattr(command, "closing", lambda one: one)
    monkeypatch.setattr(command, "SystemClock", lambda: world.clock)
    options = argparse.Namespace(repair=False, deep=True, grace=0.0, json=as_json)
    return command.main(world.settings, options)


def test_the_command_says_it_and_exits_with_1(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screen, "SAY_EVERY", -1.0)
    write(world, *(line(number) for number in range(3)))
    deliver(world)
    assert run(world, monkeypatch) == OK
    said = capsys.readouterr()
    assert said.out.endswith("3 archived lines were compared with the logs: 0 bytes are otherwise in S3\n")
    assert said.err.endswith("3 lines compared\n")
    edit(world, b'"userAgent":"1"', b'"userAgent":"9"')
    assert run(world, monkeypatch) == PROBLEM
    size = len(line(1))
    *_, place, count, why = capsys.readouterr().out.splitlines()
    assert place == f"otherwise in S3 than in access.log {generation(world)}: bytes [{size}, {2 * size})"
    assert count.endswith(f"{size} bytes are otherwise in S3")
    assert all(name in why for name in variables(WITH_ALL)), "of these settings, what was archived before is otherwise"
    assert run(world, monkeypatch, as_json=True) == PROBLEM
    found = json.loads(capsys.readouterr().out)["deep"]
    assert found == {
        "compared": 3,
        "not_compared": 0,
        "bytes": size,
        "otherwise": [{"id": generation(world), "name": "access.log", "ranges": [[size, 2 * size]]}],
    }


def test_what_s3_refuses_ends_it_with_2(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(world, line(1))
    deliver(world)

    def refuse(*_: object, **__: object) -> None:
        raise ClientError(
            {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}},  # type: ignore[typeddict-item]
            "GetObject",
        )

    monkeypatch.setattr(world.bucket.client, "get_object", refuse, raising=False)
    assert run(world, monkeypatch) == UNUSABLE
    assert "cannot tell: the bucket: GetObject was refused with AccessDenied" in capsys.readouterr().err


def test_firehose_cannot_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given: dict[str, Any] = {"delivery": "firehose"}
    options = argparse.Namespace(repair=False, deep=True, grace=0.0, json=False)
    assert command.main(World(tmp_path, **given).settings, options) == UNUSABLE
    assert "or compared" in capsys.readouterr().err


def test_a_log_that_was_compressed_since_is_compared_once_the_producer_has_seen_it(world: World) -> None:
    write(world, *(line(number) for number in range(5)))
    deliver(world)
    rotated = world.log.with_name("access.log.1")
    world.log.rename(rotated)
    write(world, line(5))
    deliver(world)
    rotated.with_name("access.log.1.gz").write_bytes(gzip.compress(rotated.read_bytes()))
    rotated.unlink()
    world.ship()
    found = looked(world)
    assert (found.compared, unlike(found)) == (6, [])
