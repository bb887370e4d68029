"""Reads parts of the log again: whole lines, from a file that is unchanged since they were acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from journal.checkpoint import Checkpoint, Fingerprint, Generation
from journal.files import Content, Found, continues, line_start
from journal.ranges import Ranges
from producer.reader import BLOCK_BYTES, line_end
from producer.record import FRAGMENT_BYTES, WINDOW_BYTES, Piece
from producer.source import Poll, Source


def pieces_again(
    source: Source, checkpoint: Checkpoint, due: Mapping[str, Ranges], say: Callable[[int, str], None]
) -> Iterator[Piece]:
    """The bytes that are due, extended to whole lines, as long as their file is unchanged.

    `say(level, message)` is called for what cannot be read again.
    """
    for generation in checkpoint.generations:
        if generation.id not in due:
            continue
        try:
            with _opened(source, generation) as found:
                if found is None:
                    say(logging.WARNING, f"repair: {generation.name} is not there, or not what it was: left alone")
                    continue
                yield from _pieces(source, generation, due[generation.id], *found)
        except OSError as error:
            say(logging.ERROR, f"repair: {generation.name} cannot be read: {error}")


@contextmanager
def _opened(source: Source, generation: Generation) -> Iterator[tuple[Found, Content] | None]:
    """A file that holds all that is acknowledged of the generation; originals before copies."""
    found = source.whereabouts.find([generation])
    with ExitStack() as stack:
        opened = None
        for file in sorted(generation.files, key=lambda file: file.copy):
            with suppress(KeyError, OSError):
                seen = found[file.key]
                content = stack.enter_context(seen.content())
                if continues(content, generation):
                    opened = replace(seen.measured(content), size=content.size), content
                    break
        yield opened


def _pieces(source: Source, generation: Generation, ranges: Ranges, seen: Found, content: Content) -> Iterator[Piece]:
    for start, end in _whole(content, ranges, seen.size):
        before = content.pread(min(WINDOW_BYTES, start), start - min(WINDOW_BYTES, start))
        part = replace(
            generation,
            offset=start,
            tail=Fingerprint.of(before) if before else Fingerprint(),
            inside_line=bool(before) and not before.endswith(b"\n"),
            closed=False,
        )
        for piece in source.pieces(Poll([(part, replace(seen, size=min(end, seen.size)))])):
            # after the bytes were read, so that a log emptied and refilled meanwhile is noticed
            if not continues(content, generation):
                return
            yield piece


def _whole(content: Content, ranges: Ranges, size: int) -> Ranges:
    """The ranges, extended to whole lines, so that they are cut into records as the first time.

    A line longer than a block, which went as fragments, is continued at the fragment: sent from its beginning each
    time, a line too long for one run would never come to its end.
    """
    whole = []
    for start, end in ranges:
        begin = line_start(content, min(start, size))
        ending = end if end >= size else line_end(content, end - 1, size) or size
        if (line_end(content, begin, size) or size) - begin > BLOCK_BYTES:
            begin += (start - begin) // FRAGMENT_BYTES * FRAGMENT_BYTES
        whole.append((begin, ending))
    return Ranges(whole)
