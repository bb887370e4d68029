"""`script/chaos`: continuous requests against the real appliance while everything around it breaks; then the verdict.

supervisord, nginx, producer and entrypoint run natively as `script/up --native` runs them; the emulator is a process
outside, and everything that they, and the function, say to it goes through the fault proxy. The faults come from a
seed. After the time they end, what is left must be archived within a deadline, and tests/checker.py alone judges.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import ResponseStreamingError

from common.aws import answers
from common.delivery import DELIVERIES, KINESIS, Delivery, delivery_of
from tests.appliance.drivers import Native, descendants, s3_client
from tests.chaos import faults
from tests.chaos.faults import ALL_LOST, PENDING, STREAM_LOST, Hands, Step
from tests.chaos.proxy import FaultProxy
from tests.chaos.traffic import Traffic
from tests.checker import Verdict, body_of, entries, judge
from tests.emulator import Emulator
from tests.waiting import eventually, free_port

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "my-bucket"
# Small, so that the log is rotated under load every few seconds
ROTATE_BYTES = 150_000
# So much that hostile requests fill it in a moment
DISK_BYTES = 32 * 1024 * 1024
DISK = "128m"
READY_WITHIN = 60.0
DRAIN_WITHIN = 120.0
# How long nothing may change before the archive counts as complete: longer than any redelivery still under way
QUIET = 5.0
SHOWN = 10


class Upstream(Emulator):
    """The emulator, with the proxy between it and the functions it runs.

    `keep`: the folder in which its buckets outlive it; without one they are in memory.
    """

    def __init__(self, directory: Path, port: int, proxy: int, keep: Path | None) -> None:
        variables = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy}",
            "LOG_LEVEL": "INFO",  # says what the function did with each batch
        }
        if keep:
            variables |= {"S3_PERSIST": "1", "S3_DATA_DIR": str(keep)}
        super().__init__(directory, variables)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def workers(self) -> list[int]:
        """The processes that functions run in. They are children of its threads, not of its first one alone."""
        children: list[str] = []
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            with suppress(OSError):
                children += task.read_text().split()
        return [pid for pid in map(int, children) if "_worker.py" in command(pid)]


class World:
    """Everything that runs, and how to break and mend the large parts of it."""

    def __init__(
        self, directory: Path, rng: random.Random, rate: float, losses: dict[str, float], delivery: Delivery
    ) -> None:
        self.directory = directory
        self.delivery = delivery
        run = f"{rng.getrandbits(32):08x}"
        proxy_port = free_port()
        self._bucket_folder = directory / "buckets"
        self.emulator = Upstream(
            directory / "emulator", free_port(), proxy_port, self._bucket_folder if losses else None
        )
        self.proxy = FaultProxy(proxy_port, self.emulator.port, random.Random(rng.getrandbits(64)))
        self.native = Native(directory)
        self.traffic = Traffic(self.native.http_port, rate, run)
        data = directory / "data"
        self.disk: Path | None = data if faults.mount(data, DISK) else None
        if self.disk is None:
            say("SKIPPED: a full disk, as no small disk can be mounted here (this needs root)")
        self.log = data / "log" / "access.log"
        self._settings = {
            "LOCALSTACK_HOST": f"127.0.0.1:{proxy_port}",
            "DELIVERY": delivery.name,
            "SHARD_COUNT": "2",
            "LIMIT_REQUESTS": "0",  # all traffic comes from one address, at whatever rate was asked for
            "LIMIT_CONNECTIONS": "0",
            "REPAIR_INTERVAL": "5",
        }
        # what was in a bucket that is lost can only come back from logs that are still there: none is deleted
        self.keeps_logs = bool(ALL_LOST.keys() & losses.keys())
        if self.keeps_logs:
            self._settings |= {"LOG_ROTATE_BYTES": str(10**9)}
        else:
            self._settings |= {"LOG_ROTATE_BYTES": str(ROTATE_BYTES), "LOG_DISK_BYTES": str(DISK_BYTES)}
        if losses:
            self._settings |= {"REPAIR_AFTER": "5"}

    def start(self) -> None:
        self.emulator.start()
        self.proxy.start()
        self.native.start(**self._settings)
        self.wait_ready()
        self.traffic.start()

    def wait_ready(self) -> None:
        def look() -> bool:
            health = self.native.run("appliance", "health", "--ready")
            assert health.returncode == 0, health.stdout + health.stderr
            return True

        eventually(look, within=READY_WITHIN, every=0.5, why="the appliance is ready")

    def alive(self) -> bool:
        return bool(self.native.pids("-m appliance"))

    def crash(self) -> None:
        """The power fails; then it is there again."""
        pids = descendants(self.native.pids("-m appliance")[0])
        self.native.kill()
        eventually(lambda: not any(map(runs, pids)), within=10, every=0.02, why="every process is gone")
        self._up_again()

    def restart(self) -> None:
        status = self.native.stop()
        assert status == 0, f"the appliance stopped with status {status}"
        self._up_again()

    def _up_again(self) -> None:
        self.native.start(**self._settings)
        eventually(lambda: answers("127.0.0.1", self.native.http_port), within=30, every=0.05, why="nginx is back")

    def lose(self, *, bucket: bool) -> None:
        """The emulator is killed and starts without its stream and resources; its buckets are kept or lost too."""
        self.emulator.stop(kill=True)
        if bucket:
            shutil.rmtree(self._bucket_folder, ignore_errors=True)
        self.emulator.start()

    def archive(self) -> list[tuple[str, dict[str, Any]]]:
        return archived_entries(s3_client(self.emulator.url))

    def rejected(self) -> list[str]:
        return rejected_lines(s3_client(self.emulator.url))

    def evidence(self) -> None:
        """Write down what emulator and traffic know, which would end with them."""
        (self.directory / "confirmed.txt").write_text("\n".join(sorted(self.traffic.confirmed)) + "\n")
        (self.directory / "uncertain.txt").write_text("\n".join(sorted(self.traffic.uncertain)) + "\n")
        (self.directory / "doubted.txt").write_text("\n".join(sorted(self.traffic.doubted)) + "\n")
        s3 = s3_client(self.emulator.url)
        try:
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
                for item in page.get("Contents", []):
                    answer = s3.get_object(Bucket=BUCKET, Key=item["Key"])
                    path = self.directory / "bucket" / item["Key"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.with_suffix(".metadata").write_text(json.dumps(answer["Metadata"]))
                    with suppress(ResponseStreamingError):
                        path.write_bytes(answer["Body"].read())
        finally:
            s3.close()

    def close(self, keep: bool) -> None:
        """End every process that was started. With `keep`, what was on the small disk stays readable."""
        for step in (self.traffic.stop, self.native.stop, self.proxy.stop, self.emulator.stop):
            try:
                step()
            except Exception as error:
                say(f"while cleaning up: {type(error).__name__}: {error}")
        if self.disk:
            if keep:
                shutil.copytree(self.disk, self.directory / "data-kept", ignore=shutil.ignore_patterns("*.sock"))
            faults.unmount(self.disk)


def archived_entries(s3: S3Client) -> list[tuple[str, dict[str, Any]]]:
    """Every entry with its key. Raises AssertionError while one cannot be read. Closes the client."""
    try:
        return entries(s3, BUCKET)
    except s3.exceptions.NoSuchBucket:
        return []  # lost, and not made again yet
    finally:
        s3.close()


def rejected_lines(s3: S3Client) -> list[str]:
    """The raw text of every rejected line. Raises AssertionError while one cannot be read. Closes the client."""
    found = []
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="rejected/"):
            for item in page.get("Contents", []):
                if item["Key"].endswith("/web-access.log"):
                    body = body_of(s3, BUCKET, item["Key"])
                    found += [f"{each['reason']}: {each['raw']}" for each in map(json.loads, body.splitlines())]
        return found
    except s3.exceptions.NoSuchBucket:
        return []  # lost, and not made again yet
    finally:
        s3.close()


@dataclass
class Outcome:
    """What a run has shown."""

    seed: int
    seconds: float
    counts: Counter[str]
    skipped: Counter[str]
    verdict: Verdict
    confirmed: int
    uncertain: int
    uncertain_archived: int
    doubted: int
    doubted_archived: int
    refused: int
    behind_half: int
    rejected: list[str]
    drained_in: float
    problems: list[str] = field(default_factory=list)

    @property
    def faults(self) -> int:
        return self.counts.total()

    @property
    def enough(self) -> int:
        """How many confirmed requests a run proves something with: 3 a fault.

        A rate would measure the machine, and how long the logs had no room: an idle one answers some 150 a fault, a
        busy one was seen to answer 17.
        """
        return 3 * self.faults

    @property
    def clean(self) -> bool:
        return self.verdict.exactly_once and not self.problems

    def table(self) -> str:
        verdict = self.verdict
        rows = [(name, str(count)) for name, count in sorted(self.counts.items())]
        rows += [(f"(not possible at its moment: {name})", str(count)) for name, count in sorted(self.skipped.items())]
        rows += [("faults injected", str(self.faults)), ("", "")]
        rows += [
            ("requests confirmed (each must be archived once)", str(self.confirmed)),
            ("requests whose connection broke (0 or 1 is right)", str(self.uncertain)),
            ("  of these archived", str(self.uncertain_archived)),
            ("requests while the disk was full (0 or 1 is right)", str(self.doubted)),
            ("  of these archived", str(self.doubted_archived)),
            ("requests refused with 503 (none may be archived)", str(self.refused)),
            ("confirmed, kept behind half a line that a full disk cut", str(self.behind_half)),
            ("archived", str(verdict.archived)),
            ("rejected (halves of lines that a full disk cut)", str(len(self.rejected))),
            ("drained within", f"{self.drained_in:.1f} s"),
            ("", ""),
            ("lost", str(len(verdict.lost))),
            ("doubled", str(len(verdict.doubled))),
            ("misfiled", str(len(verdict.misfiled))),
            ("never requested", str(len(verdict.unknown))),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value:>8}".rstrip() for name, value in rows]
        lines += [f"PROBLEM: {problem}" for problem in self.problems]
        for name in ("lost", "doubled", "misfiled", "unknown"):
            some = getattr(verdict, name)
            if some:
                lines.append(f"{name}: {', '.join(some[:SHOWN])}{' …' if len(some) > SHOWN else ''}")
        word = "exactly once" if self.clean else "NOT CLEAN"
        return "\n".join([*lines, f"verdict: {word} (seed {self.seed}, {self.seconds:g} s)"])


def chaos(
    directory: Path,
    seed: int,
    seconds: float,
    rate: float,
    losses: dict[str, float] | None = None,
    delivery: Delivery = KINESIS,
    least: int = 0,
) -> Outcome:
    """One run in `directory`. Always ends what it started; raises nothing that belongs into the outcome.

    `losses`: STREAM_LOST and ALL_LOST, as far as repair is to prove itself too. `least`: steps, however long they take.
    """
    rng = random.Random(seed)
    plans = [random.Random(rng.getrandbits(64)) for _ in range(2)]
    losses = losses or {}
    # its name comes from outside of the seed, as another run may have the same one
    world = World(directory, random.Random(), rate, losses, delivery)
    hands = Hands(world)
    problems: list[str] = []
    outcome: Outcome | None = None
    try:
        world.start()
        begun = time.monotonic()
        with (directory / "faults.log").open("w") as log:
            over = threading.Event()
            breaking = threading.Thread(target=_break_requests, args=(world, plans[1], over), name="breaking")
            breaking.start()
            try:
                plan = faults.steps(plans[0], faults.weights(delivery, losses))
                for step in faults.in_time(plan, seconds, least):
                    _do(world, hands, step, log, begun, problems)
                    if problems:
                        break
            finally:
                over.set()
                breaking.join(60)
        hits = Counter({f"proxy: {kind.value}": count for kind, count in world.proxy.hits.items()})
        outcome = settle(world, hands.counts + hits, hands.skipped, seed, seconds, problems)
        return outcome
    finally:
        clean = outcome is not None and outcome.clean
        if not clean:
            with suppress(Exception):
                world.evidence()
        world.close(keep=not clean)


def _do(world: World, hands: Hands, step: Step, log: Any, begun: float, problems: list[str]) -> None:
    """Carry out one step, and write down when, for whoever has to find out later."""
    start = time.monotonic() - begun
    try:
        hands.do(step)
        if not world.alive():
            problems.append(f"the appliance has ended by itself, at {step.fault}")
    except Exception as error:
        problems.append(f"{step.fault}: {type(error).__name__}: {error}")
    print(f"{start:8.2f} {time.monotonic() - begun:8.2f} {step.fault} ({step.seconds:.1f} s)", file=log, flush=True)


def _break_requests(world: World, rng: random.Random, over: threading.Event) -> None:
    for gap, fault in faults.proxy_steps(rng, world.delivery):
        if over.wait(gap):
            break
        if world.proxy.pending() < PENDING:
            world.proxy.inject(fault)
    world.proxy.clear()


class Archived(Protocol):
    """What has been requested, and what has become of it."""

    traffic: Traffic

    def archive(self) -> list[tuple[str, dict[str, Any]]]: ...

    def rejected(self) -> list[str]: ...


def settle(
    world: Archived, counts: Counter[str], skipped: Counter[str], seed: int, seconds: float, problems: list[str]
) -> Outcome:
    """Faults have ended: wait until everything is archived and nothing changes any more, then ask the checker."""
    world.traffic.stop()
    begun = time.monotonic()
    confirmed, mine = world.traffic.confirmed, f"/{world.traffic.run}/"

    def identity(entry: dict[str, Any]) -> str | None:
        path: str = entry["path"].partition('"')[0]  # hostile ones go on with quotes
        return path if path.startswith(mine) else None

    archive: list[tuple[str, dict[str, Any]]] = []
    behind_half: set[str] = set()

    def complete() -> bool:
        nonlocal archive, behind_half
        archive = world.archive()
        if counts["disk full"]:
            # A full disk cuts a line; the next one stands behind the half of it, and both are one line of the log,
            # which is kept as rejected. Its last request is the whole one.
            found = [re.findall(rf"{mine}\d+(?= HTTP/)", raw) for raw in world.rejected()]
            behind_half = {each[-1] for each in found if each}
        return confirmed - behind_half <= {identity(entry) for _, entry in archive}

    try:
        eventually(complete, within=DRAIN_WITHIN, every=1.0, why="every line is archived")
        drained = time.monotonic() - begun
        quiet_since, size = time.monotonic(), len(archive)
        while time.monotonic() - quiet_since < QUIET and time.monotonic() - begun < 2 * DRAIN_WITHIN:
            time.sleep(1.0)
            [archive] = eventually(lambda: [world.archive()])
            if len(archive) != size:
                quiet_since, size = time.monotonic(), len(archive)
        [rejected] = eventually(lambda: [world.rejected()])
    except Exception as error:
        problems.append(f"{type(error).__name__}: {str(error)[:300]}")
        drained, rejected = time.monotonic() - begun, []
    seen = {path for _, entry in archive if (path := identity(entry))}
    archived = (world.traffic.uncertain | world.traffic.doubted) & seen
    return Outcome(
        seed=seed,
        seconds=seconds,
        counts=counts,
        skipped=skipped,
        verdict=judge((confirmed - behind_half) | archived, archive, identity),
        behind_half=len(confirmed & behind_half),
        confirmed=len(confirmed),
        uncertain=len(world.traffic.uncertain),
        uncertain_archived=len(world.traffic.uncertain & seen),
        doubted=len(world.traffic.doubted),
        doubted_archived=len(world.traffic.doubted & seen),
        refused=len(world.traffic.refused),
        rejected=rejected,
        drained_in=drained,
        problems=problems,
    )


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def runs(pid: int) -> bool:
    """Whether the process is there and no zombie, which waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 exactly once, 1 not."""
    parser = argparse.ArgumentParser(prog="script/chaos", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=1.0, help="how long faults are injected (default: %(default)g)"
    )
    parser.add_argument("--seed", type=int, help="the plan of the faults (default: another one each time)")
    parser.add_argument("--requests-per-second", type=float, default=180.0, metavar="R", help="default: %(default)g")
    parser.add_argument(
        "--delivery",
        type=delivery_of,
        default=KINESIS,
        choices=[each for each in DELIVERIES.values() if each.has_ledger],
        help="default: %(default)s",
    )
    parser.add_argument(
        "--with-lost-streams",
        action="store_true",
        help="also kill the emulator and start it without its stream, which repair has to mend",
    )
    parser.add_argument(
        "--with-empty-restarts",
        action="store_true",
        help="also kill the emulator and start it without anything, its buckets included; no log is deleted then",
    )
    parser.add_argument(
        "--container",
        choices=("embedded", "external"),
        help="break the image's container instead, with its own emulator or with an endpoint in another container",
    )
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    losses = STREAM_LOST | ALL_LOST if options.with_empty_restarts else {}
    if options.with_lost_streams:
        losses |= STREAM_LOST
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    say(f"seed {seed}, {options.minutes:g} min, {options.requests_per_second:g} requests/s, in {directory}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that everything is ended on a kill as well
    clean = False
    try:
        seconds, rate = options.minutes * 60, options.requests_per_second
        if options.container:
            from tests.chaos import containers  # which imports this module

            outcome = containers.run(directory, options.container, seed, seconds, rate, options.delivery)
        else:
            outcome = chaos(directory, seed, seconds, rate, losses, options.delivery)
        print(outcome.table())
        clean = outcome.clean
    finally:
        if clean:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            say(f"seed {seed}; logs and data are kept in {directory}")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
