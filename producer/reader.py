"""The bytes of one file: its beginning, whether it is unchanged and complete, and its pieces.

A file may be renamed, emptied or replaced at any moment. So it is opened by device and inode, under whatever name, and
bytes are handed on only if the bytes before them are still there.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from common.clock import Clock
from journal.checkpoint import Fingerprint, Generation
from journal.files import STEP, Found, Key
from producer.processes import released
from producer.record import FRAGMENT_BYTES, PACK_BYTES, WINDOW_BYTES, Kind, Piece, count_lines

# Read at once: two packs, less room for the lines at the cuts. It stays in the processor's caches.
READ_BYTES = 2 * PACK_BYTES - 64 * 1024
# Read at once when there is no newline in that: the longest line held in memory; a longer one travels as fragments
BLOCK_BYTES = 4 * 1024 * 1024
# A rotated file that no process holds open is complete after so long without a write, even without a last newline.
# nginx's workers reopen within moments of SIGUSR1; a line is one write, so half a line means a full disk or a crash.
FINAL_AFTER = 10.0
# First lines of a short log that are remembered one by one
STARTS = 12


@dataclass(frozen=True, slots=True)
class Reader:
    """`held` tells whether a process has a file open, `find` finds a file by device and inode."""

    clock: Clock
    held: Callable[[int, int], bool | None]
    find: Callable[[Key], Found | None]

    @contextmanager
    def open(self, seen: Found) -> Iterator[int]:
        """A descriptor of that very file, under whatever name it has by now. Raises OSError."""
        try:
            descriptor = seen.open()
        except FileNotFoundError:
            if (moved := self.find(seen.key)) is None:
                raise
            descriptor = moved.open()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def final(self, seen: Found, descriptor: int) -> bool:
        """Whether the file is as it was seen, and no process will write to it any more."""
        age = self.clock.now().timestamp() - seen.modified
        if seen.live or age < FINAL_AFTER:
            return False
        # in this order: only a file that no process holds open has its last size
        return released(self.held(seen.device, seen.inode), age) and os.fstat(descriptor).st_size == seen.size

    def count_lines(self, seen: Found, position: int) -> int:
        """The lines from `position` to the size the poll has seen. Raises OSError."""
        with self.open(seen) as descriptor:
            return count_lines(os.pread(descriptor, seen.size - position, position))

    def pieces(self, generation: Generation, seen: Found) -> Iterator[Piece]:
        """From the generation's offset to the size the poll has seen, or to the last complete line before it."""
        try:
            with self.open(seen) as descriptor:
                yield from self._read_open(generation, seen, descriptor)
        except FileNotFoundError:
            return  # gone since the poll; the next one says what that cost

    def _read_open(self, generation: Generation, seen: Found, descriptor: int) -> Iterator[Piece]:
        position, inside_line, limit = generation.position, generation.inside_line, seen.size
        long_end: int | None = None
        before = os.pread(descriptor, generation.tail.length, position - generation.tail.length)
        if before and Fingerprint.of(before) != generation.tail:
            return  # replaced since the poll; the next one sees what is there now
        make_durable(descriptor)
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
                if not self.final(seen, descriptor):
                    return
                piece = Piece(generation.id, position, data, before, Kind.LAST_LINE)
            else:
                long_end = long_end or line_end(descriptor, position, limit)
                long_end = long_end or (limit if self.final(seen, descriptor) else None)
                if long_end is None:
                    return
                data = data[: min(FRAGMENT_BYTES, long_end - position)]
                inside_line = position + len(data) < long_end
                piece = Piece(generation.id, position, data, before, Kind.FRAGMENT, inside_line)
                long_end = long_end if inside_line else None
            yield piece
            position += len(piece.data)
            before = (before + piece.data[-WINDOW_BYTES:])[-WINDOW_BYTES:]


def copied(descriptor: int, original: int) -> bool:
    """Whether `original` begins with all bytes of the file."""
    position, length = 0, WINDOW_BYTES
    while mine := os.pread(descriptor, length, position):
        if os.pread(original, len(mine), position) != mine:
            return False
        position, length = position + len(mine), BLOCK_BYTES
    return True


def head_of(descriptor: int, size: int) -> tuple[Fingerprint, list[Fingerprint]]:
    """The fingerprint by which the file is known again, and those of its first lines if that holds all of it."""
    data = os.pread(descriptor, min(WINDOW_BYTES, size), 0)
    ends = [match.end() for match in re.finditer(b"\n", data)][:STARTS] if len(data) < WINDOW_BYTES else []
    return Fingerprint.of(data), [Fingerprint.of(data[:end]) for end in ends]


def _follows(descriptor: int, position: int, length: int, before: bytes) -> bytes | None:
    """`length` bytes at `position`, or None when the file has shrunk or `before` no longer stands before them.

    One read gets both, so that a file that is emptied and refilled at this very moment is noticed.
    """
    chunk = os.pread(descriptor, len(before) + length, position - len(before))
    if len(chunk) < len(before) + length or not chunk.startswith(before):
        return None
    return chunk[len(before) :]


def line_end(descriptor: int, position: int, limit: int) -> int | None:
    """The offset behind the newline of the line at `position`; None if there is none before `limit`."""
    while position < limit:
        block = os.pread(descriptor, min(STEP, limit - position), position)
        if not block:
            break
        if (newline := block.find(b"\n")) >= 0:
            return position + newline + 1
        position += len(block)
    return None


def make_durable(descriptor: int) -> None:
    """Keep a power cut from taking back what is about to be sent: its offsets would then name other lines."""
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOSYS):
            raise
