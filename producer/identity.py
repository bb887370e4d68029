"""Which file holds which generation: known by its content, and by nothing else.

A generation is known by its first bytes and by those before its offset; a copy, by all of its bytes, or by its first as
long as it is shorter. Inodes only say which file to compare first.
"""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial

from common.clock import Clock
from journal.checkpoint import EARLIER, Checkpoint, FileId, Fingerprint, Generation
from journal.files import NO_TEXT, Content, Found, Key, begins_copy, continues, is_text, line_start, may_be_copy
from journal.packed import BrokenError
from producer.edited import cut_short, take_over_edited
from producer.imported import Known, take_over
from producer.reader import (
    Reader,
    Rest,
    begin_of,
    is_bookmark,
    is_window,
    joined,
    line_end,
    longer_head,
    new_head,
    rotated_of,
    tail_of,
)

# Bytes that no other file begins with by chance
SURE = 16
# The file that each generation is to be read from
Reading = dict[str, Found]
# Says of a file that it cannot be read
Reporting = Callable[[Found], AbstractContextManager[None]]
# The generations that other files may be made of
Sent = Callable[[], list[Generation]]
# What was imported, by digest
Imported = Callable[[], Mapping[str, Known]]


class NoLogError(Exception):
    """What lies beside the log is no log; the message says so."""


