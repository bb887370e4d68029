from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.emulator import NAMES, make_key, read_key


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    file, other = tmp_path / "credentials", tmp_path / "other"
    make_key(file)
    key = read_key(file)
    assert sorted(key) == sorted(name.upper() for name in NAMES)
    # MiniStack takes 12 digits for an account; the SDKs want 16 to 128 word characters
    assert re.fullmatch(r"[A-Z0-9]{20,128}", key["AWS_ACCESS_KEY_ID"])
    assert not key["AWS_ACCESS_KEY_ID"].isdigit()
    assert file.stat().st_mode & 0o777 == 0o600
    make_key(file)
    assert read_key(file) == key
    make_key(other)
    assert read_key(other) != key


@pytest.mark.parametrize(
    "text", ["", "[default]\n", "no file of the SDKs", "[default]\naws_access_key_id = a\n", "\udcff"]
)
def test_a_damaged_file_holds_no_key_and_is_made_anew(tmp_path: Path, text: str) -> None:
    file = tmp_path / "credentials"
    file.write_bytes(text.encode(errors="surrogateescape"))
    assert read_key(file) == {}
    make_key(file)
    assert read_key(file)


def test_no_file_is_no_key(tmp_path: Path) -> None:
    assert read_key(tmp_path / "missing" / "credentials") == {}
