from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from archiver.event import kinesis_record
from archiver.fast import runs
from archiver.filing import file_record, file_runs
from archiver.format import compiled
from archiver.parse import NotInFormatError, parse, visible
from tests.lambda_events import bytes_of, combined, record

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "lines.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["lines"], ids=lambda case: str(case["about"]))
def test_golden_line(case: dict[str, Any]) -> None:
    line = base64.b64decode(case["line_base64"]) if "line_base64" in case else case["line"].encode()
    only = kinesis_record(record(line, f"{GOLDEN['generation']}:0"))
    ((target, item),) = file_record(only, "")
    assert list(file_runs(only, "")) == [(target, item)]
    assert target.key == case["object"]
    assert item.text.decode() == json.dumps(case["entry"], ensure_ascii=False, separators=(",", ":")) + "\n"
    assert (item.owner, item.start, item.end) == (GOLDEN["generation"], 0, len(line) + 1)


@pytest.mark.parametrize(
    "line",
    [
        combined(time=b"00/Apr/2020:01:42:18 +0000"),
        combined(time=b"18/Apr/0000:01:42:18 +0000"),
        combined(time=b"18/Apr/2020:01:42:61 +0000"),
        combined(time=b"18/Apr/2020:01:42:18 +9999"),
        combined(time=b"01/Jan/0001:00:00:00 +0100"),
        combined(time=b"31/Dec/9999:23:59:59 -0100"),
        combined(time=b"18/apr/2020:01:42:18 +0000"),
        combined() + b"\r",
        combined() + b"\n",
        b" " + combined(),
        combined().replace(b" 200 ", b" 2000 "),
    ],
)
def test_what_is_no_combined_line_is_refused(line: bytes) -> None:
    with pytest.raises(NotInFormatError):
        parse(line)


def test_a_year_before_1000_is_written_with_four_digits() -> None:
    entry = parse(combined(time=b"18/Apr/0020:01:42:18 +0000"))
    assert entry.hour == "0020/04/18/01"
    assert json.loads(entry.text)["time"] == "0020-04-18T01:42:18.000Z"


@pytest.mark.parametrize(
    "line",
    [
        b"1.1.1.1 - " + b" [" * 500_000,
        b"1.1.1.1 - " + b" [18/Apr/2020:01:42:18 +0000]" * 40_000,
        combined(request=b"\x01" * 300_000)[:-1],
        combined(request=b"\\" * 300_000, agent=b'"' * 300_000)[:-1],
        b'"' * 1_000_000,
        b"a" * 1_000_000,
        b"\0" * 1_000_000,
    ],
    ids=range(7),
)
def test_a_hostile_line_costs_linear_time(line: bytes) -> None:
    begun = time.process_time()
    with pytest.raises(NotInFormatError):
        parse(line)
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("value", [rb"\"" * 500_000, b"1 : " * 250_000, b'", "' * 250_000], ids=range(3))
def test_half_a_json_line_costs_linear_time(value: bytes) -> None:
    begun = time.process_time()
    for before in (b'{"a":,"b":', b'{"a":,"b":"'):
        with pytest.raises(NotInFormatError):
            parse(before + value, compiled("json"))
    assert time.process_time() - begun < 1


@pytest.mark.parametrize(
    "line",
    [
        combined(agent=b"a" * 1_000_000)[:-1],
        combined(user=b" [18/Apr/2020:01:42:18 +0000]" * 40_000),
        b"\n".join([combined(), b"a" * 20] * 5_000),
        b"\n".join([b"a" * 99, combined(), b"a" * 100, combined()] * 1_000),
        combined() + b"\n" * 100_000,
        combined() + b"\n\x00" * 100_000,
        combined(agent=b'"') + (b"\n" + combined(agent=b'"' * 1000)[:-1]) * 100,
        (combined(agent=b'"') + b"\n" + rb'1.2.3.4 - - [18/Apr/2020:01:42:18 +0000] "GET /\x22') * 10_000,
    ],
    ids=range(8),
)
def test_hostile_lines_cost_linear_time_the_fast_way(line: bytes) -> None:
    block = line + b"\n"
    begun = time.process_time()
    assert b"".join(lines for lines, _ in runs(block)) == block
    assert time.process_time() - begun < 2


def test_bytes_that_are_no_utf_8_are_shown_fast() -> None:
    begun = time.process_time()
    assert visible(b"\xff" * 2**22) == r"\xFF" * 2**22
    assert visible(b"\xffa" * 2**21) == r"\xFFa" * 2**21
    assert time.process_time() - begun < 2  # a call of Python's a byte took 4 s


def test_a_line_of_a_megabyte_is_an_entry() -> None:
    assert json.loads(parse(combined(agent=b"a" * 1024 * 1024)).text)["userAgent"] == "a" * 1024 * 1024


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain", "plain"),
        (b"\xff\xfe", r"\xFF\xFE"),
        (rb"\x41", r"\x41"),
        (rb"\x22", r"\x22"),
        (rb"\x80", r"\x5Cx80"),
        (rb"\x5Cx80", r"\x5Cx5Cx80"),
        (rb"\x5C", r"\x5Cx5C"),
        (rb"\xab", r"\xab"),
        (b"\\\xff", r"\\xFF"),
        (b"\\x\xff", r"\x\xFF"),
        (b"\xe3\x81", r"\xE3\x81"),
        ("한".encode(), "한"),
    ],
)
def test_bytes_made_visible(data: bytes, text: str) -> None:
    assert visible(data) == text
    assert bytes_of(text) == data
