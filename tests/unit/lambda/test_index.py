from __future__ import annotations

import functools
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

import index
from archiver import connect, fast, filing, parse
from archiver.archive import Archive
from archiver.format import Format, compiled
from archiver.ledger import LedgerError
from archiver.stored import METADATA_KEY
from tests.fake_s3 import DOWN, FakeS3, Stored
from tests.lambda_events import ARRIVED_HOUR, GENERATION, combined, event, gzipped, record

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Context:
    """Remaining milliseconds, one answer a call; the last one stays."""

    def __init__(self, *remaining: int) -> None:
        self._remaining = list(remaining) or [60_000]

    def get_remaining_time_in_millis(self) -> int:
        return self._remaining.pop(0) if len(self._remaining) > 1 else self._remaining[0]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    fake = FakeS3()
    archive = Archive(cast("S3Client", fake), "b", rng=random.Random(0), sleep=lambda _: None)
    monkeypatch.setattr(index, "archive", lambda: archive)
    monkeypatch.delenv("S3_PREFIX", raising=False)
    return fake


@pytest.fixture
def fresh() -> Iterator[None]:
    index.archive.cache_clear()
    yield
    index.archive.cache_clear()


class Slow(FakeS3):
    """Each call takes milliseconds; an invocation has 60 s from `begin` on."""

    def __init__(self, read: float = 25, write: float = 40) -> None:
        super().__init__()
        self._read, self._write = read, write
        self.left = 0.0

    def begin(self, seconds: float = 60) -> Slow:
        self.left = seconds * 1000
        return self

    def get_remaining_time_in_millis(self) -> int:
        return int(self.left)

    def _call(self, name: str, request: dict[str, Any], act: Any) -> dict[str, Any]:
        self.left -= self._read if name in ("head_object", "get_object") else self._write
        assert self.left > 0, "killed at its time-out"
        return super()._call(name, request, act)

    def lines(self) -> list[bytes]:
        bodies = [each.body for key, each in self.objects.items() if key.endswith("/web-access.log")]
        return [line for body in bodies for line in body.splitlines()]

    def kept(self) -> list[str]:
        """The progress that was left behind."""
        return [key for key in self.objects if "ledger/progress/" in key]


def slow(monkeypatch: pytest.MonkeyPatch, **times: float) -> Slow:
    fake = Slow(**times)
    archive = Archive(cast("S3Client", fake), "b", rng=random.Random(0), sleep=lambda _: None)
    monkeypatch.setattr(index, "archive", lambda: archive)
    # of a line it says always the same, and each invocation reads the batch again
    monkeypatch.setattr(filing, "_judged", functools.cache(filing._judged))
    return fake


def invocations(s3: Slow, batch: dict[str, Any], seconds: float = 60) -> int:
    """How many it takes until the batch is done."""
    for number in range(1, 1000):
        with suppress(index.OutOfTimeError):
            index.handler(batch, s3.begin(seconds))
            return number
    raise AssertionError("it never ends")


def quiet_year(hours: int = 8760, *, foreign: bool = False) -> dict[str, Any]:
    """One line an hour, in packs of a thousand lines, or a record each by another program."""
    begun = datetime(2020, 1, 1)
    times = [f"{begun + timedelta(hours=hour):%d/%b/%Y:%H}:00:00 +0000".encode() for hour in range(hours)]
    lines = [combined(time=time, agent=b"%04d" % number) + b"\n" for number, time in enumerate(times)]
    if foreign:
        return event(record(line, "other") for line in lines)
    width = len(lines[0])
    packs = [b"".join(lines[at : at + 1000]) for at in range(0, hours, 1000)]
    return event(record(gzipped(pack), f"{GENERATION}:{at * 1000 * width}") for at, pack in enumerate(packs))


def hours(*numbers: int) -> list[dict[str, Any]]:
    """A record for each hour; the offsets do not overlap."""
    return [
        record(combined(time=b"18/Apr/2020:%02d:00:00 +0000" % hour), f"{GENERATION}:{hour * 1000}") for hour in numbers
    ]


