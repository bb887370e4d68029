"""The whole pipeline in one process, from one seed.

nginx and logrotate (`web`) → files (`disk`) → the producer's own code → Kinesis (`stream`) → the function's own code
(`invocation`) → S3 (`bucket`). Only time, chance, the two services and `os` are simulated. One actor moves at a time,
chosen by the seed; some act in the middle of another's operation, and several invocations of the function interleave at
each of their calls. In the end the faults stop, everything drains within a bounded number of rounds, each of which gets
further, and the judge compares.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast
from unittest import mock

from botocore.exceptions import BotoCoreError, ClientError

import index
from archiver import filing
from archiver.archive import Archive, ContentionError, Limits
from archiver.event import FRAGMENT, Key
from archiver.parse import NotInFormatError, parse
from archiver.times import hour_of, readable_hour
from common import atomic
from common.settings import Settings
from journal import files
from journal.archived import ArchivedFile
from journal.checkpoint import Checkpoint, CheckpointFile, Fingerprint, Generation
from journal.files import Found
from producer import batch as batching
from producer import bucket as appending
from producer import importing, setback, ship, whereabouts
from producer import reader as reading
from producer import record as recording
from producer.bucket import Proven
from producer.imported import MEMORY, ImportingError, load
from producer.importing import Imported
from producer.large import Large
from producer.repair import Repair, Repaired
from producer.retrying import RETRY_SECONDS
from producer.rotate import Rotator
from producer.ship import Shipped, ship_once
from producer.signed import signed
from producer.sink import KinesisSink
from producer.source import Source
from tests.checker import entries, judge
from tests.fake_kinesis import FakeClock
from tests.keys import KEY, OTHER_KEY
from tests.lambda_events import bytes_of
from tests.simulation.archives import Archives
from tests.simulation.baton import Baton
from tests.simulation.bucket import Bucket
from tests.simulation.direct import Direct
from tests.simulation.disk import Disk, SimOs, SimPath, broken, full
from tests.simulation.faults import Crash, Faults, Violation
from tests.simulation.invocation import Invocation
from tests.simulation.stream import FORGED, FORMATS, Sent, Stream, foreign
from tests.simulation.web import S6, Line, LogFile, Snapshot, Web, started

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Result = TypeVar("Result")
PREFIX = "logs/"
# The id of the start of the machine that a producer runs on
BOOT = {"id": ""}
# So small that some lines reach every limit
SMALL: list[tuple[Any, dict[str, Any]]] = [
    (files, {"os": SimOs()}),
    (whereabouts, {"os": SimOs()}),
    (reading, {"BLOCK_BYTES": 1500, "FRAGMENT_BYTES": 500, "WINDOW_BYTES": 100, "os": SimOs()}),
    (recording, {"MAX_RECORD_BYTES": 700, "PACK_BYTES": 600, "FRAGMENT_BYTES": 500, "WINDOW_BYTES": 100}),
    (
        batching,
        {"MAX_BATCH_RECORDS": 5, "MAX_BATCH_BYTES": 3500, "MAX_APPENDED_RECORDS": 5, "APPENDED_BYTES": 3500},
    ),
    (appending, {"FLUSH_BYTES": 3000}),
    (atomic, {"os": SimOs()}),
    (importing, {"held_open": lambda *_: False}),
    *((module, {"boot_id": lambda: BOOT["id"]}) for module in (setback, ship)),
    (filing, {"MAX_REJECTED": 300}),
    (
        index,
        {
            "FLUSH_BYTES": 3000,
            "LARGE_BYTES": 8000,
            "FEW_OBJECTS": 3,
            "TIME_MARGIN_MS": 800,
            "print": lambda *_, **__: None,
        },
    ),
]
# No parts, no side object; small parts and metadata; the smallest
LIMITS = [
    Limits(),
    Limits(min_part=2000, max_copy=5000, max_metadata=300),
    Limits(min_part=600, max_copy=1300, max_metadata=100),
]
# Until one has looked at an edited log
EDITED_TICKS = 5
# Milliseconds: an append takes up to some 600 when nothing is wrong
TIME_OUTS = [1200, 2000, 6000]
# Nginx and logrotate take at most so many turns while the producer is at one tick, which lasts some milliseconds
MEANWHILE = 3
# At how many bytes, and at which age in seconds, an appliance rotates its log
ROTATED_AT = [300, 3000, 10**9]
ROTATED_AFTER = [60, 3600]
# When repair sends again what is acknowledged, in seconds
REPAIRED_AFTER = 60.0
# How often an appliance looks after its logs, and repair into the bucket, for each step
LOOKS = 0.2
# With clones
MACHINES = 4
# Of those whose log another program rotates: the producers that cron starts each minute, the logs that are links, and
# s6-log's
CRON, LINKED, S6_LOG = 0.3, 0.3, 0.2
# After the faults have stopped, everything has arrived within so many ticks and invocations
DRAIN_TICKS = 6
DRAIN_INVOCATIONS = 2000
DRAIN_REPAIRS = 4
# A rotated file that ends without a newline is read to its end after ten minutes at the latest; clocks jump up to hours
DRAIN_SECONDS = 5 * 3600.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What a run is about."""

    appliances: int
    shards: int
    steps: int
    limits: Limits
    batch_size: int
    milliseconds: int  # the function's time-out
    faults: Faults
    reformatted: float = 0.0  # for each step: the function gets another of FORMATS

    @classmethod
    def drawn(cls, rng: random.Random, apart: random.Random, formats: random.Random) -> Setting:
        drawn = cls(
            appliances=rng.choice([1, 1, 2, 3]),
            shards=rng.randint(1, 4),
            steps=rng.randint(25, 90),
            limits=rng.choice(LIMITS),
            batch_size=rng.choice([1, 3, 10, 30]),
            milliseconds=apart.choice(TIME_OUTS),
            faults=Faults.drawn(rng, apart),
        )
        # no two programs have different formats at the same time; nor are lines kept in pieces in one and not the other
        if drawn.faults.direct or formats.random() < 0.5:
            return drawn
        return replace(drawn, faults=replace(drawn.faults, long_line=0.0), reformatted=formats.uniform(0, 0.3))

    def __str__(self) -> str:
        return (
            f"  {self.appliances} appliances, {self.shards} shards, {self.steps} steps, batches of {self.batch_size}, "
            f"{self.milliseconds} ms, {self.limits}, reformatted {self.reformatted:.2f}\n{self.faults}"
        )


