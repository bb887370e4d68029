"""Which format the newest lines of a log seem to be in, and whether the function will reject them."""

from __future__ import annotations

import os
from pathlib import Path

from common.formats import JSON, NAMED, Format, format_of

NEWEST_BYTES = 64 * 1024
# Fewer lines than this say nothing of a log's format
FEWEST = 10
NAMES = (*NAMED, JSON)


def complaint(log: Path, format_: Format) -> str | None:
    """What is wrong with the format of the newest lines when most of them will be rejected. Raises OSError."""
    lines = _newest(log)
    rejected = [line for line in lines if not _taken(line, format_)]
    if len(lines) < FEWEST or 2 * len(rejected) <= len(lines):
        return None
    fitting = [
        name for name in NAMES if 2 * sum(_taken(line, format_of(name, "")) for line in rejected) > len(rejected)
    ]
    what = f"the {format_.name} format" if format_.name else "ACCESS_LOG_FORMAT"
    seem = f"; they look like the format {fitting[0]}: set ACCESS_LOG_FORMAT={fitting[0]}, or" if fitting else ":"
    return (
        f"{len(rejected)} of the newest {len(lines)} lines of {log.name} are not in {what} and go to rejected/{seem} "
        "log with `access_log … combined` in nginx's configuration"
    )


def _taken(line: bytes, format_: Format) -> bool:
    return format_.values(line.lstrip(b"\0")) is not None


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
