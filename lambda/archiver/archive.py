"""Append lines to an hourly object so that each is in it exactly once.

An object and its ledger are one S3 object (the ledger is user metadata), so one conditional write changes both or
neither: `If-None-Match: *` creates, `If-Match: <etag>` extends. The loser of a race reads the object again, drops what
the winner wrote, and tries again. A lost response needs no care: the next try finds the lines in the ledger.

Below 5 MiB the object is read and written anew. From there on a multipart upload copies the old bytes inside S3 and
sends the new ones only.

A ledger that outgrows the metadata first has those holes closed whose bytes are archived in other objects: rejected
lines between entries, say. What is still too long moves to a side object: immutable, written before the object that
names it, deleted after the write that names another. Its second line is a random number and its name the SHA-256 of its
content, so no other writer can make the same one: a writer deletes its own after a lost race, and the one its write
superseded.

`stored.py` reads what is there before an append, `others.py` what another format has put elsewhere, `writer.py` makes
the conditional write.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from archiver.filing import Item
from archiver.layout import HourlyObject
from archiver.ledger import Ledger, LedgerError, reference, referenced
from archiver.others import Others
from archiver.stored import LINES_KEY, METADATA_KEY, Reader, State, status_of
from archiver.writer import SideBySide, Writer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ATTEMPTS = 20  # one writer wins each round; Lambda allows 10 parallel batches a shard
BACKOFF_BASE = 0.05
BACKOFF_CAP = 2.0
# Large objects that are known as such: an hour's entries and its rejected lines, of two hours, of several logs
KEPT = 16


class Limits(NamedTuple):
    """In bytes. Amazon S3 User Guide, "Amazon S3 multipart upload limits" and "Working with object metadata"."""

    min_part: int = 5 * 1024**2  # a part that is not the last is at least this long
    # S3 allows 5 GiB a copied part. Half of it takes 25 s at 100 MB/s, within the read time-out; the parts are copied
    # at the same time, so an hour of 10 GB takes no longer, and four requests instead of one
    max_copy: int = 5 * 1024**3 // 2
    max_metadata: int = 1900  # S3 allows 2 KB for keys and values together


class ContentionError(Exception):
    """Other writers won every round; the batch has to come again."""


class Appended(NamedTuple):
    """What one append wrote: nothing when every line is there already. `conflicts`: rounds that it lost.

    `changed`: whether it wrote; of skipped lines it writes the places in the ledger only.
    """

    lines: int
    bytes: int
    conflicts: int = 0
    changed: bool = False


class Elsewhere(NamedTuple):
    """What is known to be archived in other objects, and the objects whose ledgers may know more."""

    committed: Ledger
    others: Collection[HourlyObject]


class Archive:
    """Appends to the objects of one bucket. `rng`, of which no two writers may have equal ones, makes the names of side
    objects; with `sleep` it makes the waits between two rounds of a race.

    `side_by_side` makes the calls that copy the parts of one object; `map` makes them one after the other.
    `large`: given by a writer that expects no other one, and kept up to date: the large objects that it wrote last,
    with their states, for which the next append then does not ask. The condition of its write finds out when another
    writer came between; the state is None, and asked for, from then on.
    """

    def __init__(
        self,
        s3: S3Client,
        bucket: str,
        *,
        rng: random.Random,
        sleep: Callable[[float], None],
        limits: Limits | None = None,
        side_by_side: SideBySide = map,
        large: dict[HourlyObject, State | None] | None = None,
    ) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._reader = Reader(s3, bucket)
        self._rng = rng
        self._sleep = sleep
        self._limits = limits or Limits()
        self._writer = Writer(s3, bucket, self._limits.max_copy, side_by_side)
        self._alone = large is not None
        self._large: dict[HourlyObject, State | None] = {} if large is None else large
        self._others = Others(self._reader)

    def append(self, target: HourlyObject, items: Sequence[Item], elsewhere: Elsewhere | None = None) -> Appended:
        """Add the items that are not there yet, in their order. `elsewhere` may close holes of a long ledger.

        When it returns, every item is in the object. When it raises (ClientError or BotoCoreError of S3,
        ContentionError, LedgerError, OSError), all of the new items are in it or none: call again with the same items.
        """
        # side objects of lost rounds, and the ETag their round was based on: while the object has that one, a write
        # whose answer was an error may still arrive
        unused: dict[str, str | None] = {}
        cause: ClientError | None = None
        large, known = target in self._large, self._large.pop(target, None)
        alone = self._alone and not (large and not known)
        if known and all(item.owner and known.ledger.covers(item.owner, item.start, item.end) for item in items):
            known = None  # nothing would be written, so nothing would find out that the object is gone
        for conflicts, wait in enumerate(self._waits()):
            try:
                body = None
                if known:
                    state, known = known, None
                elif large:
                    state = self._reader.read(target)
                else:
                    state, body = self._reader.fetch(target, self._limits.min_part)
                for key in [key for key, etag in unused.items() if etag != state.etag and key != state.side]:
                    self.forget(key)
                    del unused[key]
                appended, state = self._extend(target, state, body, items, elsewhere, unused)
                if state.size >= self._limits.min_part:
                    self._large[target] = state if alone and not conflicts else None
                    for other in list(self._large)[:-KEPT]:
                        del self._large[other]
                return appended._replace(conflicts=conflicts)
            except ClientError as error:
                if not _lost(error):
                    answer: Any = error.response  # it may be about this one only
                    answer.setdefault("Error", {})["Key"] = target.key
                    error.args = (f"{error} ({target.key})",)
                    raise
                cause = error
            self._sleep(wait)
        raise ContentionError(f"s3://{self._bucket}/{target.key} changed in {ATTEMPTS} rounds under us") from cause

    def rewrite(self, target: HourlyObject, state: State, ledger: Ledger, lines: int) -> None:
        """Give the object another ledger and count of lines; its bytes stay, and a last newline is added if it lacks.

        Raises ClientError, with 412 or 409 when it is no longer what was read.
        """
        if self._is_long(ledger):
            self._fill(target, ledger, Elsewhere(Ledger(), ()))
        whole = state.size <= self._limits.min_part
        last = self._reader.read_from(target, state, 0 if whole else state.size - 1) if state.size else b""
        if last and not last.endswith(b"\n"):
            last += b"\n"
        start = 0 if whole else state.size - 1
        metadata = self._metadata(target, state._replace(ledger=ledger), start + len(last), lines, {})
        if whole:
            self._writer.put(target, state, last, metadata)
        else:
            self._writer.multipart(target, state._replace(size=start), last, metadata)

    def replace(self, target: HourlyObject, state: State, body: IO[bytes], size: int, lines: int) -> None:
        """Give the object other bytes, so many and of so many lines; its ledger stays. Raises as above."""
        self._writer.put(target, state, body, self._metadata(target, state, size, lines, {}))
        if state.side:
            self.forget(state.side)

    def load(self, key: str) -> bytes | None:
        """The content of a small object beside the archive; None when it cannot be had."""
        with suppress(ClientError, BotoCoreError):
            return self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return None

    def save(self, key: str, content: bytes) -> None:
        """Write a small object beside the archive; best effort."""
        with suppress(ClientError, BotoCoreError):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType="application/json")

    def forget(self, key: str) -> None:
        """Delete a small object beside the archive; best effort, as one that stays does no harm."""
        with suppress(ClientError, BotoCoreError):
            self._s3.delete_object(Bucket=self._bucket, Key=key)

    def _waits(self) -> Iterator[float]:
        for round_ in range(ATTEMPTS):
            yield self._rng.uniform(0, min(BACKOFF_CAP, BACKOFF_BASE * 2**round_))

    def _extend(
        self,
        target: HourlyObject,
        state: State,
        body: bytes | None,
        items: Sequence[Item],
        elsewhere: Elsewhere | None,
        unused: dict[str, str | None],
    ) -> tuple[Appended, State]:
        """One round. `body`: what the object has, where that is known. Returns what it did, and the state after it."""
        self._others.enter(target, state, items)
        texts, count = _uncovered(state.ledger, items)
        if not texts:
            return Appended(0, 0), state
        written = sum(map(len, texts))
        if self._is_long(state.ledger):
            self._fill(target, state.ledger, elsewhere or Elsewhere(Ledger(), ()))
        if state.size < self._limits.min_part + (not count):
            # joined once: the new lines may be most of what fits the memory
            whole = b"".join([self._reader.old_bytes(target, state, body, texts), *texts])
            size = len(whole)
            lines: int | None = whole.count(b"\n")
            metadata = self._metadata(target, state, size, lines, unused)
            etag = self._writer.put(target, state, whole, metadata)
        else:
            if not state.intact and self._reader.read_from(target, state, state.size - 1) != b"\n":
                texts.insert(0, b"\n")
            new, old = b"".join(texts), state
            if not new:  # but the last part is to have something
                new, old = self._reader.read_from(target, state, state.size - 1), state._replace(size=state.size - 1)
            size = old.size + len(new)
            lines = None if state.lines is None else state.lines + count
            metadata = self._metadata(target, state, size, lines, unused)
            etag = self._writer.multipart(target, old, new, metadata)
        if state.side:
            self.forget(state.side)
        found = referenced(metadata[METADATA_KEY])
        side = target.ledger_key(found[1]) if found else None
        after = State(etag, size, state.ledger, side, ledgered=True, intact=True, lines=lines)
        return Appended(count, written, changed=True), after

    def _is_long(self, ledger: Ledger) -> bool:
        """Whether it outgrows the metadata, whatever the lengths of the object and of its count of lines."""
        return len(ledger.encode(2**63)) + len(LINES_KEY) + 15 > self._limits.max_metadata

    def _fill(self, target: HourlyObject, ledger: Ledger, elsewhere: Elsewhere) -> None:
        """Close the holes whose bytes are archived elsewhere, so that the ledger does not grow with each append.

        A line of such a hole is archived already: either an append returned, or a ledger was read.
        """
        ledger.fill(elsewhere.committed)
        if not self._is_long(ledger):
            return
        known = Ledger()
        known.update(elsewhere.committed)
        for other in sorted({target.counterpart, *elsewhere.others} - {target}):
            with suppress(LedgerError, ClientError):  # then it says nothing
                known.update(self._reader.read(other).ledger)
        ledger.fill(known)

    def _metadata(
        self, target: HourlyObject, state: State, length: int, lines: int | None, unused: dict[str, str | None]
    ) -> dict[str, str]:
        """The metadata of an object of this many bytes and lines; the side object it names is written."""
        counted = {} if lines is None else {LINES_KEY: str(lines)}
        text = state.ledger.encode(length)
        if len(text) + sum(map(len, chain(*counted.items()))) <= self._limits.max_metadata:
            return {METADATA_KEY: text} | counted
        content = b"%b\n%032x\n" % (text.encode(), self._rng.getrandbits(128))
        digest = hashlib.sha256(content).hexdigest()
        side = target.ledger_key(digest)
        self._s3.put_object(Bucket=self._bucket, Key=side, Body=content, ContentType="text/plain")
        unused[side] = state.etag
        return {METADATA_KEY: reference(length, digest)} | counted


def _uncovered(ledger: Ledger, items: Iterable[Item]) -> tuple[list[bytes], int]:
    """The texts of the items that the ledger lacks, which are entered there, and the number of their lines.

    A run of lines is looked at as a whole, and line by line only where the ledger has a part of it.
    """
    texts, count = [], 0
    for item in items:
        if item.owner is None:
            texts.append(item.text)
            count += item.lines
            continue
        if ledger.covers(item.owner, item.start, item.end):
            continue
        for each in (item,) if ledger.misses(item.owner, item.start, item.end) else item.singly():
            if not ledger.covers(item.owner, each.start, each.end):
                ledger.add(item.owner, each.start, each.end)
                texts.append(each.text)
                count += each.lines
    return texts, count


def _lost(error: ClientError) -> bool:
    """Whether another writer changed the object meanwhile: 412, 409 at Complete, or 404 when it was just deleted."""
    return status_of(error) in (404, 409, 412) and error.response.get("Error", {}).get("Code") != "NoSuchBucket"
