"""The bucket as a sink: what is acknowledged is archived, and nothing is written where that is not safe."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from archiver.layout import HourlyObject
from archiver.stored import METADATA_KEY
from bench.sizes import GIB, SizesS3
from common import archiver, conditions
from common.aws import READ_TIMEOUT
from common.formats import format_of
from common.settings import Settings
from producer import bucket
from producer.bucket import BucketSink, Proven
from producer.large import TRUSTED, Large
from producer.record import Kind, Piece
from tests.fake_kinesis import FakeClock
from tests.fake_s3 import DOWN, LOST, SLOW_DOWN, FakeS3, Fault

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

GENERATION = "5e9a0000" + "0123456789abcdef"
MIB = 1024 * 1024
HOUR = HourlyObject("logs/", "2020/04/18/01")


def line(number: int, hour: int = 1) -> bytes:
    text = f'10.0.0.1 - - [18/Apr/2020:{hour:02}:00:00 +0000] "GET /{number} HTTP/1.1" 200 1 "-" "a"\n'
    return text.encode()


class S3(FakeS3):
    """Counts its requests, as botocore's events do."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.listeners: list[Any] = []
        events = SimpleNamespace(register=lambda _, heard: self.listeners.append(heard))
        self.meta = SimpleNamespace(events=events, endpoint_url="http://localhost:4566")
        self.closed = False

    def _call(self, *call: Any) -> dict[str, Any]:
        for heard in self.listeners:
            heard(request=None)
        return super()._call(*call)

    def close(self) -> None:
        self.closed = True


def sink_of(s3: S3, clock: FakeClock | None = None, **options: Any) -> BucketSink:
    options = {"prefix": "logs/", "trusted": True, **options}
    return BucketSink(lambda: s3, s3.bucket, clock or FakeClock(), random.Random(1), **options)


def records(data: bytes, start: int = 0) -> list[Any]:
    (batch,) = BucketSink.cut([Piece(GENERATION, start, data)])
    return batch


def lines_in(s3: S3, target: HourlyObject = HOUR) -> Counter[bytes]:
    return Counter(s3.objects[target.key].body.splitlines() if target.key in s3.objects else ())


def test_the_lines_of_one_of_several_logs_go_below_its_name() -> None:
    s3 = S3()
    pieces = [
        Piece(GENERATION, 0, line(1) + b"no entry\n", folder="shop/"),
        Piece(GENERATION, 500, b"part of a line", kind=Kind.FRAGMENT, folder="shop/"),
    ]
    for batch in BucketSink.cut(pieces):
        assert sink_of(s3).put(batch).error is None
    assert lines_in(s3, HourlyObject("logs/shop/", "2020/04/18/01")).total() == 1
    assert all(key.startswith(("logs/shop/2020/", "logs/shop/rejected/20")) for key in s3.objects)
    assert sum(stored.body.count(b"\n") for key, stored in s3.objects.items() if "rejected" in key) == 2


@pytest.mark.parametrize("fault", [DOWN, LOST, SLOW_DOWN])
def test_each_call_fails_in_turn_and_the_next_try_makes_it_right(fault: Fault) -> None:
    batch = records(line(1) + line(2, hour=2) + b"no entry\n" + line(3))
    for nth in range(40):
        s3, clock = S3(), FakeClock()
        s3.faults = {nth: fault}
        put = sink_of(s3, clock).put(batch)
        assert put.acknowledged
        assert put.error is None
        assert lines_in(s3).total() == 2
        assert lines_in(s3, HourlyObject("logs/", "2020/04/18/02")).total() == 1
        assert sum(1 for key in s3.objects if key.startswith("logs/rejected/")) == 1
        if nth >= len(s3.calls):
            return
    raise AssertionError("there was no end of calls")


def test_what_is_acknowledged_is_archived_and_the_rest_is_not() -> None:
    """The second object cannot be written: its record is left, the other one's is not."""
    s3 = S3()
    first, second = records(line(1)), records(line(2, hour=2), start=1000)
    s3.fault_from_now_on = (3, SLOW_DOWN)  # after the PUT of the first
    put = sink_of(s3).put([*first, *second])
    assert [place and place.key for place in put.acknowledged] == [HOUR.key, None]
    assert "SlowDown" in (put.error or "")
    assert lines_in(s3).total() == 1


