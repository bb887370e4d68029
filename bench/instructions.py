"""Instructions a line, counted by valgrind: hardly touched by what else runs, so a small regression shows.

Each process makes LINES lines; with the work and without it, and the difference is what the work costs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory

from tests.appliance.drivers import ROOT

LINES = 20_000
COLLECTED = re.compile(r"Collected : (\d+)")

PREPARE = f"""
from bench.backlog import lines
data = b"".join(lines({LINES}, seconds=60))
"""
# name -> what it needs, and what is counted
WORK = {
    "producer: pack and compress": (
        "from producer.record import Piece, packs",
        "for record in packs(Piece('5e9a0000' + '0' * 16, 0, data)): pass",
    ),
    "function: a block of lines to entries": (
        # what is compiled once for an hour is no cost of a line
        "from archiver.event import Record; from archiver.filing import file_runs\n"
        "def entries(log): return list(file_runs(Record(log, '5e9a0000' + '0' * 16, 0, None, 0.0, None), ''))\n"
        "entries(data[:data.index(b'\\n') + 1] * 300)",
        "entries(data)",
    ),
}


def measure() -> dict[str, float]:
    """Work -> instructions a line. Raises RuntimeError where there is no valgrind."""
    if not shutil.which("valgrind"):
        raise RuntimeError("there is no valgrind. Enable with: apt-get install valgrind")
    return {name: (_count(f"{needed}\n{counted}") - _count(needed)) / LINES for name, (needed, counted) in WORK.items()}


def _count(code: str) -> int:
    with TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={folder}/out",
                sys.executable,
                "-c",
                PREPARE + code,
            ],
            env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'lambda'}", "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            timeout=900,
            check=True,
        )
    found = COLLECTED.search(done.stderr)
    assert found, done.stderr[-500:]
    return int(found[1])
