"""The real logrotate, in each of its ways to name and pack what it rotates: every line once."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from common.clock import SystemClock
from journal.checkpoint import CheckpointFile
from producer.ship import Shipped, ship_once
from producer.source import Source
from tests.fake_kinesis import FakeClock, FakeKinesis, delivered, sink_of

WAYS = {
    "rename": "",
    "delaycompress": "compress\ndelaycompress",
    "compress": "compress",
    "bzip2": "compress\ncompresscmd /usr/bin/bzip2\ncompressext .bz2",
    "xz": "compress\ncompresscmd /usr/bin/xz\ncompressext .xz",
    "compressext": "compress\ncompressext .packed",
    "extension": "extension .log",
    "extension and compress": "extension .log\ncompress",
    "start": "start 7",
    "dateext": "dateext",
    "dateext and extension": "dateext\nextension .log",
    "dateformat": "dateext\ndateformat _%d.%m.%Y-%s",
    "dateformat and extension": "dateext\ndateformat .%Y_%m_%d_%s\nextension .log\ncompress",
    "dateyesterday": "dateext\ndateyesterday\nhourly",
    "olddir inside": "olddir old",
    "olddir inside and compress": "olddir old\ncompress\ndateext\ndateformat -%s",
    "olddir outside": "olddir ../outside",
    "olddir outside and compress": "olddir ../outside\ncompress",
    "copytruncate": "copytruncate",
    "copytruncate and compress": "copytruncate\ncompress",
    "copy": "copy",
    "renamecopy": "renamecopy",
    "nocreate": "nocreate",
    "create": "create 0640",
    "maxsize": "maxsize 1\nsize 1",
}


class Host:
    def __init__(self, folder: Path, way: str) -> None:
        for name in ("nginx/old", "outside"):
            (folder / name).mkdir(parents=True)
        self.folder = folder
        self.log = folder / "nginx" / "access.log"
        self.stream = FakeKinesis()
        self.lines: list[bytes] = []
        self.rotation = folder / "logrotate.conf"
        self.rotation.write_text(f"{self.log} {{\nrotate 9\nnotifempty\n{way}\n}}\n")
        self.rotation.chmod(0o644)

    def write(self, count: int) -> None:
        new = [b'192.0.2.1 - - "GET /%d HTTP/1.1" 200 5' % (len(self.lines) + number) for number in range(count)]
        self.lines += new
        with self.log.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in new))

    def rotate(self) -> None:
        state = str(self.folder / "state")
        done = subprocess.run(
            ["logrotate", "--force", "--state", state, str(self.rotation)],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        # the second of a day, or of a second, is skipped
        assert done.returncode == 0 or "already exists, skipping rotation" in done.stderr, done.stderr

    def ship(self) -> Shipped:
        """A run of `--once`."""
        rng = random.Random(len(self.stream.calls) + len(self.lines))
        source = Source(self.log, SystemClock(), rng, folders=[self.folder / "outside"])
        return ship_once(source, CheckpointFile(self.folder / "checkpoint.json"), sink_of(self.stream, FakeClock()))

    def settle(self) -> None:
        for _ in range(3):
            assert self.ship().problems == []
        assert self.ship().records == 0

    def counted(self) -> Counter[bytes]:
        return Counter(delivered(self.stream.records).values())


@pytest.fixture(params=WAYS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    if shutil.which("logrotate", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        pytest.skip("there is no logrotate; enable these tests with: apt-get install logrotate")
    way = WAYS[request.param]
    if "compresscmd" in way and not Path(way.partition("compresscmd ")[2].split()[0]).exists():
        pytest.skip("its program is not installed")
    return Host(tmp_path, way)


@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
def test_every_line_once(host: Host, down: bool) -> None:
    """`down`: the producer misses all that happens between its first and its last run."""
    host.write(50)
    host.ship()
    for count in (20, 10, 5):
        host.write(count)
        host.rotate()
        host.write(3)
        if not down:
            host.settle()
    host.settle()
    assert host.counted() == Counter(host.lines)
    for path in [*host.folder.glob("nginx/**/access*"), *host.folder.glob("outside/*")]:
        if path.suffix in (".gz", ".bz2", ".xz") and path.is_file():
            unpack = {".gz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz"}[path.suffix]
            subprocess.run([unpack, "--keep", path], check=True)
        elif path.is_file():
            shutil.copy(path, host.log.with_name(f"{path.name}.bak"))
    host.settle()
    assert host.counted() == Counter(host.lines), "a copy is not sent again"
