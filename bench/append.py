"""What one append costs against the size of the object, and through an hour of 10 GB: requests and bytes.

Below 5 MiB an append reads and writes the object anew; from there on S3 copies the old bytes itself, and only the new
ones travel. Small objects are measured on the wire, against an emulator; what is too large for one is
counted by a stand-in that keeps sizes only, so its seconds are the function's own.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import index
from archiver.archive import Archive
from archiver.filing import Item
from archiver.layout import HourlyObject
from bench import emulator
from bench.sizes import SizesS3
from tests.appliance.drivers import s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GENERATION = "5e9a0000" + "0" * 16
KIB, MIB, GIB = 1024, 1024**2, 1024**3
SIZES = [KIB, MIB, 4 * MIB, 5 * MIB, 200 * MIB]
LARGE = [GIB, 2 * GIB, 5 * GIB, 10 * GIB]
APPEND = MIB
HOUR = 10 * 10**9
# What one invocation writes at most before it begins another append: half of FLUSH_BYTES is entries
HOUR_APPEND = index.FLUSH_BYTES // 2
LINE = b'{"host":"127.0.0.1"}'
TARGET = HourlyObject("", "2026/11/23/10")


@dataclass(frozen=True)
class Cost:
    """Of one append to an object of `size` bytes."""

    size: int
    requests: int
    sent: int
    received: int


@dataclass(frozen=True)
class Hour:
    """An hour written from nothing."""

    bytes: int
    appends: int
    requests: int
    sent: int
    most_requests: int


class Meter:
    """Counts what goes over the wire of one client."""

    def __init__(self, s3: S3Client) -> None:
        self.requests = self.sent = self.received = 0
        s3.meta.events.register("before-send.s3", self._sending)
        s3.meta.events.register("after-call.s3", self._received)

    def _sending(self, request: Any, **_: Any) -> None:
        self.requests += 1
        self.sent += len(request.body or b"") if isinstance(request.body, bytes | bytearray) else _length(request)

    def _received(self, parsed: dict[str, Any], **_: Any) -> None:
        if "Body" in parsed:
            self.received += parsed.get("ContentLength", 0)


def _length(request: Any) -> int:
    return int(request.headers.get("Content-Length", 0))


def filler(size: int, start: int) -> Item:
    """One line of `size` bytes that stands for [start, start + size) of the log."""
    return Item(GENERATION, start, start + size, LINE + b" " * (size - len(LINE) - 1) + b"\n")


def measure() -> list[Cost]:
    """An append of APPEND bytes to an object of each of SIZES, at an emulator."""
    rows = []
    with emulator.bucket() as url:
        s3 = s3_client(url)
        for number, size in enumerate(SIZES):
            target = HourlyObject("", f"2026/11/23/{number:02}")
            archive = Archive(s3, emulator.BUCKET, rng=random.Random(1), sleep=time.sleep)
            archive.append(target, [filler(size, 0)])
            meter = Meter(s3)
            archive.append(target, [filler(APPEND, size)])
            rows.append(Cost(size, meter.requests, meter.sent, meter.received))
            s3.meta.events.unregister("before-send.s3", meter._sending)
            s3.meta.events.unregister("after-call.s3", meter._received)
        s3.close()
    return rows


def large() -> list[Cost]:
    """An append of APPEND bytes to an object of each of LARGE, of which only the sizes are kept."""
    rows = []
    for size in LARGE:
        s3 = SizesS3()
        _grow(s3, size)
        rows.append(_append(s3, APPEND))
    return rows


def hour(size: int = HOUR, append: int = HOUR_APPEND) -> Hour:
    """An hour of `size` bytes that arrives in appends of equal length, of which only the sizes are kept."""
    s3 = SizesS3()
    costs = [_append(s3, append) for _ in range(-(-size // append))]
    return Hour(
        bytes=s3.objects[TARGET.key].size,
        appends=len(costs),
        requests=s3.requests,
        sent=s3.sent,
        most_requests=max(cost.requests for cost in costs),
    )


def _grow(s3: SizesS3, size: int) -> None:
    while (missing := size - _size(s3)) > 0:
        _append(s3, min(missing, 64 * MIB))


def _append(s3: SizesS3, size: int) -> Cost:
    before, at = (s3.requests, s3.sent, s3.received), _size(s3)
    archive = Archive(cast("S3Client", s3), "bench", rng=random.Random(1), sleep=time.sleep)
    archive.append(TARGET, [filler(size, at)])
    counted = (s3.requests, s3.sent, s3.received)
    requests, sent, received = (now - then for now, then in zip(counted, before, strict=True))
    return Cost(at, requests, sent, received)


def _size(s3: SizesS3) -> int:
    return s3.objects[TARGET.key].size if TARGET.key in s3.objects else 0
