"""DELIVERY=s3 under SIGKILL: what was written is in the bucket exactly once.

KILLS and KILLED_LINES in the environment make it a longer run than CI's.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from bench.pipeline import judge
from tests.appliance.drivers import ROOT, s3_client
from tests.chaos.kills import BUCKET
from tests.emulator import Emulator

KILLS = int(os.environ.get("KILLS", "50"))
LINES = int(os.environ.get("KILLED_LINES", "100000"))


@pytest.mark.emulator
def test_a_producer_that_is_killed_while_it_appends_loses_and_doubles_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator, seed = Emulator(tmp_path / "emulator"), secrets.randbelow(10**6)
    emulator.start()
    try:
        arguments = [str(tmp_path / "data"), emulator.url, *map(str, (LINES, KILLS, seed))]
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.kills", *arguments],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'lambda'}"},
            capture_output=True,
            text=True,
            timeout=6 * 3600,
            check=False,
        )
        assert done.returncode == 0, (seed, done.stderr[-3000:])
        written, killed = map(int, done.stdout.split())
        with closing(s3_client(emulator.url)) as s3:
            wrong = judge(s3, BUCKET, written)
        with capsys.disabled():
            print(f"\n{written:,} lines, {killed:,} kills, {wrong} lines not exactly once (seed {seed})")
        assert (wrong, killed >= KILLS) == (0, True), seed
    finally:
        emulator.stop(kill=True)
