"""What earlier invocations have done of a batch that comes again, so that the next one goes on there.

Kept as `ledger/progress/<shard>:<sequence number of the first record>` while a large batch is unfinished. It is a mere
shortcut past work that the ledgers hold already: what is not certainly about these very records is ignored, and
without it every line is still archived once, only the foreign ones, which are in no ledger, may be doubled.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

VERSION = 1
# Lambda, "Using Lambda with Kinesis", example event: "shardId-000000000006:4959…"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,199}")


class Position(NamedTuple):
    """So many records, and of the next one the blocks before byte `block` of its content, and of that block the items
    that end at byte `byte` or before."""

    record: int = 0
    block: int = 0
    byte: int = 0


class Done(NamedTuple):
    """Everything before `start` is archived. Of one flush, from there to `end` (None: to the end of the batch), the
    first `objects` in the order of commits are, too; `form` tells whether the flush is formed the same way again."""

    start: Position = Position()
    end: Position | None = None
    objects: int = 0
    form: str = ""


class Store(Protocol):
    """Small objects; a failure of S3 is as if nothing had been asked."""

    def load(self, key: str) -> bytes | None: ...
    def save(self, key: str, content: bytes) -> None: ...
    def forget(self, key: str) -> None: ...


class Progress:
    """That of one batch. `done` is for the caller to move on; nothing is asked or kept before `look` was called."""

    def __init__(self, store: Store, prefix: str, entries: Sequence[Mapping[str, Any]]) -> None:
        self.done = Done()
        self._store = store
        self._entries = entries
        identity = str(entries[0].get("eventID")) if entries else ""
        self._key = f"{prefix}ledger/progress/{identity}" if _ID.fullmatch(identity) else None
        self._looked = self._stored = False
        self._kept = Done()

    def look(self) -> bool:
        """Look once for what was kept; whether the batch is further than `done` said."""
        if self._looked or not self._key:
            return False
        self._looked = True
        content = self._store.load(self._key)
        self._stored = content is not None
        found = self._read(content) if content is not None else None
        if found is None or (found.start, found.objects) <= (self.done.start, self.done.objects):
            return False
        self.done = self._kept = found
        return True

    @property
    def is_new(self) -> bool:
        """Whether there is something to keep."""
        return self._looked and self.done != self._kept

    def save(self) -> None:
        if self.is_new and self._key:
            self._store.save(self._key, self._written(self.done))
            self._kept, self._stored = self.done, True

    def forget(self) -> None:
        """The batch is complete."""
        if self._stored and self._key:
            self._store.forget(self._key)

    def _written(self, done: Done) -> bytes:
        return json.dumps({"version": VERSION, "done": done, "records": self._digest(done)}).encode()

    def _read(self, content: bytes) -> Done | None:
        try:
            start, end, objects, form = json.loads(content)["done"]
            done = Done(Position(*start), None if end is None else Position(*end), objects, form)
            positions = [done.start] if done.end is None else [done.start, done.end]
            numbers = [objects, *(number for position in positions for number in position)]
            if not all(type(number) is int and number >= 0 for number in numbers) or content != self._written(done):
                return None
        except (ValueError, TypeError, KeyError):
            return None
        return done

    def _digest(self, done: Done) -> str:
        """Of the records that `done` speaks of: an emulator may use a sequence number again, and a batch be split."""
        last = len(self._entries) if done.objects and done.end is None else (done.end or done.start).record + 1
        digest = hashlib.blake2b(b"%d" % len(self._entries[:last]), digest_size=16)
        for entry in self._entries[:last]:
            kinesis = entry.get("kinesis") or {}
            for part in (kinesis.get("partitionKey"), kinesis.get("data")):
                text = str(part).encode("utf-8", "surrogatepass")
                digest.update(b"%d:" % len(text))
                digest.update(text)
        return digest.hexdigest()
