"""What S3_EXPIRE_DAYS has removed from the bucket, as far as the log can tell: it counts as archived.

A ledger goes with its hourly object. Without this, a bucket that was made again, a lost archived.json or a long pause
would bring lines back whose time is over.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from common.settings import Settings
from journal.archived import CLOCKS_APART, Archived
from journal.checkpoint import Generation
from journal.files import STEP, Content, continues, files_of, line_start
from journal.ranges import Ranges

# The line's own time: the one before its first quote, whatever a client has put behind that
_TIME = re.compile(rb'^[^"\n]*\[(\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] ".*\n', re.MULTILINE | re.ASCII)


def expire(archived: Archived, generations: Sequence[Generation], settings: Settings, now: datetime) -> None:
    """Count as archived what is older than S3_EXPIRE_DAYS. Raises OSError."""
    if not settings.s3_expire_days:
        return
    # S3 rounds up to the next midnight, by its own clock
    moment = now - timedelta(days=settings.s3_expire_days) - CLOCKS_APART
    older: dict[str, Ranges] = {}
    found = {one.key: one for one in files_of(settings.log_file, generations, settings.rotated_dirs)}
    for generation in generations:
        known = archived.generations[generation.id]
        if datetime.fromtimestamp(int(generation.id[:8], 16), UTC) >= moment or not known.acknowledged - known.archived:
            continue
        for file in generation.files:
            with suppress(KeyError, FileNotFoundError), found[file.key].content() as content:
                if continues(content, generation):
                    older[generation.id] = Ranges.of(0, older_than(moment, content, generation.position))
    for name, known in archived.generations.items():
        if known.gone is not None and known.gone < moment.timestamp():
            older[name] = known.acknowledged
    archived.absorb(older)


def older_than(moment: datetime, content: Content, size: int) -> int:
    """Where the lines that are older than `moment` end: lines are in the order of their times. What has no time that
    can be read counts as younger. Raises OSError."""
    low, high = 0, size
    while high - low > STEP:
        begin = line_start(content, (low + high) // 2)
        first = _TIME.search(content.pread(STEP, begin))
        if first and _is_before(first[1], moment):
            low = begin + first.end()
        elif begin > low:
            high = begin
        else:
            return low
    end = low
    for line in _TIME.finditer(content.pread(high - low, low)):
        if not _is_before(line[1], moment):
            break
        end = low + line.end()
    return end


def _is_before(text: bytes, moment: datetime) -> bool:
    try:
        return datetime.strptime(text.decode(), "%d/%b/%Y:%H:%M:%S %z") < moment
    except ValueError:
        return False
