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
        ("access.1.log", True, False),
        ("access-20261123.log", True, False),
        ("access_2026-11-23_16.log.gz", True, True),
        ("access-23Nov2026.log", True, False),
        ("20261123-access.log", True, False),
        ("access.log_2026", True, False),
        ("access.log20261123", True, False),
        ("access-2.log", False, False),
        ("access.api.log", False, False),
        ("access_ssl.log", False, False),
        ("access.log_ssl", False, False),
        ("access-api-20261123.log", False, False),
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


@pytest.mark.parametrize("name", ["@400000005fc3c9a50a8e2f3c.s", "@400000005fc3c9a50a8e2f3c.u"])
def test_names_of_s6(tmp_path: Path, name: str) -> None:
    for each in ("current", name, "lock", "state"):
        (tmp_path / each).touch()
    assert [each.path.name for each in files_of(tmp_path / "current")] == [name, "current"]


def test_a_link_to_the_log_that_sorts_before_it(tmp_path: Path) -> None:
    """cronolog writes to a file with a date, to which the log is a link."""
    dated = tmp_path / "access-20261130.log"
    dated.touch()
    (tmp_path / "access.log").symlink_to(dated.name)
    assert [(each.path, each.live) for each in files_of(tmp_path / "access.log")] == [(dated, True)]


@pytest.mark.parametrize(
    ("name", "dated"),
    [
        ("@400000005e9b3c3a12345678.s", True),
        ("access.log.1", True),
        ("access.log-20261123", True),
        ("access.1.log", True),
        ("access.log20261123", True),
        ("20261123-access.log", True),
        ("access.log.20261123T160500Z-0", True),
        ("access.log.2.gz", True),
        ("access.log.errors", False),
        ("access.log.1.errors", False),
        ("access.log.1.ab", False),
        ("access-20261123.log.bak", False),
        ("access.log-20261123.errors.gz", False),
        ("access.log.old", False),
        ("access.log.bak", False),
    ],
)
def test_names_with_a_number_or_a_date(tmp_path: Path, name: str, dated: bool) -> None:
    (tmp_path / name).touch()
    (found,) = files_of(tmp_path / ("current" if name.startswith("@") else "access.log"))
    assert found.dated == dated


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
