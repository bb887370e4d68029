"""Many seeds, in several processes: a module of its own, as these import it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence

from tests.simulation.faults import Violation
from tests.simulation.world import simulate

WORKERS = 2
CHUNK = 10


def attempt(seed: int) -> tuple[int, int, str | None]:
    """The seed, the lines of its run, and what was wrong with it."""
    try:
        return seed, simulate(seed).lines, None
    except Violation as violation:
        return seed, 0, str(violation)


def run(seeds: Sequence[int], workers: int = WORKERS) -> Iterator[tuple[int, int, str | None]]:
    """The outcome of each seed, in their order."""
    if workers == 1:
        yield from map(attempt, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(attempt, seeds, CHUNK)
