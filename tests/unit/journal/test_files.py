from __future__ import annotations

from pathlib import Path

import pytest

from journal.files import NotAFileError, files_of


@pytest.mark.parametrize(
    ("name", "ours", "compressed"),
    [
        ("access.log", True, False),
        ("access.log.1", True, False),
        ("access.log-20261123", True, False),
        ("access.log.20261123T160500Z-0", True, False),
        ("access.log.2.gz", True, True),
        ("access.log-20261123.xz", True, True),
        ("access.logs", False, False),
        ("error.log.1", False, False),
        ("backup.zip", False, False),
    ],
)
def test_names(tmp_path: Path, name: str, ours: bool, compressed: bool) -> None:
    (tmp_path / name).write_bytes(b"a\n")
    found = files_of(tmp_path / "access.log")
    assert [(each.path.name, each.size, each.live) for each in found] == [(name, 2, name == "access.log")] * ours
    assert any(each.compressed for each in found) == compressed


def test_a_file_with_two_names_is_there_once_and_no_folder_is(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    assert files_of(log / "nowhere") == files_of(tmp_path / "nowhere" / "access.log") == []
    log.write_bytes(b"a\n")
    log.with_name("access.log.1").hardlink_to(log)
    log.with_name("access.log.2").mkdir()
    log.with_name("access.log.3").symlink_to("gone")
    assert [each.path for each in files_of(log)] == [log]


def test_a_log_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "access.log").symlink_to("/dev/null")
    with pytest.raises(NotAFileError, match="to a file, not a device"):
        files_of(tmp_path / "access.log")
    with pytest.raises(NotAFileError, match=r"is a folder: set LOG_FILE to the log in it, e\.g\. .*/access\.log"):
        files_of(tmp_path)


def test_a_file_whose_name_is_another_ones_by_now(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(b"a\n")
    (found,) = files_of(log)
    log.rename(tmp_path / "access.log.1")
    log.write_bytes(b"b\n")
    with pytest.raises(FileNotFoundError, match="renamed or deleted"):
        found.open()