def test_a_poll_takes_two_requests_and_above_5_mib_four() -> None:
    """One more at a start, for the hour's rejected lines, and above 5 MiB one for its state. Another writer costs one
    there, too, and each of them a lost round when it finds out."""
    s3 = S3()
    one, other = sink_of(s3), sink_of(s3)
    begun = 0
    calls = []
    # 60,000 lines are more than 5 MiB
    for sink, size in (
        *((one, 1), (one, 1), (other, 1), (one, 1), (one, 60_000)),
        *((one, 1), (one, 1), (other, 1), (one, 1), (other, 1), (one, 1), (sink_of(s3), 1), (one, 1)),
    ):
        data = b"".join(line(number) for number in range(size))
        for batch in BucketSink.cut([Piece(GENERATION, begun, data)]):
            put = sink.put(batch)
            assert put.error is None
            calls.append(put.traffic.calls)
        begun += len(data)
    assert calls == [3, 2, 3, 2, 2, 4, 4, 5, 8, 8, 5, 6, 5]
    assert sum(calls) == len(s3.calls)
    assert lines_in(s3).total() == 60_012


def test_each_poll_of_cron_takes_three_requests_and_above_5_mib_five(tmp_path: Path) -> None:
    """A process each, of which one is the last to know the state of a large object."""
    s3, begun, calls = S3(), 0, []
    for size in (1, 1, 60_000, 1, 1):
        data = b"".join(line(number) for number in range(size))
        for batch in BucketSink.cut([Piece(GENERATION, begun, data)]):
            put = sink_of(s3, large=Large(tmp_path / "large.json")).put(batch)
            assert put.error is None
            calls.append(put.traffic.calls)
        begun += len(data)
    assert calls == [3, 3, 3, 5, 5]
    assert lines_in(s3).total() == 60_004
    # another writer comes between, then the bucket is made anew, and the file is of that
    assert sink_of(s3).put(records(line(1), begun)).error is None
    for wanted in (9, 6, 6):
        begun += 1000
        put = sink_of(s3, large=Large(tmp_path / "large.json")).put(records(line(1), begun))
        assert (put.error, put.traffic.calls) == (None, wanted)
    assert lines_in(s3).total() == 60_008
    s3.objects.clear()
    put = sink_of(s3, large=Large(tmp_path / "large.json")).put(records(line(1), begun + 1000))
    assert (put.error, lines_in(s3).total()) == (None, 1)


class Sizes(SizesS3):
    """With the events that a client has."""

    meta = SimpleNamespace(events=SimpleNamespace(register=lambda *_: None), endpoint_url="https://s3.amazonaws.com")


def test_what_bytes_become_as_json_does_not_decide_how_much_memory_they_take() -> None:
    s3 = Sizes()
    sink = BucketSink(lambda: s3, "b", FakeClock(), random.Random(1), trusted=True)
    batch, *_ = BucketSink.cut([Piece(GENERATION, 0, b"\x01" * 8 * MIB, kind=Kind.FRAGMENT)])
    tracemalloc.start()
    try:
        assert None not in sink.put(batch).acknowledged
        assert tracemalloc.get_traced_memory()[1] < 3 * bucket.FLUSH_BYTES
    finally:
        tracemalloc.stop()


class SlowCopies(Sizes):
    """Copies 100 MB in a second, as S3 does; the client waits only so long."""

    def close(self) -> None:
        pass

    def upload_part_copy(self, **request: Any) -> dict[str, Any]:
        before = self.copied
        answer = super().upload_part_copy(**request)
        if self.copied - before > READ_TIMEOUT * 100 * 10**6:
            raise ReadTimeoutError(endpoint_url="http://fake")
        return answer


def test_an_hour_of_gigabytes_is_copied_in_parts_that_the_time_out_allows() -> None:
    s3 = SlowCopies()
    for start in (0, 1000):
        sink = BucketSink(lambda: s3, "b", FakeClock(), random.Random(1), prefix="logs/", trusted=True)
        assert sink.put(records(line(1), start=start)).error is None
        s3.objects[HOUR.key].size = 5 * GIB


def test_a_record_that_takes_several_writes_is_acknowledged_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "FLUSH_BYTES", 1)
    batch = records(line(1) + b"no entry\n" + line(2))
    for nth in range(30):
        s3 = S3()
        s3.fault_from_now_on = (nth, SLOW_DOWN)
        sink = sink_of(s3)
        (place,) = sink.put(batch).acknowledged
        assert (place is None) == (lines_in(s3).total() < 2)
        s3.fault_from_now_on = None
        assert None not in sink.put(batch).acknowledged
        assert lines_in(s3).total() == 2
        assert sum(stored.body.count(b"\n") for key, stored in s3.objects.items() if "rejected/" in key) == 1
        if place:
            return
    raise AssertionError("there was no end of calls")


