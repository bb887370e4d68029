"""Which format the newest lines of a log are in, and whether the function will reject them."""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from common.formats import JSON, NAMED, Format, entry, format_of
from journal.files import Content, Plain, log_at

NEWEST = 1000
NEWEST_BYTES = 1024 * 1024
# Of a log that is looked at again and again
FEW_BYTES = 16 * 1024
# Fewer lines than this say nothing of a log's format
FEWEST = 10
# `combined` last, as it takes lines of `main` too
NAMES = sorted((*NAMED, JSON), key="combined".__eq__)
SHOWN = 300


@dataclass(frozen=True)
class Look:
    """`lines`: the newest ones, at least one. `format_`: the present one."""

    lines: list[bytes]
    format_: Format

    @cached_property
    def rejected(self) -> list[bytes]:
        return [line for line in self.lines if not entry(line, self.format_)]

    @cached_property
    def null(self) -> list[str]:
        """The fields that no line has: it is logged without them."""
        entries = [json.loads(found) for line in self.lines if (found := entry(line, self.format_))]
        names = [field.name for field in self.format_.fields]
        return [name for name in names if entries and all(each[name] is None for each in entries)]

    @property
    def wrong(self) -> bool:
        return 2 * len(self.rejected) > len(self.lines)

    @cached_property
    def by_format(self) -> dict[str, int]:
        """How many of the lines each named format rejects."""
        formats = {name: format_of(name, "") for name in NAMES}
        return {name: sum(not entry(line, each) for line in self.lines) for name, each in formats.items()}

    @property
    def fitting(self) -> str | None:
        """The named format that takes the most lines, and more than half of them."""
        best = min(NAMES, key=self.by_format.__getitem__)
        return best if 2 * self.by_format[best] < len(self.lines) else None

    @property
    def remedy(self) -> str:
        """What has most lines read, where they are not."""
        if self.fitting:
            return f"set ACCESS_LOG_FORMAT={self.fitting}"
        if re.match(rb'\{.*":\s*\{', self.rejected[0]):
            return "have flat JSON logged, without objects in it, or set ACCESS_LOG_FORMAT to nginx's log_format"
        if self.rejected[0].startswith(b"{"):
            return 'set ACCESS_LOG_FORMAT=json:{"key":"variable",…} with the keys of its lines'
        return "set ACCESS_LOG_FORMAT to the string of its log_format in nginx's configuration"

    @property
    def first(self) -> str | None:
        """The first line that is rejected, so far as it is shown, on one line and without control characters."""
        text = self.rejected[0][:SHOWN].decode("utf-8", "backslashreplace") if self.rejected else None
        return text and "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)

    def told(self) -> list[str]:
        """For the user, a sentence a line."""
        count, name = f"the newest {len(self.lines):,} lines", self.fitting
        most = f"{len(self.lines) - self.by_format[name]:,} of {count} are in the format {name}" if name else ""
        present = f"ACCESS_LOG_FORMAT={self.format_.name}" if self.format_.name else "the present ACCESS_LOG_FORMAT"
        remedy = f": {self.remedy}" if self.wrong else ""
        first = [f"the first that is rejected: {self.first}"] if self.rejected else []
        return [
            most or f"none of the formats {', '.join(NAMES)} has most of {count}",
            f"{present} rejects {len(self.rejected):,} of them{remedy}",
            *first,
            *([f"of FIELDS, null in all of them: {', '.join(self.null)}"] if self.null else ()),
        ]


def look_at(path: Path, format_: Format) -> Look:
    """The newest lines of a file. Raises OSError, also where there is none."""
    seen = log_at(path)
    with seen.content() as content:
        lines = _newest(content, seen.size, NEWEST_BYTES)[-NEWEST:]
    if not lines:
        raise OSError("it holds no whole line")
    return Look(lines, format_)


def complaint(log: Path, format_: Format) -> str | None:
    """What is wrong with the format of a log when most of its newest lines will be rejected; empty: nothing, None: it
    has too few lines to tell. Raises OSError."""
    with closing(Plain(os.open(log, os.O_RDONLY | os.O_CLOEXEC))) as content:
        look = Look(_newest(content, content.size, FEW_BYTES), format_)
    if len(look.lines) < FEWEST:
        return None
    if not look.wrong:
        return ""
    what = f"the {format_.name} format" if format_.name else "ACCESS_LOG_FORMAT"
    return (
        f"{len(look.rejected)} of the newest {len(look.lines)} lines of {log.name} are not in {what} and go to "
        f"rejected/: {look.remedy}, or log with `access_log … combined`"
    )


def _newest(content: Content, size: int, most: int) -> list[bytes]:
    """The whole lines at the end of it. Raises OSError."""
    start = max(0, size - most)
    return content.pread(size - start, start).split(b"\n")[1 if start else 0 : -1]
