"""What is acknowledged, durably: versioned JSON beside the log, so that log and checkpoint live and die together.

Everything below a generation's offset is acknowledged; nothing above it is claimed. What is in doubt is sent again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Protocol

from common.atomic import write_atomic
from journal.ranges import Ranges

VERSION = 1
# Generations without a file that are remembered: a log that rotates daily and keeps three months of files
REMEMBERED = 128
# Generations that one file may have one after the other: a log that the producer was started so often in the middle of
EARLIER = 64
# Stands beside the checkpoint from the first line sent on: lines were sent under names that only the checkpoint knows
WITNESS = "archived.json"


class CheckpointError(Exception):
    """The checkpoint cannot be used. The message says what to do; nothing is sent until then."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a stretch of a file looked like: how many bytes, and their BLAKE2b in hex."""

    length: int = 0
    digest: str = ""

    @classmethod
    def of(cls, data: bytes) -> Fingerprint:
        return cls(len(data), hashlib.blake2b(data, digest_size=16).hexdigest())


@dataclass(frozen=True, slots=True)
class FileId:
    """A file a generation's bytes stand in. `copy`: made from another one and perhaps shorter (copytruncate).

    `stamp`: what a compressed file looked like when it was read, and is not read again as long as it does; `size`:
    bytes that it holds.
    """

    device: int
    inode: int
    copy: bool = False
    stamp: str = ""
    size: int = 0

    @property
    def key(self) -> tuple[int, int]:
        return self.device, self.inode


