"""Polling with a deadline: what tests do instead of sleeping."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], *, within: float = 30.0, every: float = 0.1, why: str = "") -> T:
    """What `look` returns as soon as it is truthy; an AssertionError with what it last saw when `within` s are over.

    An AssertionError or OSError from `look` counts as not yet.
    """
    end = time.monotonic() + within
    while True:
        seen: object
        try:
            value = look()
        except (AssertionError, OSError) as error:
            seen = error
        else:
            if value:
                return value
            seen = value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {why or look}; last seen: {seen!r}")
        time.sleep(every)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