def logged(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_batch(s3: FakeS3, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_PREFIX", "logs/")
    batch = event([*hours(1, 1, 2), record(gzipped(b"junk\n" + combined() + b"\n"), f"{GENERATION}:90000")])
    counts = index.handler(batch, Context())
    stored = {key: each.body for key, each in s3.objects.items()}
    assert sorted(stored) == [
        "logs/2020/04/18/01/web-access.log",
        "logs/2020/04/18/02/web-access.log",
        "logs/rejected/2020/04/18/02/web-access.log",
    ]
    assert counts == {
        "records": 4,
        "lines": 5,
        "rejected": 1,
        "written": 4,
        "duplicates": 1,
        "objects": 3,
        "conflicts": 0,
        "bytes": sum(map(len, stored.values())),
    }
    line = logged(capsys)
    assert line.pop("ms") >= 0
    assert line == {"event": "archived", **counts}


def test_a_batch_that_comes_again_writes_nothing(s3: FakeS3) -> None:
    batch = event([*hours(1, 2), record(b"\x1f\x8b broken", f"{GENERATION}:5"), record(b"junk", f"{GENERATION}:99")])
    index.handler(batch, Context())
    before = dict(s3.objects)
    counts = index.handler(batch, Context())
    assert s3.objects == before
    assert (counts["written"], counts["duplicates"], counts["objects"]) == (0, 4, 0)


def test_nothing_to_do(s3: FakeS3) -> None:
    assert set(index.handler({}, Context()).values()) == {0}
    assert s3.calls == []


def test_a_failure_raises_and_is_logged(s3: FakeS3, capsys: pytest.CaptureFixture[str]) -> None:
    s3.fault_from_now_on = (3, DOWN)
    with pytest.raises(EndpointConnectionError):
        index.handler(event(hours(1, 2)), Context())
    line = logged(capsys)
    assert line["event"] == "failed"
    assert "EndpointConnectionError" in line["error"]
    assert line["written"] == 1
    s3.fault_from_now_on = None
    assert index.handler(event(hours(1, 2)), Context())["duplicates"] == 1
    assert len(s3.objects) == 2


def test_a_bucket_that_is_gone_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    archive = Archive(cast("S3Client", FakeS3()), "gone", rng=random.Random(0), sleep=lambda _: None)
    monkeypatch.setattr(index, "archive", lambda: archive)
    with pytest.raises(ClientError, match="NoSuchBucket"):
        index.handler(event(hours(1)), Context())


def test_near_its_time_out_it_stops_between_two_objects(s3: FakeS3) -> None:
    late = index.TIME_MARGIN_MS - 1
    with pytest.raises(index.OutOfTimeError):
        index.handler(event(hours(1, 2, 3)), Context(60_000, late))
    assert len(s3.objects) == 2
    assert s3.uploads == {}


def test_however_short_the_time_each_try_gets_further(s3: FakeS3) -> None:
    def done() -> int:
        return len([key for key in s3.objects if key.endswith("/web-access.log")])

    for number in (1, 2):
        with pytest.raises(index.OutOfTimeError):
            index.handler(event(hours(1, 2, 3)), Context(0))
        assert done() == number
    index.handler(event(hours(1, 2, 3)), Context(0))
    assert done() == len(s3.objects) == 3, "and its progress is forgotten"


def test_a_quiet_year_of_8760_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 takes 25 ms to look, twice an object, and 40 ms to write. A retry does not look at those that are done."""
    s3, batch = slow(monkeypatch), quiet_year()
    assert invocations(s3, batch) <= 16
    assert len(s3.lines()) == len(set(s3.lines())) == 8760
    heads = Counter(key for name, key in s3.calls if name == "head_object")
    assert max(heads.values()) == 1
    assert s3.kept() == []


def test_many_hours_that_are_all_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch comes again though it was done: nothing is left to write, and all of it to look at."""
    s3, batch = slow(monkeypatch), quiet_year(3000)
    invocations(s3, batch)
    s3.calls.clear()
    assert invocations(s3, batch) == 2
    assert {name for name, key in s3.calls if key.endswith("/web-access.log")} == {"get_object"}


def test_foreign_lines_of_a_thousand_hours_are_not_doubled_by_time_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    s3, batch = slow(monkeypatch), quiet_year(1000, foreign=True)
    assert invocations(s3, batch) == 2
    assert len(s3.lines()) == len(set(s3.lines())) == 1000


def test_a_kill_doubles_foreign_lines_at_most_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leaves no time to keep the progress: out of memory, or past its time-out."""

    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    s3, batch = slow(monkeypatch), quiet_year(100, foreign=True)
    s3.faults = {101: kill}
    with pytest.raises(Killed):
        index.handler(batch, s3.begin())
    s3.faults = {len(s3.calls) + 150: DOWN}
    with pytest.raises(EndpointConnectionError):
        index.handler(batch, s3.begin())
    index.handler(batch, s3.begin())
    assert len(s3.lines()) == 100 + 50
    assert len(set(s3.lines())) == 100
    assert max(Counter(s3.lines()).values()) == 2
    assert s3.kept() == []


def test_foreign_lines_are_not_doubled_by_the_failure_of_one_object(monkeypatch: pytest.MonkeyPatch) -> None:
    s3, batch = slow(monkeypatch), quiet_year(4, foreign=True)
    broken = "2020/01/01/02/web-access.log"
    s3.objects[broken] = Stored(b"", '"x"', {METADATA_KEY: "rubbish"})
    for _ in range(5):
        with pytest.raises(LedgerError):
            index.handler(batch, s3.begin())
    assert len(s3.lines()) == 2
    del s3.objects[broken]
    index.handler(batch, s3.begin())
    assert len(s3.lines()) == len(set(s3.lines())) == 4


@pytest.mark.parametrize("seconds", [9, 12, 20])
@pytest.mark.parametrize("flush", [2_000, 20_000, 10**9])
def test_with_little_time_each_invocation_gets_further(
    monkeypatch: pytest.MonkeyPatch, seconds: int, flush: int
) -> None:
    """Also where a flush takes more than the time of one."""
    monkeypatch.setattr(index, "FLUSH_BYTES", flush)
    monkeypatch.setattr(filing, "BLOCK_BYTES", 3000)
    s3, batch = slow(monkeypatch, read=100, write=200), quiet_year(300)
    fastest = 300 * 0.3 / (seconds - index.TIME_MARGIN_MS / 1000)
    assert invocations(s3, batch, seconds) <= 3 * fastest + 2
    assert len(s3.lines()) == len(set(s3.lines())) == 300
    assert s3.kept() == []


def half_done(monkeypatch: pytest.MonkeyPatch) -> tuple[Slow, dict[str, Any], str]:
    """S3, a batch that one invocation did not end, and where its progress is."""
    s3, batch = slow(monkeypatch), quiet_year(1500)
    with pytest.raises(index.OutOfTimeError):
        index.handler(batch, s3.begin())
    (kept,) = s3.kept()
    assert kept == "ledger/progress/shardId-000000000000:49607"
    return s3, batch, kept


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"\xff",
        b"[]",
        b'{"version":2}',
        b'{"version":1,"done":[[1,0,0],null,0,""],"records":"0"}',
        b'{"version":1,"done":[[1,0],null,0,""],"records":"0"}',
        b'{"version":1,"done":[[-1,0,0],null,0,""],"records":"0"}',
        b'{"version":1,"done":[[99,0,0],[100,0,0],7,""],"records":"0"}',
    ],
)
def test_an_odd_progress_is_ignored(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    s3, batch, kept = half_done(monkeypatch)
    s3.objects[kept] = Stored(content, '"x"', {})
    index.handler(batch, s3.begin(600))
    assert len(s3.lines()) == len(set(s3.lines())) == 1500


def test_the_progress_of_other_records_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulator that was started anew counts its sequence numbers from the start."""
    s3, batch, _ = half_done(monkeypatch)
    other = quiet_year(1500)
    for entry in other["Records"]:
        entry["kinesis"]["partitionKey"] = entry["kinesis"]["partitionKey"].replace(GENERATION, "f" * 24)
    counts = index.handler(other, s3.begin(600))
    assert counts["written"] == 1500
    invocations(s3, batch)
    assert len(s3.lines()) == 3000


def test_a_batch_that_is_split_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    s3, batch, _ = half_done(monkeypatch)
    records = batch["Records"]
    records[1]["eventID"] = "shardId-000000000000:49608"
    for half in (records[:1], records[1:]):
        invocations(s3, event(half))
    assert len(s3.lines()) == len(set(s3.lines())) == 1500


def test_a_progress_from_another_way_of_filing_skips_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of the function may file lines elsewhere, or take other lines together."""
    s3, batch, _ = half_done(monkeypatch)
    monkeypatch.setattr(filing, "BLOCK_BYTES", 777)
    monkeypatch.setattr(index, "FLUSH_BYTES", 12_345)
    written = set(s3.lines())
    changed = parse.parse

    def otherwise(line: bytes, format_: Format) -> parse.Entry:
        entry = changed(line, format_)
        return entry._replace(hour=f"2021{entry.hour[4:]}")

    monkeypatch.setattr(filing, "parse", otherwise)
    monkeypatch.setattr(fast, "FEWEST", 10**9)
    invocations(s3, batch)
    assert written <= set(s3.lines())
    assert len(set(s3.lines())) == 1500


def test_a_batch_that_comes_again_in_another_format_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function is changed between two tries: it has an Archive of its own each time."""
    common = combined().rsplit(b' "', 2)[0]
    s3, batch = slow(monkeypatch), event([record(gzipped(combined() + b"\n" + common + b"\n"))])
    for text in ("combined", "common", "combined"):
        archive = Archive(cast("S3Client", s3), "b", rng=random.Random(), sleep=lambda _: None)
        monkeypatch.setattr(index, "archive", lambda archive=archive: archive)
        monkeypatch.setattr(index, "_format", lambda text=text: compiled(text))
        assert invocations(s3, batch) == 1
        assert len(s3.lines()) == 2


def test_an_ordinary_batch_asks_for_no_progress(s3: FakeS3) -> None:
    index.handler(event(hours(*range(20))), Context())
    assert Counter(name for name, _ in s3.calls) == {"get_object": 20, "head_object": 20, "put_object": 20}


def test_a_progress_that_cannot_be_kept_or_had_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Slow):
        def _call(self, name: str, request: dict[str, Any], act: Any) -> dict[str, Any]:
            if "ledger/progress/" in request["Key"]:
                self._refuse(403, "AccessDenied", name)
            return super()._call(name, request, act)

    s3 = Refusing()
    archive = Archive(cast("S3Client", s3), "b", rng=random.Random(0), sleep=lambda _: None)
    monkeypatch.setattr(index, "archive", lambda: archive)
    assert invocations(s3, quiet_year(1500)) == 4
    assert len(s3.lines()) == len(set(s3.lines())) == 1500


def test_memory_does_not_follow_the_batch(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "FLUSH_BYTES", 2000)
    monkeypatch.setattr(filing, "BLOCK_BYTES", 300)
    lines = b"".join(combined(agent=b"%d" % number) + b"\n" for number in range(50))
    sizes = []
    append = Archive.append

    def noting(self: Archive, target: Any, items: Any, *more: Any) -> Any:
        sizes.append(sum(len(item.text) for item in items))
        return append(self, target, items, *more)

    monkeypatch.setattr(Archive, "append", noting)
    assert index.handler(event([record(gzipped(lines), f"{GENERATION}:0")]), Context())["written"] == 50
    assert len(sizes) >= 5
    assert max(sizes) < 2000
    assert next(iter(s3.objects.values())).body.count(b"\n") == 50


def test_an_append_costs_the_same_however_many_lines_were_rejected(s3: FakeS3) -> None:
    """Every other line of an hour is rejected; those without a time go to the object of another hour."""
    offset, costs, longest = 0, Counter[int](), 0
    for number in range(60):
        lines = []
        for each in range(500):
            line = combined(agent=b"%d" % (number * 1000 + each)) + b"\n"
            lines += [line, b"junk %d\n" % each if number % 2 else line.replace(b" 200 ", b" 2000 ")]
        pack = b"".join(lines)
        before = len(s3.calls)
        index.handler(event([record(gzipped(pack), f"{GENERATION}:{offset}")]), Context())
        offset += len(pack)
        costs[len(s3.calls) - before] += 1
        sides = [stored for key, stored in s3.objects.items() if key.startswith("ledger/")]
        assert len(sides) <= 3, "none is left behind"
        longest = max(longest, *(len(side.body) for side in sides))
    assert longest < 10_000, "no more than the holes of two batches"
    assert max(costs) < 25
    lines = [
        line for key, each in s3.objects.items() if key.endswith("web-access.log") for line in each.body.split(b"\n")
    ]
    assert len([line for line in lines if line]) == 60 * 1000
    index.handler(event([record(gzipped(pack), f"{GENERATION}:{offset - len(pack)}")]), Context())
    assert len([key for key in s3.objects if key.endswith("web-access.log")]) == 3


def test_foreign_lines_are_written_last(s3: FakeS3) -> None:
    """A failure before them does not repeat them; after them nothing is left that could fail."""
    foreign = record(combined(time=b"18/Apr/2020:00:00:00 +0000"), "somebody")
    index.handler(event([foreign, *hours(2, 1), record(b"junk", "somebody")]), Context())
    put = [key for name, key in s3.calls if name == "put_object"]
    assert put == [
        "2020/04/18/01/web-access.log",
        "2020/04/18/02/web-access.log",
        "2020/04/18/00/web-access.log",
        f"rejected/{ARRIVED_HOUR}/web-access.log",
    ]


def test_overlapping_packs_and_single_lines_in_one_batch(s3: FakeS3) -> None:
    lines = [combined(agent=b"%d" % number) + b"\n" for number in range(6)]
    starts = [sum(map(len, lines[:number])) for number in range(6)]

    def pack(first: int, last: int) -> dict[str, Any]:
        return record(gzipped(b"".join(lines[first:last])), f"{GENERATION}:{starts[first]}")

    one = record(lines[3].removesuffix(b"\n"), f"{GENERATION}:{starts[3]}")
    counts = index.handler(event([pack(0, 3), pack(2, 5), one, one, pack(0, 6)]), Context())
    assert counts["written"] == 6
    (stored,) = s3.objects.values()
    assert [json.loads(line)["userAgent"] for line in stored.body.splitlines()] == list("012345")


@pytest.mark.usefixtures("fresh")
def test_without_a_bucket_the_message_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3_BUCKET", raising=False)
    with pytest.raises(index.ConfigurationError, match="S3_BUCKET is not set"):
        index.handler(event([]), Context())


@pytest.mark.usefixtures("fresh")
def test_the_archive_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[FakeS3] = []

    def client() -> FakeS3:
        made.append(FakeS3())
        return made[-1]

    monkeypatch.setenv("S3_BUCKET", "b")
    monkeypatch.setattr(index, "client", client)
    index.handler(event(hours(1)), Context())
    index.handler(event(hours(2)), Context())
    assert len(made) == 1
    assert len(made[0].objects) == 2


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"AWS_ENDPOINT_URL": "http://h:1"}, "http://h:1"),
        ({"AWS_ENDPOINT_URL": "http://h:1", "AWS_ENDPOINT_URL_S3": "http://s:2"}, "http://s:2"),
        ({"AWS_ENDPOINT_URL": "http://h:1", "LOCALSTACK_HOSTNAME": "l"}, "http://h:1"),
        ({"LOCALSTACK_HOSTNAME": "l"}, "http://l:4566"),
        ({"LOCALSTACK_HOSTNAME": "l", "EDGE_PORT": "4567"}, "http://l:4567"),
        ({"AWS_ENDPOINT_URL": "", "LOCALSTACK_HOSTNAME": ""}, None),
    ],
)
def test_where_s3_answers(environment: dict[str, str], url: str | None) -> None:
    assert connect.endpoint_url(environment) == url


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", ""])
def test_the_client_is_bounded(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "LOCALSTACK_HOSTNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = connect.client()
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (connect.CONNECT_TIMEOUT, connect.READ_TIMEOUT)  # type: ignore[attr-defined]
    assert config.retries["total_max_attempts"] == 3  # type: ignore[attr-defined]
    style = (config.s3 or {}).get("addressing_style")  # type: ignore[attr-defined]
    assert (client.meta.endpoint_url, style) == ((endpoint, "path") if endpoint else ("https://s3.amazonaws.com", None))
    client.close()


def test_the_import_is_light_and_uses_only_what_the_runtime_has() -> None:
    folder = str(Path(index.__file__).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); import index; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, check=True, text=True)
    modules = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"index", "archiver", "botocore"} <= modules
    assert not modules & {"asyncio", "boto3", "common", "appliance", "producer", "entrypoint"}
