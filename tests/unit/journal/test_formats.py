from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from common.formats import format_of
from journal import formats
from journal.formats import NEWEST_BYTES

COMBINED_LINE = b'1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8"'
LINES = {
    "common": COMBINED_LINE.removesuffix(b' "-" "curl/8"'),
    "vhost_combined": b"example.org:80 " + COMBINED_LINE,
    "json": b'{"status":200}',
}
GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "lines.json").read_text())["lines"]
KNOWN = [base64.b64decode(each["line_base64"]) if "line_base64" in each else each["line"].encode() for each in GOLDEN]


def complaint(log: Path, text: str = "combined") -> str | None:
    return formats.complaint(log, format_of(text, ""))


def log_of(folder: Path, *lines: bytes) -> Path:
    log = folder / "access.log"
    log.write_bytes(b"".join(line + b"\n" for line in lines) + b"half a li")
    return log


@pytest.mark.parametrize("name", LINES)
def test_a_log_in_another_format_is_told_with_its_name(tmp_path: Path, name: str) -> None:
    said = complaint(log_of(tmp_path, *[LINES[name]] * 20, COMBINED_LINE))
    assert said
    assert said.startswith("20 of the newest 21 lines of access.log are not in the combined format and go to rejected/")
    assert f"they look like the format {name}: set ACCESS_LOG_FORMAT={name}, or log with" in said
    assert complaint(log_of(tmp_path, *[LINES[name]] * 20, COMBINED_LINE), name) is None


def test_lines_of_no_known_format_are_told_without_a_name(tmp_path: Path) -> None:
    said = complaint(log_of(tmp_path, *[b"hello"] * 20))
    assert said
    assert "look like" not in said


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [COMBINED_LINE] * 20,
        [COMBINED_LINE + b' "-"'] * 20,  # the format main
        [b"\0\0" + COMBINED_LINE] * 20,  # emptied under its writer
        [COMBINED_LINE] * 10 + [b"junk"] * 10,  # half is not most
        [b"junk"] * 9,  # too few to tell
        [b"junk"] * 5000 + [COMBINED_LINE] * (NEWEST_BYTES // len(COMBINED_LINE)),  # of before: it was mended
    ],
)
def test_no_complaint(tmp_path: Path, lines: list[bytes]) -> None:
    assert complaint(log_of(tmp_path, *lines)) is None


def test_a_log_that_is_not_there_is_no_complaint(tmp_path: Path) -> None:
    assert complaint(tmp_path / "access.log") is None
