"""Whose key counts: the function's, then the one given, then this DATA_DIR's, then a new one; and who is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from archiver.event import Key
from common.settings import Settings
from entrypoint.errors import ProvisionError
from entrypoint.record_key import GRACE, VARIABLE, KeyFile, new_key
from entrypoint.resources import Outcome
from tests.keys import KEY, OTHER_KEY

NOW = datetime(2026, 11, 30, 12, 30, 5, tzinfo=UTC)
THIRD = "20261201T123005Z-" + "01" * 32


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(data_dir=folder, **more)


@pytest.mark.parametrize(
    ("there", "given", "kept", "expected"),
    [
        (KEY, "", OTHER_KEY, KEY),
        (KEY, KEY, OTHER_KEY, KEY),
        ("", KEY, OTHER_KEY, KEY),
        ("", "", OTHER_KEY, OTHER_KEY),
        ("no key", "", OTHER_KEY, OTHER_KEY),
        ("", "", "no key", THIRD),
        ("", "", "", THIRD),
    ],
)
def test_whose_key_counts(tmp_path: Path, there: str, given: str, kept: str, expected: str) -> None:
    mine = settings(tmp_path, record_key=given)
    if kept:
        mine.kept_key.write_text(kept)
    keys = KeyFile(mine, THIRD)
    assert keys.variable({VARIABLE: there} if there else {}) == {VARIABLE: expected}
    assert keys.differs
    keys.save()
    assert not keys.differs
    for path in (mine.kept_key, mine.shared_key):
        assert path.read_text() == expected
        assert path.stat().st_mode & 0o777 == 0o600


def test_another_key_than_the_function_s_is_refused_and_neither_is_said(tmp_path: Path) -> None:
    keys = KeyFile(settings(tmp_path, record_key=KEY), THIRD)
    with pytest.raises(ProvisionError, match="leaving RECORD_KEY out") as refused:
        keys.variable({VARIABLE: OTHER_KEY})
    assert KEY not in str(refused.value)
    assert OTHER_KEY not in str(refused.value)
    assert not any(tmp_path.iterdir())


def test_without_a_new_one_there_is_none(tmp_path: Path) -> None:
    """DELIVERY=firehose signs nothing, but keeps what its function has."""
    mine = settings(tmp_path)
    keys = KeyFile(mine)
    assert keys.variable({}) == {}
    assert not keys.differs
    keys.save()
    assert not any(tmp_path.iterdir())
    assert keys.variable({VARIABLE: KEY}) == {VARIABLE: KEY}


def test_the_producer_hears_of_a_key_only_after_data_dir_has_it(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    mine.kept_key.mkdir()  # cannot be written
    keys = KeyFile(mine, THIRD)
    keys.variable({})
    with pytest.raises(ProvisionError, match=r"record\.key cannot be written"):
        keys.save()
    assert not mine.shared_key.exists()


def test_the_time_in_a_key() -> None:
    """No producer of old has written to a new stream; another stream may hold what one wrote."""
    one = Key.of(new_key(Outcome("stream", "s", "created"), NOW))
    other = Key.of(new_key(Outcome("stream", "s", "unchanged"), NOW))
    assert one
    assert other
    assert one.since == 0
    assert other.since == (NOW + GRACE).timestamp()
    assert one.secret[-64:] != other.secret[-64:]
