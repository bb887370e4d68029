"""What one append costs against the size of the object: requests, bytes sent and received, seconds.

Counted on the wire by the client, against an emulator of its own. Below 5 MiB an append reads and writes the object
anew; from there on S3 copies the old bytes itself, and only the new ones travel.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archiver.archive import Archive
from archiver.filing import Item
from archiver.layout import HourlyObject
from tests.appliance.drivers import s3_client
from tests.emulator import Emulator

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GENERATION = "5e9a0000" + "0" * 16
KIB, MIB = 1024, 1024**2
SIZES = [KIB, 100 * KIB, MIB, 4 * MIB, 5 * MIB, 20 * MIB, 200 * MIB]
APPEND = MIB
LINE = b'{"host":"127.0.0.1"}'


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


def measure() -> list[tuple[int, int, int, int, float]]:
    """(object size, requests, bytes sent, bytes received, seconds) for an append of APPEND bytes to each size."""
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        emulator = Emulator(Path(directory))
        try:
            emulator.start()
            s3 = s3_client(emulator.url)
            s3.create_bucket(Bucket="bench")
            for number, size in enumerate(SIZES):
                target = HourlyObject("", f"2026/11/23/{number:02}")
                archive = Archive(s3, "bench", rng=random.Random(1), sleep=time.sleep)
                archive.append(target, [filler(size, 0)])
                meter = Meter(s3)
                begin = time.monotonic()
                archive.append(target, [filler(APPEND, size)])
                rows.append((size, meter.requests, meter.sent, meter.received, time.monotonic() - begin))
                s3.meta.events.unregister("before-send.s3", meter._sending)
                s3.meta.events.unregister("after-call.s3", meter._received)
            s3.close()
        finally:
            emulator.stop()
    return rows


def report() -> None:
    print(f"An append of {APPEND / MIB:g} MiB to an hourly object (MiniStack):")
    print(f"  {'object':>12} {'requests':>9} {'sent':>12} {'received':>12} {'seconds':>9}")
    for size, requests, sent, received, seconds in measure():
        print(
            f"  {size / MIB:>8.3f} MiB {requests:>9} {sent / MIB:>8.2f} MiB {received / MIB:>8.2f} MiB {seconds:>9.3f}"
        )


if __name__ == "__main__":
    report()
