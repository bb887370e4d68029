"""The log and its rotated siblings, as generations with offsets.

Rotated logs stand beside `access.log` as `access.log.<anything>` or `access.log-<anything>`. A file belongs to a
generation by its content: the first bytes, and those just before the offset. Device and inode only say where to look,
as inodes are reused and a log can be emptied and refilled under the same one. A file that matches no generation, of
those that have no file any more either, is a new one.

After a rename the generation goes on under another name. After copytruncate the log's content no longer matches, but
the copy's does: the generation goes on in the copy, and the log is a new one. A copy whose original still grows is read
only after the original is gone. A generation begins with its first complete line.
"""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.clock import Clock
from common.settings import Settings
from journal.checkpoint import Checkpoint, FileId, Fingerprint, Generation
from journal.files import Found, Key, absence, begins_copy, continues
from producer.processes import held_open
from producer.reader import Reader, copied, head_of, line_end, make_durable
from producer.record import WINDOW_BYTES, Piece
from producer.whereabouts import Whereabouts

# Waiting lines are counted up to this many bytes, which takes some 10 ms; beyond, their number is unknown
COUNTED_BYTES = 16 * 1024 * 1024
# A rotation may leave no log for a moment: none of the rotated ones was written to for so long when that is said
ABSENT_AFTER = 60.0
# A file that was renamed may be written to for a while: so long after the last write it is kept open
KEPT_AFTER = 60.0
# How often the directory is looked at until two looks agree on what is gone and what is new
LOOKS = 4


