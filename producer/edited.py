"""What remains of a log that was edited in place."""

from __future__ import annotations

import logging
import re
from collections.abc import MutableMapping
from dataclasses import replace
from pathlib import Path

from common.log import event
from journal.checkpoint import Checkpoint, Fingerprint, Generation
from journal.files import Content, Found, begins_copy
from producer import reader

log = logging.getLogger(__name__)


def take_over_edited(
    started: Generation, content: Content, seen: Found, checkpoint: Checkpoint, reading: MutableMapping[str, Found]
) -> None:
    """If the log, or a rotated one under its name, is one that was edited in place, go on behind what was sent of
    it, as long as most is still there: a log that was emptied and filled has little that it had before. A backup of
    it keeps its name, and no more."""
    same = [each for each in checkpoint.generations if seen.live or Path(each.name).name == seen.path.name]
    open_ended = [each for each in same if not (each.closed or each.edited)]
    for edited in [each for each in open_ended if 2 * seen.size >= each.position]:
        end = moved_to(content, edited.tail)
        if end is not None and 2 * end >= edited.position:
            started.offset, started.tail, edited.edited = end, edited.tail, True
            if backup := reading.get(edited.id):
                reading[edited.id] = replace(backup, size=edited.within(backup.size))
            else:
                checkpoint.end(edited)
            log.warning(
                "%s was edited in place: its lines up to byte %d were sent before, as they were then; it goes on "
                "from there as generation %s",
                *(seen.path, end, started.id),
                extra=event("concern", part="log", problem="edited"),
            )
            return


def moved_to(content: Content, tail: Fingerprint) -> int | None:
    """Where the bytes that stood before an offset stand now, in a file that was edited; None if nowhere, or if they are
    no whole window, half of it whole lines: of a long one a client may choose the end. Raises OSError."""
    position, data = 0, b""
    while reader.is_window(tail) and (block := content.pread(reader.BLOCK_BYTES, position)):
        position, data = position + len(block), data[-tail.length :] + block
        for newline in re.finditer(b"\n", data):
            window = data[max(0, newline.end() - tail.length) : newline.end()]
            if 2 * (window.index(b"\n") + 1) <= tail.length and Fingerprint.of(window) == tail:
                return position - len(data) + newline.end()
    return None


def cut_short(content: Content, generation: Generation) -> bool:
    """Whether this is the beginning of what was sent. What was edited may begin the same and be shorter, but it has
    what was sent last. Raises OSError."""
    short = content.size <= generation.position and begins_copy(content, generation)
    return short and moved_to(content, generation.tail) is None
