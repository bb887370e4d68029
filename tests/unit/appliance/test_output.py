"""What programs print reaches the appliance's output, and no program waits where nothing reads it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from appliance.output import Output
from tests.appliance.drivers import ROOT, python
from tests.waiting import eventually

# Prints, ends with status 3, and says what it prints in the form of the appliance's log
PROGRAM = """
import subprocess, sys
from appliance.output import relayed
from common.log import configure
with relayed():
    configure("INFO", "human", "appliance", tag=True)
    subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
sys.exit(3)
"""


@contextmanager
def passing(target: int) -> Iterator[tuple[int, Output]]:
    """Where to print, and the Output that passes it on to `target`."""
    source, sink = os.pipe()
    output = Output(source, target)
    threads = [threading.Thread(target=each, daemon=True) for each in (output.take, output.give)]
    for thread in threads:
        thread.start()
    try:
        yield sink, output
    finally:
        os.close(sink)
        threads[0].join(60)
        os.close(source)


def read_until(descriptor: int, until: bytes) -> bytes:
    found = b""
    while until not in found:
        found += os.read(descriptor, 65536)
    return found


def test_what_nothing_reads_is_dropped_by_whole_lines_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    with passing(writing) as (sink, output):
        lines = [b"%07d %s\n" % (number, b"x" * 91) for number in range(30_000)]  # 3 MB
        for line in lines:
            os.write(sink, line)  # would stand still here
        eventually(lambda: output.lost > 0)
        found: list[bytes] = []

        def read() -> None:
            while chunk := os.read(reading, 65536):
                found.append(chunk)

        drain = threading.Thread(target=read)
        drain.start()
        total = len(lines)

        def missing() -> int:
            return sum(int(message.split()[0]) for message in caplog.messages)

        eventually(lambda: missing() + b"".join(found).count(b"\n") == total)
        assert missing() > 1000
    os.close(writing)
    drain.join(60)
    os.close(reading)
    kept = b"".join(found).splitlines(keepends=True)
    there = set(kept)
    assert kept == [line for line in lines if line in there], "whole lines, in their order"


@pytest.mark.parametrize("target", ["/dev/full", "a pipe without a reader"])
def test_a_full_disk_and_a_reader_that_is_gone_hold_nothing_up(target: str, caplog: pytest.LogCaptureFixture) -> None:
    if target == "/dev/full":
        writing = os.open(target, os.O_WRONLY)
    else:
        reading, writing = os.pipe()
        os.close(reading)
    with passing(writing) as (sink, output):
        for _ in range(30):
            os.write(sink, b"x" * 65535 + b"\n")
        eventually(lambda: output.lost == 30)
    assert caplog.messages == [], "nothing could read it"


def test_a_line_without_an_end_is_passed_on() -> None:
    reading, writing = os.pipe()
    with passing(writing) as (sink, _):
        os.write(sink, b"y" * 65536 + b"z")
        assert read_until(reading, b"y" * 1000)
    assert b"z" in read_until(reading, b"z")


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_all_of_it_is_out_at_the_end(kind: str) -> None:
    """A socket is what a systemd service has; /dev/stdout cannot be opened there, as supervisord does it."""
    program = 'import sys; open("/dev/stdout", "ab").write(b"opened anew\\n"); print("wrong", file=sys.stderr)'
    ours, theirs = socket.socketpair() if kind == "socket" else (None, None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, program],
        stdout=theirs.fileno() if theirs else subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    if ours and theirs:
        theirs.close()
        printed = b"".join(iter(lambda: ours.recv(65536), b""))
        ours.close()
    else:
        printed = done.stdout
    assert printed == b"opened anew\nwrong\n"


def test_a_terminal_of_another_user_is_written_to_without_being_opened() -> None:
    """As below `su USER -c`: what supervisord opens, /dev/stdout, is a pipe, which is the user's own."""
    controller, terminal = os.openpty()
    os.fchmod(terminal, 0)
    user = {"user": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    program = PROGRAM.replace("sys.executable", "'sh'").replace("sys.argv[1]", "'echo opened >/dev/stdout'")
    command = [python(), "-c", program]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{sysconfig.get_path('purelib')}"}
    with subprocess.Popen(command, env=environment, cwd="/", stdout=terminal, stderr=terminal, **user) as process:  # type: ignore[call-overload]
        os.close(terminal)
        assert b"opened" in read_until(controller, b"\n")
        assert process.wait(90) == 3
    os.close(controller)
