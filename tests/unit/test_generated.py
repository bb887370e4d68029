"""No generated file is stale."""

from __future__ import annotations

import pytest

from tests.generated import ROOT, generated


@pytest.mark.parametrize("path", generated())
def test_it_is_what_the_code_says(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == generated()[path], f"{path} is stale. Run script/docs."


def test_script_up_hands_the_settings_on() -> None:
    assert "--env-file settings.env" in (ROOT / "script/up").read_text(encoding="utf-8")
