"""Where the appliance prints to does not hold it up: a pipe that nothing reads, one without a reader, a socket."""

from __future__ import annotations

import os
import socket
import time

import pytest

from tests.appliance.drivers import Native, get
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.emulator


def test_nothing_reads_the_output_while_the_application_is_down(native: Native) -> None:
    """nginx prints a line for each request that the application does not answer: 64 KiB are full after 700 of them."""
    reading, writing = os.pipe()
    native.prints_to = writing
    native.start(UPSTREAM=f"http://127.0.0.1:{free_port()}")
    eventually(lambda: get(native.http_port, "/") == 502)
    for number in range(1500):
        assert get(native.http_port, f"/{number}") == 502
    begun = time.monotonic()
    assert native.stop() == 0
    assert time.monotonic() - begun < 60  # as long as nothing reads, it would take for ever
    logged = (native.directory / "data" / "log" / "access.log").read_text()
    assert all(f"/{number} " in logged for number in range(1500))
    os.close(reading)
    os.close(writing)


def test_the_reader_of_the_output_is_gone(native: Native) -> None:
    reading, native.prints_to = os.pipe()
    os.close(reading)
    native.start()
    ready_without_output(native)
    assert native.stop() == 0
    os.close(native.prints_to)


def test_the_output_is_a_socket(native: Native) -> None:
    """As systemd connects a service to the journal."""
    ours, theirs = socket.socketpair()
    native.prints_to = theirs.fileno()
    native.start()
    ready_without_output(native)
    assert native.stop() == 0
    theirs.close()
    printed = b"".join(iter(lambda: ours.recv(65536), b"")).decode()
    ours.close()
    assert "appliance | " in printed
    assert "entrypoint | " in printed


def ready_without_output(native: Native) -> None:
    eventually(lambda: native.run("appliance", "health", "--ready").returncode == 0, within=60, every=0.3)
