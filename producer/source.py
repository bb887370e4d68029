"""The log and its rotated siblings, as generations with offsets.

A file belongs to a generation by its content (`identity.py`), whatever it is called, wherever it lies
(`whereabouts.py`), and also when it is compressed. One that matches no generation, of those that have no file any more
either, is a new one.

After a rename the generation goes on under another name. After copytruncate the log's content no longer matches, but
the copy's does: the generation goes on in the copy, and the log is a new one. A copy whose original still grows is read
only after the original is gone. A generation begins with its first complete line.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from common.clock import Clock
from common.settings import Settings
from journal.checkpoint import Checkpoint, FileId, Generation
from journal.files import Found, Key, absence
from journal.packed import BrokenError
from producer.identity import Identity, Imported, NoLogError
from producer.imported import MEMORY, ImportingError, load
from producer.processes import held_open, released
from producer.reader import Reader
from producer.record import Piece
from producer.whereabouts import Whereabouts

# Waiting lines are counted up to this many bytes, which takes some 10 ms; beyond, their number is unknown
COUNTED_BYTES = 16 * 1024 * 1024
# A rotation may leave no log for a moment: none of the rotated ones was written to for so long when that is said
ABSENT_AFTER = 60.0
# A compressed file that ends early is being made, unless nothing was written to it for so long
BEING_MADE = 60.0
# A file that was renamed may be written to for a while: so long after the last write it is kept open
KEPT_AFTER = 60.0
# How often the directory is looked at until two looks agree on what is gone and what is new
LOOKS = 4


@dataclass(slots=True)
class Poll:
    """One look at the directory: where to read on, oldest first, and for the user the problems, and that there is no
    log. `blind`: a file could not be compared, so half a line at the end of another one may go on in it."""

    unread: list[tuple[Generation, Found]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    absent: str | None = None
    blind: bool = False


class Source:
    def __init__(
        self,
        log: Path,
        clock: Clock,
        rng: random.Random,
        *,
        held: Callable[[int, int], bool | None] = held_open,
        folders: Sequence[Path] = (),
        keeps_open: bool = True,
        log_name: str = "",
        imported: Imported = dict,
    ) -> None:
        self.log = log
        self._clock = clock
        self._keeps_open = keeps_open
        self.whereabouts = Whereabouts(log, folders)
        self.reader = Reader(clock, held, self.whereabouts.of, log_name)
        self._identity = Identity(self.reader, clock, rng, imported)

    @classmethod
    def of(cls, settings: Settings, clock: Clock, rng: random.Random) -> Source:
        # a log of its own is deleted by the producer, to make room at once
        named: dict[str, Any] = {"keeps_open": not settings.owns_log, "log_name": settings.log_name}
        named["imported"] = partial(load, settings.checkpoint_file.with_name(MEMORY))
        return cls(settings.log_file, clock, rng, folders=settings.rotated_dirs, **named)

    def poll(self, checkpoint: Checkpoint) -> Poll:
        """Bring `checkpoint` up to what is on disk; to be saved before anything of it is sent.

        Raises SourceError. A file that cannot be read, or that is gone before it was read, is one of the `problems`.
        """
        before, ended, ignored = list(checkpoint.generations), checkpoint.ended, checkpoint.ignored
        agreed: object = None
        for _ in range(LOOKS):
            checkpoint.generations = [replace(each, files=[*each.files]) for each in before]
            checkpoint.ended, checkpoint.ignored = list(ended), list(ignored)
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
        if not any(seen.live or seen.age(now) < ABSENT_AFTER for seen in found.values()):
            poll.absent = absence(self.log)
        reporting = partial(self._reporting, poll)
        had = _ids_of_originals(checkpoint)
        reading = self._identity.known(checkpoint, found, reporting)
        # to a folder that is not looked at, perhaps, while a copy stays
        moved = had - _ids_of_originals(checkpoint)

        def hidden() -> bool:
            """Whether a file cannot be read, and so not be compared: one that seems new may be its copy."""
            return any(each.files and each.id not in reading for each in checkpoint.generations)

        blind = hidden()
        claimed = {file.key for generation in checkpoint.generations for file in generation.files}
        ignored = {file.key: file.stamp for file in checkpoint.ignored}
        checkpoint.ignored = [file for file in checkpoint.ignored if file.key in found]
        fresh: dict[Key, Generation] = {}
        kept = self.whereabouts.kept()
        gone = [seen for key, seen in kept.items() if key not in found]
        # the log itself first: of two files with the same content it is the original
        for seen in reversed(found.values()):
            passed_over = seen.hinted or (not seen.live and hidden()) or ignored.get(seen.key) == seen.look
            if seen.key in claimed or passed_over:
                continue
            readable = False
            with reporting(seen):
                try:
                    if started := self._identity.claim(seen, checkpoint, fresh, reading, gone):
                        fresh[seen.key] = started
                    readable = True
                except BrokenError as error:
                    if seen.age(now) >= BEING_MADE:
                        self._ignore(checkpoint, seen, poll, f"{error}: it is not sent until it is whole")
                        readable = True
                except ImportingError as error:
                    poll.problems.append(f"{seen.path} is not sent yet: {error}")
                except NoLogError as error:
                    self._ignore(checkpoint, seen, poll, str(error))
                    readable = True
            blind = blind or not readable
        lost = [each for each in checkpoint.generations if not each.files]
        left = [each for each in checkpoint.generations if not moved.isdisjoint(part.id for part in each.parts)]
        if sought := [each for each in lost + left if each.position]:
            self._identity.seek(sought, self.whereabouts.strays(), checkpoint, reading)
        rotated = [each for each in checkpoint.generations if each.id in reading and not reading[each.id].live]
        self._identity.seek(lost + rotated, gone, checkpoint, reading)
        changes: list[object] = [each.id for each in checkpoint.generations if not each.files]
        # with a file that was replaced since the listing, the log may be that one, put back
        changes += [key for key, seen in found.items() if key in fresh and (not seen.live or hidden())]
        checkpoint.generations += [fresh[key] for key in found if key in fresh]
        poll.blind = blind
        if not blind:  # else a file that could not be read may be the one a generation goes on in
            whole = [found[key] for key, started in fresh.items() if started.offset == started.hole]
            self._forget(checkpoint, poll, [self.whereabouts.name(seen) for seen in whole])
        unfinished: list[Found] = []
        for generation in checkpoint.generations:
            seen_as = reading.get(generation.id)
            if seen_as:
                # a power cut may have taken what was seen, and not sent, of the log itself
                generation.size = seen_as.size
                generation.sent = seen_as.size if seen_as.live else max(seen_as.size, generation.sent)
                if not (blind and generation.name):  # the one it has may be that of an edited, unreadable file
                    generation.name = self.whereabouts.name(seen_as) or generation.name
                if generation.unread:
                    poll.unread.append((generation, seen_as))
                if generation.unread or seen_as.live or seen_as.age(now) < KEPT_AFTER:
                    unfinished.append(seen_as)
        if self._keeps_open:
            others = [seen for key, seen in kept.items() if key not in {each.key for each in unfinished}]
            held = [seen for seen in others if not released(self.reader.held(*seen.key), seen.age(now))]
            self.whereabouts.keep([*unfinished, *held])
        return poll, changes

    def pieces(self, poll: Poll) -> Iterator[Piece]:
        """The complete lines that `poll` has seen and that are not acknowledged, oldest first, a block at a time.

        Raises OSError when a file cannot be read.
        """
        for generation, seen in poll.unread:
            yield from self.reader.pieces(generation, seen, blind=poll.blind)

    def count_lines(self, poll: Poll) -> int | None:
        """The lines that `poll` has seen and that are not acknowledged now; None when counting would take long."""
        left = [(generation.position, seen) for generation, seen in poll.unread if generation.unread]
        if sum(seen.size - position for position, seen in left) > COUNTED_BYTES:
            return None
        try:
            return sum(self.reader.count_lines(seen, position) for position, seen in left)
        except OSError:
            return None

    def _ignore(self, checkpoint: Checkpoint, seen: Found, poll: Poll, why: str) -> None:
        """Leave a file alone until it looks different, and say so once, unless there is nothing to say."""
        others = [file for file in checkpoint.ignored if file.key != seen.key]
        checkpoint.ignored = [*others, FileId(seen.device, seen.inode, stamp=seen.look)]
        if why:
            poll.problems.append(f"{seen.path} is ignored: {why}")

    def _forget(self, checkpoint: Checkpoint, poll: Poll, begun: Collection[str | None]) -> None:
        """Drop the generations whose file is gone, and say so when that lost or doubled something.

        `begun`: the names of files all of which are new.
        """
        for generation in [each for each in checkpoint.generations if not each.files]:
            checkpoint.end(generation)
            where = f"{self.log.parent / generation.name} (generation {generation.id})"
            advice = "let logrotate keep several files, and not use `copytruncate`"
            if generation.unread:
                poll.problems.append(
                    f"{generation.unread} bytes are lost: {where} was deleted or emptied before it was read to its "
                    f"end, or moved to a folder that LOG_ROTATED_DIRS does not name; {advice}"
                )
            elif generation.name == self.log.name:
                poll.problems.append(
                    f"{where} was deleted, emptied or edited, and no copy stands beside it: what was written to it "
                    f"since it was read up to byte {generation.position} is lost, if anything was; {advice}"
                )
            elif generation.name in begun and generation.position:
                poll.problems.append(
                    f"{where} was edited, or another log has its name: all of it is sent, again if it was edited. Let "
                    "what is run by logrotate not edit logs"
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


def _ids_of_originals(checkpoint: Checkpoint) -> set[str]:
    """Of the generations that have another file than copies."""
    return {
        part.id for each in checkpoint.generations if not all(one.copy for one in each.files) for part in each.parts
    }