def test_lines_sent_again_in_another_format_are_there_once() -> None:
    """Rejected, then read as entries, and the other way round."""
    common = b'10.0.0.1 - - [18/Apr/2020:01:00:00 +0000] "GET /0 HTTP/1.1" 200 1\n'
    s3, batch = S3(), records(common + line(1))
    for name in ("combined", "common", "combined"):
        put = sink_of(s3, format=format_of(name, "")).put(batch)
        assert None not in put.acknowledged
        assert lines_in(s3).total() == lines_in(s3, HOUR.counterpart).total() == 1


def test_lines_of_another_format_in_a_bucket_made_anew_are_written_again() -> None:
    s3, batch = S3(), records(line(1) + line(2))
    sink_of(s3, format=format_of("common", "")).put(batch)
    sink = sink_of(s3)
    sink.put([*batch, *records(line(3), start=1000)])
    s3.objects.clear()
    sink.put(batch)
    assert lines_in(s3).total() == 2


def test_a_lost_line_of_a_bucket_made_anew_is_written_again() -> None:
    s3 = S3()
    sink, batch = sink_of(s3), records(line(1))
    sink.put(batch)
    s3.objects.clear()
    assert sink.put(batch).error is None
    assert lines_in(s3).total() == 1


def test_a_ledger_that_cannot_be_read_says_what_mends_it_and_is_not_tried_again() -> None:
    s3, clock = S3(), FakeClock()
    sink_of(s3).put(records(line(1)))
    s3.objects[HOUR.key].metadata[METADATA_KEY] = "2;nonsense"
    put = sink_of(s3, clock).put(records(line(2), start=1000))
    assert put.acknowledged == [None]
    assert "appliance repair-ledger logs/2020/04/18/01/web-access.log" in (put.error or "")
    assert clock.monotonic() == 0


@pytest.mark.parametrize(
    ("ignored", "refused"),
    [([], False), ([conditions.COPY], False), (["If-Match on PutObject", conditions.COPY], True)],
)
def test_nothing_is_written_where_conditions_are_ignored(
    monkeypatch: pytest.MonkeyPatch, ignored: list[str], refused: bool
) -> None:
    asked: Iterator[list[str]] = iter([ignored])
    monkeypatch.setattr(conditions, "ignored_conditions", lambda *_: next(asked))
    s3 = S3()
    sink = sink_of(s3, trusted=False)
    put = sink.put(records(line(1)))
    assert bool(put.error) == refused
    assert lines_in(s3).total() == (0 if refused else 1)
    if refused:
        assert "If-Match on PutObject" in (put.error or "")
        assert "-e DELIVERY=kinesis" in (put.error or "")
    else:
        sink.put(records(line(2), start=1000))  # and it is not asked again


def test_an_endpoint_is_tried_once_a_day_and_each_time_after_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answers = [["If-Match on PutObject"], [], []]
    monkeypatch.setattr(conditions, "ignored_conditions", lambda *_: answers.pop(0))
    s3, clock = S3(), FakeClock()

    def put(number: int) -> str | None:
        sink = sink_of(s3, clock, trusted=False, large=Large(tmp_path / "large.json"))
        return sink.put(records(line(number), start=1000 * number)).error

    left = []
    for number, seconds in enumerate([0, 0, 60, TRUSTED - 61, 60]):
        clock.sleep(seconds)
        error = put(number)
        assert (error is None) == bool(number)
        left.append(len(answers))
    assert left == [2, 1, 1, 1, 0]
    s3.meta.endpoint_url = "http://another:4566"
    answers.append([])
    assert (put(9), answers) == (None, [])


@pytest.mark.parametrize(
    ("url", "tried"),
    [
        ("https://s3.eu-west-1.amazonaws.com", False),
        ("https://s3.cn-north-1.amazonaws.com.cn", False),
        ("https://minio.example:9000", True),
        ("https://amazonaws.com.example", True),
    ],
)
def test_what_is_not_aws_is_tried_whatever_target_says(monkeypatch: pytest.MonkeyPatch, url: str, tried: bool) -> None:
    """AWS_ENDPOINT_URL names another endpoint."""
    monkeypatch.setattr(conditions, "ignored_conditions", lambda *_: ["If-Match on PutObject"])
    s3 = S3()
    s3.meta.endpoint_url = url
    own = BucketSink.own(Settings(target="aws", delivery="s3"))
    sink = BucketSink(lambda: s3, s3.bucket, FakeClock(), random.Random(1), target="aws", **own)
    assert bool(sink.put(records(line(1))).error) == tried


