"""`appliance formats`: what it says, and how it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli import __main__ as cli

COMMON = b'192.0.2.1 - - [18/Apr/2020:01:42:18 +0000] "GET / HTTP/1.1" 200 1'
COMBINED = COMMON + b' "-" "a"'


def test_it_names_the_format_and_the_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "old\x1b.log"
    path.write_bytes((COMMON + b"\n") * 3 + COMBINED + b"\n")
    assert cli.main(["formats", str(path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        rf"{tmp_path}/old\x1b.log:",
        "  3 of the newest 4 lines are in the format common",
        "  ACCESS_LOG_FORMAT=combined rejects 3 of them: set ACCESS_LOG_FORMAT=common",
        f"  the first that is rejected: {COMMON.decode()}",
    ]
    assert cli.main(["formats", "--json", str(path)]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer.pop("by_format") == {"main": 4, "common": 1, "vhost_combined": 4, "json": 4, "combined": 3}
    assert answer == {
        "path": str(path),
        "lines": 4,
        "rejected": 3,
        "null": [],
        "first": COMMON.decode(),
        "format": "common",
        "remedy": "set ACCESS_LOG_FORMAT=common",
    }


@pytest.mark.parametrize("log", ["", "/var/log/nginx/access.log"])
@pytest.mark.parametrize("name", ["common", '$remote_addr - $remote_user [$time_local] "$request" $status $bytes_sent'])
def test_the_present_setting_is_what_counts_also_where_it_is_of_no_log_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, log: str
) -> None:
    path = tmp_path / "log"
    path.write_bytes((COMMON + b"\n") * 3)
    monkeypatch.setenv("LOG_FILE", log)
    monkeypatch.setenv("ACCESS_LOG_FORMAT", name)
    assert cli.main(["formats", "--json", str(path)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["rejected"], answer["first"], answer["format"], answer["remedy"]) == (0, None, "common", None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        (b"", "it holds no whole line"),
        (b"half a li", "it holds no whole line"),
        (bytes(range(256)) * 99, "it is no text, nor compressed by gzip, bzip2, xz"),
        (b"\x1f\x8b\x08\0half", "it ends early or is damaged"),
    ],
)
def test_what_is_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "log").write_bytes(content)
    assert cli.main(["formats", str(tmp_path / "log")]) == 2
    assert capsys.readouterr().err.startswith(f"appliance: {tmp_path}/log: {said}")


def test_a_folder_and_a_device_are_no_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        assert cli.main(["formats", str(path)]) == 2
        assert "it is no file" in capsys.readouterr().err
