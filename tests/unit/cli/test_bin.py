"""The commands' own files in cli/bin."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[3] / "cli" / "bin"


@pytest.mark.parametrize("name", ["appliance", "aws"])
def test_where_memory_ends_the_command_ends_first(tmp_path: Path, name: str) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncat /proc/self/oom_score_adj\necho "$@"\n')
    python.chmod(0o755)
    said = subprocess.run(
        [BIN / name, "status"], env=os.environ | {"PYTHON": str(python)}, capture_output=True, text=True, check=True
    )
    score, words = said.stdout.splitlines()
    assert score == "1000"
    assert words.endswith(" status")
    assert said.stderr == ""
