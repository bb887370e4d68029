"""What was once seen archived, beside the log and as durable as its checkpoint: `log/archived.json`.

For each generation it keeps the ranges that a ledger has shown (an object that its owner deletes later does not make
them missing again), how far the stream's acknowledgements had come at which time, and what was sent again. `Archived`
is pure; `ArchivedFile` loads and saves it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from common.atomic import write_atomic
from journal.checkpoint import Generation
from journal.ranges import Ranges

VERSION = 1
# Marks kept within the time after which something acknowledged counts as missing: what a mark costs is up to
# 1/16 of that time too late
MARKS = 16
# The waits between two sendings of one range double up to this many seconds, or to the first wait if that is longer
LONGEST_WAIT = 3600.0
# How long the memory of a log that was deleted with lines missing is kept, so that `audit` shows it
GONE_KEPT = 30 * 86400.0
# Objects that were written longer than this before a log was first seen hold nothing of it. The two times are those of
# different machines: AWS tolerates 15 minutes between them, the clock of a laptop's virtual machine may do worse.
CLOCKS_APART = timedelta(days=1)


class ArchivedError(Exception):
    """archived.json cannot be used; the message says what to do."""


class Sent(NamedTuple):
    """[start, end) was sent again at `at` (Unix seconds); it is not sent again for `wait` seconds."""

    start: int
    end: int
    at: float
    wait: float


@dataclass(slots=True)
class Known:
    """One generation. `marks`: (Unix seconds, offset): everything below was acknowledged by then. `gone`: since when
    it is not in the checkpoint any more, though something of it is not archived."""

    name: str
    start: int
    offset: int
    archived: Ranges = field(default_factory=Ranges)
    marks: list[tuple[float, int]] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    gone: float | None = None

    @property
    def acknowledged(self) -> Ranges:
        return Ranges.of(self.start, self.offset)

    def acknowledged_before(self, moment: float) -> Ranges:
        return Ranges.of(self.start, max((offset for at, offset in self.marks if at <= moment), default=0))


@dataclass(slots=True)
class Archived:
    """`bucket`, `prefix`, `created`: the bucket the ranges were last compared with, and its creation date."""

    bucket: str = ""
    prefix: str = ""
    created: datetime | None = None
    generations: dict[str, Known] = field(default_factory=dict)

    def note(
        self, checkpoint: Iterable[Generation], now: float, after: float, *, saved: float, finely: bool = False
    ) -> None:
        """Take over what the checkpoint says, which was saved at `saved`: it was acknowledged by then.

        `after`: seconds after which it counts as missing. `finely`: spare no mark.
        """
        seen = set()
        for one in checkpoint:
            seen.add(one.id)
            start, offset = one.acknowledged
            known = self.generations.setdefault(one.id, Known(one.name, start, offset))
            known.name, known.start, known.offset, known.gone = one.name, start, offset, None
            # A clock that was set back must not keep anything from ever being old enough
            known.marks = [(min(at, now), min(mark, offset)) for at, mark in known.marks]
            known.sent = [each._replace(at=min(each.at, now)) for each in known.sent]
            last = known.marks[-1] if known.marks else (now - after, start)
            if offset != last[1] and (finely or not known.marks or now - last[0] >= after / MARKS):
                known.marks.append((min(saved, now), offset))
            old = [at for at, _ in known.marks if at <= now - after]
            known.marks = [mark for mark in known.marks if not old or mark[0] >= max(old)]
        for name in [name for name in self.generations if name not in seen]:
            known = self.generations[name]
            known.gone = now if known.gone is None else min(known.gone, now)
            if not known.acknowledged - known.archived or now - known.gone > GONE_KEPT:
                del self.generations[name]

    def absorb(self, ledgers: Mapping[str, Ranges]) -> None:
        """What a ledger shows is archived from now on."""
        for name, known in self.generations.items():
            known.archived |= ledgers.get(name, Ranges())
            missing = known.acknowledged - known.archived
            known.sent = [each for each in known.sent if missing & Ranges.of(each.start, each.end)]

    def horizon(self, now: float) -> datetime:
        """Objects last written before this hold nothing of the logs that are known here.

        A log's id begins with the second in which it was first seen, by a clock that may have been ahead.
        """
        seconds = [min(int(name[:8], 16), now) for name in self.generations]
        return datetime.fromtimestamp(min(seconds, default=now), UTC) - CLOCKS_APART

    def compared_with(self, bucket: str, prefix: str, created: datetime | None, oldest: datetime | None) -> bool:
        """Remember the bucket; True when it was created again, so that what was seen in its predecessor is no more.

        `oldest`: when its least recently written object was written. A creation date alone does not tell: AWS changes
        it with the bucket's policy, and MiniStack after it was killed. But nothing is older than the bucket it is in.
        Another name or prefix is a decision of the user's, and no loss.
        """
        same, before = (bucket, prefix) == (self.bucket, self.prefix), self.created
        if not same or created is not None:
            self.created = created
        self.bucket, self.prefix = bucket, prefix
        if not same or created is None or before in (None, created):
            return False
        if oldest and int(oldest.timestamp()) < int(created.timestamp()):
            return False
        for known in self.generations.values():
            known.archived, known.sent = Ranges(), []
        return True

    def unarchived(self) -> dict[str, Ranges]:
        """Everything that is acknowledged and was never seen archived, however lately."""
        return self._without_archived({name: known.acknowledged for name, known in self.generations.items()})

    def missing(self, now: float, after: float) -> dict[str, Ranges]:
        """What was acknowledged `after` seconds ago or earlier and was never seen archived."""
        old = {name: known.acknowledged_before(now - after) for name, known in self.generations.items()}
        return self._without_archived(old)

    def _without_archived(self, found: Mapping[str, Ranges]) -> dict[str, Ranges]:
        left = {name: ranges - self.generations[name].archived for name, ranges in found.items()}
        return {name: ranges for name, ranges in left.items() if ranges}

    def due(self, missing: Mapping[str, Ranges], now: float) -> dict[str, Ranges]:
        """Of what is missing, what is to be sent now: not what was sent lately, and nothing whose log is gone."""
        found = {}
        for name, ranges in missing.items():
            known = self.generations[name]
            waiting = Ranges((each.start, each.end) for each in known.sent if now < each.at + each.wait)
            if known.gone is None and ranges - waiting:
                found[name] = ranges - waiting
        return found

    def tried(self, name: str, ranges: Ranges, now: float, first_wait: float) -> None:
        """Remember that `ranges` was sent again; the next time it waits twice as long."""
        known = self.generations[name]
        before = [each for each in known.sent if ranges & Ranges.of(each.start, each.end)]
        wait = min(2 * max((each.wait for each in before), default=first_wait / 2), max(first_wait, LONGEST_WAIT))
        kept = [
            each._replace(start=start, end=end)
            for each in known.sent
            for start, end in Ranges.of(each.start, each.end) - ranges
        ]
        known.sent = sorted([*kept, *(Sent(start, end, now, wait) for start, end in ranges)])

    def covers(self, name: str, start: int, end: int) -> bool:
        """Whether all of [start, end) was seen archived."""
        known = self.generations.get(name)
        return known is not None and not Ranges.of(start, end) - known.archived


class ArchivedFile:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._stored: bytes | None = None

    def load(self) -> Archived:
        """What was saved last; empty when nothing ever was. Raises ArchivedError (damaged, newer), OSError."""
        try:
            self._stored = self.path.read_bytes()
        except FileNotFoundError:
            self._stored = None
            return Archived()
        try:
            tree = json.loads(self._stored)
            version = int(tree["version"])
            if version <= VERSION:
                return _archived(tree)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ArchivedError(
                f"{self.path} is damaged ({type(error).__name__}: {error}): put back a good one, or delete it; lines "
                "on disk whose objects were deleted from the bucket are then archived once more"
            ) from error
        raise ArchivedError(
            f"{self.path} has version {version}, this program knows {VERSION}: start the newer program that wrote it"
        )

    def save(self, archived: Archived) -> None:
        """Make it durable, unless it is what the file holds. Raises OSError."""
        data = encode(archived)
        if data != self._stored:
            self._stored = None
            write_atomic(self.path, data)
            self._stored = data


def encode(archived: Archived) -> bytes:
    return json.dumps({"version": VERSION} | asdict(archived), default=datetime.isoformat).encode() + b"\n"


def _archived(tree: Any) -> Archived:
    return Archived(
        bucket=str(tree["bucket"]),
        prefix=str(tree["prefix"]),
        created=tree["created"] and datetime.fromisoformat(tree["created"]),
        generations={
            name: Known(
                name=str(known["name"]),
                start=int(known["start"]),
                offset=int(known["offset"]),
                archived=Ranges((int(start), int(end)) for start, end in known["archived"]),
                marks=[(float(at), int(offset)) for at, offset in known["marks"]],
                sent=[Sent(int(start), int(end), float(at), float(wait)) for start, end, at, wait in known["sent"]],
                gone=None if known["gone"] is None else float(known["gone"]),
            )
            for name, known in tree["generations"].items()
        },
    )
