from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

import index
from archiver import filing
from archiver.archive import Archive
from tests.fake_s3 import DOWN, FakeS3
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
    s3.fault_from_now_on = (2, DOWN)
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
    for done in (1, 2):
        with pytest.raises(index.OutOfTimeError):
            index.handler(event(hours(1, 2, 3)), Context(0))
        assert len(s3.objects) == done
    index.handler(event(hours(1, 2, 3)), Context(0))
    assert len(s3.objects) == 3


def test_memory_does_not_follow_the_batch(s3: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "FLUSH_BYTES", 2000)
    monkeypatch.setattr(filing, "BLOCK_BYTES", 300)
    lines = b"".join(combined(agent=b"%d" % number) + b"\n" for number in range(50))
    sizes = []
    append = Archive.append

    def noting(self: Archive, target: Any, items: Any) -> Any:
        sizes.append(sum(len(item.text) for item in items))
        return append(self, target, items)

    monkeypatch.setattr(Archive, "append", noting)
    assert index.handler(event([record(gzipped(lines), f"{GENERATION}:0")]), Context())["written"] == 50
    assert len(sizes) >= 5
    assert max(sizes) < 2000
    assert next(iter(s3.objects.values())).body.count(b"\n") == 50


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
    assert index.endpoint_url(environment) == url


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", ""])
def test_the_client_is_bounded(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "LOCALSTACK_HOSTNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = index.client()
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (index.CONNECT_TIMEOUT, index.READ_TIMEOUT)  # type: ignore[attr-defined]
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
    assert not modules & {"asyncio", "boto3", "pydantic", "appliance", "producer", "entrypoint"}