class Identity:
    def __init__(self, reader: Reader, clock: Clock, rng: random.Random, imported: Imported) -> None:
        self._imported = imported
        self._reader = reader
        self._clock = clock
        self._rng = rng

    def known(self, checkpoint: Checkpoint, found: Mapping[Key, Found], reporting: Reporting) -> Reading:
        """Keep of each generation the files that still are what they were; return the one to read it from."""
        reading: Reading = {}
        live = {key for key, seen in found.items() if seen.live}
        sent = partial(rotated_of, checkpoint, reading)
        # that of the log itself first, as `sent` tells it from the others
        for generation in sorted(
            checkpoint.generations, key=lambda one: live.isdisjoint(each.key for each in one.files)
        ):
            kept: list[FileId] = []
            readable: list[tuple[bool, int, bool, Found]] = []
            for file in generation.files:
                seen = found.get(file.key)
                if seen is None:
                    continue
                same: bool | None = True
                if unpacked := seen.remembered(file):
                    seen = unpacked
                else:
                    same, seen = self._compared(seen, generation, sent, reporting, copy=file.copy)
                if same is not False:
                    kept.append(seen.file(copy=file.copy))
                if same:
                    readable.append((seen.live, seen.size, not file.copy, seen))
            generation.files = kept
            if readable:  # the log, or the longest; an original before its copy
                *_, best = max(readable, key=lambda one: one[:3])
                with suppress(FileNotFoundError):  # the next poll sees what is there now
                    self._go_on(generation, best, checkpoint, reading)
        return reading

    def _compared(
        self, seen: Found, generation: Generation, sent: Sent, reporting: Reporting, *, copy: bool
    ) -> tuple[bool | None, Found]:
        """Whether a file that held the generation still does, with no other one behind it; None: it cannot be read. And
        the file with its size."""
        same: bool | None = None
        with reporting(seen), self._reader.open(seen) as content:
            try:
                seen = seen.measured(content)
                longer = None if copy else longer_head(content, generation, seen.size)
                # a longer one has what was sent last; the log may have the inode of a copy that is gone
                short = copy and not seen.live and content.size <= generation.position
                holds = continues(content, generation) or (short and begins_copy(content, generation))
                holds = holds and (seen.live or generation.head.length >= SURE or is_text(content))
                further = not seen.live and seen.size > generation.position
                same = holds and not (further and joined(content, sent()))
            except BrokenError:  # a compressed file that ends early: it has the inode of another one
                same, longer = False, None
            if same and longer:
                generation.head, generation.starts = longer
        return same, seen

    def _go_on(self, generation: Generation, seen: Found, checkpoint: Checkpoint, reading: Reading) -> None:
        """Read the generation from this file, or to where another one goes on; if it was read to there, that one.

        Where its virtual newline is acknowledged and the file has grown, and where other bytes may have been sent under
        its name (`setback.py`). Raises OSError.
        """
        if len(generation.earlier) >= EARLIER:
            generation.limit = None
        elif generation.limit is not None and seen.live:
            generation.limit = min(generation.limit, seen.size)  # what was sent is durable: it is all there
        limit = generation.within(seen.size)
        if generation.edited:
            seen = replace(seen, size=limit)
        elif seen.size > limit:
            with self._reader.open(seen) as content:
                end = limit if generation.closed else line_start(content, limit)
                before = min(generation.tail.length, end)
                tail = Fingerprint.of(content.pread(before, end - before))
                if not continues(content, generation):
                    raise FileNotFoundError(errno.ENOENT, "emptied since it was compared", str(seen.path))
                if generation.position >= end:
                    fresh = self._fresh(generation.files, generation.head, generation.starts)
                    fresh.offset, fresh.sent, fresh.tail = end, end, tail
                    fresh.name, fresh.earlier, fresh.hole = generation.name, generation.earlier, generation.hole
                    if generation.start is not None and generation.start < end:
                        offset = end + generation.closed
                        part = replace(generation, files=[], offset=offset, tail=fresh.tail, inside_line=False)
                        part.limit, part.earlier = end, []
                        fresh.earlier = [*generation.earlier, part][-EARLIER:]
                    checkpoint.generations[checkpoint.generations.index(generation)] = generation = fresh
                else:
                    seen = replace(seen, size=end)
        reading[generation.id] = seen

    def claim(
        self,
        seen: Found,
        checkpoint: Checkpoint,
        fresh: dict[Key, Generation],
        reading: Reading,
        kept: Collection[Found],
    ) -> Generation | None:
        """Find the generation that a new file belongs to; if it begins one, return that. `kept`: files without a name.

        Raises OSError, BrokenError, NoLogError, ImportingError.
        """
        with self._reader.open(seen) as content:
            seen = seen.measured(content)
            known = self._by_content(content, seen, checkpoint, reading)
            # what is known by less than a line may be the beginning of anything, and a copy that was cut short may
            # be one of any log that begins so
            sure = known is not None and known.position >= SURE
            short = known is not None and not continues(content, known)
            if seen.size and not seen.live and not sure and not is_text(content):
                raise NoLogError(NO_TEXT)
            # a new log may begin like a rotated one that is there: the same request in the same second
            others = [] if seen.live or not seen.size else [*checkpoint.generations, *fresh.values()]
            alike = [each for each in others if each.id in reading and may_be_copy(content, each)]
            # half a copy may be one of an edited log and of its backup
            originals = [(each, reading[each.id]) for each in sorted(alike, key=lambda one: one.edited)]
            begins = self._reader.begins
            copies_of = (each for each, original in originals if (short or not sure) and begins(original, content))
            if copied_from := next(copies_of, None):
                copied_from.files.append(seen.file(copy=True))
                return None
            # made by `cat` of logs that were sent; what comes behind them was not, unless another one has it
            if ends := [] if seen.live else joined(content, rotated_of(checkpoint, reading)):
                *_, last, end = ends
                rests = [Rest(content, end), Rest(content, last)]
                if end == seen.size or any(begins(each, rest) for each in [*reading.values(), *kept] for rest in rests):
                    raise NoLogError("")
                started = self._fresh([seen.file()], *new_head(content, seen.size))
                started.offset, started.tail = end, tail_of(content, end)
                reading[started.id] = seen
                return started
            if known:
                # its file is gone and it goes on in this one: moved, restored, or left by copytruncate
                if known not in checkpoint.generations:
                    checkpoint.ended.remove(known)
                    known = replace(known)
                    checkpoint.generations.insert(0, known)
                before = known.files, known.limit
                self._limit(known)
                copies = [replace(file, copy=True) for file in known.files]
                known.files = [seen.file(copy=short), *copies]
                try:
                    self._go_on(known, seen, checkpoint, reading)
                except OSError:  # it goes on where it was
                    known.files, known.limit = before
                    raise
                return None
            if not seen.live and not seen.dated and is_bookmark(content):
                raise NoLogError("")  # it changes with each line
            if not seen.live and not seen.dated and self._reader.made_of(content, reading.values()):
                raise NoLogError("it is a part of other logs here, which are sent")
            for generation, original in sorted(originals, key=lambda each: -each[1].size):
                short = cut_short(content, generation)
                further = not original.live and original.size and (short or continues(content, generation))
                if further and self._copied(original, seen):
                    # a copy that goes on further than its original, which may be one that was cut short
                    generation.files.append(seen.file(copy=short))
                    self._go_on(generation, seen, checkpoint, reading)
                    return None
            if line_end(content, 0, seen.size) is None and not (seen.size and self._reader.final(seen, content)):
                return None
            begin = begin_of(content)
            started = self._fresh([seen.file()], *new_head(content, seen.size, begin))
            if not seen.live and not is_text(content):
                raise NoLogError(NO_TEXT)  # it was shredded since it was asked before
            if begin:
                started.offset, started.hole, started.tail = begin, begin, tail_of(content, begin)
            if part := take_over(started, content, seen, checkpoint, self._imported()):
                seen = part
            else:
                take_over_edited(started, content, seen, checkpoint, reading)
        reading[started.id] = seen
        return started

    @staticmethod
    def _limit(generation: Generation) -> None:
        """Of a file that is found by its content: it may be a copy, whose original goes on elsewhere, differently."""
        generation.limit = generation.sent if generation.limit is None else generation.limit

    @staticmethod
    def _by_content(content: Content, seen: Found, checkpoint: Checkpoint, reading: Reading) -> Generation | None:
        """The generation without a file whose bytes these are, or, of a rotated log, begin to be: a copy that is being
        made, or one that was cut short. Of the log itself, also one that is in a copy by now; of others, one of which
        there is such a beginning only."""

        def gone(each: Generation) -> bool:
            part = each.id in reading and reading[each.id].size < each.position
            return not each.files or part or (seen.live and is_window(each.head))

        generations = sorted([*checkpoint.generations, *checkpoint.ended], key=lambda each: -each.position)
        for generation in filter(gone, generations):
            if continues(content, generation):
                return generation
        return next((each for each in generations if not (seen.live or each.files) and cut_short(content, each)), None)

    def seek(self, lost: list[Generation], strays: Iterable[Found], checkpoint: Checkpoint, reading: Reading) -> None:
        """Look for the generations whose file is gone in files of other names and of other folders; where a copy is
        left, or it has no name, for what was written to it since it was packed or copied."""

        sent = partial(rotated_of, checkpoint, reading)

        def sought(each: Generation, seen: Found, content: Content) -> bool:
            # what `cat` made of it and others is no log that was moved
            if not continues(content, each) or (not seen.nameless and joined(content, sent())):
                return False
            # what goes on otherwise in the copy is read from there
            copy = reading.get(each.id)
            further = copy and not copy.live and copy.size < content.size
            return not each.files or bool(copy and further and self._copied(copy, seen))

        for seen in strays:
            try:
                with self._reader.open(seen) as content:
                    if found := next((each for each in lost if sought(each, seen, content)), None):
                        measured = seen.measured(content)
                        if not seen.nameless:
                            self._limit(found)
                        found.files = [measured.file(), *(replace(file, copy=True) for file in found.files)]
                        self._go_on(found, measured, checkpoint, reading)
            except OSError:
                continue  # perhaps another program's

    def _copied(self, seen: Found, original: Found) -> bool:
        with self._reader.open(seen) as content:
            return self._reader.begins(original, content)

    def _fresh(self, files: list[FileId], head: Fingerprint, starts: list[Fingerprint]) -> Generation:
        """A new generation. The time in its id files those of its lines that carry none."""
        name = f"{int(self._clock.now().timestamp()):08x}{self._rng.getrandbits(64):016x}"
        return Generation(name, files, head, starts=starts)
