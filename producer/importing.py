"""Old logs, named one by one, become acknowledged records: `appliance import`.

A generation's id is made of the file's content, unpacked. So the same content, whatever it is called and however it is
compressed, claims the same places again, and the ledgers drop it. `imported.json`, beside the checkpoint, tells of a
file that has grown since; what can be neither the same nor a longer one for sure is refused, neither lost nor doubled.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path

from common.clock import Clock
from common.settings import Settings
from journal.checkpoint import Checkpoint, CheckpointFile, Generation
from journal.files import STEP, Content, Found, begins_copy, continues, files_of, log_at
from journal.packed import BrokenError
from producer.batch import Cut
from producer.imported import MEMORY, ImportingError, Known, digest_of, load, save
from producer.processes import held_open
from producer.put import Sink
from producer.reader import Reader, Rest, begin_of, copied, head_of, joined, rotated_of

_TIME = re.compile(rb"\[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\]")


@dataclass(slots=True)
class Old:
    """A file to be imported, or `skipped`: why not. `sent`: bytes of it that are acknowledged."""

    found: Found
    generation: Generation | None = None
    skipped: str = ""
    sent: int = 0

    @property
    def left(self) -> int:
        return self.found.size - self.generation.offset - self.sent if self.generation else 0


@dataclass(slots=True)
class Imported:
    """`bytes` of `total`, lines and records that are acknowledged. `error`: why it ended early."""

    files: list[Old]
    total: int = 0
    bytes: int = 0
    lines: int = 0
    records: int = 0
    error: str | None = None
    by_id: dict[str, Old] = field(default_factory=dict)


def prepare(
    settings: Settings,
    paths: Sequence[Path],
    progress: Callable[[Path], None],
    waiting: Callable[[], None] = lambda: None,
) -> Imported:
    """Read the files through, and remember their contents durably. `waiting` is called once if another import has to
    have read its own first. Raises ImportingError, CheckpointError, OSError."""
    memory = settings.checkpoint_file.with_name(MEMORY)
    memory.parent.mkdir(parents=True, exist_ok=True)  # the producer may not have run yet
    with _alone(memory.parent, waiting):
        known = load(memory)
        result = _read(settings, paths, known, progress)
        if result.by_id:
            save(memory, known)
    return result


@contextmanager
def _alone(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Wait for an import that reads its files at the same time: this one has to know what that one knows."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # of a network file system that locks no folders
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(
    settings: Settings, paths: Sequence[Path], known: dict[str, Known], progress: Callable[[Path], None]
) -> Imported:
    """What there is to be sent of the files; adds them to `known`. Raises ImportingError, CheckpointError, OSError."""
    checkpoint = CheckpointFile(settings.checkpoint_file).load() or Checkpoint()
    listed = files_of(settings.log_file, checkpoint.generations, settings.rotated_dirs)
    ours = {seen.key: seen for seen in listed if not seen.hinted}
    found: list[Found] = []
    wrong: list[str] = []
    for path in paths:
        progress(path)
        try:
            found.append(log_at(path))
        except OSError as error:
            wrong.append(f"{path}: {error.strerror or error}")
    result = Imported([])
    # a file that goes on from another one comes after it
    for seen in sorted(found, key=lambda each: each.size):
        old = Old(seen, skipped="the producer sends it itself")
        try:
            if seen.key not in ours:
                old = _old(seen, checkpoint, ours.values(), known, partial(progress, seen.path))
        except OSError as error:
            wrong.append(f"{seen.path}: {error.strerror or error}")
            continue
        result.files.append(old)
        if old.generation:
            if shorter := result.by_id.get(old.generation.id):
                shorter.generation, shorter.skipped = None, f"{seen.path} holds all of it"
            result.by_id[old.generation.id] = old
    if wrong:
        raise ImportingError("nothing was imported. " + "; ".join(wrong))
    result.total = sum(old.left for old in result.files)
    return result


def send(
    result: Imported, sink: Sink, cut: Cut, clock: Clock, progress: Callable[[Imported], None], log_name: str = ""
) -> None:
    """Send the files, those with the oldest lines first, until all is acknowledged or refused. Raises OSError."""
    reader = Reader(clock, held_open, lambda _: None, log_name)
    olds = [result.by_id[name] for name in sorted(result.by_id)]
    pieces = chain.from_iterable(reader.pieces(old.generation, old.found) for old in olds if old.generation)
    for batch in cut(pieces):
        put = sink.put(batch)
        for record, place in zip(batch, put.acknowledged, strict=True):
            if place is not None:
                old = result.by_id[record.generation]
                size = min(record.end, old.found.size) - record.start  # without a virtual newline
                old.sent += size
                result.bytes += size
                result.lines += record.lines
                result.records += 1
        progress(result)
        if put.error:
            result.error = put.error
            return


def _old(
    seen: Found,
    checkpoint: Checkpoint,
    ours: Collection[Found],
    known: dict[str, Known],
    progress: Callable[[], None],
) -> Old:
    """Which generation the file is, noted in `known`. `ours`: the producer's files. Raises OSError."""
    if not seen.size:
        return Old(seen, skipped="it is empty")
    with seen.content() as content:
        begin = begin_of(content)
        head, _ = head_of(content, seen.size, begin)
        digest, before = digest_of(content, seen.size, known, progress)
        if digest not in known:
            found = {each.key: each for each in ours}
            reading = {
                one.id: found[file.key] for one in checkpoint.generations for file in one.files if file.key in found
            }
            start = max(joined(content, rotated_of(checkpoint, reading)), default=0)
            left = ours if start < seen.size else []
            if whole := next((each for each in left if _holds(each, Rest(content, start))), None):
                return Old(seen, skipped=f"the producer sends it from {whole.path}")
            for one in (each for each in [*checkpoint.generations, *checkpoint.ended] if each.head.length):
                if continues(content, one) or (seen.size <= one.position and begins_copy(content, one)):
                    if one.edited or seen.size <= max(start, one.offset, one.size if one.files else 0):
                        return Old(seen, skipped=f"the producer sends it, or has sent it, as generation {one.id}")
                    if one.files and not start:
                        raise OSError(
                            f"it goes on further than {one.name}, which the producer sends: cut off its first "
                            f"{one.size} bytes, and import the rest"
                        )
                    start = max(start, one.offset)
            if before and any(
                head_of(content, before.size + each.size, before.size)[0].digest == each.head for each in known.values()
            ):
                raise OSError("it is put together of files that were imported: import what is in none of them")
            if before and before.size == max(
                each.size for each in known.values() if each.generation == before.generation
            ):
                known[digest] = replace(before, size=seen.size, head=head.digest)
            elif before or any(each.head == head.digest for each in known.values()):
                raise OSError(
                    "it begins like a file that was imported, and is neither the same nor goes on from it: cut off "
                    "what it shares with that one, and import the rest"
                )
            else:
                name = f"{_first_second(content.pread(STEP, begin)):08x}{digest[:16]}"
                known[digest] = Known(seen.size, name, head.digest, max(start, begin))
    return Old(seen, Generation(known[digest].generation, [], head, known[digest].start))


def _holds(ours: Found, content: Content) -> bool:
    """Whether the file begins with all of the content; the producer may not have seen it yet. Raises OSError."""
    try:
        with ours.content() as original:
            return copied(content, original)
    except (FileNotFoundError, BrokenError):  # gone, or not yet whole
        return False
    except OSError as error:
        raise OSError(f"{ours.path}, which may hold the same, cannot be read ({error.strerror})") from error


def _first_second(data: bytes) -> int:
    """The first time in it: lines without a time are filed in its hour. 0 if there is none."""
    for match in _TIME.finditer(data):
        try:
            return min(max(0, int(datetime.strptime(match[1].decode(), "%d/%b/%Y:%H:%M:%S %z").timestamp())), 2**32 - 1)
        except (ValueError, OverflowError):
            continue
    return 0
