from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from common.formats import format_of
from journal import formats
from journal.formats import FEW_BYTES, NEWEST, Look, look_at

COMBINED_LINE = b'1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 5 "-" "curl/8"'
LINES = {
    "common": COMBINED_LINE.removesuffix(b' "-" "curl/8"'),
    "vhost_combined": b"example.org:80 " + COMBINED_LINE,
    "json": b'{"remote_addr":"1.2.3.4","time_iso8601":"2026-11-23T10:00:00+00:00",'
    b'"request":"GET /a HTTP/1.1","status":200}',
    "main": COMBINED_LINE + b' "-"',
    "combined": COMBINED_LINE,
}
OWN = '$remote_addr|$time_local|"$request"|$status'


def complaint(log: Path, text: str = "combined") -> str | None:
    return formats.complaint(log, format_of(text, ""))


def log_of(folder: Path, *lines: bytes) -> Path:
    log = folder / "access.log"
    log.write_bytes(b"".join(line + b"\n" for line in lines) + b"half a li")
    return log


@pytest.mark.parametrize("name", ["common", "vhost_combined", "json"])
def test_a_log_in_another_format_is_told_with_its_name(tmp_path: Path, name: str) -> None:
    said = complaint(log_of(tmp_path, *[LINES[name]] * 20, COMBINED_LINE))
    assert said
    assert said.startswith("20 of the newest 21 lines of access.log are not in the combined format and go to rejected/")
    assert f"rejected/: set ACCESS_LOG_FORMAT={name}, or log with" in said
    assert complaint(log_of(tmp_path, *[LINES[name]] * 20, COMBINED_LINE), name) == ""


def test_lines_of_no_known_format_are_told_without_a_name(tmp_path: Path) -> None:
    assert "to the string of its log_format" in str(complaint(log_of(tmp_path, *[b"hello"] * 20)))
    assert 'ACCESS_LOG_FORMAT=json:{"key":"variable",…}' in str(complaint(log_of(tmp_path, *[b'{"at":1}'] * 20)))
    caddy = b'{"ts":1646861401.52,"request": {"remote_ip":"192.0.2.1","method":"GET","uri":"/"},"status":200}'
    assert "have flat JSON logged" in str(complaint(log_of(tmp_path, *[caddy] * 20)))


@pytest.mark.parametrize(
    "lines",
    [
        [COMBINED_LINE] * 20,
        [LINES["main"]] * 20,
        [b"\0\0" + COMBINED_LINE] * 20,  # emptied under its writer
        [COMBINED_LINE] * 10 + [b"junk"] * 10,  # half is not most
        [b"junk"] * 5000 + [COMBINED_LINE] * (FEW_BYTES // len(COMBINED_LINE)),  # of before: it was mended
    ],
)
def test_no_complaint(tmp_path: Path, lines: list[bytes]) -> None:
    assert complaint(log_of(tmp_path, *lines)) == ""


@pytest.mark.parametrize("count", [0, 9])
def test_too_few_lines_tell_nothing(tmp_path: Path, count: int) -> None:
    assert complaint(log_of(tmp_path, *[b"junk"] * count)) is None


def look(*lines: bytes, text: str = "combined") -> Look:
    return Look([*lines], format_of(text, ""))


@pytest.mark.parametrize("name", LINES)
def test_each_named_format_is_known(name: str) -> None:
    """Garbage does not hide it, nor that `combined` takes lines of `main`."""
    found = look(*[LINES[name]] * 10, b"junk", text=name)
    assert (found.fitting, found.wrong, len(found.rejected)) == (name, False, 1)
    assert found.told() == [
        f"10 of the newest 11 lines are in the format {name}",
        f"ACCESS_LOG_FORMAT={name} rejects 1 of them",
        "the first that is rejected: junk",
    ]


def test_what_only_looks_like_a_format_is_not_taken_for_it() -> None:
    """Each has the form, and is rejected by the function all the same."""
    almost = [COMBINED_LINE.replace(b"/Nov/", b"/Foo/"), COMBINED_LINE.replace(b"23/Nov", b"31/Nov"), b'{"status":200}']
    assert look(*almost).fitting is None
    assert len(look(*almost).rejected) == 3


def test_of_a_log_whose_format_has_changed_no_format_has_most() -> None:
    found = look(*[COMBINED_LINE] * 5, *[LINES["common"]] * 5)
    assert found.told()[:2] == [
        "none of the formats main, common, vhost_combined, json, combined has most of the newest 10 lines",
        "ACCESS_LOG_FORMAT=combined rejects 5 of them",
    ]


def test_a_format_of_ones_own_is_no_named_one() -> None:
    found = look(*[b'1.2.3.4|23/Nov/2026:10:00:00 +0000|"GET / HTTP/1.1"|200'] * 3, text=OWN)
    assert found.told() == [
        "none of the formats main, common, vhost_combined, json, combined has most of the newest 3 lines",
        "the present ACCESS_LOG_FORMAT rejects 0 of them",
    ]


def test_fields_that_the_log_lacks_are_told() -> None:
    """Of another web server's log in combined, whose log_format has no ` requestTime=$request_time` behind it."""
    found = Look([COMBINED_LINE, LINES["main"], b"junk"], format_of("combined", "bytes,forwardedFor,requestTime"))
    assert found.told()[-1] == "of FIELDS, null in all of them: forwardedFor, requestTime"
    assert Look([b"junk"], format_of("combined", "bytes")).null == []


def test_what_a_client_sent_is_shown_on_one_line_and_short() -> None:
    assert look(b"a\x1b[1m\r\xc2\x85\xff" + b"b" * 5000).first == r"a\x1b[1m\r\x85\xff" + "b" * 291


@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_the_newest_lines_of_a_file_are_looked_at(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    data = b"old\n" * 400_000 + (COMBINED_LINE + b"\n") * (NEWEST - 1) + b"new\nhalf a li"
    (tmp_path / "log").write_bytes(packed(data))
    found = look_at(tmp_path / "log", format_of("combined", ""))
    assert (len(found.lines), found.rejected) == (NEWEST, [b"new"])
