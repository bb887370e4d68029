"""A backlog to measure with: a combined log of lines that are told apart by their path."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

BEGIN = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
# Bytes of a line with its newline, as in the log that the baselines of others were measured with
LINE_BYTES = 215
AGENTS = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
]
STATUSES = [200] * 16 + [304, 301, 404, 500]


def write_backlog(path: Path, lines: int, *, hours: int, seed: int = 1) -> None:
    """Write `lines` lines of LINE_BYTES bytes each, in the order of their times, spread evenly over `hours` hours.

    The n-th has the path /line-<n>/…, so that each can be looked for.
    """
    rng = random.Random(seed)
    step = timedelta(hours=hours) / lines
    with path.open("wb", buffering=1 << 20) as log:
        for number in range(lines):
            moment = BEGIN + number * step
            address = f"{rng.randrange(1, 224)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
            head = f'{address} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "GET /line-{number:08}/'
            tail = f' HTTP/1.1" {rng.choice(STATUSES)} {rng.randrange(100, 99_999)} "-" "{rng.choice(AGENTS)}"\n'
            log.write(f"{head}{'x' * (LINE_BYTES - len(head) - len(tail))}{tail}".encode())
