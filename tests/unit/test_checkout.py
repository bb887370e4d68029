"""What a checkout on another machine may change, and must not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_line_ends_stay_although_git_is_told_to_change_them(tmp_path: Path) -> None:
    if not shutil.which("git"):
        pytest.skip("git is not installed; enable this test with: apt-get install git")
    clone = tmp_path / "clone"
    command = ["git", "clone", "--quiet", "--config", "core.autocrlf=true", str(ROOT), str(clone)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=clone, check=True, capture_output=True, text=True).stdout
    programs = [line.partition("\t")[2] for line in listed.splitlines() if line.startswith("100755")]
    assert {"appliance/tagged", "script/up"} <= set(programs)
    changed = [name for name in [*programs, "appliance/tagged.awk"] if b"\r" in (clone / name).read_bytes()]
    assert changed == []
