"""The bytes of one file: its beginning, whether it is unchanged and complete, and its pieces.

A file may be renamed, emptied or replaced at any moment. So it is opened by device and inode, under whatever name, and
bytes are handed on only if the bytes before them are still there.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from common.clock import Clock
from journal.checkpoint import Checkpoint, Fingerprint, Generation
from journal.files import STEP, Content, Found, Key, Plain, continues, hole
from producer.processes import UNSEEN_AFTER, released
from producer.record import FRAGMENT_BYTES, PACK_BYTES, WINDOW_BYTES, Kind, Piece, count_lines

# Read at once: two packs, less room for the lines at the cuts. It stays in the processor's caches.
READ_BYTES = 2 * PACK_BYTES - 64 * 1024
# Read at once when there is no newline in that: the longest line held in memory; a longer one travels as fragments
BLOCK_BYTES = 4 * 1024 * 1024
# A rotated file that no process holds open is complete after so long without a write, even without a last newline.
# nginx's workers reopen within moments of SIGUSR1; a line is one write, so half a line means a full disk or a crash.
FINAL_AFTER = 10.0
# First lines that are remembered one by one, within WINDOW_BYTES
STARTS = 12
# What other programs keep beside a log, to know how far they have read it: numbers (logtail's .offset, Logstash's
# sincedb), or its path and two numbers (Fluentd's pos_file)
_BOOKMARK = re.compile(rb"(?=\D*\d)[\d\s.]+|(?:/[^\t\n]*\t[0-9a-f]{16}\t[0-9a-f]{8,16}\n?)+")


@dataclass(frozen=True, slots=True)
class Reader:
    """`held` tells whether a process has a file open, `find` finds a file by device and inode. `log_name`: the log's,
    of several."""

    clock: Clock
    held: Callable[[int, int], bool | None]
    find: Callable[[Key], Found | None]
    log_name: str = ""

    @property
    def folder(self) -> str:
        """What stands before the generation in the keys of the log's records."""
        return f"{self.log_name}/" if self.log_name else ""

    @property
    def fragment_bytes(self) -> int:
        """The length of a fragment, but for the last one of a line."""
        return FRAGMENT_BYTES - len(self.folder)

    @contextmanager
    def open(self, seen: Found) -> Iterator[Content]:
        """What that very file holds, under whatever name it has by now. Raises OSError, BrokenError as it is read."""
        with ExitStack() as stack:
            try:
                content = stack.enter_context(seen.content())
            except FileNotFoundError:
                if (moved := self.find(seen.key)) is None:
                    raise
                content = stack.enter_context(replace(moved, live=seen.live).content())
            yield content

    def begins(self, seen: Found, content: Content) -> bool:
        """Whether the file begins with all of this. Raises OSError."""
        with self.open(seen) as other:
            return copied(content, other)

    def made_of(self, content: Content, originals: Collection[Found]) -> bool:
        """Whether its first and its last line stand in these: it is what `grep` found in them, or a part of them."""

        def holds(original: Found, line: bytes) -> bool:
            with self.open(original) as other:
                return _holds_line(other, line)

        lines = _ends(content)
        return bool(lines) and all(any(holds(each, line) for each in originals) for line in lines)

    def final(self, seen: Found, content: Content) -> bool:
        """Whether the file is as it was seen, and no process will write to it any more."""
        age = seen.age(self.clock.now().timestamp())
        # where it has no name, its last line may go on in another file
        if seen.live or age < (UNSEEN_AFTER if seen.nameless else FINAL_AFTER):
            return False
        # in this order: only a file that no process holds open has its last size
        return released(self.held(seen.device, seen.inode), age) and content.size == seen.size

    def count_lines(self, seen: Found, position: int) -> int:
        """The lines from `position` to the size the poll has seen. Raises OSError."""
        with self.open(seen) as content:
            return count_lines(content.pread(seen.size - position, position))

    def pieces(self, generation: Generation, seen: Found, *, blind: bool = False) -> Iterator[Piece]:
        """From the generation's offset to the size the poll has seen, or to the last complete line before it. `blind`:
        half a line at its end is not the last one."""
        try:
            with self.open(seen) as content:
                yield from self._read_open(generation, seen, content, blind)
        except FileNotFoundError:
            return  # gone since the poll; the next one says what that cost

    def _read_open(self, generation: Generation, seen: Found, content: Content, blind: bool) -> Iterator[Piece]:
        position, inside_line, limit = generation.position, generation.inside_line, seen.size
        make = partial(Piece, generation.id, folder=self.folder, backlog=limit - position)
        long_end: int | None = None

        def ended() -> bool:
            return generation.closed or (not blind and self.final(seen, content))

        before = content.pread(generation.tail.length, position - generation.tail.length)
        if generation.tail.length and Fingerprint.of(before) != generation.tail:
            return  # replaced since the poll; the next one sees what is there now
        _make_durable(content)
        while position < limit:
            length = min(READ_BYTES, BLOCK_BYTES, limit - position)
            # what stands before the first bytes is little, so its head tells the file
            known = position - generation.hole
            first = max(0, generation.head.length - known) if known <= len(before) else 0
            data = _follows(content, position, length, before, first, lines=not (first or inside_line))
            if data and b"\n" not in data and len(data) < limit - position:  # the start of a long line: all of it
                length = min(BLOCK_BYTES, limit - position)
                data = _follows(content, position, length, before)
            if data is None:
                return
            if first:
                head = (before[len(before) - known :] + data)[: generation.head.length]
                if Fingerprint.of(head) not in (generation.head, *generation.starts):
                    return
                data = data[:length]
            cut = data.rfind(b"\n") + 1
            if cut and not inside_line:
                piece = make(position, data[:cut], before)
            elif not inside_line and len(data) < BLOCK_BYTES:
                if not ended():
                    return
                piece = make(position, data, before, Kind.LAST_LINE)
            else:
                long_end = long_end or line_end(content, position, limit)
                long_end = long_end or (limit if ended() else None)
                if long_end is None:
                    return
                data = data[: min(self.fragment_bytes, long_end - position)]
                inside_line = position + len(data) < long_end
                piece = make(position, data, before, Kind.FRAGMENT, inside_line)
                long_end = long_end if inside_line else None
            yield piece
            position += len(piece.data)
            before = (before + piece.data[-WINDOW_BYTES:])[-WINDOW_BYTES:]


