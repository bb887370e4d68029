"""The memory of the image's producer, and how long a start takes: container, nginx, whole pipeline."""

from __future__ import annotations

import http.client
import inspect
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench.backlog import write_backlog
from bench.memory import GOAL_PRODUCER, peak
from bench.producer import stream
from bench.results import Section, medians
from tests.appliance.drivers import IMAGE, ROOT, Appliance, Container, Native, engine, folder
from tests.keys import KEY
from tests.waiting import eventually

POLL = 0.02
BACKLOG = 1_000_000
# in the container: the producer's program as it is, then the most memory that its process has held
WEIGHED = f"""
import runpy, sys
from pathlib import Path
sys.argv = ["producer", "--once"]
try:
    runpy.run_module("producer", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code, end
{inspect.getsource(peak)}
print(peak())
"""


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except http.client.HTTPException:
        return False
    finally:
        connection.close()


def ready(appliance: Appliance) -> bool:
    return appliance.run("appliance", "health", "--ready").returncode == 0


def start(appliance: Appliance) -> tuple[float, float]:
    """Seconds from the start until nginx answers, and until every part is ready."""
    begin = time.monotonic()
    appliance.start(POLL_INTERVAL="60")
    eventually(lambda: answers(appliance.http_port), every=POLL, within=60)
    served = time.monotonic() - begin
    eventually(lambda: ready(appliance), every=POLL, within=60)
    return served, time.monotonic() - begin


def bare(name: str) -> float:
    """Seconds the engine itself needs to run the image with nothing in it to start."""
    begin = time.monotonic()
    subprocess.run([name, "run", "--rm", "--entrypoint", "true", IMAGE], capture_output=True, timeout=60, check=True)
    return time.monotonic() - begin


def row(title: str, seconds: list[float]) -> tuple[str, str, str]:
    return title, f"{statistics.median(seconds):.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}"


def build(name: str) -> None:
    form = ["--format", "docker"] if name == "podman" else []
    subprocess.run([name, "build", *form, "--tag", IMAGE, str(ROOT)], capture_output=True, timeout=900, check=True)


def memory(name: str) -> int:
    """The most bytes that the image's producer holds while it ships a backlog of BACKLOG lines over HTTP."""
    with tempfile.TemporaryDirectory() as folder, stream() as port:
        log = Path(folder) / "log" / "access.log"
        log.parent.mkdir()
        write_backlog(log, BACKLOG)
        for each in (log, log.parent, log.parents[1]):
            each.chmod(0o777)  # the image's user is another one
        endpoint = ["--network", "host", "--env", f"LOCALSTACK_HOST=127.0.0.1:{port}", "--env", f"RECORD_KEY={KEY}"]
        done = subprocess.run(
            [name, "run", "--rm", *endpoint, "--volume", f"{folder}:/data", IMAGE, "python", "-c", WEIGHED],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
    return int(done.stdout.splitlines()[-1])


def in_container(name: str) -> dict[str, float]:
    engine_alone = bare(name)
    one = Container(name, "bridge" if name == "docker" else "podman")
    try:
        served, whole = start(one)
    finally:
        one.remove()
    return {
        f"{name}: the engine alone (run --rm … true)": engine_alone,
        f"{name}: nginx answers": served,
        f"{name}: pipeline ready (embedded emulator)": whole,
    }


def natively() -> dict[str, float]:
    with folder() as directory:
        one = Native(directory)
        try:
            served, whole = start(one)
        finally:
            one.stop()
    return {"natively: nginx answers": served, "natively: pipeline ready (embedded emulator)": whole}


def measure(runs: int) -> list[Section]:
    """Of image and container; without an engine only the starts of a native appliance."""
    sections, notes = [], []
    name = engine()
    if name is None:
        notes.append("No container engine answers: no image, no container. Enable with: apt-get install podman")
    else:
        build(name)
        what = f"most resident memory, {BACKLOG:,} lines through boto3, MiB"
        most = max(memory(name) for _ in range(runs))
        weighed = [(what, f"{most / 2**20:.0f}", f"{GOAL_PRODUCER}")]
        sections.append(Section("Producer in the image", ("", "measured", "goal"), weighed, f"the most of {runs} runs"))
    rounds = [(in_container(name) if name else {}) | natively() for _ in range(runs)]
    rows = [row(title, [each[title] for each in rounds]) for title in rounds[0]]
    columns = ("", "s", "least to most")
    return [*sections, Section("From the start until it serves", columns, rows, medians(runs), notes)]
