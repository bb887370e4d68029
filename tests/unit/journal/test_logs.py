"""Which logs there are, and of which it is said why they are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.settings import Settings
from journal.checkpoint import Checkpoint, CheckpointFile, Fingerprint, Generation
from journal.logs import logs_of, problems_of


def settings(folder: Path, log_files: str, **more: str) -> Settings:
    return Settings(data_dir=folder / "data", log_files=log_files, **more)


def named(given: Settings) -> dict[str, str]:
    return {one.log_name: one.log_file.name for one in logs_of(given)}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    folder = tmp_path / "nginx"
    folder.mkdir()
    return folder


def test_one_log_is_what_it_was(tmp_path: Path) -> None:
    given = settings(tmp_path, "")
    assert logs_of(given) == [given]
    assert problems_of(given) == []


def test_logs_are_named_one_by_one_also_before_they_are_there(tmp_path: Path) -> None:
    given = settings(tmp_path, f"shop={tmp_path}/shop/access.log,blog={tmp_path}/blog/access.log", s3_prefix="logs/")
    assert named(given) == {"shop": "access.log", "blog": "access.log"}
    assert [one.s3_prefix for one in logs_of(given)] == ["logs/shop/", "logs/blog/"]
    assert problems_of(given) == []


def test_a_folder_has_the_logs_that_are_called_so_and_what_rotation_has_made_of_them_are_none(logs: Path) -> None:
    for name in (
        *("access.log", "shop.access.log", "blog-access.log", "old_access.log.2.gz", "www.example.org.access.log"),
        *("access.log.1", "access.log-20261129.gz", "shop.access.log.1", "20261129-shop.access.log", "error.log"),
        *("shop.error.log", "shop.access.logs", "readme"),
    ):
        (logs / name).touch()
    assert named(settings(logs, str(logs))) == {
        "access": "access.log",
        "blog": "blog-access.log",
        "old": "old_access.log",
        "shop": "shop.access.log",
        "www.example.org": "www.example.org.access.log",
    }


def test_a_log_of_a_folder_may_be_given_another_name(logs: Path) -> None:
    for name in ("3d.access.log", "shop.access.log"):
        (logs / name).touch()
    given = settings(logs, f"{logs}")
    assert named(given) == {"shop": "shop.access.log"}
    (problem,) = problems_of(given)
    assert problem.startswith(f"{logs / '3d.access.log'} is not shipped: '3d' can be no log's name; ")
    assert f"LOG_FILES=NAME={logs / '3d.access.log'}" in problem
    for log_files in (f"d3={logs}/3d.access.log,{logs}", f"{logs},d3={logs}/3d.access.log"):
        given = settings(logs, log_files)
        assert named(given) == {"d3": "3d.access.log", "shop": "shop.access.log"}
        assert problems_of(given) == []
    assert named(settings(logs, f"{logs},store={logs}/shop.access.log")) == {"store": "shop.access.log"}


def test_what_would_go_below_the_wrong_name_is_not_shipped_and_the_others_are(tmp_path: Path, logs: Path) -> None:
    for name in ("shop.access.log", "shop-access.log"):
        (logs / name).touch()
    given = settings(tmp_path, f"{logs}")
    assert named(given) == {"shop": "shop-access.log"}
    assert "has the name shop, too" in problems_of(given)[0]
    given = settings(tmp_path, f"a={logs}/access.log,b={logs}/access.log.b,c={logs}/c.log")
    assert named(given) == {"a": "access.log", "c": "c.log"}
    assert "as if rotation had made one of the other" in problems_of(given)[0]
    given = settings(tmp_path, f"a={tmp_path}/a/access.log,b={tmp_path}/b/access.log", log_rotated_dirs="/var/old")
    assert named(given) == {"a": "access.log"}
    assert "LOG_ROTATED_DIRS" in problems_of(given)[0]


def test_a_folder_that_is_not_there_holds_up_no_other_log(tmp_path: Path) -> None:
    given = settings(tmp_path, f"{tmp_path}/nowhere,shop={tmp_path}/shop.log")
    assert named(given) == {"shop": "shop.log"}
    (problem,) = problems_of(given)
    assert problem == f"{tmp_path}/nowhere is no folder of logs that this user can list: No such file or directory"


def test_a_folder_whose_logs_are_called_otherwise_is_told_of(logs: Path) -> None:
    for name in ("example.org.log", "access_ssl_log", "error.log"):
        (logs / name).touch()
    given = settings(logs, str(logs))
    assert named(given) == {}
    assert problems_of(given) == [f"{logs} holds no log called NAME.access.log; name each, LOG_FILES=NAME={logs}/FILE"]


def test_lines_that_were_left_of_a_name_that_is_gone_are_said(tmp_path: Path) -> None:
    for name, size in (("shop", 30), ("blog", 10), ("wiki", 30)):
        file = tmp_path / "data" / "log" / name / "checkpoint.json"
        file.parent.mkdir(parents=True)
        generation = Generation("5e9a5f2a0123456789abcdef", [], Fingerprint(), offset=10, size=size, start=0)
        CheckpointFile(file).save(Checkpoint([generation]))
    (problem,) = problems_of(settings(tmp_path, f"wiki={tmp_path}/wiki.log"))
    assert problem.startswith("20 bytes of the log shop were not acknowledged, and LOG_FILES names it no more")
    assert len(problems_of(settings(tmp_path, ""))) == 2, "nor does it when it is empty"
    (tmp_path / "data" / "log" / "shop" / "checkpoint.json").write_text("{")
    assert problems_of(settings(tmp_path, f"wiki={tmp_path}/wiki.log")) == []