def copied(content: Content, original: Content) -> bool:
    """Whether `original` begins with all bytes of the file."""
    position, length = 0, WINDOW_BYTES
    while mine := content.pread(length, position):
        if original.pread(len(mine), position) != mine:
            return False
        position, length = position + len(mine), BLOCK_BYTES
    return True


@dataclass(frozen=True, slots=True)
class Rest:
    """What a file holds from `start` on."""

    content: Content
    start: int

    def pread(self, length: int, position: int) -> bytes:
        return self.content.pread(length, self.start + position)

    @property
    def size(self) -> int:
        return self.content.size - self.start


def joined(content: Content, sent: Sequence[Generation]) -> list[int]:
    """Where some of these end in the file, at least two, one behind the other, as `cat` puts logs together; none, if it
    is not made so. The long ones first, and each once: a log of equal lines is no cat of it. Raises OSError."""
    ends, left = [0], [*sent]
    while part := next((each for each in left if continues(Rest(content, ends[-1]), each)), None):
        ends.append(ends[-1] + part.position)
        left.remove(part)
    return ends[1:] if len(ends) > 2 else []


def rotated_of(checkpoint: Checkpoint, reading: Mapping[str, Found]) -> list[Generation]:
    """The generations that can be told wherever they stand, the long ones first, but for that of the log itself: the
    lines that nginx writes to the rotated log for a moment may be the same. `reading`: the file of each."""
    live = {name for name, seen in reading.items() if seen.live}
    found = [each for each in [*checkpoint.generations, *checkpoint.ended] if is_window(each.tail)]
    return sorted((each for each in found if each.id not in live), key=lambda each: -each.position)