class Careless(S3):
    """Copies a part whatever the condition says, and counts what it should have refused."""

    vain = 0

    def upload_part_copy(self, **request: Any) -> dict[str, Any]:
        copied = super().upload_part_copy(**request | {"CopySourceIfMatch": None})
        self.vain += request["CopySourceIfMatch"] != self.objects[request["Key"]].etag
        return copied


def test_where_the_condition_of_a_copy_alone_is_ignored_a_lost_race_copies_in_vain_and_loses_nothing() -> None:
    s3 = Careless()
    large = b"".join(line(number) for number in range(60_000))  # more than 5 MiB
    first, second = sink_of(s3), sink_of(s3)
    for batch in BucketSink.cut([Piece(GENERATION, 0, large)]):
        assert first.put(batch).error is None

    def race() -> None:
        assert second.put(records(line(60_000), start=len(large))).error is None

    s3.faults = {len(s3.calls) + 1: race}
    assert first.put(records(line(60_001), start=len(large) + 1000)).error is None
    assert s3.vain == 1
    assert (lines_in(s3).total(), max(lines_in(s3).values())) == (60_002, 1)


def test_an_answer_that_lacks_what_it_is_to_say_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a proxy, or of an endpoint that takes a copied part for an empty one."""
    monkeypatch.setattr(S3, "upload_part_copy", lambda *_, **__: {"CopyPartResult": {}})
    s3 = S3()
    sink, large = sink_of(s3), b"".join(line(number) for number in range(60_000))
    for batch in BucketSink.cut([Piece(GENERATION, 0, large)]):
        assert sink.put(batch).error is None
    put = sink.put(records(line(60_000), start=len(large)))
    assert (put.acknowledged, put.error) == ([None], "bucket b: an answer lacks its 'ETag'")
    assert not s3.uploads


def test_a_refusal_names_the_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that its owner has moved to Glacier, say: the next hour's is written as ever."""

    def refuse(**_: Any) -> Any:
        refused: Any = {"Error": {"Code": "InvalidObjectState"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(refused, "GetObject")

    s3 = S3()
    sink_of(s3).put(records(line(1)))
    monkeypatch.setattr(s3, "get_object", refuse)
    put = sink_of(s3).put(records(line(2), start=1000))
    assert f"GetObject of {HOUR.key} was refused with InvalidObjectState" in (put.error or "")
    with pytest.raises(ClientError, match=HOUR.key):
        archiver.Archive(cast("S3Client", s3), "b", rng=random.Random(1), sleep=lambda _: None).append(
            HOUR, [archiver.Item(GENERATION, 5000, 5001, b"a line\n")]
        )


def test_it_stops_between_two_objects() -> None:
    s3 = S3()
    put = sink_of(s3, stop=lambda: bool(s3.objects)).put([*records(line(1)), *records(line(2, hour=2), start=1000)])
    assert [bool(place) for place in put.acknowledged] == [True, False]


def test_fragments_and_a_last_line_have_the_places_that_they_have_in_the_stream() -> None:
    long = b"x" * (3 * MIB)
    pieces = [
        Piece(GENERATION, 0, long, kind=Kind.FRAGMENT),
        Piece(GENERATION, len(long) + 1, b"end", kind=Kind.LAST_LINE),
    ]
    s3 = S3()
    sink = sink_of(s3)
    for batch in BucketSink.cut(pieces):
        assert sink.put(batch).error is None
        assert sink.put(batch).traffic.bytes == 0
    assert sum(len(stored.body) for key, stored in s3.objects.items() if "rejected" in key) > 3 * MIB


def test_lines_that_look_like_gzip_are_archived_as_they_are() -> None:
    s3 = S3()
    assert sink_of(s3).put(records(b"\x1f\x8b no gzip\n" * 3)).error is None
    (body,) = (stored.body for key, stored in s3.objects.items() if "rejected" in key)
    assert body.count(b"no gzip") == 3


def test_what_was_proven_is_handed_out_once() -> None:
    proven = Proven()
    proven.add([("a", 0, 5), ("b", 0, 1), ("a", 5, 9)])
    assert {name: list(ranges) for name, ranges in proven.take().items()} == {"a": [(0, 9)], "b": [(0, 1)]}
    assert proven.take() == {}
