from __future__ import annotations

import json
import zlib
from typing import Any

import pytest

from archiver import event as events
from archiver import filing
from archiver.event import FRAGMENT, MAX_INFLATED, MAX_LINES, firehose_record, kinesis_record
from archiver.filing import Item, file_record, file_runs
from archiver.layout import HourlyObject
from tests.lambda_events import (
    ARRIVED_HOUR,
    GENERATION,
    GENERATION_HOUR,
    bytes_of,
    combined,
    gzipped,
    record,
)

LINE = combined()
LINE_HOUR = "2020/04/18/01"


def filed(entry: dict[str, Any], prefix: str = "") -> list[tuple[HourlyObject, Item]]:
    one = kinesis_record(entry)
    return list(file_record(one, prefix))


def raw(item: Item) -> bytes:
    return bytes_of(json.loads(item.text)["raw"])


def test_one_line_a_record() -> None:
    ((target, item),) = filed(record(LINE, f"{GENERATION}:77"), "logs/")
    assert target.key == "logs/2020/04/18/01/web-access.log"
    assert (item.owner, item.start, item.end) == (GENERATION, 77, 77 + len(LINE) + 1)


@pytest.mark.parametrize("data", [LINE, b"junk", LINE + b"\njunk\n", gzipped(LINE + b"\njunk\n"), b"\x1f\x8bbroken"])
@pytest.mark.parametrize("folder", ["shop/", "a/", "www.shop.example.org/", f"x{'0' * 31}/"])
def test_the_name_of_a_log_is_the_folder_of_its_objects_and_changes_nothing_else(data: bytes, folder: str) -> None:
    named = filed(record(data, f"{folder}{GENERATION}:77"), "logs/")
    assert [(target._replace(prefix="logs/"), item) for target, item in named] == filed(
        record(data, f"{GENERATION}:77"), "logs/"
    )
    assert {target.prefix for target, _ in named} == {f"logs/{folder}"}
    runs = list(file_runs(kinesis_record(record(data, f"{folder}{GENERATION}:77")), "logs/"))
    assert {target.prefix for target, _ in runs} == {f"logs/{folder}"}


@pytest.mark.parametrize(
    "folder", ["rejected/", "ledger/", "2020/", "a/b/", "/", "../", "a b/", "é/", f"x{'0' * 32}/", "_a/", "a\n/"]
)
def test_a_folder_that_no_log_can_have_makes_a_record_foreign(folder: str) -> None:
    ((target, item),) = filed(record(LINE, f"{folder}{GENERATION}:77"))
    assert (target.key, item.owner) == ("2020/04/18/01/web-access.log", None)


@pytest.mark.parametrize("pack", [bytes, gzipped])
@pytest.mark.parametrize("ended", [b"\n", b""])
def test_packed_lines(pack: Any, ended: bytes) -> None:
    found = filed(record(pack(LINE + b"\n" + b"\n" + b"junk\n" + LINE + ended), f"{GENERATION}:1000"))
    size = len(LINE) + 1
    assert [(target.rejected, item.start, item.end) for target, item in found] == [
        (False, 1000, 1000 + size),
        (True, 1000 + size, 1001 + size),
        (True, 1001 + size, 1006 + size),
        (False, 1006 + size, 1006 + 2 * size),
    ]


def test_an_empty_record_is_an_empty_line() -> None:
    ((target, item),) = filed(record(b"", f"{GENERATION}:5"))
    assert target.key == f"rejected/{GENERATION_HOUR}/web-access.log"
    assert (item.start, item.end) == (5, 6)
    assert json.loads(item.text) == {"reason": "empty line", "raw": "", "generation": GENERATION, "offset": 5}


def test_a_gzip_of_nothing_holds_no_line() -> None:
    assert filed(record(gzipped(b""))) == []


BROKEN = {
    "broken gzip": b"\x1f\x8bnot gzip",
    "gzip cut short": gzipped(LINE * 10)[:-9],
    "gzip with trailing bytes": gzipped(LINE + b"\n") + b"x",
    f"gzip that inflates to more than {MAX_INFLATED} bytes": gzipped(b"\0" * (MAX_INFLATED + 1)),
    f"more than {MAX_LINES} lines in one record": b"\n" * (MAX_LINES + 1),
}


@pytest.mark.parametrize("reason", BROKEN)
def test_a_record_that_cannot_be_read_is_kept_whole_and_claims_no_range(reason: str) -> None:
    data = BROKEN[reason]
    ((target, item),) = filed(record(data, f"{GENERATION}:40"))
    assert target.key == f"rejected/{GENERATION_HOUR}/web-access.log"
    assert json.loads(item.text) | {"raw": ""} == {"reason": reason, "raw": "", "generation": GENERATION, "offset": 40}
    assert raw(item) == data
    assert item.owner == f"~{GENERATION}"
    assert item.end == item.start + 1
    assert filed(record(data, f"{GENERATION}:40")) == [(target, item)], "a re-send is the same item"
    ((_, other),) = filed(record(data + b"!", f"{GENERATION}:40"))
    assert other.start != item.start, "other bytes are another item"


