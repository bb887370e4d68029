"""`appliance import` beside a running producer: years of old logs, each line once, however often they are given."""

from __future__ import annotations

import gzip
import json
import secrets
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from producer.imported import MEMORY
from tests.appliance.drivers import Native, ready, s3_client
from tests.checker import entries, judge
from tests.waiting import eventually

pytestmark = pytest.mark.emulator


def lines(run: str, hours: range, each: int) -> tuple[list[str], bytes]:
    """The paths that tell lines apart, and the lines."""
    paths = [f"/{run}/{hour}/{number}" for hour in hours for number in range(each)]
    text = "".join(
        f'192.0.2.1 - - [18/Apr/2020:{path.split("/")[2]:0>2}:30:00 +0000] "GET {path} HTTP/1.1" 200 1 "-" '
        f'"{secrets.token_hex(40)}"\n'
        for path in paths
    )
    return paths, text.encode()


def settled(native: Native, run: str, wanted: list[str]) -> None:
    """All of these are archived, exactly once and in their hours, and the stream holds nothing more."""

    def archive() -> list[str]:
        s3 = s3_client(native)
        try:
            return [entry["path"] for entry in judged(entries(s3, "my-bucket"))]
        finally:
            s3.close()

    def judged(found: list[tuple[str, dict[str, str]]]) -> list[dict[str, str]]:
        own = [(key, entry) for key, entry in found if entry["path"].startswith(f"/{run}/")]
        verdict = judge(wanted, own, lambda entry: entry["path"])
        wrong = [*verdict.doubled, *verdict.misfiled, *verdict.unknown]
        assert not wrong, wrong[:3]
        return [entry for _, entry in own]

    eventually(lambda: Counter(archive()) == Counter(wanted) or None, within=90, every=0.5, why="all lines, once")


def load(native: Native, *paths: Path) -> dict[str, int]:
    done = native.run("appliance", "import", "--json", *map(str, paths))
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, int] = json.loads(done.stdout)
    return answer


def test_old_logs_are_archived_once(native: Native, tmp_path: Path) -> None:
    native.start()
    ready(native)
    run = secrets.token_hex(4)
    first, plain = lines(run, range(1, 4), 200)
    second, packed = lines(run, range(3, 6), 200)
    second = [f"{path}/packed" for path in second]
    packed = packed.replace(b" HTTP/1.1", b"/packed HTTP/1.1")
    paths = [tmp_path / name for name in ("plain.log", "packed.log.gz", "renamed")]
    for path, data in zip(paths, (plain, gzip.compress(packed), plain), strict=True):
        path.write_bytes(data)
    assert load(native, *paths)["lines"] == len(first) + len(second)
    settled(native, run, first + second)
    assert load(native, *paths)["lines"] == len(first) + len(second)
    assert load(native, *reversed(paths))["error"] is None
    # the shard is read in order: what comes last shows that all before it was archived, or dropped
    last, data = lines(run, range(6, 7), 1)
    (tmp_path / "last").write_bytes(data)
    load(native, tmp_path / "last")
    settled(native, run, first + second + last)


def test_an_import_that_was_killed_goes_on(native: Native, tmp_path: Path) -> None:
    native.start()
    ready(native)
    run = secrets.token_hex(4)
    wanted, data = lines(run, range(24), 1000)
    path = tmp_path / "old.log"
    path.write_bytes(data)
    memory = native.directory / "data" / "log" / MEMORY
    for seconds in (0.02, 0.1, 0.2, 0.4):
        memory.unlink(missing_ok=True)
        going = native.begin("appliance", "import", str(path))
        eventually(memory.exists, within=30, every=0.005, why="the import sends")
        with suppress(subprocess.TimeoutExpired):
            going.wait(seconds)
        going.send_signal(signal.SIGKILL)
        going.communicate(timeout=90)
    answer = load(native, path)
    assert answer["bytes"] == answer["total"] == len(data)
    settled(native, run, wanted)
    assert load(native, path)["bytes"] == len(data)
    last, data = lines(run, range(6, 7), 1001)
    (tmp_path / "last").write_bytes(data.splitlines(keepends=True)[-1])
    load(native, tmp_path / "last")
    settled(native, run, [*wanted, last[-1]])


def test_firehose_has_no_ledger(native: Native, tmp_path: Path) -> None:
    native.start(DELIVERY="firehose")
    ready(native)
    done = native.run("appliance", "import", str(tmp_path / "any"))
    assert done.returncode == 2
    assert "a second import would double every line" in done.stderr
