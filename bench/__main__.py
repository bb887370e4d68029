"""`script/bench`: everything that this project says of its speed and size, measured on this machine.

Sections, in the order in which they are measured; --only takes some of them:

    producer   CPU, memory and bytes of a backlog, beside a loop of boto3's and the floor of gzip
    function   lines per CPU second, an event of a million lines, hostile logs, the import
    formats    lines per CPU second of each format, with and without fields, beside combined
    append     requests and bytes of an append against the object's size, and through an hour of 10 GB
    deliveries requests, CPU and memory a million lines, by Kinesis, Firehose and S3 alone
    pipeline   a million lines from the producer's start to the last line in S3, on MiniStack and LocalStack
    start      container start, nginx, pipeline; the imports of each process
    footprint  memory and CPU of each process of an idle container, and the producer's start under cron
    count      instructions a line, by valgrind: the same on a busy machine, so that a regression shows

What is timed runs --runs times; the ways of a section take turns, and the figures are medians. What is counted
exactly (append, count) runs once. Each section says which.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench import (
    append,
    deliveries,
    footprint,
    formats,
    function,
    hostile,
    imports,
    instructions,
    pipeline,
    producer,
    start,
)
from bench.memory import GOAL_PRODUCER
from bench.results import Chart, Section, medians, now, read, write
from entrypoint.function import MEMORY, TIMEOUT

MIB = 2**20
NONE = "–"
# Goals of this project
GOAL_CPU = 1.3
GOAL_LINES = 700_000
GOAL_DIRECT = 3.0
GOAL_IDLE = 5.0
GOAL_PARSE = 350_000
GOAL_EVENT = 10.0
GOAL_EVENT_RSS = 256
GOAL_IMPORT = 150.0
GOALS_HOSTILE = {"an escape in every line": 250_000, "all rejected (another format)": 150_000}
GOAL_HOSTILE_RSS = 200
GOAL_FORMATS = 0.8  # of combined by a template
FUNCTION_CPU = MEMORY / function.CPU_MB

# way -> CPU s / M lines, lines/s, MiB, MB on the wire / M lines: of Fluent Bit, as this project was given them, into a
# local sink of PutRecords. GZIP_THERE: the floor, read + gzip -1, on that machine, CPU s / M lines.
OTHERS = {
    "one line a record": (2.12, 301_000, 118, 345),
    "aggregated": (1.96, 310_000, 130, 296),
    "aggregated and gzip'd": (4.57, 210_000, 133, 38),
}
GZIP_THERE = 1.10


def of_producer(runs: int) -> list[Section]:
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
                f"{max(one.rss for one in costs) / MIB:.0f}",
                f"{costs[0].data / costs[0].lines:.0f}",
                f"{costs[0].wire / costs[0].lines:.0f}" if costs[0].wire else NONE,
            )
        )
    columns = ("producer", "CPU s / M lines", "x gzip floor", "boto3 loop is x", "lines/s", "RSS MiB",
               "Data, MB / M lines", "on the wire, MB / M lines")  # fmt: skip
    notes = [
        f"Goals: {GOAL_CPU} CPU s, {GOAL_LINES:,} lines/s, {GOAL_PRODUCER} MiB. The boto3 loop has a tenth of the "
        "lines. RSS: the most of all runs. Data: before base64.",
        f"A tick with nothing to do: {producer.idle(runs) * 1000:.2f} ms CPU (goal: below {GOAL_IDLE:g} ms).",
        others(),
    ]
    return [Section("Producer: a backlog of 1,000,000 lines", columns, rows, medians(runs), notes)]


def others() -> str:
    """What others cost elsewhere, and what of it may be compared."""
    figures = [
        f"\n- {way}: {cpu} CPU s, {rate:,} lines/s, {rss} MiB, {wire} MB on the wire"
        for way, (cpu, rate, rss, wire) in OTHERS.items()
    ]
    machine = f"on another machine (gzip floor: {GZIP_THERE:.2f} CPU s), for a million lines of 215 bytes"
    return f"Fluent Bit 5.1 {machine}:\n{''.join(figures)}"


def of_function(runs: int) -> list[Section]:
    python = python_of_lambda()
    rates, odd, events, loaded = [], [], [], []
    for _ in range(runs):
        rates.append(function.rates(python))
        odd.append(function.rates(python, unusual=10))
        events.append(function.million(python))
        loaded.append(function.cold_import(python))
    cpu = median(one.cpu_seconds for one in events)
    rows = [
        ("line by line, lines / CPU s", f"{median(one.plain for one in rates):,.0f}", "1.0", NONE),
        (
            "blocks, lines / CPU s",
            f"{median(one.fast for one in rates):,.0f}",
            f"{median(one.fast / one.plain for one in rates):.1f}",
            f"{GOAL_PARSE:,}",
        ),
        (
            "blocks, 1 % of the lines with an escape, lines / CPU s",
            f"{median(one.fast for one in odd):,.0f}",
            f"{median(one.fast / one.plain for one in odd):.1f}",
            NONE,
        ),
        (
            "whole handler, lines / CPU s",
            f"{median(one.handler for one in rates):,.0f}",
            f"{median(one.handler / one.plain for one in rates):.1f}",
            f"{GOAL_PARSE:,}",
        ),
        ("1,000,000 lines in one event, CPU s", f"{cpu:.1f}", NONE, NONE),
        ("the same, wall s", f"{median(one.wall_seconds for one in events):.1f}", NONE, f"{GOAL_EVENT:g}"),
        (
            f"the same, s with the CPU of {MEMORY} MB (computed)",
            f"{cpu / FUNCTION_CPU:.1f}",
            NONE,
            f"{GOAL_EVENT:g}",
        ),
        ("the same, MiB at most", f"{max(one.peak_mib for one in events):.0f}", NONE, f"{GOAL_EVENT_RSS}"),
        ("import beyond boto3, ms", f"{median(loaded):.0f}", NONE, f"{GOAL_IMPORT:g}"),
    ]
    notes = [
        f"Python {rates[0].python}. The event has {events[0].event_bytes / 1e6:.1f} MB. S3 is a stand-in that keeps "
        f"sizes only. Lambda gives {MEMORY} MB {FUNCTION_CPU:.3f} of a CPU: {GOAL_EVENT:g} s need "
        f"{cpu / GOAL_EVENT * function.CPU_MB:,.0f} MB.",
    ]
    usual = Section("Function", ("", "measured", "x line by line", "goal"), rows, medians(runs), notes)
    return [usual, of_hostile(python)]


def of_formats(runs: int) -> list[Section]:
    found = formats.measure(runs, python_of_lambda())
    bases = found[formats.BASE]
    rows = [
        (
            name,
            f"{median(rates):,.0f}",
            f"{median(rate / base for rate, base in zip(rates, bases, strict=True)):.2f}",
            NONE if name == formats.BASE else f"{GOAL_FORMATS:g}",
        )
        for name, rates in found.items()
    ]
    columns = ("ACCESS_LOG_FORMAT, FIELDS", "lines / CPU s", "x template", "goal")
    notes = ["Blocks of lines to entries, without S3 and gzip; the Python is that of the section Function."]
    return [Section("Function: formats and fields", columns, rows, medians(runs), notes)]


def of_hostile(python: str) -> Section:
    rows = []
    for name in hostile.LOGS:
        cost = hostile.measure(name, python)
        goal = GOALS_HOSTILE.get(name)
        rows.append(
            (
                name,
                f"{cost.lines:,}",
                f"{cost.lines / cost.cpu_seconds:,.0f}",
                f"{goal:,}" if goal else NONE,
                f"{cost.peak_mib:.0f}",
                f"{cost.invocations}",
            )
        )
    columns = ("one event", "lines", "lines / CPU s", "goal", "MiB at most", "invocations")
    notes = [
        f"Goal: below {GOAL_HOSTILE_RSS} MiB. The handler as a whole. An invocation has {TIMEOUT} s, computed with the "
        f"CPU of {MEMORY} MB, {hostile.READ_SECONDS * 1000:g} ms a read of S3, {hostile.WRITE_SECONDS * 1000:g} ms a "
        "write."
    ]
    return Section("Function: hostile logs", columns, rows, "one run", notes)


def of_append(_runs: int) -> list[Section]:
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
    how = "exact counts, one run"
    return [Section("Archive: an append of 1 MiB", columns, rows, how, notes, chart)]


def _size(cost: append.Cost) -> int:
    return cost.size


def of_deliveries(runs: int) -> list[Section]:
    rows = []
    for each in deliveries.measure(runs):
        one, ours, theirs = (
            each[0],
            median(cost.producer.cpu for cost in each),
            median(cost.function.cpu for cost in each),
        )
        way = "one backlog" if one.polls == 1 else f"{one.polls} polls"
        rows.append(
            (
                f"{one.delivery}, {way}",
                f"{one.producer.requests:,}",
                f"{ours:.2f}",
                f"{max(cost.producer.rss for cost in each) / MIB:.0f}",
                f"{one.function.invocations:,}",
                f"{one.function.requests:,}",
                f"{theirs:.2f}",
                f"{one.producer.requests + one.function.requests:,}",
                f"{ours + theirs:.2f}",
                NONE if one.wrong is None else str(sum(cost.wrong or 0 for cost in each)),
            )
        )
    columns = ("delivery", "producer's requests", "its CPU s", "its RSS MiB", "invocations", "function's requests",
               "its CPU s", "requests", "CPU s", "not exactly once")  # fmt: skip
    notes = [
        f"{deliveries.LINES:,} lines of {deliveries.HOURS} hours. Goal: {GOAL_DIRECT:g} CPU s with S3 alone. "
        "Not counted: what Lambda and Firehose do themselves.",
    ]
    return [Section("Deliveries: requests and CPU a million lines", columns, rows, medians(runs), notes)]


def of_pipeline(runs: int) -> list[Section]:
    measured, missing = pipeline.measure(runs)
    slow = {each[0].backend: each for each in measured if not each[0].packed}
    rows = []
    for each in measured:
        pairs = zip(each, slow[each[0].backend], strict=True)
        rows.append(
            (
                f"{each[0].backend}, {'packed' if each[0].packed else 'one line a record'}",
                f"{each[0].lines:,}",
                f"{median(one.shipped for one in each):.1f}",
                f"{median(one.archived for one in each):.1f}",
                f"{median(one.lines_per_second for one in each):,.0f}",
                f"{median(one.lines_per_second / least.lines_per_second for one, least in pairs):,.0f}",
                str(sum(one.wrong for one in each)),
            )
        )
    notes = [
        "One line a record, 100 records an invocation, is the way of the original of 2020. LocalStack hands over one "
        "batch a second. Not exactly once: lines of all runs.",
        *([missing] if missing else []),
    ]
    columns = ("backlog", "lines", "s until shipped", "s until in S3", "lines/s", "x line a record",
               "not exactly once")  # fmt: skip
    return [Section("End to end", columns, rows, medians(runs), notes)]


def of_start(runs: int) -> list[Section]:
    sections = start.measure(runs)
    took = imports.measure(runs)
    rows = [(name, f"{seconds * 1000:.0f}") for name, seconds in took.items()]
    title = "Start of an interpreter with the imports of each process"
    return [*sections, Section(title, ("", "ms"), rows, medians(runs))]


def of_count(_runs: int) -> list[Section]:
    title, columns, how = "Instructions a line (valgrind)", ("", "instructions"), "one run"
    try:
        counted = instructions.measure()
    except RuntimeError as reason:
        return [Section(title, columns, [], how, [f"Not counted: {reason}"])]
    return [Section(title, columns, [(name, f"{each:,.0f}") for name, each in counted.items()], how)]


SECTIONS: dict[str, Callable[[int], list[Section]]] = {
    "producer": of_producer,
    "function": of_function,
    "formats": of_formats,
    "append": of_append,
    "deliveries": of_deliveries,
    "pipeline": of_pipeline,
    "start": of_start,
    "footprint": footprint.measure,
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
    parser.add_argument(
        "--write",
        action="store_true",
        help="write bench/RESULTS.md and bench/charts/; with --only the page keeps its other sections",
    )
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs: at least 1")
    if options.write and options.only:
        read()
    sections: list[Section] = []
    for name in options.only or SECTIONS:
        print(f"measuring: {name} …", file=sys.stderr, flush=True)
        measured = now()
        for section in SECTIONS[name](options.runs):
            section.measured = measured
            print(section.text(), flush=True)
            sections.append(section)
    if options.write:
        print(f"written: {write(sections, keep=bool(options.only))}")


if __name__ == "__main__":
    main()