def test_a_checksum_error_in_gzip() -> None:
    data = bytearray(gzipped(LINE + b"\n"))
    data[-5] ^= 1
    ((_, item),) = filed(record(bytes(data)))
    assert json.loads(item.text)["reason"] == "broken gzip"


def test_a_gzip_of_exactly_the_limit_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_INFLATED", len(LINE) + 1)
    ((target, _),) = filed(record(gzipped(LINE + b"\n")))
    assert not target.rejected
    ((target, _),) = filed(record(gzipped(LINE + b"\n\n")))
    assert target.rejected


def test_broken_base64_and_missing_fields_do_not_raise() -> None:
    for kinesis in ({"data": "%%%"}, {"data": "é"}, {"data": "a"}, {"data": "\ud800"}, {}, {"partitionKey": None}):
        for key in (f"{GENERATION}:0", "x"):
            found = filed({"kinesis": {"partitionKey": key, "approximateArrivalTimestamp": "soon", **kinesis}})
            assert [target.rejected for target, _ in found] == [True]
    assert filed({}) != []


def test_a_megabyte_of_zeros() -> None:
    ((target, item),) = filed(record(b"\0" * 1024 * 1024))
    assert target.rejected
    assert raw(item) == b"\0" * 1024 * 1024


@pytest.mark.parametrize(
    "key",
    [
        "1",
        "",
        f"{GENERATION}",
        f"{GENERATION}:",
        f"{GENERATION}:-1",
        f"{GENERATION}:01",
        f"{GENERATION}:1 ",
        f"{GENERATION}:\u0661",
        f"{GENERATION}:1:0",
        f"{GENERATION}:1:",
        f"{GENERATION}:1\n",
        f"{GENERATION}:{10**19}",
        f"{GENERATION.upper()}:1",
        f"{GENERATION[:-1]}:1",
    ],
)
def test_another_partition_key_is_foreign(key: str) -> None:
    ((target, item), (wrong, rejected)) = filed(record(LINE + b"\njunk\n", key))
    assert target.key == f"{LINE_HOUR}/web-access.log"
    assert item.owner is None
    assert wrong.key == f"rejected/{ARRIVED_HOUR}/web-access.log"
    assert rejected.owner is None
    assert json.loads(rejected.text) == {
        "reason": "not in the combined format",
        "raw": "junk",
        "generation": None,
        "offset": None,
    }


@pytest.mark.parametrize("stamp", [float("nan"), float("inf"), -1, 1e300, 10**400, None, "x"])
def test_an_arrival_time_that_is_none(stamp: Any) -> None:
    assert firehose_record({"data": "", "approximateArrivalTimestamp": stamp}).arrived == 0
    entry = record(b"junk", "x")
    entry["kinesis"]["approximateArrivalTimestamp"] = stamp
    ((target, _),) = filed(entry)
    assert target.hour == "1970/01/01/00"


@pytest.mark.parametrize("data", [b"part", b"\x1f\x8b..", LINE])
def test_a_fragment_keeps_its_bytes_and_its_range(data: bytes) -> None:
    for sent in (data, gzipped(data)):
        ((target, item),) = filed(record(sent, f"{GENERATION}:9:{len(data)}"))
        # not in the hour of a time it may show: the other fragments show none
        assert target.key == f"rejected/{GENERATION_HOUR}/web-access.log"
        assert (item.owner, item.start, item.end) == (GENERATION, 9, 9 + len(data))
        assert json.loads(item.text)["reason"] == FRAGMENT
        assert raw(item) == data


@pytest.mark.parametrize("data", [b"1234", b"123456", b"\x1f\x8b...."])
def test_a_fragment_of_another_length_claims_no_range(data: bytes) -> None:
    ((_, item),) = filed(record(data, f"{GENERATION}:9:5"))
    assert item.owner == f"~{GENERATION}"
    assert raw(item) == data


@pytest.mark.parametrize("size", [29, 30, 31, 60, 61])
def test_a_long_rejected_line_is_kept_in_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(filing, "MAX_REJECTED", 30)
    line = bytes(65 + index % 26 for index in range(size))
    found = [item for target, item in filed(record(gzipped(line + b"\n"), f"{GENERATION}:100")) if target.rejected]
    assert b"".join(raw(item) for item in found) == line
    assert [item.start for item in found] == [100, *(item.end for item in found[:-1])]
    assert found[-1].end == 100 + size + 1
    assert len(found) == -(-size // 30)


def test_a_bomb_is_not_inflated_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bounded:
        def __init__(self, wbits: int) -> None:
            self._real = zlib.decompressobj(wbits)
            self.eof, self.unused_data = False, b""

        def decompress(self, data: bytes, limit: int = 0) -> bytes:
            assert 0 < limit <= 1001
            return self._real.decompress(data, limit)

    monkeypatch.setattr(events, "MAX_INFLATED", 1000)
    bomb = gzipped(b"\0" * 10_000_000)
    monkeypatch.setattr(events, "zlib", type("Zlib", (), {"decompressobj": Bounded, "error": zlib.error}))
    ((target, _),) = filed(record(bomb))
    assert target.rejected