def is_bookmark(content: Content) -> bool:
    """Whether it tells where another program is in a log, and holds no line of one. Raises OSError."""
    return _BOOKMARK.fullmatch(content.pread(STEP, 0)) is not None


def _ends(content: Content) -> list[bytes]:
    """The first and the last line; none, if the first one is long. Raises OSError."""
    end = line_end(content, 0, content.size)
    if end is None or end > STEP:
        return []
    last = content.pread(STEP, max(0, content.size - STEP)).removesuffix(b"\n").rpartition(b"\n")[2] + b"\n"
    return [content.pread(end, 0), last]


def _holds_line(content: Content, line: bytes) -> bool:
    position, data = 0, b"\n"
    while block := content.pread(BLOCK_BYTES, position):
        data = data[-len(line) :] + block
        if b"\n" + line in data:
            return True
        position += len(block)
    return False


def is_window(some: Fingerprint) -> bool:
    """Whether it is of so many bytes that no other log has them there by chance."""
    return some.length >= WINDOW_BYTES


def begin_of(content: Content) -> int:
    """Where its lines begin: behind a hole, if there is one of a window at least. Raises OSError."""
    begin = hole(content)
    return begin if begin >= WINDOW_BYTES else 0


def head_of(content: Content, size: int, begin: int = 0) -> tuple[Fingerprint, list[Fingerprint]]:
    """The fingerprint by which the file is known again, and those of its first lines, for a copy that has no more."""
    data = content.pread(min(WINDOW_BYTES, size - begin), begin)
    ends = [match.end() for match in re.finditer(b"\n", data)][:STARTS]
    return Fingerprint.of(data), [Fingerprint.of(data[:end]) for end in ends]


def new_head(content: Content, size: int, begin: int = 0) -> tuple[Fingerprint, list[Fingerprint]]:
    """The same of a file that begins a generation. Raises FileNotFoundError when it was emptied since it had this size:
    of nothing, or of half a line, any file would be the same."""
    head, starts = head_of(content, size, begin)
    if head.length < min(WINDOW_BYTES, size - begin):
        raise FileNotFoundError(errno.ENOENT, "emptied since it was looked at")
    return head, starts


def tail_of(content: Content, end: int) -> Fingerprint:
    """The fingerprint of what stands before an offset. Raises OSError."""
    length = min(WINDOW_BYTES, end)
    return Fingerprint.of(content.pread(length, end - length))


def longer_head(content: Content, generation: Generation, size: int) -> tuple[Fingerprint, list[Fingerprint]] | None:
    """More of the beginning than was there when the generation was first seen, and durable like what is sent. Whether
    the file still is the generation's is to be asked after this."""
    if generation.head.length >= min(size - generation.hole, WINDOW_BYTES):
        return None
    _make_durable(content)
    return head_of(content, size, generation.hole)


def _follows(
    content: Content, position: int, length: int, before: bytes, more: int = 0, *, lines: bool = False
) -> bytes | None:
    """`length` bytes at `position`, or up to `more`; with `lines` without what follows the last newline, if there is
    one. None when the file has shrunk or `before` no longer stands before them.

    One read gets both, so that a file that is emptied and refilled at this very moment is noticed.
    """
    chunk = content.pread(len(before) + max(length, more), position - len(before))
    if len(chunk) < len(before) + length or not chunk.startswith(before):
        return None
    end = chunk.rfind(b"\n") + 1 if lines else 0  # here, so that a read is copied once
    return chunk[len(before) : end if end > len(before) else len(chunk)]


def line_end(content: Content, position: int, limit: int) -> int | None:
    """The offset behind the newline of the line at `position`; None if there is none before `limit`."""
    while position < limit:
        block = content.pread(min(STEP, limit - position), position)
        if not block:
            break
        if (newline := block.find(b"\n")) >= 0:
            return position + newline + 1
        position += len(block)
    return None


def _make_durable(content: Content) -> None:
    """Keep a power cut from taking back what is about to be sent: its offsets would then name other lines."""
    if not isinstance(content, Plain):
        return
    try:
        os.fdatasync(content.descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS, errno.ENOSYS):
            raise
