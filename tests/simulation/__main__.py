"""`script/simulate`: run many seeds, or look at one."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from tests.simulation.faults import Violation
from tests.simulation.seeds import WORKERS, run
from tests.simulation.world import simulate


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="script/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many seeds (1000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of them (0)")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"how many at a time ({WORKERS})")
    parser.add_argument("--seed", type=int, help="only this one, here")
    parser.add_argument("--trace", action="store_true", help="say what happens, step by step (with --seed)")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        try:
            world = simulate(options.seed, print if options.trace else lambda _: None)
        except Violation as violation:
            print(violation)
            return 1
        print(f"seed {options.seed}: {world.lines} lines, each exactly once\n{world.setting}")
        return 0
    begun, lines, failed, count = time.monotonic(), 0, [], 0
    for seed, written, problem in run(range(options.first, options.first + options.seeds), options.workers):
        lines, count = lines + written, count + 1
        if problem:
            failed.append(seed)
            print(f"{problem}\n", flush=True)
        if count % 100 == 0:
            print(f"{count} seeds, {time.monotonic() - begun:.1f} s, {len(failed)} failed", flush=True)
    print(
        f"{count} seeds from {options.first} on, {lines} lines, {time.monotonic() - begun:.1f} s: "
        f"{f'{len(failed)} failed: {failed}' if failed else 'each line exactly once'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
