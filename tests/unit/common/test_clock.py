from __future__ import annotations

import random
from itertools import islice

from common.clock import backoff


def test_backoff_stays_under_a_limit_that_doubles_up_to_the_cap() -> None:
    rng = random.Random(1)
    for _ in range(100):
        waits = list(islice(backoff(rng, 0.5, 3.0), 6))
        assert all(0 <= wait <= limit for wait, limit in zip(waits, [0.5, 1, 2, 3, 3, 3], strict=True))


def test_backoff_is_spread_over_the_whole_range() -> None:
    rng = random.Random(1)
    firsts = [next(backoff(rng, 1.0, 1.0)) for _ in range(1000)]
    assert min(firsts) < 0.05
    assert max(firsts) > 0.95
