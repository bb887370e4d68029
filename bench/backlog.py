"""A backlog to measure with: a combined log whose lines are told apart by their path, and compress as real ones do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

BEGIN = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
AGENTS = [
    f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
    for system in ("X11; Linux x86_64", "Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7")
    for version in range(100, 131)
]
STATUSES = (200, 200, 200, 304, 404)


def lines(count: int, *, seconds: int, unusual: int = 0, seed: int = 1) -> Iterator[bytes]:
    """Lines with their newlines, in the order of their times, spread evenly over `seconds` seconds.

    The n-th has the path /line-<n>/…. Of a thousand, `unusual` have an escape of nginx's.
    """
    rng = random.Random(seed)
    second, stamp = -1, ""
    for number in range(count):
        if (now := number * seconds // count) != second:
            second, stamp = now, f"{BEGIN + timedelta(seconds=now):%d/%b/%Y:%H:%M:%S} +0000"
        address = ".".join(str(rng.randrange(1, 255)) for _ in range(4))
        query = f"{rng.randrange(10_000)}?s={rng.getrandbits(24):x}"
        agent = rng.choice(AGENTS) + ("\\x22" if rng.randrange(1000) < unusual else "")
        yield (
            f'{address} - - [{stamp}] "GET /line-{number:08}/{query} HTTP/1.1" {rng.choice(STATUSES)} '
            f'{rng.randrange(100, 50_000)} "-" "{agent}"\n'
        ).encode()


def write_backlog(path: Path, count: int, *, hours: int = 1, unusual: int = 0) -> None:
    """Write `lines` of that many hours to `path`, whose folder exists."""
    with path.open("wb", buffering=1 << 20) as log:
        log.writelines(lines(count, seconds=hours * 3600, unusual=unusual))
