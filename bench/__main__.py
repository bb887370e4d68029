"""`script/bench`: everything that this project says of its speed and size, measured on this machine.

Sections, in the order in which they are measured; --only takes some of them:

    producer   CPU, memory and bytes on the wire of a backlog, beside a loop of boto3's and the floor of gzip
    function   lines per CPU second, an event of a million lines, the import
    append     requests and bytes of an append against the object's size, and through an hour of 10 GB
    race       what N writers of one hourly object cost each other
    pipeline   a million lines from the producer's start to the last line in S3, on MiniStack and LocalStack
    start      the image by layer; container start, nginx, pipeline; the imports of each process
    count      instructions a line, by valgrind: the same on a busy machine, so that a regression shows
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench import append, contention, function, imports, instructions, pipeline, producer, start
from bench.results import Chart, Section, load, machine, write

MIB, MB = 2**20, 10**6
# Goals of this project; "–" where there is none
GOAL_CPU = 1.3
GOAL_LINES = 700_000
GOAL_RSS = 60
GOAL_IDLE = 5.0
GOAL_PARSE = 350_000
GOAL_EVENT = 10.0
GOAL_EVENT_RSS = 256
GOAL_IMPORT = 150.0

Measured = tuple[list[Section], list[Chart]]


def of_producer(runs: int) -> Measured:
    found = producer.measure(runs=runs)
    floors, loops = found[producer.FLOOR], found[producer.LOOP]
    rows = []
    for name, costs in found.items():
        to_floor = median(one.cpu_per_million / least.cpu_per_million for one, least in zip(costs, floors, strict=True))
        to_loop = median(loop.cpu_per_million / one.cpu_per_million for one, loop in zip(costs, loops, strict=True))
        rows.append(
            (
                name,
                f"{median(one.cpu_per_million for one in costs):.2f}",
                f"{to_floor:.2f}",
                f"{to_loop:.1f}",
                f"{median(one.lines_per_second for one in costs):,.0f}",
                f"{1e6 / median(one.cpu_per_million for one in costs):,.0f}",
                f"{max(one.rss for one in costs) / MIB:.0f}",
                f"{costs[0].wire / costs[0].lines:.0f}",
            )
        )
    columns = ("producer", "CPU s / M lines", "x gzip floor", "boto3 loop is x", "lines/s", "lines / CPU s", "RSS MiB",
               "MB / M lines")  # fmt: skip
    notes = [
        f"Goals: at most {GOAL_CPU} CPU s a million lines with gzip, {GOAL_LINES:,} lines/s on one core, "
        f"{GOAL_RSS} MiB. The boto3 loop is measured on a tenth of the lines.",
        f"A tick with nothing to do: {producer.idle(runs) * 1000:.2f} ms CPU (goal: below {GOAL_IDLE:g} ms).",
    ]
    return [Section("Producer: a backlog of 1,000,000 lines", columns, rows, notes)], []


def of_function(runs: int) -> Measured:
    python = python_of_lambda()
    rates = [function.rates(python) for _ in range(runs)]
    events = [function.million(python) for _ in range(min(runs, 3))]
    loaded = [function.cold_import(python) for _ in range(runs)]
    plain = median(one.plain for one in rates)
    rows = [
        ("line by line, lines / CPU s", f"{plain:,.0f}", "1.0", "–"),
        *(
            (name, f"{figure:,.0f}", f"{figure / plain:.1f}", f"{GOAL_PARSE:,}")
            for name, figure in (
                ("blocks, lines / CPU s", median(one.fast for one in rates)),
                ("whole handler, lines / CPU s", median(one.handler for one in rates)),
            )
        ),
        ("1,000,000 lines in one event, CPU s", f"{median(one.cpu_seconds for one in events):.1f}", "–", "–"),
        ("the same, wall s", f"{median(one.wall_seconds for one in events):.1f}", "–", f"{GOAL_EVENT:g}"),
        ("the same, MiB at most", f"{max(one.peak_mib for one in events):.0f}", "–", f"{GOAL_EVENT_RSS}"),
        ("import beyond boto3, ms", f"{median(one.index for one in loaded):.0f}", "–", f"{GOAL_IMPORT:g}"),
    ]
    odd = median(function.rates(python, unusual=10).fast for _ in range(runs))
    notes = [
        f"Python {rates[0].python}. With one line in a hundred that has an escape of nginx's, blocks do {odd:,.0f} "
        "lines a CPU second. The event's S3 keeps sizes only.",
    ]
    return [Section("Function", ("", "measured", "x line by line", "goal"), rows, notes)], []


def of_append(_runs: int) -> Measured:
    small, large, hour = append.measure(), append.large(), append.hour()
    rows = [
        (size(one.size), str(one.requests), f"{one.sent / MIB:.2f}", f"{one.received / MIB:.2f}", where)
        for where, costs in (("MiniStack", small), ("sizes only", large))
        for one in costs
    ]
    notes = [
        f"An hour of {hour.bytes / 10**9:.1f} GB in {hour.appends} appends: {hour.requests} requests, at most "
        f"{hour.most_requests} an append, {hour.sent / hour.bytes:.3f} bytes sent a byte archived."
    ]
    columns = ("object", "requests", "MiB sent", "MiB received", "counted on")
    chart = Chart(
        "append.svg",
        "An append of 1 MiB against the object it goes to",
        "MiB of the object",
        "MiB, requests",
        (0.001, 0.01, 0.1, 1, 10, 100, 1000, 10_000),
        {
            "MiB sent and received": [
                (one.size / MIB, (one.sent + one.received) / MIB) for one in sorted(small + large, key=_size)
            ],
            "requests": [(one.size / MIB, one.requests) for one in sorted(small + large, key=_size)],
        },
    )
    return [Section("Archive: an append of 1 MiB", columns, rows, notes)], [chart]


def _size(cost: append.Cost) -> int:
    return cost.size


def of_race(_runs: int) -> Measured:
    races = contention.measure()
    rows = [
        (
            size(one.size),
            str(one.writers),
            f"{one.commits_per_second:.1f}",
            f"{one.conflicts / max(1, one.commits):.2f}",
            str(one.given_up),
        )
        for one in races
    ]
    columns = ("object", "writers", "commits/s", "rounds lost a commit", "given up")
    chart = Chart(
        "race.svg",
        "Rounds lost a commit against the writers of one hourly object",
        "writers",
        "rounds lost a commit",
        contention.WRITERS[1:],
        {
            f"object of {size(begin)}": [
                (one.writers, one.conflicts / one.commits) for one in races if one.size == begin and one.conflicts
            ]
            for begin in contention.SIZES
        },
    )
    return [Section("Archive: N writers of one hourly object", columns, rows)], [chart]


def of_pipeline(_runs: int) -> Measured:
    rows, notes = [], []
    for name in pipeline.BACKENDS:
        try:
            drained = pipeline.measure(name)
        except RuntimeError as reason:
            notes.append(f"{name}: not measured: {reason}")
            continue
        slow = drained[-1].lines_per_second
        rows += [
            (
                f"{one.backend}, {one.way}",
                f"{one.lines:,}",
                f"{one.shipped:.1f}",
                f"{one.archived:.1f}",
                f"{one.lines_per_second:,.0f}",
                f"{one.lines_per_second / slow:,.0f}",
                str(one.wrong),
            )
            for one in drained
        ]
    notes.append(
        "One line a record, 100 records an invocation, is how the original of 2020 did it, but here by this project's "
        "function; it is measured on fewer lines, and the factor compares lines per second."
    )
    columns = ("backlog", "lines", "s until shipped", "s until in S3", "lines/s", "x line a record",
               "not exactly once")  # fmt: skip
    return [Section("End to end", columns, rows, notes)], []


def of_start(runs: int) -> Measured:
    sections = start.measure(runs)
    took = imports.measure(runs)
    rows = [(name, f"{seconds * 1000:.0f}") for name, seconds in took.items()]
    return [*sections, Section("Start of an interpreter with the imports of each process", ("", "ms"), rows)], []


def of_count(_runs: int) -> Measured:
    try:
        counted = instructions.measure()
    except RuntimeError as reason:
        return [Section("Instructions a line", ("", "instructions"), [], [f"Not counted: {reason}"])], []
    rows = [(name, f"{each:,.0f}") for name, each in counted.items()]
    return [Section("Instructions a line (valgrind)", ("", "instructions"), rows)], []


SECTIONS: dict[str, Callable[[int], Measured]] = {
    "producer": of_producer,
    "function": of_function,
    "append": of_append,
    "race": of_race,
    "pipeline": of_pipeline,
    "start": of_start,
    "count": of_count,
}


def size(count: int) -> str:
    return f"{count / 1024:g} KiB" if 0 < count < MIB else f"{count / MIB:g} MiB"


def python_of_lambda() -> str:
    """A Python 3.13 with botocore, as Lambda runs the function; this one where there is none."""
    for candidate in (Path(".localstack/venv/bin/python"), shutil.which("python3.13")):
        if candidate and Path(candidate).exists():
            asked = [str(candidate), "-c", "import botocore, sys; sys.exit(sys.version_info[:2] != (3, 13))"]
            if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
                return str(candidate)
    return sys.executable


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="script/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of what is repeated (default 5)")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="measure only this; may be repeated")
    parser.add_argument("--write", action="store_true", help="write bench/RESULTS.md and bench/charts/")
    options = parser.parse_args()
    about = f"{machine()}, {load()}"
    print(f"{about}\n", flush=True)
    sections: list[Section] = []
    charts: list[Chart] = []
    for name in options.only or SECTIONS:
        print(f"measuring: {name} …", file=sys.stderr, flush=True)
        measured, drawn = SECTIONS[name](options.runs)
        for section in measured:
            print(section.text(), flush=True)
        sections += measured
        charts += drawn
    if options.write:
        print(f"written: {write(sections, charts, options.runs, about)}")


if __name__ == "__main__":
    main()
