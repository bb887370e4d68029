"""How long each process takes to import what it needs, in interpreters of their own, bytecode compiled before."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from tests.appliance.drivers import ROOT

# process -> the statement it begins with
PROCESSES = {
    "nothing (the interpreter)": "pass",
    "appliance (start)": "import appliance.__main__",
    "health": "import cli.__main__, appliance.health",
    "entrypoint": "import entrypoint.__main__",
    "producer": "import producer.__main__",
    "dashboard": "import dashboard.__main__",
    "boto3": "import boto3",
    "function, boto3 left for its first batch": "import index",
}


def seconds(statement: str) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", statement],
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'lambda'}"},
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    return time.perf_counter() - begin


def measure(runs: int) -> dict[str, float]:
    """Process -> median seconds of an interpreter's start with its imports; runs interleaved, the first not counted."""
    found: dict[str, list[float]] = {name: [] for name in PROCESSES}
    for run in range(runs + 1):
        for name, statement in PROCESSES.items():
            took = seconds(statement)
            if run:
                found[name].append(took)
    return {name: statistics.median(each) for name, each in found.items()}
