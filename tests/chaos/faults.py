"""What is done to the appliance, and when: a plan made from a seed, and the hands that carry it out."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from common import door
from common.delivery import KINESIS, Delivery
from tests.chaos.proxy import REFUSALS, Fault, Kind
from tests.flood import Flood
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.chaos.run import World

# supervisord.conf: a program counts as started after startsecs, 5 s; one that dies earlier may do so three times only
STARTED_AFTER = 6.0
# Seconds between the end of one fault and the beginning of the next
GAP = (0.3, 2.2)
PROXY_GAP = (0.2, 1.6)
# All meet the few requests of the producer, where a pipeline has those of stream and function for them, too
DIRECT_PROXY_GAP = (0.6, 4.8)
# Seconds, as the requests meanwhile prove nothing
FULL_AT_MOST = 3.0
# How long hostile requests come in, and how long they may keep others out: what the emulator forgot meanwhile is sent
# again first, through refusals of every call
FLOOD = 2.0
AGAIN_WITHIN = 180.0
# Seconds within which nginx writes lines again after the disk was full
NGINX_SKIPS = 1.2
# The part of the faults that refuse every record for longer than one tick goes on trying (RETRY_SECONDS of the sink)
LONG_REFUSALS = 0.02
LONG = 35.0
# How many faults may wait for a request that they fit
PENDING = 6


class Skipped(Exception):  # noqa: N818 (no error)
    """This fault is not possible now; it is not counted."""


@dataclass(frozen=True, slots=True)
class Step:
    """After `gap` seconds do `fault`; `seconds`: for how long, where it lasts."""

    gap: float
    fault: str
    seconds: float


# How often each is drawn, relative to the others
WEIGHTS: dict[str, float] = {
    "producer kill -9": 6,
    "nginx workers kill -9": 8,
    "nginx master kill -9": 3,
    "entrypoint kill -9": 4,
    "Lambda worker kill -9": 10,
    "producer stopped": 2,
    "emulator stopped": 4,
    "appliance kill -9": 2,
    "appliance stop and start": 1.5,
    "rotation by rename": 5,
    "several rotations at once": 2,
    "copytruncate": 3,
    "disk full": 2,
    "logs filled by hostile requests": 0.7,
}
# An emulator that is killed forgets its stream, and with it what was acknowledged: mending that is repair's part
STREAM_LOST = {"emulator kill -9, buckets kept": 1.5}
ALL_LOST = {"emulator kill -9, all lost": 1.5}
# Without stream and function there is none to kill, and no call that is refused in part; an emulator that keeps its
# buckets forgets nothing
PIPELINE_ONLY: tuple[str | Kind, ...] = ("Lambda worker kill -9", Kind.PARTIAL)
# Without room logs are rotated and deleted; what is in a bucket that is lost must still be on disk
FILLING = ("disk full", "logs filled by hostile requests")


def weights(delivery: Delivery, losses: dict[str, float]) -> dict[str, float]:
    """What happens with this delivery, `losses` among it. Nothing is deleted that a lost bucket could not get again."""
    left_out = {*(PIPELINE_ONLY if delivery.is_direct else ()), *(FILLING if ALL_LOST.keys() & losses.keys() else ())}
    return {name: weight for name, weight in (WEIGHTS | losses).items() if name not in left_out}


def steps(rng: random.Random, weights: dict[str, float]) -> Iterator[Step]:
    """What happens to processes and files, one after the other, without end."""
    names = list(weights)
    # every kind comes once before chance decides, so that a short run has seen each
    first = rng.sample(names, len(names))
    while True:
        name = first.pop() if first else rng.choices(names, [weights[each] for each in names])[0]
        yield Step(rng.uniform(*GAP), name, _duration(rng))


def in_time(plan: Iterator[Step], seconds: float, least: int) -> Iterator[Step]:
    """The steps of so many seconds, each when it is due; on a slow machine `least` steps, however long they take."""
    end = time.monotonic() + seconds
    for number, step in enumerate(plan):
        if number >= least and time.monotonic() + step.gap >= end:
            return
        time.sleep(step.gap)
        yield step


def proxy_steps(rng: random.Random, delivery: Delivery = KINESIS) -> Iterator[tuple[float, Fault]]:
    """What happens to requests on their way, without end: (seconds after the last one, fault)."""
    between = DIRECT_PROXY_GAP if delivery.is_direct else PROXY_GAP
    kinds = [kind for kind in Kind if not (delivery.is_direct and kind in PIPELINE_ONLY)]
    while True:
        if rng.random() < LONG_REFUSALS:
            yield rng.uniform(*between), Fault(rng.choice(REFUSALS), delivery.service, lasting=LONG)
            continue
        kind = rng.choice(kinds)
        seconds = _duration(rng) if kind is Kind.OUTAGE else rng.choice((0.3, 1.0, 2.0, 6.0))
        service = "" if kind is Kind.OUTAGE else rng.choice((delivery.service, "s3", "s3", ""))
        count = 1 if kind is Kind.SLOW else rng.choice((1, 1, 2, 4))
        yield rng.uniform(*between), Fault(kind, service, count, seconds)


def _duration(rng: random.Random) -> float:
    """Mostly moments; now and then longer than the producer's and the function's time-outs would like."""
    return rng.uniform(0.3, 3.0) if rng.random() < 0.93 else rng.uniform(5.0, 17.0)


class Hands:
    """Does what a Step says. Each method ends with the fault over, or with the world about to recover by itself."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rotations = 0
        self.counts: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self._what: dict[str, Callable[[float], None]] = {
            "producer kill -9": lambda _: self._kill("-m producer"),
            "nginx workers kill -9": lambda _: self._kill_workers(),
            "nginx master kill -9": lambda _: self._kill("nginx: master"),
            "entrypoint kill -9": lambda _: self._kill("-m entrypoint"),
            "Lambda worker kill -9": lambda _: self._kill_function(),
            "producer stopped": lambda seconds: self._pause(world.native.pids("-m producer"), seconds),
            "emulator stopped": lambda seconds: self._pause([world.emulator.pid], seconds),
            "appliance kill -9": lambda _: world.crash(),
            "appliance stop and start": lambda _: world.restart(),
            "rotation by rename": lambda _: self._rotate(),
            "several rotations at once": lambda _: self._rotate_thrice(),
            "copytruncate": lambda _: self._copytruncate(),
            "disk full": self._fill_disk,
            "logs filled by hostile requests": lambda _: self._flood(),
            "emulator kill -9, buckets kept": lambda _: world.lose(bucket=False),
            "emulator kill -9, all lost": lambda _: world.lose(bucket=True),
        }

    def do(self, step: Step) -> None:
        try:
            self._what[step.fault](step.seconds)
        except Skipped:
            self.skipped[step.fault] += 1
        else:
            self.counts[step.fault] += 1

    def _old_enough(self, program: str) -> list[int]:
        """The program's processes. Raises Skipped while supervisord does not yet count it as started."""
        pids = self._world.native.pids(program)
        if not pids or any(age(pid) < STARTED_AFTER for pid in pids):
            raise Skipped
        return pids

    def _kill(self, program: str) -> None:
        for pid in self._old_enough(program):
            kill(pid, signal.SIGKILL)

    def _kill_workers(self) -> None:
        """nginx's master starts others at once."""
        pids = self._world.native.pids("nginx: worker")
        if not pids:
            raise Skipped
        for pid in pids:
            kill(pid, signal.SIGKILL)

    def _kill_function(self) -> None:
        """The process the emulator runs the function in, whatever it is doing."""
        pids = self._world.emulator.workers()
        if not pids:
            raise Skipped
        for pid in pids:
            kill(pid, signal.SIGKILL)

    def _pause(self, pids: list[int], seconds: float) -> None:
        if not pids:
            raise Skipped
        try:
            for pid in pids:
                kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
        finally:
            for pid in pids:
                kill(pid, signal.SIGCONT)

    def _target(self) -> Path:
        """A name of the appliance's own, which deletes it; logrotate's, where it must stay, as a bucket may be lost."""
        self._rotations += 1
        end = f"-{self._rotations:05}" if self._world.keeps_logs else f".20200417T000000Z-{self._rotations}"
        return self._world.log.with_name(f"access.log{end}")

    def _rotate(self) -> None:
        """As logrotate does, under load: rename, then have nginx open a new one."""
        master = self._world.native.pids("nginx: master")
        if not master or not self._world.log.exists():
            raise Skipped
        with suppress(FileNotFoundError):  # the appliance's own rotation was faster
            self._world.log.rename(self._target())
        kill(master[0], signal.SIGUSR1)

    def _rotate_thrice(self) -> None:
        for _ in range(3):
            self._rotate()
            with suppress(AssertionError):
                eventually(self._world.log.exists, within=2, every=0.02, patience=0)

    def _copytruncate(self) -> None:
        """Copy, then empty. What is written between the two is lost by nature, so requests pause for that moment."""
        log = self._world.log
        with self._world.traffic.paused():
            try:
                shutil.copyfile(log, self._target())
                os.truncate(log, 0)
            except FileNotFoundError:  # the appliance's own rotation has renamed it this moment
                raise Skipped from None

    def _fill_disk(self, seconds: float) -> None:
        """No byte is free where log and checkpoint are. The requests meanwhile may be without a line, or half of one.

        That time lasts a little longer than the fault: a worker of nginx that met the full disk writes nothing for the
        rest of that second (ngx_http_log_write, disk_full_time), and the half line it may leave breaks the next one.
        """
        disk = self._world.disk
        if disk is None:
            raise Skipped
        ballast = disk / "ballast"
        with self._world.traffic.doubtful():
            try:
                with ballast.open("wb", buffering=0) as file, suppress(OSError):
                    while True:
                        file.write(bytes(64 * 1024))
                time.sleep(min(seconds, FULL_AT_MOST))
            finally:
                ballast.unlink(missing_ok=True)
            time.sleep(NGINX_SKIPS)
            sent = self._world.traffic.sent
            with suppress(AssertionError):
                eventually(lambda: self._world.traffic.sent > sent + 20, within=10, patience=0)

    def _flood(self) -> None:
        """One client fills LOG_DISK_BYTES. Then the producer is killed, which has to make room again."""
        traffic = self._world.traffic
        flood = Flood(self._world.native.http_port, f"{traffic.run}/flood{self.counts.total()}")
        flood.pour(FLOOD)
        traffic.confirmed |= flood.answered
        traffic.uncertain |= flood.broken
        traffic.refused |= flood.refused
        with suppress(Skipped):
            self._kill("-m producer")
        run_dir = self._world.log.parent.parent / "run"
        eventually(lambda: not door.is_full(run_dir), within=AGAIN_WITHIN, why="there is room again")


def age(pid: int) -> float:
    """Seconds since the process was started; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return 0.0
    return uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")  # proc(5): starttime, the 22nd field


def kill(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def mount(folder: Path, size: str) -> bool:
    """A small disk of its own at `folder`; False where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "tmpfs", str(folder)], capture_output=True, check=False
    )
    return done.returncode == 0


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)
