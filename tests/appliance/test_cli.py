"""The operator's command and the log's formats, with the real appliance behind them."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.appliance.drivers import ROOT, Appliance, Native, get, no_poll_soon, polled, ready, told
from tests.emulator import Emulator
from tests.waiting import eventually


def answer(appliance: Appliance, *command: str) -> dict[str, Any]:
    """What a command with --json printed."""
    ended = appliance.run("appliance", *command, "--json")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_status_ship_now_and_tail(appliance: Appliance) -> None:
    appliance.start(POLL_INTERVAL=no_poll_soon())  # nothing is shipped by itself after the start
    polled(appliance)
    run = secrets.token_hex(4)
    for number in range(3):
        get(appliance.http_port, f"/{run}/{number}?secret=1", agent=f"agent/{number}")
    lines = 0

    def all_shipped() -> bool:
        """By one, or on a busy machine by the next: nginx writes a line after its answer."""
        nonlocal lines
        shipped = appliance.run("appliance", "ship-now", "--json")
        assert shipped.returncode == 0, shipped.stdout + shipped.stderr + appliance.output()[-3000:]
        facts = json.loads(shipped.stdout)
        lines += facts["lines"]
        return bool(lines >= 3 and facts["behind_bytes"] == 0)

    eventually(all_shipped)
    assert appliance.run("appliance", "ship-now").stdout.startswith("nothing was to be shipped")

    def archived() -> list[dict[str, Any]]:
        tail = appliance.run("appliance", "tail", "--no-follow", "--json", "--path", run)
        assert tail.returncode == 0, tail.stderr
        lines = [json.loads(line) for line in tail.stdout.splitlines()]
        assert len(lines) == 3
        return lines

    entries = eventually(archived, every=0.5)
    # nginx writes a line after its answer, so that two of its workers may write theirs in the other order
    assert sorted(entry["userAgent"] for entry in entries) == ["agent/0", "agent/1", "agent/2"]
    pretty = appliance.run("appliance", "tail", "--no-follow", "-n", "1", "--path", run, "--status", "4xx").stdout
    assert "404  GET" in pretty
    assert f"/{run}/" in pretty
    assert pretty.count("\n") == 1
    assert "\x1b" not in pretty

    status = appliance.run("appliance", "status")
    assert status.returncode == 0, status.stdout + status.stderr
    for part in ("nginx", "producer", "entrypoint", "poll", "log", "shipped"):
        assert f"\n{part} " in status.stdout, status.stdout
    facts = answer(appliance, "status")
    assert facts["ready"]
    assert facts["behind"]["bytes"] == 0
    assert facts["counters"]["lines"] >= 3


def test_the_other_commands_are_the_ones_there_are(appliance: Appliance) -> None:
    appliance.start()
    ready(appliance)
    assert told(appliance, "verify").stdout.count("✓") == 10
    assert told(appliance, "audit", "--json").returncode == 0
    assert "nginx: ok" in appliance.run("appliance", "health").stdout
    assert '"event"' in appliance.run("appliance", "logs", "lambda").stdout
    assert appliance.run("appliance", "nonsense").returncode == 2


@contextmanager
def following(native: Native, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = native.begin("appliance", "tail", *options)
    # a line that never comes must not be waited for without end: then the output ends, and reading it fails
    enough = threading.Timer(180, process.kill)
    enough.start()
    try:
        yield process
    finally:
        enough.cancel()
        process.kill()
        process.communicate(timeout=60)


@pytest.mark.emulator
def test_tail_shows_lines_as_they_come_and_ends_quietly(native: Native) -> None:
    native.start()
    ready(native)
    run = secrets.token_hex(4)
    with following(native, "--json", "--path", run, "--interval", "0.3") as tail:
        assert tail.stdout
        for number in range(3):
            get(native.http_port, f"/{run}/{number}")
            assert json.loads(tail.stdout.readline())["path"] == f"/{run}/{number}"
        tail.send_signal(signal.SIGINT)
        assert tail.wait(60) == 0
        assert tail.stderr
        assert tail.stderr.read() == ""
    with following(native, "-n", "1", "--interval", "0.3") as tail:
        assert tail.stdout
        assert tail.stderr
        tail.stdout.readline()
        tail.stdout.close()  # as `| head -1` does
        assert tail.wait(60) == 0
        assert tail.stderr.read() == ""
    outside = subprocess.run(
        [ROOT / "script" / "appliance", "status", "--json"],
        env={"PATH": os.environ["PATH"], "DATA_DIR": str(native.directory / "data")},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(outside.stdout)["ready"]


@pytest.mark.emulator
def test_tail_finds_firehose_s_objects_too(native: Native) -> None:
    native.start(DELIVERY="firehose")
    ready(native)
    run = secrets.token_hex(4)
    with following(native, "--json", "--path", run, "--interval", "0.3") as tail:
        assert tail.stdout
        for number in range(3):
            get(native.http_port, f"/{run}/{number}")
            assert json.loads(tail.stdout.readline())["path"] == f"/{run}/{number}"


@pytest.mark.emulator
def test_an_endpoint_that_is_away_is_named_and_waited_for(native: Native, emulator: Emulator) -> None:
    emulator.start()
    native.start(LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}")
    ready(native)
    run = secrets.token_hex(4)
    with following(native, "--json", "--path", run, "--interval", "0.3") as tail:
        get(native.http_port, f"/{run}/before")
        assert tail.stdout
        assert tail.stderr
        assert json.loads(tail.stdout.readline())["path"] == f"/{run}/before"
        emulator.stop(kill=True)
        assert "does not answer" in tail.stderr.readline()
        ended = native.run("appliance", "tail", "--no-follow")
        assert ended.returncode == 1
        assert "LOCALSTACK_HOST" in ended.stderr
        assert "Traceback" not in ended.stderr
        status = native.run("appliance", "status")
        assert status.returncode in (0, 1)
        eventually(lambda: native.run("appliance", "status").returncode == 1, why="a part is degraded")
        get(native.http_port, f"/{run}/after")
        emulator.start()
        # the emulator has forgotten everything: the bucket is made again, and repair brings what it held, so /before
        # may be shown once more, in whichever order
        shown = json.loads(tail.stdout.readline())["path"]
        if shown == f"/{run}/before":
            shown = json.loads(tail.stdout.readline())["path"]
        assert shown == f"/{run}/after"


@pytest.mark.emulator
def test_with_json_every_line_of_the_whole_appliance_is_an_object(native: Native) -> None:
    native.start(LOG_FORMAT="json", UPSTREAM="http://127.0.0.1:9", LOG_LEVEL="DEBUG", LOG_ROTATE_BYTES="2000")
    ready(native)
    for _ in range(20):
        get(native.http_port, '/x?token=h1dden&a="b"')  # nginx complains: nobody answers at UPSTREAM
    eventually(lambda: all(f'"{name}"' in native.output() for name in ("rotated", "shipped")), why="both are done")
    for pid in native.pids("-m producer"):
        os.kill(pid, signal.SIGKILL)  # supervisord has something to say, too
    eventually(lambda: native.output().count('"started"') >= 3, why="the producer is back")
    native.stop()
    lines = [json.loads(line) for line in native.output().splitlines()]
    assert all({"time", "level", "program", "event", "message"} <= line.keys() for line in lines)
    assert {"appliance", "supervisord", "nginx", "entrypoint", "producer"} <= {line["program"] for line in lines}
    assert {"started", "shipped", "rotated", "provisioned", "stopped", "output"} <= {line["event"] for line in lines}
    assert "h1dden" not in native.output()
    assert any(line["program"] == "nginx" and line["level"] == "error" for line in lines)


@pytest.mark.emulator
def test_with_syslog_every_line_has_a_priority_that_logger_reads(native: Native) -> None:
    native.start(LOG_FORMAT="syslog", UPSTREAM="http://127.0.0.1:9")
    ready(native)
    get(native.http_port, "/")
    eventually(lambda: "<3>nginx: " in native.output(), why="nginx complains")
    native.stop()
    lines = native.output().splitlines()
    assert [line for line in lines if not (line[0] == "<" and line[1] in "34567" and line[2] == ">")] == []
    assert {"appliance", "nginx", "producer", "entrypoint"} <= {line[3:].split(":")[0] for line in lines}
    if not shutil.which("logger"):
        pytest.skip("no logger(1) here; apt-get install bsdutils brings it")
    read = subprocess.run(
        ["logger", "--prio-prefix", "--stderr", "--no-act", "--socket-errors=off"],
        input=native.output(),
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    ).stderr.splitlines()
    # facility user (1): priority 8 + 3 is user.err
    assert any(line.startswith("<11>") and "nginx: " in line for line in read)
    assert len(read) == len(lines)
