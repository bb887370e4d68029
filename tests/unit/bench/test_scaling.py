"""docs/scaling.md has the table that the arithmetic gives, and the arithmetic has the code's numbers.

What the page says of speed is no more than bench/RESULTS.md has: who measures again and finds less is told here.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from archiver.archive import Limits
from bench import scaling
from bench.cost import Traffic
from bench.results import parse
from entrypoint import resources

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "scaling.md"
RESULTS = ROOT / "bench" / "RESULTS.md"


def prose() -> str:
    """The page without its line breaks."""
    return " ".join(PAGE.read_text(encoding="utf-8").split())


def test_the_page_has_the_table() -> None:
    assert scaling.table() in PAGE.read_text(encoding="utf-8")


def test_the_model_has_the_code_s_numbers() -> None:
    assert Limits().max_copy == scaling.COPY_PART
    assert resources.MEMORY == scaling.FUNCTION_MB


def measured(title: str, column: str) -> list[tuple[str, float]]:
    """A section of bench/RESULTS.md: the first cell of each row, and its figure in that column."""
    section = parse(RESULTS.read_text(encoding="utf-8"))[title]
    head, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line[:2] == "| "
    )
    at = head.index(column)
    return [(row[0], float(row[at].replace(",", ""))) for row in rows]


def test_the_function_was_measured_to_be_as_fast_as_the_model_has_it() -> None:
    assert f"a whole CPU more than {scaling.FUNCTION_LINES:,} lines a second" in prose()
    assert dict(measured("Function", "measured"))["whole handler, lines / CPU s"] > scaling.FUNCTION_LINES


def test_the_producer_was_measured_to_be_as_fast_as_the_page_says() -> None:
    claim = re.search(r"packs more than (\d+) million lines, and ships more than (\d+) million through boto3", prose())
    assert claim, PAGE
    lines = dict(measured("Producer: a backlog of 1,000,000 lines", "lines / CPU s"))
    assert lines["producer, into nothing"] > int(claim[1]) * 1e6
    assert lines["producer, PutRecords"] > int(claim[2]) * 1e6


def test_all_writers_were_seen_to_get_through() -> None:
    assert "all get through" in prose()
    assert not any(given_up for _, given_up in measured("Archive: N writers of one hourly object", "given up"))


@pytest.mark.parametrize("rate", scaling.RATES)
def test_no_object_is_busier_than_it_should_be(rate: int) -> None:
    one = scaling.needs(rate)
    day = Traffic()
    assert scaling.busy(rate / one.objects, day) <= scaling.BUSY
    assert one.objects == 1 or scaling.busy(rate / (one.objects - 1), day) > scaling.BUSY


def test_more_lines_never_need_less() -> None:
    needs = [scaling.needs(rate) for rate in scaling.RATES]
    for less, more in itertools.pairwise(needs):
        assert less.shards <= more.shards
        assert less.objects <= more.objects
        assert less.kinesis < more.kinesis
