"""What the archived lines say of the web site, minute by minute. Pure."""

from __future__ import annotations

import heapq
import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

CLASSES = ("2xx", "3xx", "4xx", "5xx", "other")
TOP = 10
# Paths and agents that are told apart in one minute; past twice as many, the rarest are forgotten
DISTINCT = 200
# Longer names are cut: a path may have 8 KB
NAME_LENGTH = 200
# Of the request times of a minute, by their logarithm: each is known to 2.5 %
PERCENTILES = (0.5, 0.95, 0.99)
STEP = 1.05
MOST = 2**53  # what is larger is no number of nginx's
# What begins the query, fragment or parameters of a path, escaped once or again
_BEHIND = re.compile(r"[?#;]|%(?:25)*(?:3[FfBb]|23)")


@dataclass(slots=True)
class Minute:
    classes: Counter[str] = field(default_factory=Counter)
    paths: Counter[str] = field(default_factory=Counter)
    agents: Counter[str] = field(default_factory=Counter)
    bytes: int | None = None
    milliseconds: Counter[int] = field(default_factory=Counter)  # the logarithm of their number -> requests

    def add(self, other: Minute) -> None:
        self.classes += other.classes
        self.paths += other.paths
        self.agents += other.agents
        self.milliseconds += other.milliseconds
        if other.bytes is not None:
            self.bytes = (self.bytes or 0) + other.bytes

    def fields(self) -> dict[str, Any]:
        """`bytes`, and of the request times, in seconds, the `seconds` of each of PERCENTILES; null without FIELDS."""
        total, so_far = self.milliseconds.total(), 0
        found: list[float] = []
        for step, count in sorted(self.milliseconds.items()):
            so_far += count
            for _ in range(len(found), sum(so_far >= part * total for part in PERCENTILES)):
                found.append(round(STEP**step / 1000, 3) if step >= 0 else 0.0)
        return {"bytes": self.bytes, "seconds": found or None}


Minutes = dict[str, Minute]  # by the minute's text, `2026-11-23T10:00`


def entry(line: bytes | str) -> dict[str, Any] | None:
    """An archived line, or None for what is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def status_class(status: object) -> str:
    if isinstance(status, int) and 200 <= status < 600:
        return f"{status // 100}xx"
    return "other"


def without_query(path: object) -> str:
    """A path without what its query, its fragment, or a session behind a semicolon may give away."""
    return _BEHIND.split(str(path), maxsplit=1)[0][:NAME_LENGTH]


def add(minutes: Minutes, lines: Iterable[bytes]) -> None:
    """Count archived lines into the minutes of their own time."""
    for line in lines:
        one = entry(line)
        if one is None or not isinstance(one.get("time"), str):
            continue
        minute = minutes.setdefault(one["time"][:16], Minute())
        minute.classes[status_class(one.get("status"))] += 1
        if isinstance(size := one.get("bytes"), int) and 0 <= size < MOST:
            minute.bytes = (minute.bytes or 0) + size
        if isinstance(seconds := one.get("requestTime"), (int, float)) and 0 <= seconds < MOST:
            minute.milliseconds[round(math.log(1000 * seconds, STEP)) if seconds >= 0.001 else -1] += 1
        for counter, name in (
            (minute.paths, without_query(one.get("path") or "")),
            (minute.agents, str(one.get("userAgent") or "")[:NAME_LENGTH]),
        ):
            counter[name] += 1
            if len(counter) > 2 * DISTINCT:
                kept = counter.most_common(DISTINCT)
                counter.clear()
                counter.update(dict(kept))


def chart(parts: Iterable[Minutes], now: datetime, minutes: int) -> dict[str, Any]:
    """The last `minutes` minutes up to the one of `now`, summed over `parts`; without `complete`."""
    last = now.replace(second=0, microsecond=0)
    times = [last - timedelta(minutes=back) for back in range(minutes - 1, -1, -1)]
    total: Minutes = {f"{time:%Y-%m-%dT%H:%M}": Minute() for time in times}
    for part in parts:
        for name in total.keys() & part.keys():
            total[name].add(part[name])
    whole = Minute()
    for minute in total.values():
        whole.add(minute)
    return {
        "from": times[0].isoformat(),
        "to": (last + timedelta(minutes=1)).isoformat(),
        "minutes": [
            {"t": time.isoformat(), **{name: minute.classes[name] for name in CLASSES}, **minute.fields()}
            for time, minute in zip(times, total.values(), strict=True)
        ],
        "paths": _top(whole.paths),
        "agents": _top(whole.agents),
        "lines": whole.classes.total(),
        **whole.fields(),
    }


def _top(sums: Counter[str]) -> list[dict[str, Any]]:
    best = heapq.nsmallest(TOP, sums.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"name": name, "count": count} for name, count in best]
