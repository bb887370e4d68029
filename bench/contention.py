"""N writers on one hourly object: what the race for it costs, by the real archive code against an emulator.

Each writer stands for one concurrent invocation (a shard, or a part of one by the parallelization factor). They append
as fast as they can; on AWS an invocation also parses, so its writers meet less often than these.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from archiver.archive import Archive, ContentionError
from archiver.filing import Item
from archiver.layout import HourlyObject
from bench import emulator
from tests.appliance.drivers import s3_client

WRITERS = (1, 2, 4, 8, 16)
APPENDS = 4  # of each writer
APPEND_BYTES = 64 * 1024
MIB = 1024**2
# of the object before they begin: below and above the size from which S3 copies what is there by itself
SIZES = (0, 6 * MIB)
LINE = b'{"host":"127.0.0.1"}'


@dataclass(frozen=True)
class Race:
    """`commits` of all writers in `seconds`; `conflicts`: rounds lost; `given_up`: appends that raised."""

    writers: int
    size: int
    commits: int
    conflicts: int
    given_up: int
    seconds: float

    @property
    def commits_per_second(self) -> float:
        return self.commits / self.seconds


def item(writer: int, number: int, size: int) -> Item:
    """One line of `size` bytes of a log of the writer's own."""
    text = LINE + b" " * (size - len(LINE) - 1) + b"\n"
    return Item(f"5e9a0000{writer:016x}", number * size, (number + 1) * size, text)


def race(url: str, bucket: str, writers: int, size: int, seed: int) -> Race:
    target = HourlyObject(f"{writers}-{size}-{seed}/", "2026/11/23/10")
    clients = [s3_client(url) for _ in range(writers)]
    if size:
        Archive(clients[0], bucket, rng=random.Random(seed), sleep=time.sleep).append(target, [item(writers, 0, size)])
    conflicts, given_up = [0] * writers, [0] * writers
    together = threading.Barrier(writers + 1)

    def write(writer: int) -> None:
        archive = Archive(clients[writer], bucket, rng=random.Random(seed * 1000 + writer), sleep=time.sleep)
        together.wait()
        for number in range(APPENDS):
            try:
                conflicts[writer] += archive.append(target, [item(writer, number, APPEND_BYTES)]).conflicts
            except ContentionError:
                given_up[writer] += 1

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    together.wait()
    begin = time.monotonic()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begin
    for client in clients:
        client.close()
    return Race(writers, size, writers * APPENDS - sum(given_up), sum(conflicts), sum(given_up), seconds)


def measure(runs: int) -> list[list[Race]]:
    """For each size and number of writers its races; each round has one of each.

    One race of each size goes before and is not counted: it pays for what the first clients and the emulator load.
    """
    each = [(size, writers) for size in SIZES for writers in WRITERS]
    with emulator.bucket() as url:
        for size in SIZES:
            race(url, emulator.BUCKET, 2, size, seed=0)
        rounds = [
            [race(url, emulator.BUCKET, writers, size, seed=run + 1) for size, writers in each] for run in range(runs)
        ]
    return [list(races) for races in zip(*rounds, strict=True)]
