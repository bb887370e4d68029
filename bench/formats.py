"""What the function costs by the format of the log and its fields: lines per CPU second, beside combined in one run.

The base is combined by a template of `re.sub`, as the function did before it had fields.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from unittest import mock

from archiver import event, fast
from archiver.filing import file_runs
from archiver.format import Format, compiled
from archiver.parse import Entry
from archiver.rule import Form, rule
from bench import backlog
from bench.function import GENERATION, LINES_A_SECOND, environment, packed

BASE = "combined, by a template"
FIVE = ("bytes", "referer", "user", "requestTime", "upstreamTime")
INGRESS = (  # of ingress-nginx
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" '
    "$request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr "
    "$upstream_response_length $upstream_response_time $upstream_status $req_id"
)
OF_INGRESS = ("bytes", "requestLength", "requestTime", "upstreamStatus", "requestId")


def _json(line: str) -> str:
    before, request, numbers, referer, _, agent, _ = line.split('"')
    address, _, _, when, _ = before.split(" ", 4)
    status, size = numbers.split()
    members: dict[str, str | int] = {
        "time_iso8601": f"2026-11-23T{when[-8:]}+00:00",
        "remote_addr": address,
        "request": request,
    }
    members |= {"status": int(status), "body_bytes_sent": int(size), "http_referer": referer, "http_user_agent": agent}
    return json.dumps(members, separators=(",", ":"))


def _timed(line: str) -> str:
    number = len(line) % 100
    return f'{line} requestTime=0.0{number:02} upstreamTime="0.0{number:02}"'


def _half(line: str) -> str:
    """With a Referer in half of the lines."""
    return line.replace(' "-" ', ' "https://example.org/a" ') if random.Random(line).random() < 0.5 else line


# name -> the format, the fields, and what is made of a combined line
WAYS: dict[str, tuple[str, tuple[str, ...], Callable[[str], str]]] = {
    BASE: ("combined", (), str),
    "combined": ("combined", (), str),
    "combined, five fields": ("combined", FIVE, _timed),
    "the same, one null in half of the lines": ("combined", FIVE, lambda line: _timed(_half(line))),
    "main": ("main", (), lambda line: f'{line} "203.0.113.7"'),
    "common": ("common", (), lambda line: line.rsplit(' "', 2)[0]),
    "vhost_combined": ("vhost_combined", (), "example.org:443 {}".format),
    "json": ("json", (), _json),
    "ingress-nginx, five fields": (
        *(INGRESS, OF_INGRESS),
        lambda line: f"{line} 512 0.012 [a-b-80] [] 10.0.0.1:80 512 0.011 200 f00d",
    ),
}


def measure(runs: int, python: str) -> dict[str, list[float]]:
    """Way -> lines per CPU second of each run, in a fresh process of that Python."""
    done = subprocess.run(
        [python, "-m", "bench.formats", str(runs)],
        capture_output=True,
        check=True,
        text=True,
        env=environment(),
        timeout=1800,
    )
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def measure_here(runs: int, count: int = 60_000) -> dict[str, list[float]]:
    """The same here; the ways take turns. Raises AssertionError where a line is no entry."""
    base = [line.decode().rstrip("\n") for line in backlog.lines(count, seconds=count // LINES_A_SECOND)]
    ways: dict[str, tuple[Format, list[event.Record]]] = {}
    for name, (text, fields, made) in WAYS.items():
        packs = packed(f"{made(line)}\n".encode() for line in base)
        records = [event.Record(pack, GENERATION, offset, None, 0.0, None) for offset, pack in packs]
        ways[name] = compiled(text, fields), records
    found: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(runs):
        for name, (format_, records) in ways.items():
            begun, entries = time.process_time(), 0
            with mock.patch.object(fast, "_taken", _by_template) if name == BASE else nullcontext():
                for record in records:
                    entries += sum(item.lines for target, item in file_runs(record, "", format_) if not target.rejected)
            found[name].append(count / (time.process_time() - begun))
            assert entries == count, name
    return found


def _by_template(block: bytes, around: fast.Sample, forms: tuple[Form, ...]) -> fast.Runs:
    made = rule(around.shape, around.clock, forms[0])
    template = b"".join(column.before + rb"\g<%d>" % column.group for column in made.columns) + made.end
    yield block, Entry(made.hour, made.line.sub(template, block))


if __name__ == "__main__":
    print(json.dumps(measure_here(int(sys.argv[1]))))
