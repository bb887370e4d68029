from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archiver.layout import HourlyObject
from archiver.ledger import Ledger, LedgerError, reference, referenced

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "lambda_ledger.json").read_text())


@pytest.mark.parametrize("case", GOLDEN["ledgers"], ids=lambda case: str(case["text"])[:20])
def test_golden_ledger(case: dict[str, Any]) -> None:
    ledger = Ledger()
    for owner, start, end in case["ranges"]:
        ledger.add(owner, start, end)
    assert ledger.encode(case["length"]) == case["text"]
    again, length = Ledger.decode(case["text"])
    assert [list(each) for each in again.ranges()] == case["ranges"]
    assert length == case["length"]


def test_golden_reference() -> None:
    case = GOLDEN["reference"]
    found = referenced(case["metadata"])
    assert found is not None
    assert reference(*found) == case["metadata"]
    target = HourlyObject("logs/", "2020/04/18/01")
    assert target.key == case["key"]
    assert target.ledger_key(found[1]) == case["side"]
    assert HourlyObject("logs/", "2020/04/18/01", True).ledger_key(found[1]) != case["side"]
    assert referenced("1;0") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2;0",
        "1",
        "1;",
        "1;0;",
        "1;0;ab",
        "1;0;ab=",
        "1;0;ab=0-0",
        "1;0;ab=0-1,0-1",
        "1;0;ab=0-1;ab=0-1",
        "1;0;ab=0-1,",
        "1;0;ab=-1-1",
        "1;0;xy=0-1",
        "1;0;AB=0-1",
        "1;0;ab=0-1\n",
        "1;0;@abc",
    ],
)
def test_what_is_no_ledger_is_refused(text: str) -> None:
    with pytest.raises(LedgerError):
        Ledger.decode(text)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (2, 1), (-1, 1)])
def test_what_is_no_range_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="no range"):
        Ledger().add("ab", start, end)


def test_lines_in_order_stay_one_range() -> None:
    ledger = Ledger()
    for offset in range(0, 100_000, 100):
        ledger.add("ab", offset, offset + 100)
    assert list(ledger.ranges()) == [("ab", 0, 100_000)]
