"""docs/scaling.md has the table that the arithmetic gives, and the arithmetic has the code's numbers."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from archiver.archive import Limits
from bench import scaling
from bench.cost import Traffic
from entrypoint import resources

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"


def test_the_page_has_the_table() -> None:
    assert scaling.table() in PAGE.read_text(encoding="utf-8")


def test_the_model_has_the_code_s_numbers() -> None:
    assert Limits().max_copy == scaling.COPY_PART
    assert resources.MEMORY / 1769 == scaling.FUNCTION_CPU


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
