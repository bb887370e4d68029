"""What `appliance import` has read, by its content, in `imported.json` beside the checkpoint.

The producer asks it, too: an old log that comes to lie beside the log afterwards has the places it was imported under,
and the ledgers drop what is there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from common.atomic import write_atomic
from journal.checkpoint import Checkpoint, Generation
from journal.files import STEP, Content, Found, line_start
from producer.reader import head_of, line_end, tail_of

MEMORY = "imported.json"


class ImportingError(Exception):
    """Nothing was sent; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Known:
    """A content that was imported: its size, under which generation, its first bytes, and from where on."""

    size: int
    generation: str
    head: str
    start: int


def load(path: Path) -> dict[str, Known]:
    """What was imported, by digest. Raises ImportingError."""
    try:
        known = {digest: Known(**each) for digest, each in json.loads(path.read_bytes()).items()}
        if not all(
            re.fullmatch("[0-9a-f]{24}", each.generation) and each.size > each.start >= 0 for each in known.values()
        ):
            raise ValueError("an entry of it is none")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ImportingError(f"{path} cannot be read ({error.strerror}): allow this user to read it") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ImportingError(
            f"{path} is damaged ({error}): put back a good one, or delete it (a file that was imported, and has grown "
            "since or comes to lie beside the log, is then doubled)"
        ) from None
    return known


def save(path: Path, known: Mapping[str, Known]) -> None:
    """For the producer, too, which may run as another user. Raises OSError."""
    tree = {digest: asdict(each) for digest, each in known.items()}
    write_atomic(path, json.dumps(tree).encode() + b"\n", mode=0o644)


def take_over(
    started: Generation, content: Content, seen: Found, checkpoint: Checkpoint, known: Mapping[str, Known]
) -> Found | None:
    """If the file begins with what was imported, let the generation have the places of that, and end there. The file
    up to there; None if there is no such beginning. Raises OSError."""
    taken = {part.id for each in [*checkpoint.generations, *checkpoint.ended] for part in each.parts}
    old = _longest(content, started.hole, {key: each for key, each in known.items() if each.generation not in taken})
    if old is None:
        return None
    # with the whole of a last line, whose newline may be all that was not there
    limit = line_end(content, old.size - 1, content.size) or content.size + 1
    if line_start(content, min(limit, content.size)) <= old.start:
        return None
    started.id, started.offset, started.limit = old.generation, old.start, limit
    started.tail = tail_of(content, old.start)
    return replace(seen, size=min(seen.size, limit))


def _longest(content: Content, begin: int, known: Mapping[str, Known]) -> Known | None:
    alike = {
        digest: each
        for digest, each in known.items()
        if begin < each.size <= content.size and head_of(content, each.size, begin)[0].digest == each.head
    }
    if not alike:
        return None
    digest, before = digest_of(content, max(each.size for each in alike.values()), alike, lambda: None)
    return alike.get(digest) or before


def digest_of(
    content: Content, size: int, known: Mapping[str, Known], progress: Callable[[], None]
) -> tuple[str, Known | None]:
    """The digest of all of it, and the longest content in `known` that it begins with. Raises OSError."""
    running, position, before = hashlib.blake2b(digest_size=16), 0, None
    for end in sorted({each.size for each in known.values() if each.size < size} | {size}):
        for block in _blocks(content, position, end):
            running.update(block)
            progress()
        position, before = end, (known.get(running.hexdigest()) if end < size else None) or before
    return running.hexdigest(), before


def _blocks(content: Content, position: int, end: int) -> Iterator[bytes]:
    while position < end:
        block = content.pread(min(STEP, end - position), position)
        if not block:
            raise OSError("it became shorter while it was read")
        yield block
        position += len(block)
