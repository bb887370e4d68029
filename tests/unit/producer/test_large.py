"""What a producer knows of its bucket, from one process to the next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archiver.layout import HourlyObject
from archiver.ledger import Ledger
from archiver.stored import State
from producer.large import Large

HOUR = HourlyObject("logs/", "2020/04/18/01")
WHERE = "https://s3.amazonaws.com bucket"


def state(side: str | None = None) -> State:
    ledger = Ledger()
    ledger.add("5e9a", 0, 10)
    ledger.add("5e9a", 20, 30)
    return State('"etag-2"', 6_000_000, ledger, side, ledgered=True, intact=True, lines=None if side else 4000)


def kept(path: Path, where: str = WHERE) -> Large:
    large = Large(path)
    large.load(where)
    return large


def told(one: State | None) -> object:
    return one and one._replace(ledger=one.ledger.encode(one.size))  # type: ignore[arg-type]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    large = kept(path)
    large.tried = 1587171600.5
    large.objects[HOUR] = state()
    large.objects[HOUR.counterpart] = state(side="logs/ledger/x")
    large.objects[HourlyObject("", "2020/04/18/02")] = None
    large.save()
    again = kept(path)
    assert again.tried == 1587171600.5
    assert list(again.objects) == [HOUR, HOUR.counterpart, HourlyObject("", "2020/04/18/02")]
    assert [told(each) for each in again.objects.values()] == [told(each) for each in large.objects.values()]
    assert (kept(path, "https://s3.amazonaws.com another").objects, kept(path, "").tried) == ({}, 0.0)


def test_nothing_is_written_without_need(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    large = kept(path)
    large.save()
    assert not path.exists(), "there is nothing to keep"
    large.objects[HOUR] = state()
    large.save()
    path.unlink()
    large.save()
    assert not path.exists(), "it was kept"
    del large.objects[HOUR]
    large.save()
    assert kept(path).objects == {}


GOOD = {"where": WHERE, "tried": 0, "objects": [[list(HOUR), ['"e"', 5, "1;5;5e9a=0-5", None, 1]]]}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"where"',
        "null",
        json.dumps(GOOD | {"tried": None}),
        json.dumps(GOOD | {"objects": None}),
        json.dumps(GOOD | {"objects": [[list(HOUR), ['"e"', 5]]]}),
        json.dumps(GOOD | {"objects": [[list(HOUR), ['"e"', 5, "nonsense", None, 1]]]}),
        json.dumps(GOOD | {"objects": [[list(HOUR), ['"e"', 6, "1;5;5e9a=0-5", None, 1]]]}),
        json.dumps(GOOD | {"objects": [[list(HOUR), ['"e"', 5, "1;5;@" + 64 * "0", None, 1]]]}),
    ],
)
def test_what_cannot_be_used_is_not(tmp_path: Path, content: str) -> None:
    path = tmp_path / "large.json"
    path.write_text(content)
    assert (kept(path).objects, kept(path).tried) == ({}, 0.0)
    path.write_text(json.dumps(GOOD))
    assert list(kept(path).objects) == [HOUR], "that was right but for one thing"


def test_a_file_that_cannot_be_written_or_read_does_no_harm(tmp_path: Path) -> None:
    large = kept(tmp_path / "gone" / "large.json")
    large.objects[HOUR] = None
    large.save()
    assert kept(tmp_path / "gone" / "large.json").objects == {}