class Record(Protocol):
    """What the checkpoint asks of a record: [start, end) of a generation, and what the file looks like before `end`."""

    @property
    def generation(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def window(self) -> bytes: ...
    @property
    def inside_line(self) -> bool: ...
    @property
    def closed(self) -> bool: ...


@dataclass(slots=True)
class Generation:
    """One incarnation of the log's bytes.

    `offset`: everything from `start` to it is acknowledged. `start`: where the first record sent under this name
    began; None as long as there is none. `head`: the file's first bytes; `starts`: the first lines of these, by which
    a copy that was made while there were no more is known. `hole`: NULs before these, which are no line's. `tail`: the
    bytes just before `position`. `inside_line`: the offset stands within a line that travels as fragments. `closed`:
    the last line's virtual newline is acknowledged, one byte past the end of the file. `size` and `name`: the file as
    last seen, for messages. `sent`: nothing behind it was ever sent. `limit`: behind the last line before it, another
    generation goes on. `earlier`: those that this one goes on from, in the same file; they have no files of their own.
    `edited`: another one, edited, goes on behind what was sent.
    """

    id: str
    files: list[FileId]
    head: Fingerprint
    offset: int = 0
    tail: Fingerprint = field(default_factory=Fingerprint)
    inside_line: bool = False
    closed: bool = False
    size: int = 0
    name: str = ""
    start: int | None = None
    starts: list[Fingerprint] = field(default_factory=list)
    sent: int = 0
    limit: int | None = None
    earlier: list[Generation] = field(default_factory=list)
    edited: bool = False
    hole: int = 0

    @property
    def parts(self) -> list[Generation]:
        """All generations of its file, oldest first, which is what to ask for when it is about bytes that were sent."""
        return [*(replace(each, files=self.files, name=self.name) for each in self.earlier), self]

    def within(self, size: int) -> int:
        """Where its bytes end in a file of this size."""
        end = self.position if self.closed or self.edited else self.limit
        return size if end is None else min(size, end)

    def exceeded_by(self, ledgers: Mapping[str, Ranges]) -> bool:
        """Whether these hold bytes of it that were not sent from here; a virtual newline is one more."""
        return self.id in ledgers and ledgers[self.id].end > self.sent + 1

    @property
    def acknowledged(self) -> tuple[int, int]:
        """[start, end) of what is acknowledged; empty as long as nothing is."""
        return self.offset if self.start is None else self.start, self.offset

    @property
    def position(self) -> int:
        """Where in the file the first byte that is not acknowledged stands."""
        return self.offset - 1 if self.closed else self.offset

    @property
    def unread(self) -> int:
        return max(0, self.size - self.position)

    def advance(self, record: Record) -> None:
        """Count `record` as acknowledged. Raises RuntimeError when it does not continue what is."""
        if record.start != self.offset:
            raise RuntimeError(f"generation {self.id}: [{record.start}, {record.end}) acknowledged at {self.offset}")
        if self.start is None:
            self.start = record.start
        self.offset, self.tail = record.end, Fingerprint.of(record.window)
        self.inside_line, self.closed = record.inside_line, record.closed


@dataclass(slots=True)
class Checkpoint:
    """The generations that have a file on disk, oldest first, and those that had one, the last REMEMBERED of them.

    `ignored`: files beside the log that hold no lines; each was said once. `boot`: the start of the machine in which
    it was last looked whether the log was set back.
    """

    generations: list[Generation] = field(default_factory=list)
    ended: list[Generation] = field(default_factory=list)
    ignored: list[FileId] = field(default_factory=list)
    boot: str = ""

    def end(self, generation: Generation) -> None:
        """No file holds it any more; a copy of it is still known by its content."""
        self.generations.remove(generation)
        self.ended = [*self.ended, generation][-REMEMBERED:]

    @property
    def parts(self) -> list[Generation]:
        return [part for each in self.generations for part in each.parts]

    def acknowledge(self, batch: Sequence[Record], acknowledged: Sequence[object | None]) -> None:
        """Move over the contiguous acknowledged prefix of each generation in `batch`, and never over a gap."""
        by_id = {generation.id: generation for generation in self.generations}
        stuck: set[str] = set()
        for record, ack in zip(batch, acknowledged, strict=True):
            if ack is None:
                stuck.add(record.generation)
            elif record.generation not in stuck:
                by_id[record.generation].advance(record)

    @property
    def unread(self) -> int:
        """Bytes seen in the log and not acknowledged."""
        return sum(generation.unread for generation in self.generations)


class CheckpointFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._stored: bytes | None = None

    def load(self) -> Checkpoint | None:
        """What was saved last; None when nothing ever was. Raises CheckpointError (damaged, newer, gone), OSError."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            self._stored = None
            witness = self.path.with_name(WITNESS)
            if witness.exists():
                raise CheckpointError(
                    f"the checkpoint {self.path} is gone, but {witness.name} beside it shows that lines were sent: "
                    f"put it back, or delete {witness.name} too to send every log on disk again from its beginning "
                    "(what is in S3 already is then doubled)"
                ) from None
            return None
        if data != self._stored:
            self._stored = None  # there, but perhaps not durable: its writer may have died before the folder was
        return self._decode(data)

    def save(self, checkpoint: Checkpoint) -> None:
        """Make `checkpoint` durable, unless it is what the file holds. Raises OSError, e.g. when the disk is full."""
        data = encode(checkpoint)
        if data == self._stored:
            return
        self._stored = None  # after a failure either version may stand
        write_atomic(self.path, data)
        self._stored = data

    def _decode(self, data: bytes) -> Checkpoint:
        try:
            tree = json.loads(data)
            version = tree["version"]
            if not isinstance(version, int):
                raise TypeError("version is no number")
            if version > VERSION:
                raise CheckpointError(
                    f"the checkpoint {self.path} has version {version}, this program knows {VERSION}: "
                    "start the newer program that wrote it"
                )
            generations = [_generation(item) for item in tree["generations"]]
            ended = [_generation(item) for item in tree.get("ended", [])]
            ignored = [_file(item) for item in tree.get("ignored", [])]
            boot = tree.get("boot", "")
            if not isinstance(boot, str):
                raise TypeError(f"boot is {boot!r}")
            ids = [part.id for generation in generations + ended for part in generation.parts]
            if len(set(ids)) != len(ids):
                raise ValueError("a generation stands in it twice")
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(
                f"the checkpoint {self.path} is damaged ({type(error).__name__}: {error}): put back a good one, or "
                f"delete it and {WITNESS} to send every log on disk again from its beginning (what is in S3 already "
                "is then doubled)"
            ) from error
        return Checkpoint(generations, ended, ignored, boot)


def encode(checkpoint: Checkpoint) -> bytes:
    """Saved after each call, so it is made without `asdict` and indents, which take ten times as long."""
    tree = {"version": VERSION} | {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    return json.dumps(tree, default=_plain).encode() + b"\n"


def _plain(value: Generation | FileId | Fingerprint) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _generation(item: Any) -> Generation:
    """The inverse of `asdict`, trusting nothing. Raises ValueError, TypeError, KeyError."""
    # not there in older versions; without `start` a generation began with its file
    item = {
        "start": 0,
        "starts": [],
        "sent": item["size"],
        "limit": None,
        "earlier": [],
        "edited": False,
        "hole": 0,
    } | item
    generation: Generation = _strictly(
        Generation,
        item,
        files=[_file(file) for file in item["files"]],
        head=_strictly(Fingerprint, item["head"]),
        tail=_strictly(Fingerprint, item["tail"]),
        starts=[_strictly(Fingerprint, each) for each in item["starts"]],
        earlier=[_generation(each) for each in item["earlier"]],
    )
    if not re.fullmatch("[0-9a-f]{24}", generation.id):
        raise ValueError(f"{generation.id!r} is no generation")
    if generation.tail.length > generation.position:
        raise ValueError(f"generation {generation.id} remembers more than it has read")
    return generation


def _file(item: Any) -> FileId:
    file: FileId = _strictly(FileId, {"stamp": "", "size": 0} | item)  # compressed files were not read before
    return file


def _strictly(kind: Any, item: Any, **decoded: Any) -> Any:
    """A dataclass of an item that has each of its fields in exactly its type, but for those that are `decoded`."""
    for each in fields(kind):
        if each.name not in decoded:
            value = decoded[each.name] = item[each.name]
            found = "None" if value is None else type(value).__name__
            if found not in str(each.type).split(" | ") or (found == "int" and value < 0):
                raise TypeError(f"{each.name} is {value!r}")
    return kind(**decoded)
