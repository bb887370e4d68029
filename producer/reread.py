"""Reads parts of the log again: whole lines, from a file that is unchanged since they were acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from journal.checkpoint import Checkpoint, FileId, Fingerprint, Generation
from journal.files import Content, Found, begins_copy, continues, line_start
from journal.ranges import Ranges
from producer.reader import BLOCK_BYTES, line_end
from producer.record import WINDOW_BYTES, Piece
from producer.source import Poll, Source

# Whether a file is what it was
Same = Callable[[Content, Generation], bool]


def pieces_again(
    source: Source, checkpoint: Checkpoint, due: Mapping[str, Ranges], say: Callable[[int, str], None]
) -> Iterator[Piece]:
    """The bytes that are due, extended to whole lines, as long as their file is unchanged.

    `say(level, message)` is called for what cannot be read again.
    """
    for generation in checkpoint.parts:
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
def _opened(source: Source, generation: Generation) -> Iterator[tuple[Found, Content, Same] | None]:
    """A file that holds all that is acknowledged of the generation, or a copy that holds its first lines: copytruncate
    may leave less than was read. Originals before copies, and long ones before short ones."""
    found = source.whereabouts.find([generation])

    def length(file: FileId) -> int:
        return file.size if file.stamp or file.key not in found else found[file.key].size

    with ExitStack() as stack:
        opened = None
        files = sorted(generation.files, key=lambda file: (file.copy, -length(file)))
        ways: list[tuple[FileId, Same]] = [(file, continues) for file in files]
        for file, same in ways + [(file, begins_copy) for file in files if file.copy]:
            with suppress(KeyError, OSError):
                seen = found[file.key]
                content = stack.enter_context(seen.content())
                if same(content, generation):
                    size = content.size if same is continues else line_start(content, content.size)
                    opened = replace(seen.measured(content), size=generation.within(size)), content, same
                    break
        yield opened


def _pieces(
    source: Source, generation: Generation, ranges: Ranges, seen: Found, content: Content, same: Same
) -> Iterator[Piece]:
    first, fragment = generation.acknowledged[0], source.reader.fragment_bytes
    for start, end in _whole(content, ranges, first, seen.size, fragment):
        before = content.pread(min(WINDOW_BYTES, start), start - min(WINDOW_BYTES, start))
        part = replace(
            generation,
            # where a last line was sent without its end, it ends there, whatever has come behind it
            offset=start + generation.closed,
            tail=Fingerprint.of(before) if before else Fingerprint(),
            inside_line=start > generation.acknowledged[0] and not before.endswith(b"\n"),
        )
        for piece in source.pieces(Poll([(part, replace(seen, size=min(end, seen.size)))])):
            # after the bytes were read, so that a log emptied and refilled meanwhile is noticed
            if not same(content, generation):
                return
            yield piece


def _whole(content: Content, ranges: Ranges, first: int, size: int, fragment: int) -> Ranges:
    """The ranges, extended to whole lines behind `first`, so that they are cut into records, and into fragments of this
    size, as the first time.

    A line longer than a block, which went as fragments, is continued at the fragment: sent from its beginning each
    time, a line too long for one run would never come to its end.
    """
    whole = []
    for start, end in ranges:
        begin = max(first, line_start(content, min(start, size)))
        ending = end if end >= size else line_end(content, end - 1, size) or size
        if (line_end(content, begin, size) or size) - begin > BLOCK_BYTES:
            begin += (start - begin) // fragment * fragment
        whole.append((begin, ending))
    return Ranges(whole)