class SimClock(FakeClock):
    """Starts where it is told; sleeping lets others act."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._now = started(rng)
        self.meanwhile: Callable[[], None] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        self.meanwhile()

    def jump(self, seconds: float) -> None:
        """The wall clock is set; the other one does not know."""
        monotonic = self._monotonic
        self.advance(seconds)
        self._monotonic = monotonic


class Appliance:
    """One container: nginx, its log, the producer and its checkpoint."""

    def __init__(self, name: str, world: World, folder: Path, like: Appliance | None = None) -> None:
        self.name = name
        self._settings = Settings(
            s3_bucket=world.bucket.bucket, s3_prefix=PREFIX, repair_after=REPAIRED_AFTER, target="localstack"
        ).model_copy(update={"data_dir": SimPath(folder)})
        folder = folder / "log"
        folder.mkdir(parents=True)
        self._world = world
        self._rng = random.Random(world.rng.getrandbits(64))
        self.disk = Disk(self._step, self._saved)
        self.disk.now = lambda: world.clock.now().timestamp()
        self._checkpoint = self._settings.checkpoint_file
        self.faults = Faults()
        self._owns_log = world.keeper.random() < 0.5
        # it does not repair
        self._cron = not (self._owns_log or world.setting.faults.records_lost) and world.rotation.random() < CRON
        if like:
            self._owns_log, self._cron = like._owns_log, like._cron
        self._boots = 0
        apart = random.Random(world.rotation.getrandbits(64))
        kind = 1.0 if self._owns_log else world.rotation.random()
        called = S6 if kind < S6_LOG else "access.log"
        self.log: Path = SimPath(folder / (like.log.name if like else called))
        self._settings = self._settings.model_copy(update={"log_file": self.log})
        self.web = Web(
            *(name, Path(self.log), self.disk, world.clock, self._rng, self._sent, world.say, apart),
            rotates=not self._owns_log,
            linked=S6_LOG <= kind < S6_LOG + LINKED,
        )
        self.disk.moved = self.web.moved
        self._limit, self._age = world.keeper.choice(ROTATED_AT), world.keeper.choice(ROTATED_AFTER)
        faults = world.setting.faults
        self.archives = Archives(
            *(folder.with_name("archive"), self.web, random.Random(world.rotation.getrandbits(64))),
            grows=not faults.set_back,
            copies=not faults.set_back,
        )
        self._dead = False
        self._snapshot: Snapshot | None = None
        self._turns = 0
        self._looking = self._shipping = False
        self._offsets: dict[str, int] = {}
        self.start()

    def _sent(self, line: bytes) -> bool:
        """Whether nothing can keep it from the bucket any more."""
        world, faults = self._world, self._world.setting.faults
        return line in (world.bucket if faults.records_lost or faults.direct else world.stream).lines

    def start(self) -> None:
        world = self._world
        self._dead = self._shipping = False
        self._direct, self._proven = world.keeper.random() < self.faults.direct, Proven()
        self._source = self._new_source()
        self._file = CheckpointFile(self._checkpoint)
        self._sink = self._new_sink()
        self._repair = Repair(
            self._settings,
            self._new_source(),
            world.clock,
            connect=lambda: cast("S3Client", _Looking(self, world.bucket)),
            sink=lambda _: self._new_sink(),
            turn=self._turn,
            proven=self._proven.take,
        )
        self._rotator = Rotator(
            *(self.log, self.log, self._limit, self._age, world.clock, CheckpointFile(self._checkpoint)),
            archived_file=ArchivedFile(self._settings.archived_file),
            is_full=lambda: world.keeper.random() < self.faults.no_room,
            held=lambda path: self.web.held(0, self.disk.inode(path)),
            find_nginx=lambda _: 1,
            kill=lambda *_: self.web.signalled(),
        )
        self._alive(
            partial(setback.look_back, self._file, once=True) if self._cron else self._repair.set_back.look_back
        )

    def _new_source(self) -> Source:
        return Source(
            *(self.log, self._world.clock, random.Random(self._rng.getrandbits(64))),
            held=self.web.held,
            folders=[SimPath(self.web.away)],
            keeps_open=not self._owns_log,
            imported=partial(load, self._checkpoint.with_name(MEMORY)),
        )

    def _new_sink(self) -> KinesisSink | Direct:
        world, rng, patience = self._world, random.Random(self._rng.getrandbits(64)), [0.0, RETRY_SECONDS]
        seconds = self._rng.choice(patience)
        if self._direct:
            client = _Client(self, world.bucket)
            large = Large(self._settings.large_file)
            options: dict[str, Any] = {"prefix": PREFIX, "retry_seconds": seconds, "large": large}
            sink = Direct(lambda: client, world.bucket.bucket, world.clock, rng, **options)
            sink.simulated(world.stream, world.setting.limits)
            return sink
        client = _Client(self, world.stream)
        return KinesisSink(lambda: client, "web-log-stream", world.clock, rng, retry_seconds=seconds, key=lambda: KEY)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Nobody ships meanwhile."""
        self._shipping = True
        yield
        self._shipping = False

    def repair(self) -> Repaired | None:
        """One run of repair; None when it ended early."""
        if self._cron:
            return Repaired()
        self._world.say(f"{self.name} compares with the bucket")
        repaired = self._alive(lambda: self._repair.run(REPAIRED_AFTER))
        self._world.say(f"{self.name}: {repaired}")
        return repaired

    def look_at_bucket(self, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """One of repair's calls; a tick may come before it."""
        self._step("call", "a look at the bucket")
        if not self._shipping and self._world.keeper.random() < self.faults.meanwhile_ticked:
            self._ship()
        return look()

    def snapshot(self) -> None:
        """Of the volume, checkpoint and all, at a moment at which the checkpoint knows all lines."""
        with self._world.calm():
            self.tick()
            if self.web.quiet:
                self._world.say(f"{self.name}: a snapshot")
                self._snapshot = self.web.snapshot()

    def set_back(self) -> None:
        """Start from the snapshot of the volume, or of the folder."""
        if self._snapshot is None:
            return
        same = self._world.keeper.random() < 0.5
        with self._world.calm():
            self._world.say(f"{self.name} is set back{'' if same else ' to copies'}")
            self.web.set_back(self._snapshot, same_inodes=same)
            self._offsets.clear()
            self._boots += same
            self.start()

    def clone(self, name: str, folder: Path) -> Appliance | None:
        """Another machine that goes on from the snapshot, as this one does."""
        if self._snapshot is None:
            return None
        self._world.say(f"{self.name} is cloned: {name}")
        other = Appliance(name, self._world, folder, like=self)
        other.web.lines.update(self.web.lines)
        other.web.count = self.web.count  # no name is given twice
        other._snapshot = self._snapshot
        other.set_back()
        return other

    def edit(self) -> None:
        """A file of the log. What is known again of it has the same name when it is seen; and it is readable, if a copy
        of it is, in which the old one could go on."""
        edited = self.web.edit(self._sent_up_to)
        if edited is None:
            return
        self.web.still = True
        for _ in range(0 if edited.copied else EDITED_TICKS):
            if self._sent_up_to(edited) is None:
                self.tick()
        with self._world.calm():
            self.tick()
        self.web.still = False

    def join(self) -> None:
        self.web.join(self._sent_up_to)

    def _sent_up_to(self, file: LogFile) -> int | None:
        """By the checkpoint, and nothing that comes behind it may be in the stream."""
        try:
            generations = CheckpointFile(Path(self._checkpoint)).load()
        except FileNotFoundError:
            return None
        content = bytes(file.content)
        for each in generations.generations if generations else []:
            at, ours = each.offset, [one.inode for one in each.files if not one.copy]
            named = file.path == self.web.home or Path(each.name).name == file.path.name
            if each.edited or each.closed or each.inside_line or not named or self.disk.inode(file.path) not in ours:
                continue
            same = Fingerprint.of(content[: each.head.length]) == each.head
            same = same and (not at or Fingerprint.of(content[at - each.tail.length : at]) == each.tail)
            if same and at <= len(content) and self._world.stream.end(each.id) <= at:
                return at
        return None

    def bring_in(self, paths: list[Path]) -> Imported | None:
        """`appliance import`, beside the producer; None when it ended early, or all was refused."""
        return self._alive(lambda: self._import([SimPath(path) for path in paths]))

    def _import(self, paths: list[SimPath]) -> Imported | None:
        say = self._world.say
        say(f"{self.name} imports {', '.join(path.name for path in paths)}")

        def listed(log: Path, generations: Collection[Generation], _: object) -> list[Found]:
            faults, self.faults = self.faults, Faults()  # a file that cannot be looked at is in no listing
            found = files.files_of(log, generations, [SimPath(self.web.away)])
            self.faults = faults
            return found

        def meanwhile(_: object) -> None:
            if not self._shipping and self._world.keeper.random() < self.faults.meanwhile_ticked:
                self._ship()

        try:
            self.web.still = True  # what is rotated meanwhile may be listed nowhere
            with mock.patch.object(importing, "files_of", listed):
                imported = importing.prepare(self._settings, paths, meanwhile)
            self.web.still = False
        except ImportingError as error:
            say(f"{self.name}: {error}")
            return None
        with closing(self._new_sink()) as sink:
            importing.send(imported, sink, sink.cut, self._world.clock, meanwhile)
        for old in imported.files:
            say(f"{self.name}: {old.found.path.name}: {old.sent} of {old.found.size} bytes {old.skipped}")
        say(f"{self.name} has imported {imported.bytes} of {imported.total} bytes; {imported.error}")
        return imported

    def import_some(self) -> None:
        self.archives.copied = [content for content in self.archives.copied if self._is_certain(content)]
        self.bring_in(self.archives.some())
        self.web.still = False

    def import_all(self) -> None:
        """Raises Violation."""
        for content in self.archives.whole:
            imported = self.bring_in([self.archives.file(content)])
            if imported is None or imported.error or imported.bytes < imported.total or imported.files[0].skipped:
                raise Violation(f"{self.name} cannot import: {imported}")
            self.archives.arrives(content)
        for content in filter(self._is_certain, self.archives.copied):
            imported = self.bring_in([self.archives.file(content)])
            if imported and not imported.error and (generation := imported.files[0].generation):
                self.archives.arrives(content[generation.offset :])

    def restore(self) -> None:
        """What was imported comes to lie beside the log."""
        for number, content in enumerate(self.archives.whole):
            path = self.archives.file(content)
            self.web.put(self.log.with_name(f"{self.log.name}.old{number}{path.suffix}"), path.read_bytes())

    def ship_all(self) -> None:
        """Raises Violation."""
        for _ in range(DRAIN_TICKS):
            report = self.tick()
            if report is None or report.error:
                raise Violation(f"{self.name} cannot ship: {report and report.error}")
            if report.lag == 0 and not report.records:
                return
        raise Violation(f"{self.name} does not come to an end: {report}")

    def _is_certain(self, content: bytes) -> bool:
        """Whether what a copy holds is in a log, or all that was sent of it is acknowledged."""
        if self.web.has(content):
            return True
        checkpoint = CheckpointFile(Path(self._checkpoint)).load() or Checkpoint()
        known = [part for each in [*checkpoint.generations, *checkpoint.ended] for part in each.parts]
        return not self.web.busy and all(self._world.stream.end(each.id) <= each.offset for each in known)

    def rotate(self) -> None:
        """One look of the appliance's own rotation."""
        if self._owns_log:
            self._alive(self._look)

    def _look(self) -> None:
        if not self._looking:  # never two at a time
            self._looking = True
            try:
                self._rotator.look()
            finally:
                self._looking = False

    def tick(self) -> Shipped | None:
        """One poll; None when it ended early."""
        say, rng = self._world.say, self._rng
        if rng.random() < self.faults.producer_restarted:
            say(f"{self.name} starts its producer anew")
            self.start()
        elif self._cron:
            say(f"{self.name}: cron starts its producer")
            self.start()
        return self._alive(self._ship)

    def _ship(self) -> Shipped:
        say, rng = self._world.say, self._rng
        say(f"{self.name} ships")
        with self._turn():
            report = ship_once(
                *(self._source, self._file, self._sink),
                cut=self._sink.cut,
                stop=lambda: rng.random() < self.faults.producer_stopped,
            )
        if self._direct:
            self._proven.add(report.ranges)
        say(f"{self.name} has shipped {report.records} records, {report.lag} bytes left; {report.error}")
        for problem in report.problems:
            say(f"{self.name}: {problem}")
        return report

    def _alive(self, act: Callable[[], Result]) -> Result | None:
        """Run a part of the producer; None when it ended early."""
        self._turns = MEANWHILE
        BOOT["id"] = f"{self.name}, {self._boots}"
        try:
            with self.disk.running():
                return act()
        except Crash as crash:
            self._world.say(f"{self.name}: {crash}")
            if self._rng.random() < self.faults.power_cut:
                self._world.say(f"{self.name}: power cut")
                self.web.power_cut()
                self._boots += 1
                self._offsets.clear()
            self.start()
        except OSError as error:
            self._world.say(f"{self.name}: {error}")
        return None

    def _step(self, kind: str, name: str) -> None:
        """An operation of the producer begins, or has just taken effect (`after`)."""
        if self._dead:
            raise Crash(name)
        rng, faults = self._rng, self.faults
        if rng.random() < faults.producer_killed:
            self._dead = True
            raise Crash(f"killed {'after' if kind == 'after' else 'before'} {name}")
        if self._turns and rng.random() < faults.meanwhile_written:
            self._turns -= 1
            self._world.say(f"  in the middle of {name}:")
            self.web.act(gently=True)
        if self._turns and rng.random() < faults.meanwhile_emptied:
            self._turns -= 1
            self._world.say(f"  in the middle of {name}:")
            self.web.act()
        if (
            self._turns
            and self._owns_log
            and not self.web.still
            and self._world.keeper.random() < faults.meanwhile_rotated
        ):
            self._turns -= 1
            self._look()
        if kind in ("write", "after") and rng.random() < faults.disk_full:
            raise full() if kind == "write" else broken()
        if kind == "read" and rng.random() < faults.read_error:
            raise broken()

    def call(self, name: str, put: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self._step("call", name)
        answer = put()
        self._step("call", f"the answer of {name}")
        return answer

    def _saved(self, path: Path) -> None:
        """The checkpoint on disk claims nothing that is not acknowledged, and takes nothing back."""
        if path != self._checkpoint:
            return
        with self.disk.aside():
            tree = json.loads(path.read_bytes())
        for generation in tree["generations"]:
            name, offset = generation["id"], generation["offset"]
            start = generation["offset"] if generation["start"] is None else generation["start"]
            reach = self._world.stream.acknowledged.reach(name, start)
            if offset > reach:
                raise Violation(f"{self.name}: the checkpoint claims {offset} of {name}, acknowledged is {reach}")
            if offset < self._offsets.get(name, 0):
                raise Violation(f"{self.name}: the checkpoint goes back from {self._offsets[name]} to {offset}")
            self._offsets[name] = offset


class _Client:
    """The stream, or the bucket, as one appliance's client sees it."""

    meta = SimpleNamespace(endpoint_url="https://s3.amazonaws.com")

    def __init__(self, appliance: Appliance, service: Stream | Bucket) -> None:
        self._appliance = appliance
        self._service = service

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        return lambda **request: self._appliance.call(name, lambda: getattr(self._service, name)(**request))

    def close(self) -> None:
        pass


class _Looking:
    """The bucket as repair's client sees it."""

    def __init__(self, appliance: Appliance, bucket: Bucket) -> None:
        self._appliance = appliance
        self._bucket = bucket

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        return lambda **request: self._appliance.look_at_bucket(lambda: getattr(self._bucket, name)(**request))

    def close(self) -> None:
        pass


class World:
    def __init__(self, seed: int, folder: Path, say: Callable[[str], None]) -> None:
        self.say = say
        self.rng = random.Random(seed)
        self._lambda = random.Random(f"{seed}/lambda")
        self._editor = random.Random(f"{seed}/editor")
        self._joiner = random.Random(f"{seed}/joiner")
        self._forger = random.Random(f"{seed}/forger")
        self.keeper = random.Random(f"{seed}/keeper")
        self._formats = random.Random(f"{seed}/formats")
        self._format = FORMATS[0]
        self.rotation = random.Random(f"{seed}/rotation")
        self.setting = Setting.drawn(self.rng, self._lambda, self._formats)
        self.clock = SimClock(self.rng)
        self.stream = Stream(self.setting.shards, self.clock, self._chance(), PREFIX, say)
        limits = self.setting.limits
        self.bucket = Bucket(
            self.stream,
            self._chance(),
            say,
            min_part=limits.min_part,
            max_copy=limits.max_copy,
            max_metadata=limits.max_metadata + len("ledger"),
        )
        self._baton = Baton(self._chance())
        self.bucket.pause = self._baton.pause
        self.positions = [0] * self.setting.shards
        # Of the shards whose last invocation failed: the first record of its batch, and how many
        self._returned: dict[int, tuple[int, int]] = {}
        self._folder = folder
        self.appliances = [
            Appliance(f"a{number}", self, folder / f"a{number}") for number in range(self.setting.appliances)
        ]
        self.clock.meanwhile = self._meanwhile
        self.lines = 0

    def _chance(self) -> random.Random:
        return random.Random(self.rng.getrandbits(64))

    def inject(self, faults: Faults) -> None:
        self.stream.faults = self.bucket.injected = self.faults = faults
        for appliance in self.appliances:
            appliance.faults = appliance.web.faults = faults

    @contextmanager
    def calm(self) -> Iterator[None]:
        """No faults for a while."""
        self.inject(Faults())
        yield
        self.inject(self.setting.faults)

    def run(self) -> None:
        """Live through it, drain, and judge. Raises Violation."""
        rng = self.rng
        self.inject(self.setting.faults)
        for _ in range(self.setting.steps):
            if self._forger.random() < self.faults.forged:
                self._forge()
            if self._lambda.random() < self.faults.resharded:
                self._reshard(self._lambda.randint(1, 4))
            if self._lambda.random() < self.faults.records_lost:
                self._lose(self._lambda)
            if self._formats.random() < self.setting.reformatted:
                self._reformat()
            appliance = rng.choice(self.appliances)
            if self._editor.random() < self.faults.edited:
                appliance.edit()
            if self._joiner.random() < self.faults.joined:
                appliance.join()
            if self._editor.random() < self.faults.imported:
                appliance.import_some()
            if self.keeper.random() < LOOKS:
                appliance.rotate()
            if self.keeper.random() < LOOKS:
                appliance.repair()
            if self.faults.set_back:
                if self.keeper.random() < LOOKS:
                    appliance.snapshot()
                if self.keeper.random() < self.faults.set_back:
                    appliance.set_back()
                if self.keeper.random() < self.faults.cloned and len(self.appliances) < MACHINES:
                    self._clone(appliance)
            chance = rng.random()
            if chance < 0.4:
                appliance.web.act()
            elif chance < 0.65:
                appliance.tick()
            elif chance < 0.9:
                self.invoke()
            else:
                self._time_passes()
        self._drain()
        self._judge()

    def close(self) -> None:
        for appliance in self.appliances:
            appliance.web.close()

    def _clone(self, appliance: Appliance) -> None:
        name = f"a{len(self.appliances)}"
        with self.calm():
            if other := appliance.clone(name, self._folder / name):
                self.appliances.append(other)

    def _time_passes(self) -> None:
        if self.rng.random() < self.faults.clock_jumps:
            seconds = self.rng.uniform(-7200, 7200)
            self.say(f"the clock jumps by {seconds:.0f} s")
            self.clock.jump(seconds)
        else:
            self.clock.advance(self.rng.choice([1, 15, 60, 700]) * self.rng.uniform(0.5, 1.5))
            self.say(f"it is {self.clock.now():%Y-%m-%d %H:%M:%S}")

    def _meanwhile(self) -> None:
        """The producer waits."""
        if self.rng.random() < self.faults.meanwhile_written:
            self.rng.choice(self.appliances).web.act(gently=True)

    def _reshard(self, count: int) -> None:
        """A parent may be read after its children, which AWS does not do: the order of batches is not promised."""
        self.say(f"{count} other shards take over")
        self.stream.reshard(count)
        self.positions += [0] * count

    def _reformat(self) -> None:
        """No request of the old format's arrives after that."""
        while self.bucket.late:
            with suppress(ClientError, BotoCoreError, Crash):
                self.bucket.late.pop(0)()
        self._format = self._formats.choice(FORMATS)
        self.say(f"the format is {self._format.name or 'another'}")

    def _lose(self, rng: random.Random) -> None:
        """All that waits, as when an emulator starts anew; or the oldest records of a shard, as their time is over."""
        everything = rng.random() < 0.5
        for shard in range(len(self.positions)) if everything else [rng.randrange(len(self.positions))]:
            start, end = self.positions[shard], len(self.stream.shards[shard])
            end = end if everything else rng.randint(start, end)
            self.say(f"shard {shard} loses records {start} to {end}")
            self.stream.lose(shard, start, end)
            self._returned.pop(shard, None)

    def _forge(self) -> None:
        """Another program claims the bytes behind what is acknowledged, or some before: unsigned, or signed with what
        it has seen in the stream, or with a key of its own."""
        known = [record for shard in self.stream.shards for record in shard if not record.data.startswith(FORGED)]
        if not known:
            return
        seen = self._forger.choice(known)
        generation, offset = seen.key.split(":")[:2]
        start = self._forger.choice([int(offset), self.stream.acknowledged.reach(generation, 0)])
        place, data = (
            f"{generation}:{start}",
            FORGED + b"%d" % self._forger.randrange(10 ** self._forger.randint(1, 99)),
        )
        tag = seen.key.rpartition(":")[2]
        key = self._forger.choice([place, f"{place}:{tag}", signed(place, data, OTHER_KEY)])
        self.say(f"another program claims {place} of {len(data)} bytes")
        self.stream.add(key, data)

    # The event source mapping

    def invoke(self) -> None:
        """One invocation, or several at the same time."""
        rng, faults = self.rng, self.faults
        waiting = [at for at, shard in enumerate(self.stream.shards) if self.positions[at] < len(shard)]
        if not waiting:
            if rng.random() < faults.redelivered:
                self._go_back(rng.randrange(len(self.positions)))
            return
        if rng.random() >= faults.at_the_same_time:
            self._deliver(rng.choice(waiting))
            return
        chosen = rng.sample(waiting, min(len(waiting), 3))
        if len(chosen) == 1 or rng.random() < faults.same_twice:
            chosen.append(rng.choice(chosen))
        self.say(f"at the same time: shards {chosen}")
        self._baton.run([lambda shard=shard: self._deliver(shard) for shard in chosen])  # type: ignore[misc]

    def _deliver(self, shard: int) -> None:
        rng, faults = self.rng, self.faults
        first = self.positions[shard]
        count = rng.randint(1, self.setting.batch_size)
        before, failed = self._returned.get(shard, (-1, 0))
        if failed and before == first and self._lambda.random() >= faults.other_batch:
            count = failed
        batch = self.stream.shards[shard][first : first + count]
        self.say(f"  shard {shard}: records {first} to {first + len(batch)}")
        invocation = Invocation(
            self.bucket,
            random.Random(self._lambda.getrandbits(64)),
            faults,
            self.say,
            milliseconds=self.setting.milliseconds,
            records=len(batch),
        )
        archive = Archive(
            cast("S3Client", invocation),
            self.bucket.bucket,
            rng=random.Random(rng.getrandbits(64)),
            sleep=invocation.sleep,
            limits=self.setting.limits,
        )
        run = index.Run(archive, PREFIX, invocation, Key.of(KEY), self._format)
        try:
            run.archive({"Records": [_event_record(record) for record in batch]})
        except (Crash, ClientError, BotoCoreError, ContentionError, OSError, index.OutOfTimeError) as error:
            self.say(f"  shard {shard}: {type(error).__name__}: {error}")
            self._returned[shard] = (first, len(batch))
        else:
            self._returned.pop(shard, None)
            self.say(f"  shard {shard}: {run.counts}")
            # Another delivery of the same records may have ended meanwhile
            self.positions[shard] = max(self.positions[shard], first + len(batch))
            if rng.random() < faults.redelivered:
                self._go_back(shard)

    def _go_back(self, shard: int) -> None:
        self.positions[shard] = self.rng.randint(0, self.positions[shard])
        self.say(f"  shard {shard} starts again from {self.positions[shard]}")

    # The end

    def _drain(self) -> None:
        self.say("the faults end")
        self.inject(Faults())
        for appliance in self.appliances:
            appliance.web.settle()
        self.clock.advance(DRAIN_SECONDS)
        for appliance in self.appliances:
            appliance.ship_all()
        for appliance in self.appliances:
            appliance.import_all()
        self.empty_shards()
        for appliance in self.appliances:
            appliance.restore()
            appliance.ship_all()
        self.empty_shards()
        for _ in range(DRAIN_REPAIRS):
            self.clock.advance(DRAIN_SECONDS)
            found = [appliance.repair() for appliance in self.appliances]
            if any(repaired is None or (repaired.error and not repaired.missing) for repaired in found):
                raise Violation(f"repair fails: {found}")
            if not any(repaired and repaired.sent for repaired in found):
                break
            self.empty_shards()
        else:
            raise Violation(f"repair does not come to an end: {found}")

    def empty_shards(self) -> None:
        for _ in range(DRAIN_INVOCATIONS):
            if all(at == len(shard) for at, shard in zip(self.positions, self.stream.shards, strict=True)):
                break
            before = [*self.positions], self.bucket.stands()
            self.invoke()
            if ([*self.positions], self.bucket.stands()) == before:
                raise Violation("a batch comes back for ever: an invocation has not got further")
        else:
            raise Violation("the shards do not come to an end")

    def _judge(self) -> None:
        expected, may, lines = Counter[bytes](), Counter[bytes](), {}
        for appliance in self.appliances:
            expected |= appliance.web.expected() | appliance.archives.lines  # clones have lines in common
            may.update(appliance.web.may)
            may[b""] += appliance.archives.empty
            lines.update(appliance.web.lines)
        self.lines = expected.total()
        becomes: dict[tuple[str, bytes], bytes] = {}  # hour and text of an entry → the line
        for raw in [*expected, *may]:
            known = lines.get(raw)
            if known and known.text is not None and known.hour:
                becomes[known.hour, known.text] = raw
            elif known is None:  # cut in two by a rotation, or joined by a power cut: any entry will do, but once
                with suppress(NotInFormatError):
                    entry = parse(raw)
                    becomes[entry.hour, entry.text[:-1]] = raw
        rejected = self._rejected(lines, expected, may)
        archive = entries(cast("S3Client", self.bucket), self.bucket.bucket, PREFIX)
        found = Counter(rejected)
        for key, archived in archive:
            text = json.dumps(archived, ensure_ascii=False, separators=(",", ":")).encode()
            line = becomes.get((key.removeprefix(PREFIX)[:13], text))
            if line is None:
                raise Violation(f"{key} has an entry that is no line's, or not this hour's: {text.decode()}")
            found[line] += 1
        # First what a customer would ask; whoever destroyed a line may have it or not
        wanted = {
            json.loads(text)["userAgent"]
            for (_, text), raw in becomes.items()
            if raw not in rejected and (raw in expected or found[raw])
        }
        verdict = judge(wanted, archive, lambda archived: str(archived["userAgent"]))
        if not verdict.exactly_once:
            raise Violation(f"{verdict}")
        # Then every line, also the rejected ones
        if lost := expected - found:
            raise Violation(f"lost: {dict(lost)}")
        if more := found - expected - may:
            raise Violation(f"doubled, or never written: {dict(more)}")
        # Then all that the stream has acknowledged or not, destroyed or not
        places = Counter[tuple[str | None, int]]()
        for key, items in self.stream.items.items():
            there = self.bucket.objects[key].body.splitlines(keepends=True) if key in self.bucket.objects else []
            places.update((items[text].owner, items[text].start) for text in there if text in items)
        if missing := self.stream.held - self.stream.lost - places.keys():
            raise Violation(f"the bucket lacks what the stream had: {sorted(map(str, missing))}")
        if twice := [place for place, count in places.items() if count > 1]:
            raise Violation(f"the bucket has in two objects: {sorted(map(str, twice))}")

    def _rejected(self, lines: dict[bytes, Line], expected: Counter[bytes], may: Counter[bytes]) -> Counter[bytes]:
        """The lines in the rejected objects, those put together again that were kept in pieces."""
        found: Counter[bytes] = Counter()
        pieces: dict[tuple[str, int], tuple[str, bytes]] = {}
        for key in sorted(self.bucket.objects):
            if not key.startswith(f"{PREFIX}rejected/"):
                continue
            hour = key.removeprefix(f"{PREFIX}rejected/")[:13]
            for text in self.bucket.objects[key].body.splitlines():
                if foreign(text):
                    continue
                entry = json.loads(text)
                raw, place = bytes_of(entry["raw"]), (entry["generation"], entry["offset"])
                if place in pieces:
                    raise Violation(f"{key} has {place} twice")
                pieces[place] = (hour, raw)
                if entry["reason"] != FRAGMENT:
                    self._filed_right(hour, raw, entry["generation"], lines)
                    found[raw] += 1
                    pieces[place] = (hour, b"")
        whole, end = b"", ("", 0)
        for place in sorted(pieces):
            hour, raw = pieces[place]
            if not raw:
                continue
            if place != end and whole:
                self._unfinished(whole, found, expected, may)
                whole = b""
            whole, end = whole + raw, (place[0], place[1] + len(raw))
            if whole.endswith(b"\n"):
                line = whole[:-1]
                # The end of a line that was destroyed while a piece of it was refused is no line
                if line in expected or line in may or not any(other.endswith(line) for other in may):
                    found[line] += 1
                self._filed_right(hour, line, place[0], lines, fragments=True)
                whole = b""
        if whole:
            self._unfinished(whole, found, expected, may)
        return found

    @staticmethod
    def _unfinished(whole: bytes, found: Counter[bytes], expected: Counter[bytes], may: Counter[bytes]) -> None:
        """Pieces without a newline: a line kept in pieces by the function, or some of one that was destroyed."""
        if whole in expected or not any(whole in line for line in may):
            found[whole] += 1

    def _filed_right(
        self, hour: str, raw: bytes, generation: str, lines: dict[bytes, Line], *, fragments: bool = False
    ) -> None:
        known = lines[raw].hour if raw in lines else readable_hour(raw)
        first_seen = hour_of(int(generation[:8], 16))
        if hour != (first_seen if fragments or known is None else known):
            raise Violation(f"{raw!r} is filed under {hour}, not under {known or first_seen}")


def _event_record(record: Sent) -> dict[str, Any]:
    return {
        "eventID": f"shardId-000000000000:{record.number}",
        "kinesis": {
            "partitionKey": record.key,
            "sequenceNumber": str(record.number),
            "data": base64.b64encode(record.data).decode(),
            "approximateArrivalTimestamp": record.arrived,
        },
    }


@contextmanager
def small() -> Iterator[None]:
    """The limits of the code under test so small that a few lines reach them, and its `os` a simulated one."""
    with ExitStack() as stack:
        for module, values in SMALL:
            stack.enter_context(mock.patch.multiple(module, create=True, **values))
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable()
        yield


def simulate(seed: int, say: Callable[[str], None] = lambda _: None) -> World:
    """One run. Raises Violation, with the seed, what it was about, and how to run it again."""
    folder = Path(tempfile.mkdtemp(prefix="simulation-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    world: World | None = None
    try:
        with small():
            world = World(seed, folder, say)
            try:
                world.run()
            except Exception as error:
                raise Violation(
                    f"seed {seed}: {type(error).__name__}: {error}\n{world.setting}\n"
                    f"run it again: script/simulate --seed {seed} --trace"
                ) from error
            finally:
                world.close()
    finally:
        shutil.rmtree(folder)
    return world
