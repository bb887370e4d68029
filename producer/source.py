"""The log and its rotated siblings, as generations with offsets.

The log is `access.log`; rotated ones stand beside it as `access.log.<anything>` or `access.log-<anything>`, and are
known again by device and inode *and* by their content (the first bytes, and those just before the offset), since
inodes are reused and a log can be emptied and refilled under the same one. What matches neither is a new generation.

Rotation by rename changes nothing: the file keeps its inode, the generation goes on under another name. With
copytruncate the log's own content no longer matches, but the copy's does: the generation goes on in the copy, and what
the log now holds is a new one. A copy whose original still grows is known as a copy and read only after the original is
gone. A generation begins with its first complete line; until then there is nothing that needs a name.
"""

from __future__ import annotations

import copy
import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from common.clock import Clock
from producer.checkpoint import Checkpoint, FileId, Fingerprint, Generation
from producer.processes import held_open
from producer.record import FRAGMENT_BYTES, PACK_BYTES, WINDOW_BYTES, Kind, Piece, count_lines

# Read at once: two packs, less room for the lines at the cuts. It stays in the processor's caches.
READ_BYTES = 2 * PACK_BYTES - 64 * 1024
# Read at once when there is no newline in that: the longest line that is held in memory, anything longer travels as
# fragments
BLOCK_BYTES = 4 * 1024 * 1024
# These hold what another file held as text before; reading them as lines would send their bytes as rejected ones
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip")
# A rotated file that nobody holds open is complete, even without a last newline, once it was left alone for so long.
# nginx's workers reopen within moments of SIGUSR1; a line is one write, so half a line means a full disk or a crash.
FINAL_AFTER = 10.0
# The same when other users' processes cannot be looked into, to see whether they hold the file
FINAL_AFTER_UNSEEN = 600.0

# Up to so many bytes the lines that wait are counted, which then takes some 10 ms; beyond, their number is unknown
COUNTED_BYTES = 16 * 1024 * 1024

# How often the directory is looked at until two looks agree on what is gone and what is new
LOOKS = 4

Key = tuple[int, int]


class SourceError(Exception):
    """The log cannot be read at all; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file as the directory listing showed it."""

    path: Path
    device: int
    inode: int
    size: int
    modified: float
    live: bool

    @property
    def key(self) -> Key:
        return self.device, self.inode


