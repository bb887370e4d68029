"""What the appliance takes when it does nothing: memory and CPU by process, and the start of what cron starts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.results import Section
from tests.appliance import drivers
from tests.appliance.drivers import Container, descendants, engine, ready

MIB = 1024  # of the kilobytes in /proc
IDLE_SECONDS = 60.0
SETTLE_SECONDS = 75.0  # the entrypoint is what it stays, and repair has looked once
# Goals: MiB with emulator and dashboard, without the emulator, without the dashboard as well; % of a core; CPU s; MB
GOALS = {"all": 150, "no emulator": 100, "no emulator, no dashboard": 70}
GOAL_CPU = 0.5
GOAL_ONCE = 0.12
GOAL_IMAGE = 200
# Measured in the same way on one machine, in podman, with the image of before the processes were weighed
BEFORE = {
    "appliance, MiB (PSS)": "44",  # with supervisord
    "watchdog, MiB (PSS)": "28",  # an event listener
    "emulator, MiB (PSS)": "48",
    "entrypoint, MiB (PSS)": "58",
    "producer, MiB (PSS)": "47",
    "dashboard, MiB (PSS)": "59",
    "nginx, MiB (PSS)": "18",
    "awk (their output), MiB (PSS)": "2",
    "all, MiB": "303",
    "no emulator, MiB": "255",
    "no emulator, no dashboard, MiB": "196",
    "idle, % of a core": "3.3",
    "start of producer --once, CPU s": "0.31",
    "image by docker, MB": "253",
}
PROGRAMS = ("emulator", "entrypoint", "producer", "dashboard", "watchdog", "appliance", "nginx", "awk")
NONE = "–"


def program(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return "awk (their output)" if "awk" in words else next((each for each in PROGRAMS if each in words), words)


def weight(pid: int) -> float:
    """Its proportional share of memory in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / MIB


def seconds(pid: int) -> float:
    """CPU that it and the children it has collected have taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def once(runs: int) -> float:
    """CPU s of `python -m producer --once` with nothing to send."""
    code = "import resource, subprocess, sys; subprocess.run([sys.executable, '-m', 'producer', '--once'], check=True)"
    code += "; used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log", "access.log")
        log.parent.mkdir()
        log.touch()
        given = os.environ | {"DATA_DIR": folder, "LOCALSTACK_HOST": "127.0.0.1:9"}
        asked = [sys.executable, "-c", code]
        printed = [
            subprocess.run(asked, env=given, capture_output=True, text=True, timeout=60, check=True).stdout
            for _ in range(runs)
        ]
    return median(float(each.splitlines()[-1]) for each in printed)


def image(engine_name: str) -> tuple[float, list[str]]:
    """MB, base included; and of the layers of a megabyte or more, the base first."""

    def said(*asked: str) -> str:
        return subprocess.run(
            [engine_name, *asked, drivers.IMAGE], capture_output=True, text=True, timeout=60, check=True
        ).stdout

    layers = said("history", "--format", "{{.Size}}").split("\n")[::-1]
    size = int(said("image", "inspect", "--format", "{{.Size}}")) / 1e6
    return size, [each.removesuffix("MB").strip() for each in layers if each.endswith("MB")]


def measure(runs: int) -> list[Section]:
    name = engine()
    columns = ("", "before", "now", "goal")
    title = "Footprint: idle in the container, embedded emulator and dashboard"
    start = _row("start of producer --once, CPU s", f"{once(runs):.2f}", f"{GOAL_ONCE}")
    if name is None:
        return [Section(title, columns, [start], "one run", ["No container engine answers."])]
    one = Container(name, "bridge" if name == "docker" else "podman")
    try:
        one.start(POLL_INTERVAL="60")
        size, layers = image(name)
        ready(one)
        time.sleep(SETTLE_SECONDS)
        pids = descendants(one.pid())
        begun = sum(map(seconds, pids))
        for _ in range(4):
            time.sleep(IDLE_SECONDS / 4)
            one.run("/app/appliance/healthy")
        cpu = (sum(map(seconds, pids)) - begun) / IDLE_SECONDS * 100
        held: dict[str, float] = {}
        for pid in pids:
            held[program(pid)] = held.get(program(pid), 0) + weight(pid)
    finally:
        one.remove()
    rows = [_row(f"{each}, MiB (PSS)", f"{mib:.0f}") for each, mib in held.items()]
    total = sum(held.values())
    sums = {"all": total, "no emulator": total - held["emulator"]}
    sums["no emulator, no dashboard"] = sums["no emulator"] - held["dashboard"]
    rows += [_row(f"{each}, MiB", f"{mib:.0f}", f"{GOALS[each]}") for each, mib in sums.items()]
    rows += [_row("idle, % of a core", f"{cpu:.2f}", f"{GOAL_CPU}"), start]
    rows.append(_row(f"image by {name}, MB", f"{size:.0f}", f"{GOAL_IMAGE}"))
    notes = [
        "Idle: all processes within a minute, without the shell of the health checks. What is left out was subtracted. "
        "With lines the producer holds 7 MiB more; the first page costs the dashboard its clients. "
        f"Layers, MB: {', '.join(layers)}."
    ]
    return [Section(title, columns, rows, "one run", notes)]


def _row(what: str, measured: str, goal: str = NONE) -> tuple[str, str, str, str]:
    return what, BEFORE.get(what, NONE), measured, goal
