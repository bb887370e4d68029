"""A run that skips something it should not fails, and says what."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.strict import Strict, unlisted

TESTS = """
import pytest

def test_passes(): pass
def test_is_skipped(): pytest.skip("no such thing here")
def test_may_be_skipped(): pytest.skip("half a second")
@pytest.mark.xfail(reason="a known limit")
def test_is_known_to_fail(): assert False
"""


def run(folder: Path, markers: list[str], allowed: dict[str, str]) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(TESTS)
    (folder / "strict_here.py").write_text(
        "from tests.strict import Strict\n"
        f"def pytest_configure(config): config.pluginmanager.register(Strict({markers}, {allowed}))\n"
    )
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "strict_here", "-p", "no:cacheprovider", folder / "test_it.py"],
        env={"PYTHONPATH": f"{root}:{folder}"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_skip_that_is_not_listed_fails_the_run(tmp_path: Path) -> None:
    ran = run(tmp_path, [], {"test_it.py::test_may_be": "it is slow"})
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert "test_it.py::test_is_skipped: Skipped: no such thing here" in ran.stdout
    assert "test_it.py::test_is_known_to_fail: a known limit" in ran.stdout
    assert "test_may_be_skipped: " not in ran.stdout


def test_listed_skips_do_not(tmp_path: Path) -> None:
    ran = run(
        tmp_path, [], dict.fromkeys([f"test_it.py::test_{one}" for one in ("may_be", "is_skipped", "is_known")], "why")
    )
    assert ran.returncode == pytest.ExitCode.OK, ran.stdout


def test_a_marker_that_did_not_run_fails_the_run(tmp_path: Path) -> None:
    ran = run(tmp_path, ["chaos"], {"test_it.py::": "all"})
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED
    assert "no test of the marker chaos has passed" in ran.stdout


def test_a_listed_test_is_named_by_the_beginning_of_its_id() -> None:
    assert unlisted([("a.py::test_b[x]", "why"), ("c.py::test_d", "so")], {"a.py::test_b": ""}) == ["c.py::test_d: so"]
    assert unlisted([], {}) == []
    assert Strict([], {}).problems == []
