"""Logs that are as bad as a client, or a wrong format, can make them: CPU, memory and invocations until they are done.

Each is one event of at most 6 MB, handed to the function in a fresh process again and again until it does not raise.
Time is computed: CPU at the share that Lambda gives, and S3's calls at the times of a slow day.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import index
from archiver import connect
from archiver.archive import Archive
from bench import function
from bench.memory import peak
from bench.sizes import SizesS3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_SECONDS, WRITE_SECONDS = 0.025, 0.040
HOURS = 8760
PACKS = 100
CLIENT_HELLO = r"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03" + r"\x9A\x7FQ\xC2" * 8


@dataclass(frozen=True)
class Cost:
    """Of all invocations that it took; `peak_mib`: resident memory at most."""

    lines: int
    cpu_seconds: float
    invocations: int
    peak_mib: float


def _log(
    count: int, request: str = "GET /a/path?q=1 HTTP/1.1", more: str = "", step: float = 0.002, hours: int = HOURS
) -> Iterator[bytes]:
    """`step`: seconds between two lines."""
    for number in range(count):
        stamp = time.strftime(
            "%d/%b/%Y:%H:%M:%S +0000", time.gmtime(function.START + int(number * step) % (hours * 3600))
        )
        yield f'192.168.99.1 - - [{stamp}] "{request}" 200 12345 "-" "{function.AGENT}"{more}\n'.encode()


def _packs(lines: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """As many as one batch has."""
    for _, pack in zip(range(PACKS), function.packed(lines), strict=False):
        yield pack


def _alternating(count: int) -> Iterator[bytes]:
    for number, line in enumerate(_log(count)):
        yield b"junk\n" if number % 2 else line


def _long(line: bytes, count: int) -> Iterator[tuple[int, bytes]]:
    for number in range(count):
        yield number * (len(line) + 1), line + b"\n"


MANY = 10**6
# name -> its records, each of whole lines with their offset
LOGS: dict[str, Callable[[], Iterator[tuple[int, bytes]]]] = {
    "an escape in every line": lambda: _packs(_log(MANY, r"GET /\x22 HTTP/1.1")),
    "TLS on the plain port": lambda: _packs(_log(MANY, CLIENT_HELLO)),
    "all rejected (another format)": lambda: _packs(_log(MANY, more='"')),
    "every other line rejected": lambda: _packs(_alternating(MANY)),
    "9 records of 524,288 empty lines": lambda: _long(b"\n" * (512 * 1024 - 1), 9),
    "one line an hour, 8,760 hours": lambda: function.packed(_log(HOURS, step=3600)),
    "an hour a line, 100 packs of 1,000 hours": lambda: _packs(_log(MANY, step=3600, hours=1000)),
    "12 lines of 4 MiB, no UTF-8": lambda: _long(b"\xff" * (4 * 1024**2 - 1), 12),
    "12 lines of 4 MiB, control characters": lambda: _long(b"\x01" * (4 * 1024**2 - 1), 12),
    "1,000,000 ordinary lines": lambda: function.packed(function.alike(MANY)),
}


def event_of(name: str) -> bytes:
    event = function.kinesis_event(LOGS[name]())
    for number, record in enumerate(event["Records"]):
        record["eventID"] = f"shardId-000000000000:{number}"
    return json.dumps(event).encode()


def measure(name: str, python: str) -> Cost:
    """In a fresh process of that Python, which gets the event as Lambda's runtime does: as JSON."""
    done = subprocess.run(
        [python, "-m", "bench.hostile"],
        input=event_of(name),
        capture_output=True,
        check=True,
        env=function.environment(),
        timeout=1800,
    )
    return Cost(**json.loads(done.stdout))


class Timed:
    """An S3 client whose calls take time, and the time that is left of an invocation."""

    def __init__(self, s3: SizesS3, share: float, timeout: float) -> None:
        self._s3 = s3
        self._share = share
        self._timeout = timeout
        self._waited = self._begun = 0.0

    def begin(self) -> None:
        self._waited, self._begun = 0.0, time.process_time()

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._timeout - self._waited - (time.process_time() - self._begun) / self._share))

    def __getattr__(self, name: str) -> Any:
        self._waited += READ_SECONDS if name in ("head_object", "get_object") else WRITE_SECONDS
        return getattr(self._s3, name)


def until_done(event: dict[str, Any], share: float, timeout: float) -> tuple[int, int]:
    """(lines written, invocations). Raises AssertionError when one is killed at its time-out."""
    s3 = Timed(SizesS3(), share, timeout)
    written = 0
    for invocations in range(1, 1000):
        archive = Archive(cast("S3Client", s3), "bench", rng=random.Random(invocations), sleep=time.sleep)
        run = index.Run(archive, "", s3)
        s3.begin()
        try:
            run._file(event)
        except index.OutOfTimeError:
            written += run.counts["written"]
        else:
            return written + run.counts["written"], invocations
        finally:
            assert s3.get_remaining_time_in_millis() > 0, "killed at its time-out"
    raise AssertionError("it never ends")


def main() -> None:
    from entrypoint.function import MEMORY, TIMEOUT

    _client = connect.client()  # not asked anything: it is here for the memory that it takes on Lambda
    event = json.loads(sys.stdin.buffer.read())
    begun = time.process_time()
    lines, invocations = until_done(event, MEMORY / function.CPU_MB, TIMEOUT)
    cost = {"lines": lines, "cpu_seconds": time.process_time() - begun, "invocations": invocations}
    print(json.dumps({**cost, "peak_mib": peak() / 2**20}))


if __name__ == "__main__":
    main()
