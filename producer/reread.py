"""Reads parts of the log again: whole lines, from a file that is unchanged since they were acknowledged."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from journal.checkpoint import Checkpoint, Fingerprint, Generation
from journal.files import STEP, Found, continues, files_of, line_start
from journal.ranges import Ranges
from producer.reader import BLOCK_BYTES
from producer.record import FRAGMENT_BYTES, WINDOW_BYTES, Piece
from producer.source import Poll, Source


class Reread:
    """`say(level, message)` is called for what cannot be read again."""

    def __init__(self, source: Source, say: Callable[[int, str], None]) -> None:
        self._source = source
        self._say = say

    def pieces(self, checkpoint: Checkpoint, due: Mapping[str, Ranges]) -> Iterator[Piece]:
        """The bytes that are due, extended to whole lines, as long as their file is unchanged."""
        for generation in checkpoint.generations:
            if generation.id not in due:
                continue
            try:
                yield from self._of(generation, due[generation.id])
            except OSError as error:
                self._say(logging.ERROR, f"repair: {generation.name} cannot be read: {error}")

    def _of(self, generation: Generation, ranges: Ranges) -> Iterator[Piece]:
        found = self._open(generation)
        if found is None:
            self._say(logging.WARNING, f"repair: {generation.name} is not there, or not what it was: left alone")
            return
        seen, descriptor = found
        try:
            for start, end in _whole(descriptor, ranges, seen.size):
                before = os.pread(descriptor, min(WINDOW_BYTES, start), start - min(WINDOW_BYTES, start))
                part = replace(
                    generation,
                    offset=start,
                    tail=Fingerprint.of(before) if before else Fingerprint(),
                    inside_line=bool(before) and not before.endswith(b"\n"),
                    closed=False,
                )
                limit = replace(seen, size=min(end, seen.size))
                for piece in self._source.pieces(Poll([(part, limit)])):
                    # after the bytes were read, so that a log emptied and refilled meanwhile is noticed
                    if not continues(descriptor, generation):
                        return
                    yield piece
        finally:
            os.close(descriptor)

    def _open(self, generation: Generation) -> tuple[Found, int] | None:
        """A file that holds all that is acknowledged of the generation; originals before copies."""
        found = {seen.key: seen for seen in files_of(self._source.log)}
        for file in sorted(generation.files, key=lambda file: file.copy):
            try:
                descriptor = found[file.key].open()
            except (KeyError, OSError):
                continue
            if continues(descriptor, generation):
                return replace(found[file.key], size=os.fstat(descriptor).st_size), descriptor
            os.close(descriptor)
        return None


def _whole(descriptor: int, ranges: Ranges, size: int) -> Ranges:
    """The ranges, extended to whole lines, so that they are cut into records as the first time.

    A line longer than a block, which went as fragments, is continued at the fragment: sent from its beginning each
    time, a line too long for one run would never come to its end.
    """
    whole = []
    for start, end in ranges:
        begin = line_start(descriptor, min(start, size))
        ending = end if end >= size else _line_end(descriptor, end - 1, size)
        if min(_line_end(descriptor, begin, size), size) - begin > BLOCK_BYTES:
            begin += (start - begin) // FRAGMENT_BYTES * FRAGMENT_BYTES
        whole.append((begin, ending))
    return Ranges(whole)


def _line_end(descriptor: int, position: int, size: int) -> int:
    """The offset behind the newline that ends the line around `position`, or the file's end."""
    while position < size:
        block = os.pread(descriptor, min(STEP, size - position), position)
        if not block:
            break
        newline = block.find(b"\n")
        if newline >= 0:
            return position + newline + 1
        position += len(block)
    return size