@dataclass(slots=True)
class Poll:
    """What a look at the directory has shown: where to read on, oldest first, and what went wrong (for the user)."""

    unread: list[tuple[Generation, Found]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Source:
    def __init__(
        self,
        log: Path,
        clock: Clock,
        rng: random.Random,
        *,
        held: Callable[[int, int], bool | None] = held_open,
    ) -> None:
        self.log = log
        self._clock = clock
        self._rng = rng
        self._held = held

    def poll(self, checkpoint: Checkpoint) -> Poll:
        """Bring `checkpoint` up to what is on disk; to be saved before anything of it is sent.

        Raises SourceError. A file that cannot be read, or that is gone before it was read, is one of the `problems`.
        """
        before = list(checkpoint.generations)
        agreed: object = None
        for _ in range(LOOKS):
            checkpoint.generations = copy.deepcopy(before)
            poll, changes = self._look(checkpoint)
            if changes in ([], agreed):
                break
            agreed = changes
        return poll

    def _look(self, checkpoint: Checkpoint) -> tuple[Poll, list[object]]:
        """One look at the directory; and what it shows that a rotation in the middle of it could show as well."""
        poll = Poll()
        found = self._find(checkpoint)
        reading = self._known(checkpoint, found, poll)
        # With a file that cannot be read nothing can be compared: what seems new may be its copy
        hidden = any(each.files and each.id not in reading for each in checkpoint.generations)
        blind = hidden
        claimed = {file.key for generation in checkpoint.generations for file in generation.files}
        fresh: dict[Key, Generation] = {}
        # The log itself first: of two files with the same content it is the one that is no copy
        for seen in reversed(found.values()):
            if seen.key in claimed or (hidden and not seen.live):
                continue
            readable = False
            with self._reporting(poll, seen):
                started = self._claim(seen, [*checkpoint.generations, *fresh.values()], reading)
                readable = True
                if started:
                    fresh[seen.key] = started
                    reading[started.id] = seen
            blind = blind or not readable
        changes: list[object] = [each.id for each in checkpoint.generations if not each.files]
        changes += [key for key, seen in found.items() if key in fresh and not seen.live]
        checkpoint.generations += [fresh[key] for key in found if key in fresh]
        if not blind:  # else a file that could not be read may be the one a generation goes on in
            self._forget(checkpoint, poll)
        for generation in checkpoint.generations:
            seen_as = reading.get(generation.id)
            if seen_as:
                generation.size, generation.name = seen_as.size, seen_as.path.name
                if generation.unread:
                    poll.unread.append((generation, seen_as))
        return poll, changes

    def pieces(self, poll: Poll) -> Iterator[Piece]:
        """Everything complete that `poll` has seen and that is not acknowledged, oldest first, a block at a time.

        Raises OSError when a file cannot be read.
        """
        for generation, seen in poll.unread:
            yield from self._read(generation, seen)

    def count_lines(self, poll: Poll) -> int | None:
        """The lines that `poll` has seen and that are not acknowledged now; None when that cannot be told cheaply."""
        left = [(generation.position, seen) for generation, seen in poll.unread if generation.unread]
        if sum(seen.size - position for position, seen in left) > COUNTED_BYTES:
            return None
        lines = 0
        for position, seen in left:
            try:
                with self._open(seen) as descriptor:
                    lines += count_lines(os.pread(descriptor, seen.size - position, position))
            except OSError:
                return None
        return lines

    # Which file is what

    def _find(self, checkpoint: Checkpoint) -> dict[Key, Found]:
        """The rotated files, least recently written first, then the log itself."""
        found = self._list()
        if any(file.key not in found for generation in checkpoint.generations for file in generation.files):
            # A listing that runs while files are renamed may miss one that is there
            found = self._list() | found
        return dict(sorted(found.items(), key=lambda item: (item[1].live, item[1].modified, item[1].path.name)))

    def _list(self) -> dict[Key, Found]:
        try:
            paths = sorted(self.log.parent.iterdir())
        except FileNotFoundError:
            return {}
        except PermissionError as error:
            raise SourceError(f"{self.log.parent} cannot be read: allow this user to list it") from error
        found: dict[Key, Found] = {}
        for path in paths:  # the log sorts before its siblings, so that a link to it is not taken for a rotated one
            name, live = path.name, path == self.log
            sibling = name.startswith((f"{self.log.name}.", f"{self.log.name}-")) and not name.endswith(COMPRESSED)
            if not live and not sibling:
                continue
            try:
                status = path.stat()
            except OSError:  # renamed meanwhile, or a link to nowhere
                continue
            if stat.S_ISREG(status.st_mode):
                seen = Found(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime, live)
                found.setdefault(seen.key, seen)
            elif live:
                raise SourceError(f"{path} is no plain file: let nginx write its access log to a file, not a device")
        return found

    def _known(self, checkpoint: Checkpoint, found: dict[Key, Found], poll: Poll) -> dict[str, Found]:
        """Keep of each generation the files that still are what they were; return the one to read it from."""
        reading: dict[str, Found] = {}
        for generation in list(checkpoint.generations):
            kept: list[FileId] = []
            originals: list[Found] = []
            copies: list[Found] = []
            for file in generation.files:
                seen = found.get(file.key)
                if seen is None:
                    continue
                readable = False
                with self._reporting(poll, seen):
                    with self._open(seen) as descriptor:
                        if not continues(descriptor, generation) and not (
                            file.copy and _begins(descriptor, generation)
                        ):
                            continue
                    readable = True
                kept.append(file)
                if readable:
                    (copies if file.copy else originals).append(seen)
            generation.files = kept
            if originals or copies:
                best = max(originals or copies, key=lambda seen: seen.size)
                reading[generation.id] = best
                if generation.closed and best.size > generation.position:
                    self._reopen(generation, best, checkpoint, reading)
        return reading

    def _reopen(self, generation: Generation, seen: Found, checkpoint: Checkpoint, reading: dict[str, Found]) -> None:
        """A file whose virtual newline is acknowledged has grown: what was added is another generation's."""
        fresh = self._fresh(generation.files, generation.head)
        fresh.offset, fresh.tail = generation.position, generation.tail
        checkpoint.generations[checkpoint.generations.index(generation)] = fresh
        del reading[generation.id]
        reading[fresh.id] = seen

    def _claim(self, seen: Found, generations: list[Generation], reading: dict[str, Found]) -> Generation | None:
        """Find the generation a file unknown until now belongs to; if it is the first of one, return that."""
        with self._open(seen) as descriptor:
            for generation in generations:
                original = reading.get(generation.id)
                if not generation.files and continues(descriptor, generation):
                    # Its file is gone and this one goes on where it stood: moved, restored, or left by copytruncate
                    generation.files = [FileId(seen.device, seen.inode)]
                    reading[generation.id] = seen
                    return None
                if original and seen.size and not seen.live and self._copied(descriptor, original):
                    generation.files.append(FileId(seen.device, seen.inode, copy=True))
                    return None
            if _line_end(descriptor, 0, seen.size) is None and not (seen.size and self._final(seen, descriptor)):
                return None
            head = Fingerprint.of(os.pread(descriptor, min(WINDOW_BYTES, seen.size), 0))
        return self._fresh([FileId(seen.device, seen.inode)], head)

    def _copied(self, descriptor: int, original: Found) -> bool:
        """Whether a file has nothing that `original` has not, byte for byte."""
        position, length = 0, WINDOW_BYTES
        with self._open(original) as other:
            while mine := os.pread(descriptor, length, position):
                if os.pread(other, len(mine), position) != mine:
                    return False
                position, length = position + len(mine), BLOCK_BYTES
        return True

    def _fresh(self, files: list[FileId], head: Fingerprint) -> Generation:
        """A generation nobody has seen. The time in its id files those of its lines that carry none."""
        name = f"{int(self._clock.now().timestamp()):08x}{self._rng.getrandbits(64):016x}"
        return Generation(name, files, head)

    def _forget(self, checkpoint: Checkpoint, poll: Poll) -> None:
        """Drop the generations whose file is gone, and say so when that lost something."""
        for generation in [each for each in checkpoint.generations if not each.files]:
            checkpoint.generations.remove(generation)
            where = f"{self.log.with_name(generation.name)} (generation {generation.id})"
            if generation.unread:
                poll.problems.append(
                    f"{generation.unread} bytes are lost: {where} was deleted, compressed or emptied before it was "
                    "read to its end; let logrotate use `delaycompress`, not `copytruncate`, and keep several files"
                )
            elif generation.name == self.log.name:
                poll.problems.append(
                    f"{where} was deleted, emptied or compressed, no copy stands beside it: what was written to it "
                    f"since it was last read at byte {generation.position} is lost, if anything was; let logrotate use "
                    "`delaycompress`, and not `copytruncate`"
                )

    def _final(self, seen: Found, descriptor: int) -> bool:
        """Whether nobody will write to the file any more, and it is as it was seen."""
        age = self._clock.now().timestamp() - seen.modified
        if seen.live or age < FINAL_AFTER:
            return False
        held = self._held(seen.device, seen.inode)
        released = held is False or (held is None and age >= FINAL_AFTER_UNSEEN)
        # asked in this order: only once nobody holds it open is its size its last one
        return released and os.fstat(descriptor).st_size == seen.size

    # Reading

    def _read(self, generation: Generation, seen: Found) -> Iterator[Piece]:
        """From the generation's offset to the size the poll has seen, or to the last complete line before it."""
        try:
            with self._open(seen) as descriptor:
                yield from self._read_open(generation, seen, descriptor)
        except FileNotFoundError:
            return  # gone since the poll; the next one says what that cost

    def _read_open(self, generation: Generation, seen: Found, descriptor: int) -> Iterator[Piece]:
        position, inside_line, limit = generation.position, generation.inside_line, seen.size
        long_end: int | None = None
        before = os.pread(descriptor, generation.tail.length, position - generation.tail.length)
        if before and Fingerprint.of(before) != generation.tail:
            return  # replaced since the poll; the next one sees what is there now
        _make_durable(descriptor)
        while position < limit:
            length = min(READ_BYTES, BLOCK_BYTES, limit - position)
            data = _follows(descriptor, position, length if position else max(length, generation.head.length), before)
            if data and b"\n" not in data and len(data) < limit - position:  # the start of a long line: all of it
                length = min(BLOCK_BYTES, limit - position)
                data = _follows(descriptor, position, length, before)
            if data is None:
                return
            if not position:  # nothing stands before the first byte, so its head tells the file
                if Fingerprint.of(data[: generation.head.length]) != generation.head:
                    return
                data = data[:length]
            cut = data.rfind(b"\n") + 1
            if cut and not inside_line:
                piece = Piece(generation.id, position, data[:cut], before)
            elif not inside_line and len(data) < BLOCK_BYTES:
                if not self._final(seen, descriptor):
                    return
                piece = Piece(generation.id, position, data, before, Kind.LAST_LINE)
            else:
                long_end = long_end or _line_end(descriptor, position, limit)
                if long_end is None and self._final(seen, descriptor):
                    long_end = limit
                if long_end is None:
                    return
                data = data[: min(FRAGMENT_BYTES, long_end - position)]
                inside_line = position + len(data) < long_end
                piece = Piece(generation.id, position, data, before, Kind.FRAGMENT, inside_line)
                long_end = long_end if inside_line else None
            yield piece
            position += len(piece.data)
            before = (before + piece.data[-WINDOW_BYTES:])[-WINDOW_BYTES:]

    @contextmanager
    def _open(self, seen: Found) -> Iterator[int]:
        """A descriptor of that very file, under whatever name it has by now. Raises OSError."""
        descriptor = self._descriptor(seen)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _descriptor(self, seen: Found) -> int:
        path = seen.path
        for _ in range(2):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                pass
            else:
                status = os.fstat(descriptor)
                if (status.st_dev, status.st_ino) == seen.key:
                    return descriptor
                os.close(descriptor)
            moved = self._list().get(seen.key)
            if moved is None:
                break
            path = moved.path
        raise FileNotFoundError(errno.ENOENT, "renamed or deleted", str(seen.path))

    @contextmanager
    def _reporting(self, poll: Poll, seen: Found) -> Iterator[None]:
        """One file that cannot be read does not keep the others from being shipped."""
        try:
            yield
        except FileNotFoundError:
            pass  # gone since the listing; the next poll says what that cost
        except OSError as error:
            poll.problems.append(f"{seen.path} cannot be read ({error.strerror}): allow this user to read it")


def _begins(descriptor: int, generation: Generation) -> bool:
    """Whether the file starts as the generation's does."""
    return Fingerprint.of(os.pread(descriptor, generation.head.length, 0)) == generation.head


def continues(descriptor: int, generation: Generation) -> bool:
    """Whether the file starts as the generation's does and has the bytes before its offset."""
    tail, position = generation.tail, generation.position
    return (
        _begins(descriptor, generation)
        and os.fstat(descriptor).st_size >= position
        and (not tail.length or Fingerprint.of(os.pread(descriptor, tail.length, position - tail.length)) == tail)
    )


def _follows(descriptor: int, position: int, length: int, before: bytes) -> bytes | None:
    """`length` bytes at `position`, or None when the file has shrunk or `before` no longer stands before them.

    One read gets both, so that a file that is emptied and refilled at this very moment is noticed.
    """
    chunk = os.pread(descriptor, len(before) + length, position - len(before))
    if len(chunk) < len(before) + length or not chunk.startswith(before):
        return None
    return chunk[len(before) :]


def _line_end(descriptor: int, position: int, limit: int) -> int | None:
    """Where the line at `position` ends, behind its newline; None when there is none before `limit`."""
    while position < limit:
        block = os.pread(descriptor, min(BLOCK_BYTES, limit - position), position)
        if not block:
            return None
        found = block.find(b"\n")
        if found >= 0:
            return position + found + 1
        position += len(block)
    return None


def _make_durable(descriptor: int) -> None:
    """Let no power cut take back what is about to be sent: its offsets would then name other lines."""
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOSYS):
            raise