@dataclass(slots=True)
class Poll:
    """One look at the directory: where to read on, oldest first, and for the user the problems, and that there is no
    log."""

    unread: list[tuple[Generation, Found]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    absent: str | None = None


class Source:
    def __init__(
        self,
        log: Path,
        clock: Clock,
        rng: random.Random,
        *,
        held: Callable[[int, int], bool | None] = held_open,
        folders: Sequence[Path] = (),
    ) -> None:
        self.log = log
        self._clock = clock
        self._rng = rng
        self.whereabouts = Whereabouts(log, folders)
        self._reader = Reader(clock, held, self.whereabouts.of)

    @classmethod
    def of(cls, settings: Settings, clock: Clock, rng: random.Random) -> Source:
        return cls(settings.log_file, clock, rng, folders=settings.rotated_dirs)

    def poll(self, checkpoint: Checkpoint) -> Poll:
        """Bring `checkpoint` up to what is on disk; to be saved before anything of it is sent.

        Raises SourceError. A file that cannot be read, or that is gone before it was read, is one of the `problems`.
        """
        before, ended = list(checkpoint.generations), list(checkpoint.ended)
        agreed: object = None
        for _ in range(LOOKS):
            checkpoint.generations, checkpoint.ended = copy.deepcopy(before), list(ended)
            poll, changes = self._look(checkpoint)
            if changes in ([], agreed):
                break
            agreed = changes
        return poll

    def _look(self, checkpoint: Checkpoint) -> tuple[Poll, list[object]]:
        """One look at the directory, and the changes in it that a rotation in the middle of it could fake."""
        poll = Poll()
        found = self.whereabouts.find(checkpoint.generations)
        now = self._clock.now().timestamp()
        if not any(seen.live or now - seen.modified < ABSENT_AFTER for seen in found.values()):
            poll.absent = absence(self.log)
        reading = self._known(checkpoint, found, poll)
        # an unreadable file cannot be compared: a file that seems new may be its copy
        hidden = any(each.files and each.id not in reading for each in checkpoint.generations)
        blind = hidden
        claimed = {file.key for generation in checkpoint.generations for file in generation.files}
        fresh: dict[Key, Generation] = {}
        # the log itself first: of two files with the same content it is the original
        for seen in reversed(found.values()):
            if seen.key in claimed or (hidden and not seen.live):
                continue
            readable = False
            with self._reporting(poll, seen):
                started = self._claim(seen, checkpoint, fresh, reading)
                readable = True
                if started:
                    fresh[seen.key] = started
                    reading[started.id] = seen
            blind = blind or not readable
        self._seek([each for each in checkpoint.generations if not each.files and each.position], checkpoint, reading)
        changes: list[object] = [each.id for each in checkpoint.generations if not each.files]
        changes += [key for key, seen in found.items() if key in fresh and not seen.live]
        checkpoint.generations += [fresh[key] for key in found if key in fresh]
        if not blind:  # else a file that could not be read may be the one a generation goes on in
            self._forget(checkpoint, poll)
        unfinished: list[Found] = []
        for generation in checkpoint.generations:
            seen_as = reading.get(generation.id)
            if seen_as:
                generation.size = seen_as.size
                generation.name = self.whereabouts.name(seen_as) or generation.name
                if generation.unread:
                    poll.unread.append((generation, seen_as))
                if generation.unread or seen_as.live or now - seen_as.modified < KEPT_AFTER:
                    unfinished.append(seen_as)
        self.whereabouts.keep(unfinished)
        return poll, changes

    def pieces(self, poll: Poll) -> Iterator[Piece]:
        """The complete lines that `poll` has seen and that are not acknowledged, oldest first, a block at a time.

        Raises OSError when a file cannot be read.
        """
        for generation, seen in poll.unread:
            yield from self._reader.pieces(generation, seen)

    def count_lines(self, poll: Poll) -> int | None:
        """The lines that `poll` has seen and that are not acknowledged now; None when counting would take long."""
        left = [(generation.position, seen) for generation, seen in poll.unread if generation.unread]
        if sum(seen.size - position for position, seen in left) > COUNTED_BYTES:
            return None
        try:
            return sum(self._reader.count_lines(seen, position) for position, seen in left)
        except OSError:
            return None

    # Which file is what

    def _known(self, checkpoint: Checkpoint, found: dict[Key, Found], poll: Poll) -> dict[str, Found]:
        """Keep of each generation the files that still are what they were; return the one to read it from."""
        reading: dict[str, Found] = {}
        for generation in list(checkpoint.generations):
            kept: list[FileId] = []
            readable: list[tuple[bool, int, Found]] = []
            for file in generation.files:
                seen = found.get(file.key)
                if seen is None:
                    continue
                same: bool | None = None  # as long as it could not be read
                with self._reporting(poll, seen), self._reader.open(seen) as descriptor:
                    longer = None if file.copy else _longer_head(descriptor, generation, seen)
                    same = continues(descriptor, generation) or (file.copy and begins_copy(descriptor, generation))
                    if same and longer:
                        generation.head, generation.starts = longer
                if same is not False:
                    kept.append(file)
                if same:
                    readable.append((not file.copy, seen.size, seen))
            generation.files = kept
            if readable:  # the longest original, or the longest copy
                *_, best = max(readable, key=lambda one: one[:2])
                self._go_on(generation, best, checkpoint, reading)
        return reading

    def _go_on(self, generation: Generation, seen: Found, checkpoint: Checkpoint, reading: dict[str, Found]) -> None:
        """Read the generation from this file. If its virtual newline is acknowledged and the file has grown, the added
        bytes are another generation's."""
        if generation.closed and seen.size > generation.position:
            fresh = self._fresh(generation.files, generation.head, generation.starts)
            fresh.offset, fresh.tail = generation.position, generation.tail
            checkpoint.generations[checkpoint.generations.index(generation)] = generation = fresh
        reading[generation.id] = seen

    def _claim(
        self, seen: Found, checkpoint: Checkpoint, fresh: dict[Key, Generation], reading: dict[str, Found]
    ) -> Generation | None:
        """Find the generation that a new file belongs to; if it begins one, return that."""
        with self._reader.open(seen) as descriptor:
            if known := self._known_by_content(descriptor, seen, checkpoint):
                # its file is gone and it goes on in this one: moved, restored, or left by copytruncate
                if known not in checkpoint.generations:
                    checkpoint.ended.remove(known)
                    known = replace(known)
                    checkpoint.generations.insert(0, known)
                whole = seen.size >= known.position
                known.files = [FileId(seen.device, seen.inode, copy=not whole)]
                if whole:
                    self._go_on(known, seen, checkpoint, reading)
                return None
            for generation in [*checkpoint.generations, *fresh.values()]:
                original = reading.get(generation.id)
                if original and seen.size and not seen.live and self._copied(seen, original):
                    generation.files.append(FileId(seen.device, seen.inode, copy=True))
                    return None
                if original and not original.live and original.size and self._copied(original, seen):
                    # a copy that goes on further than its original
                    generation.files.append(FileId(seen.device, seen.inode))
                    reading[generation.id] = seen
                    return None
            if line_end(descriptor, 0, seen.size) is None and not (seen.size and self._reader.final(seen, descriptor)):
                return None
            head = head_of(descriptor, seen.size)
        return self._fresh([FileId(seen.device, seen.inode)], *head)

    def _known_by_content(self, descriptor: int, seen: Found, checkpoint: Checkpoint) -> Generation | None:
        """The generation without a file whose bytes these are, or, of a rotated log, begin to be: a copy that is being
        made, or one that was cut short."""
        gone = [each for each in [*checkpoint.generations, *checkpoint.ended] if not each.files]
        gone.sort(key=lambda each: -each.position)
        for generation in gone:
            if continues(descriptor, generation):
                return generation
        for generation in gone:
            short = not seen.live and os.fstat(descriptor).st_size < generation.position
            if short and begins_copy(descriptor, generation):
                return generation
        return None

    def _seek(self, lost: list[Generation], checkpoint: Checkpoint, reading: dict[str, Found]) -> None:
        """Look for the generations whose file is gone in files of other names, and in the folders beside the log."""
        for seen in self.whereabouts.strays() if lost else ():
            try:
                with self._reader.open(seen) as descriptor:
                    found = next((each for each in lost if not each.files and continues(descriptor, each)), None)
            except OSError:
                continue  # perhaps another program's
            if found:
                found.files = [FileId(seen.device, seen.inode)]
                self._go_on(found, seen, checkpoint, reading)

    def _copied(self, seen: Found, original: Found) -> bool:
        with self._reader.open(seen) as descriptor, self._reader.open(original) as other:
            return copied(descriptor, other)

    def _fresh(self, files: list[FileId], head: Fingerprint, starts: list[Fingerprint]) -> Generation:
        """A new generation. The time in its id files those of its lines that carry none."""
        name = f"{int(self._clock.now().timestamp()):08x}{self._rng.getrandbits(64):016x}"
        return Generation(name, files, head, starts=starts)

    def _forget(self, checkpoint: Checkpoint, poll: Poll) -> None:
        """Drop the generations whose file is gone, and say so when that lost something."""
        for generation in [each for each in checkpoint.generations if not each.files]:
            checkpoint.end(generation)
            where = f"{self.log.parent / generation.name} (generation {generation.id})"
            if generation.unread:
                poll.problems.append(
                    f"{generation.unread} bytes are lost: {where} was deleted, compressed or emptied before it was "
                    "read to its end, or moved to a folder that LOG_ROTATED_DIRS does not name; let logrotate use "
                    "`delaycompress`, not `copytruncate`, and keep several files"
                )
            elif generation.name == self.log.name:
                poll.problems.append(
                    f"{where} was deleted, emptied or compressed, no copy stands beside it: what was written to it "
                    f"since it was last read at byte {generation.position} is lost, if anything was; let logrotate use "
                    "`delaycompress`, and not `copytruncate`"
                )

    @contextmanager
    def _reporting(self, poll: Poll, seen: Found) -> Iterator[None]:
        """An unreadable file does not keep the others from being shipped."""
        try:
            yield
        except FileNotFoundError:
            pass  # gone since the listing; the next poll says what that cost
        except OSError as error:
            poll.problems.append(f"{seen.path} cannot be read ({error.strerror}): allow this user to read it")


def _longer_head(descriptor: int, generation: Generation, seen: Found) -> tuple[Fingerprint, list[Fingerprint]] | None:
    """More of the beginning than was there when the generation was first seen, and durable like what is sent. Whether
    the file still is the generation's is to be asked after this."""
    if generation.head.length >= min(seen.size, WINDOW_BYTES):
        return None
    make_durable(descriptor)
    return head_of(descriptor, seen.size)
