"""Which format the newest lines of a log seem to be in, and whether the function will reject them."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

NEWEST_BYTES = 64 * 1024
# Fewer lines than this say nothing of a log's format
FEWEST = 10

_MONTH = rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TIME = rb"\[\d\d/" + _MONTH + rb"/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
_QUOTED = rb' "[^"\\]*+(?:\\.[^"\\]*+)*+"'
_COMMON = rb'\0*+[0-9A-Za-z.:%_-]++ - [^"]* ' + _TIME + _QUOTED + rb" \d{3} (?:\d++|-)"
COMBINED = re.compile(_COMMON + 2 * _QUOTED + rb"(?: .*)?+", re.DOTALL)
# name -> how a line of it looks: those that web servers and their packages log in, or that are written by hand
OTHERS = {
    "common": re.compile(_COMMON, re.DOTALL),
    "vhost_combined": re.compile(rb"[^ :]++:\d++ " + _COMMON + 2 * _QUOTED, re.DOTALL),
    "json": re.compile(rb"\{.*\}", re.DOTALL),
}


def complaint(log: Path) -> str | None:
    """What is wrong with the format of the newest lines when most of them will be rejected. Raises OSError."""
    lines = _newest(log)
    rejected = [line for line in lines if not COMBINED.fullmatch(line)]
    if len(lines) < FEWEST or 2 * len(rejected) <= len(lines):
        return None
    looks = Counter(name for line in rejected for name, shape in OTHERS.items() if shape.fullmatch(line))
    (name, count), *_ = looks.most_common(1) or [("", 0)]
    seem = f"; they look like the format {name}" if 2 * count > len(rejected) else ""
    return (
        f"{len(rejected)} of the newest {len(lines)} lines of {log.name} are not in the combined format and go to "
        f"rejected/{seem}: log with `access_log … combined` in nginx's configuration"
    )


def _newest(log: Path) -> list[bytes]:
    """The whole lines at the end of the log."""
    try:
        with log.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = max(0, size - NEWEST_BYTES)
            data = os.pread(file.fileno(), size - start, start)
    except FileNotFoundError:
        return []
    lines = data.split(b"\n")
    return lines[1 if start else 0 : -1]
