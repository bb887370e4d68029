"""Values by their annotations: what is taken, and what is refused with its place."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from common.typed import SeveralWrongError, Variables, WrongError, read

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Inner:
    at: datetime
    places: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Outer:
    state: Literal["up", "down"]
    inner: dict[str, Inner | None] = field(default_factory=dict)
    seconds: float = 0


def test_json_becomes_what_the_annotations_say() -> None:
    given = {"state": "up", "inner": {"a": {"at": "2026-11-23T12:00:00Z", "places": [7]}, "b": None}}
    assert read(Outer, given) == Outer("up", {"a": Inner(NOON, [7]), "b": None})
    assert read(Outer, {"state": "down", "seconds": 3, "unknown": 1}) == Outer("down", {}, 3.0)


@pytest.mark.parametrize(
    ("given", "where", "what"),
    [
        ({}, "state", "Field required"),
        ([], "", "a valid object"),
        ({"state": "sideways"}, "state", "'up' or 'down'"),
        ({"state": []}, "state", "'up' or 'down'"),
        ({"state": "up", "seconds": "soon"}, "seconds", "a valid number"),
        ({"state": "up", "seconds": None}, "seconds", "a valid number"),
        ({"state": "up", "inner": {"a": {"at": "2026-11-23T12:00:00"}}}, "inner.a.at", "a valid datetime"),
        ({"state": "up", "inner": {"a": {"at": 7}}}, "inner.a.at", "a valid datetime"),
        ({"state": "up", "inner": {"a": {"at": str(NOON), "places": [0, 1.5]}}}, "inner.a.places.1", "a valid integer"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(given: Any, where: str, what: str) -> None:
    with pytest.raises(WrongError, match=what) as caught:
        read(Outer, given)
    assert ".".join(caught.value.where) == where


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [(int, " 7 ", 7), (float, "1e3", 1000.0), (float, ".5", 0.5), (bool, "OFF", False), (Path, "a", Path("a"))],
)
def test_text_is_read_as_its_kind(kind: type, text: str, value: object) -> None:
    assert read(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"), [(int, "1.5"), (int, "1_000"), (int, "٣"), (float, "nan"), (float, "inf"), (bool, "2")]
)
def test_text_of_another_kind_is_refused(kind: type, text: str) -> None:
    with pytest.raises(WrongError, match="Input should be a valid"):
        read(kind, text)


class Some(Variables):
    some_number: int = 1
    some_text: str = ""


def test_variables_are_read_in_any_case_and_named_values_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("some_NUMBER", "2")
    monkeypatch.setenv("SOME_TEXT", "")
    assert (Some().some_number, Some().some_text) == (2, "")
    assert Some(some_number=3).some_number == Some(some_number="3").some_number == 3
    assert Some().model_copy(update={"some_text": "x"}).some_text == "x"
    with pytest.raises(SeveralWrongError, match="no such field: some_nubmer"):
        Some(some_nubmer=3)


def test_settings_and_status_need_the_standard_library_only() -> None:
    """Every process has them: what they import costs each of them memory, and each start time."""
    code = "import sys, common.settings, common.status; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=90, check=True).stdout
    assert not {"pydantic", "botocore", "asyncio", "ssl"} & set(loaded.split())
