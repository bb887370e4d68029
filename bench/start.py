"""The image's size by layer, how long a start takes (container, nginx, whole pipeline), and what an append costs."""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from bench import append
from tests.appliance.drivers import IMAGE, ROOT, Appliance, Container, Native, engine
from tests.waiting import eventually

POLL = 0.02


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
    return appliance.run("health", "--ready").returncode == 0


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


def report(title: str, seconds: list[float]) -> None:
    print(f"  {title:<42} {statistics.median(seconds):6.2f} s   ({min(seconds):.2f} to {max(seconds):.2f})")


def container(name: str, runs: int) -> None:
    form = ["--format", "docker"] if name == "podman" else []
    subprocess.run([name, "build", *form, "--tag", IMAGE, str(ROOT)], capture_output=True, timeout=900, check=True)
    shown = subprocess.run([name, "image", "inspect", IMAGE], capture_output=True, text=True, timeout=60, check=True)
    size = int(json.loads(shown.stdout)[0]["Size"])
    print(f"Image: {size / 1e6:.0f} MB unpacked, base image included; its layers:")
    layers = subprocess.run(
        [name, "history", "--format", "{{.Size}}\t{{.CreatedBy}}", IMAGE],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for line in layers.stdout.splitlines():
        if "MB" in line.split("\t")[0]:
            print(f"  {line[:110]}")
    engine_alone, served, whole = [], [], []
    for _ in range(runs):
        engine_alone.append(bare(name))
        one = Container(name, "bridge" if name == "docker" else "podman")
        try:
            first, second = start(one)
        finally:
            one.remove()
        served.append(first)
        whole.append(second)
    print(f"Start by {name}, median of {runs} (least to most), the engine's own time included:")
    report("the engine alone (run --rm … true)", engine_alone)
    report("nginx answers", served)
    report("pipeline ready (embedded emulator)", whole)


def native(runs: int) -> None:
    served, whole = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as directory:
            one = Native(Path(directory))
            try:
                first, second = start(one)
            finally:
                one.stop()
        served.append(first)
        whole.append(second)
    print(f"Start natively, median of {runs} (least to most):")
    report("nginx answers", served)
    report("pipeline ready (embedded emulator)", whole)


def main() -> None:
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="starts to measure (default 5)")
    options = parser.parse_args()
    name = engine()
    if name is None:
        print("No container engine answers: the image is not measured. Enable with: apt-get install podman")
    else:
        container(name, options.runs)
    native(options.runs)
    append.report()


if __name__ == "__main__":
    main()
