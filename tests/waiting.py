"""Polling with a deadline: what tests do instead of sleeping; and ports that stay free until they are listened on."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Seconds. A machine that others use is ten times slower for half a minute, or stands still for a third of one
PATIENCE = 60.0
# Above those that a browser refuses
LOWEST_PORT = 12_000
RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
# pytest's workers choose at the same time: each has ports of its own
WORKER, WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8, 8

_random = random.SystemRandom()
_given: set[int] = set()


def eventually(
    look: Callable[[], T], *, within: float = 30.0, every: float = 0.1, patience: float = PATIENCE, why: str = ""
) -> T:
    """What `look` returns as soon as it is truthy; an AssertionError with what it last saw when the time is over.

    `within`: seconds that it may take on an idle machine; a busy one has `patience` s more. An exception of `look`
    counts as not yet: an emulator that stands still gives other ones than one that is not there. A RuntimeError says
    that it will never be, and is raised.
    """
    end = time.monotonic() + within + patience
    while True:
        seen: object
        error: Exception | None = None
        try:
            value = look()
        except RuntimeError:
            raise
        except Exception as raised:
            seen = error = raised
        else:
            if value:
                return value
            seen = value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within + patience:g} s: {why or look}; last seen: {seen!r}") from error
        time.sleep(every)


def free_port() -> int:
    """A port that nothing listens on, below those that the kernel gives to outgoing connections; none is given twice.

    One of the kernel's could be taken before it is listened on, or while its server is being started again; a client
    that keeps asking for a closed one may even be connected with itself.
    """
    end = int(RANGE.read_text().split()[0])
    for _ in range(200):
        port = _random.randrange(LOWEST_PORT + WORKER, end, WORKERS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise AssertionError("no free port")
