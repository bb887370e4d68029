from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.settings import Settings
from dashboard import bucket as module
from dashboard import inventory
from dashboard.bucket import Bucket, NotOursError, matches
from dashboard.endpoint import GoneError, NoAnswerError
from dashboard.periodic import LookError
from tests.fake_bucket import START, FakeBucket
from tests.fake_s3 import DOWN, SLOW_DOWN

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOW = START + timedelta(minutes=30)


class Clock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


class Store(FakeBucket):
    """FakeBucket whose listings tell sizes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(bucket="my-bucket", **options)
        self.page = 1000

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        page = super().list_objects_v2(**request)
        for item in page.get("Contents", []):
            item["Size"] = len(self.objects[item["Key"]].body)
        return page

    def write(self, key: str, lines: list[bytes], *, counted: bool = True) -> None:
        metadata = {"ledger": "1;0"} | ({"lines": str(len(lines))} if counted else {})
        self.put_object(Bucket=self.bucket, Key=key, Body=b"".join(each + b"\n" for each in lines), Metadata=metadata)


def archived(minute: int, path: str = "/", status: int = 200, host: str = "10.0.0.1") -> bytes:
    time = f"{START + timedelta(minutes=minute):%Y-%m-%dT%H:%M:%S}.000Z"
    return json.dumps({"host": host, "time": time, "path": path, "status": status, "userAgent": "test"}).encode()


def key(hour: int, *, rejected: bool = False, prefix: str = "") -> str:
    return f"{prefix}{'rejected/' if rejected else ''}2026/11/23/{hour:02}/web-access.log"


def connected(store: Store, **settings: Any) -> Bucket:
    return Bucket(Settings(**settings), Clock(), lambda: cast("S3Client", store))


@pytest.fixture
def store() -> Store:
    return Store()


def test_objects_are_listed_the_newest_first_and_asked_once(store: Store) -> None:
    store.write(key(9), [archived(-60)] * 2)
    store.write(key(10), [archived(0)] * 3)
    store.write(key(10, rejected=True), [b"{}"])
    store.put_object(Bucket="my-bucket", Key="ledger/2026/11/23/10/entries-0", Body=b"x")
    store.put_object(Bucket="my-bucket", Key="2026/notes.txt", Body=b"x")
    bucket = connected(store)
    found = bucket.look()
    assert [one.key for one in found.objects if not one.rejected] == [key(10), key(9)]
    assert (found.archived_lines, found.rejected_lines, found.whole) == (5, 1, True)
    asked = len(store.asked("head_object"))
    bucket.look()
    assert len(store.asked("head_object")) == asked == 3
    store.write(key(10), [archived(0)] * 4)
    assert bucket.look().archived_lines == 6
    assert len(store.asked("head_object")) == asked + 1


def test_the_names_of_metadata_come_back_in_any_case(store: Store) -> None:
    store.titled = True
    store.write(key(10), [archived(0)])
    assert connected(store).look().archived_lines == 1


def test_lines_that_an_object_does_not_tell_are_unknown(store: Store) -> None:
    store.write(key(9), [archived(-60)], counted=False)
    store.write(key(10), [archived(0)] * 3)
    bucket = connected(store)
    found = bucket.look()
    assert (found.archived_lines, found.lines) == (None, {key(10): 3, key(9): None})
    entries = bucket.tree("2026/11/23/")["entries"]
    assert [(one["name"], one["objects"], one["lines"]) for one in entries] == [("10/", 1, 3), ("09/", 1, None)]


def test_the_tree_shows_the_log_and_nothing_else(store: Store) -> None:
    for each in ("logs/other/x", "logs/ledger/2026/x", "elsewhere/y"):
        store.put_object(Bucket="my-bucket", Key=each, Body=b"x")
    store.write(key(10, prefix="logs/"), [archived(0)])
    store.write("logs/rejected/2026/11/23/10/web-access.log", [b"{}"])
    bucket = connected(store, s3_prefix="logs/")
    assert bucket.look().archived_lines == 1
    top = bucket.tree("")
    assert top["prefix"] == "logs/"
    assert [one["name"] for one in top["entries"]] == ["2026/", "rejected/"]
    (leaf,) = bucket.tree("logs/2026/11/23/10/")["entries"]
    assert leaf == {
        "name": "web-access.log",
        "key": key(10, prefix="logs/"),
        "kind": "object",
        "bytes": len(archived(0)) + 1,
        "lines": 1,
        "modified": START.isoformat(),
    }


def test_the_objects_of_several_logs_are_below_their_names(store: Store) -> None:
    store.write(key(9), [archived(0, "/before")])
    store.write(key(10, prefix="shop/"), [archived(1, "/shop"), archived(1, "/shop")])
    store.write(key(10, prefix="blog/"), [archived(2, "/blog")])
    store.write("blog/rejected/2026/11/23/10/web-access.log", [b"{}"])
    store.write(key(10, prefix="other/"), [archived(2)])
    bucket = connected(store, log_files="shop=/srv/shop.log,blog=/srv/blog.log")
    found = bucket.look()
    assert (found.archived_lines, found.rejected_lines, found.whole) == (4, 1, True)
    assert [(one["name"], one["lines"]) for one in bucket.tree("")["entries"]] == [
        ("shop/", 2),
        ("blog/", 2),
        ("2026/", 1),
    ]
    assert [one["name"] for one in bucket.tree("blog/")["entries"]] == ["2026/", "rejected/"]
    assert "/shop" in bucket.raw(key(10, prefix="shop/"), 1000)
    paths = [line["path"] for line in bucket.lines(9, status="", path="", host="")["lines"]]
    assert paths == ["/blog", "/shop", "/shop", "/before"]
    for asked in (key(10, prefix="other/"), "shop/ledger/2026/11/23/10/entries-0", "shop/blog/2026/11/23/10/x"):
        with pytest.raises(NotOursError):
            bucket.raw(asked, 100)


@pytest.mark.parametrize(
    "asked",
    [
        *("elsewhere/y", "", "logs/../elsewhere", "logs/\n", "/logs/2026", "../logs/", "logs/2026/11/23/../../../x"),
        # the bucket may be somebody else's too
        *("logs/ledger/2026/11/23/10/entries-0", "logs/private/x", "logs/2026/notes.txt", "logs/2026/11/23/10/\n"),
        *("logs/rejected/a/b/2026/11/23/10/x", "logs/\u0662\u0660\u0662\u0666/11/23/10/x"),
    ],
)
def test_no_key_but_the_hourly_objects_is_shown(store: Store, asked: str) -> None:
    bucket = connected(store, s3_prefix="logs/")
    with pytest.raises(NotOursError, match="only keys below s3://my-bucket/logs/"):
        bucket.raw(asked, 100)
    if asked:
        with pytest.raises(NotOursError):
            bucket.tree(asked)
    assert store.calls == []


def test_what_firehose_rejected_is_shown_and_not_counted() -> None:
    store = Store()
    key = "rejected/processing-failed/2026/11/23/10/web-log-delivery-1"
    store.write(key, [b"{}"], counted=False)
    bucket = connected(store, delivery="firehose")
    bucket.look()
    for prefix in ("", "rejected/", "rejected/processing-failed/"):
        (folder,) = bucket.tree(prefix)["entries"]
        assert (folder["objects"], folder["lines"]) == (None, None)
    assert bucket.raw(key, 100) == "{}\n"


def listed(store: Store) -> list[str]:
    """What was listed since the last time."""
    found = store.asked("list_objects_v2")
    store.calls.clear()
    return found


def test_of_too_many_objects_the_newest_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "MAX_OBJECTS", 3)
    days = ("2025/12/31", "2026/10/02", "2026/11/22", "2026/11/23")
    keys = [f"logs/{day}/{hour:02}/web-access.log" for day in days for hour in (9, 10)]
    rejected = "logs/rejected/2026/11/22/23/web-access.log"
    for one in (*keys, rejected, "logs/2026/notes/x", "logs/ledger/2026/11/23/10/entries-0"):
        store.write(one, [archived(25)])
    bucket = connected(store, s3_prefix="logs/")
    found = bucket.look()
    assert [one.key for one in found.objects] == [keys[7], keys[6], rejected]
    assert (found.whole, found.archived_lines, found.rejected_lines, found.sum("logs/2026/")) == (False, *[None] * 3)
    assert [one["path"] for one in bucket.lines(9, status="", path="", host="")["lines"]] == ["/", "/"]
    # nothing of the last hour is missing; of the last three something may be
    assert (bucket.charts(20)["complete"], bucket.charts(180)["complete"]) == (True, True)
    top = bucket.tree("")
    assert (top["newest"], [(one["name"], one["objects"]) for one in top["entries"]]) == (
        3,
        [("2026/", None), ("2025/", None), ("rejected/", None)],
    )
    # what held too much is not listed again in vain, and what is older not at all
    listed(store)
    bucket.look()
    assert listed(store) == [
        *("logs/", "logs/2026/", "logs/2026/11/", "logs/2026/11/23/", "logs/2026/11/22/"),
        *("logs/rejected/", "logs/rejected/2026/"),
    ]
    for one in keys[:6]:
        del store.objects[one]
    found = bucket.look()
    assert (len(found.objects), found.whole, bucket.tree("")["newest"]) == (3, True, None)


def test_a_whole_bucket_is_listed_by_the_year(store: Store) -> None:
    for each in (key(9), key(10), key(10, rejected=True), "2025/12/31/23/web-access.log"):
        store.write(each, [archived(0)])
    connected(store).look()
    assert listed(store) == ["", "2026/", "2025/", "rejected/", "rejected/2026/"]


def test_of_too_many_objects_in_an_hour_the_newest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Firehose names them."""
    monkeypatch.setattr(inventory, "MAX_OBJECTS", 2)
    store = Store()
    names = [f"2026/11/23/{hour}/web-log-delivery-1-2026-11-23-{hour}-0{n}-00-x" for hour in (9, 10) for n in range(4)]
    for each in (names := [name.replace("/9/", "/09/") for name in names]):
        store.write(each, [archived(25)], counted=False)
    bucket = connected(store, delivery="firehose")
    assert [one.key for one in bucket.look().objects] == names[:-3:-1]
    assert not bucket.charts(20)["complete"]


@given(
    lines=st.lists(st.integers(0, 400), max_size=40),
    chunk=st.integers(1, 300),
    limit=st.integers(1, 50),
    tail=st.integers(1, 900),
)
def test_the_newest_lines_are_read_from_the_end(lines: list[int], chunk: int, limit: int, tail: int) -> None:
    """Wherever chunks begin and end."""
    store = Store()
    content = [json.dumps({"time": "t", "status": 200, "path": "/" + "x" * each}).encode() for each in lines]
    store.write(key(10), content)
    bucket = connected(store)
    bucket.look()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        found = bucket.lines(limit, status="", path="", host="")
    assert [len(one["path"]) - 1 for one in found["lines"]] == lines[::-1][:limit]
    whole = store.objects[key(10)].body
    raw = bucket.raw(key(10), tail).encode()
    expected = whole if tail >= len(whole) else whole[len(whole) - tail - 1 :].partition(b"\n")[2]
    assert raw == expected


def test_lines_are_found_by_status_path_and_host(store: Store) -> None:
    store.write(key(9), [archived(-1, "/old", 404), archived(-2, "/Old", 200, "10.0.0.2")])
    store.write(key(10), [archived(1, "/new", 503), archived(2, "/new", 404)])
    bucket = connected(store)
    bucket.look()

    def paths(status: str = "", path: str = "", host: str = "", limit: int = 9) -> list[str]:
        return [one["path"] for one in bucket.lines(limit, status=status, path=path, host=host)["lines"]]

    assert paths() == ["/new", "/new", "/old", "/Old"]
    assert paths(status="404") == ["/new", "/old"]
    assert paths(status="5xx") == ["/new"]
    assert paths(path="OLD") == ["/old", "/Old"]
    assert paths(host="0.2") == ["/Old"]
    assert paths(limit=1) == ["/new"]
    assert not matches({"status": None, "path": None, "host": None}, "2xx", "", "")


def test_what_one_question_reads_is_limited(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINES_BYTES", 2000)
    monkeypatch.setattr(module, "CHUNK", 500)
    store.write(key(10), [archived(0)] * 500)
    bucket = connected(store)
    bucket.look()
    found = bucket.lines(500, status="404", path="", host="")
    assert (found["lines"], found["scanned_bytes"]) == ([], 2000)


def test_an_answer_that_takes_long_is_cut_short(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(key(10), [archived(25)])
    bucket = connected(store)
    bucket.look()
    monkeypatch.setattr(module, "ANSWER_SECONDS", -1.0)
    assert bucket.lines(9, status="", path="", host="")["lines"] == []
    assert not bucket.charts(60)["complete"]


def test_of_an_object_that_grows_only_what_is_new_is_counted(store: Store) -> None:
    store.write(key(10), [archived(25)] * 3)
    bucket = connected(store)
    bucket.look()
    assert bucket.charts(60)["lines"] == 3
    reads = len(store.asked("get_object"))
    assert bucket.charts(60)["complete"]
    assert len(store.asked("get_object")) == reads
    store.write(key(10), [archived(25)] * 3 + [archived(28)])
    bucket.look()
    bodies: list[int] = []
    get = store.get_object
    store.get_object = lambda **request: bodies.append(1) or get(**request)  # type: ignore[method-assign,func-returns-value]
    assert bucket.charts(60)["lines"] == 4
    assert len(bodies) == 1
    store.write(key(10), [archived(28)])  # somebody made it shorter
    bucket.look()
    assert bucket.charts(60)["lines"] == 1


def test_charts_of_more_than_can_be_read_say_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHARTS_BYTES", 1000)
    store.write(key(10), [archived(25)] * 100)
    bucket = connected(store)
    bucket.look()
    found = bucket.charts(60)
    assert not found["complete"]
    assert found["lines"] == 1000 // (len(archived(25)) + 1)
    # of lines that are older than what is asked for, none is missed
    store.write(key(10), [archived(5)] * 100 + [archived(28)])
    bucket.look()
    found = connected_again(store).charts(10)
    assert (found["complete"], found["lines"]) == (True, 1)


def connected_again(store: Store) -> Bucket:
    bucket = connected(store)
    bucket.look()
    return bucket


def test_an_object_that_was_replaced_since_the_last_look_is_read_as_it_is_now(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(key(10), [archived(25)] * 3)
    bucket = connected(store)
    bucket.look()
    store.write(key(10), [archived(25)] * 4)
    found = bucket.charts(60)
    assert (found["lines"], found["complete"]) == (4, True)
    # also while it is read: nothing comes twice
    monkeypatch.setattr(module, "CHUNK", len(archived(25)) + 1)
    get, replaced = store.get_object, iter([5, 6])

    def replacing(**request: Any) -> dict[str, Any]:
        answer = get(**request)
        store.write(key(10), [archived(25)] * next(replaced, 6))
        return answer

    monkeypatch.setattr(store, "get_object", replacing)
    found = bucket.lines(9, status="", path="", host="")
    assert len(found["lines"]) == 6
    # one that never rests is left to the next question
    monkeypatch.setattr(module, "READS", 2)
    replaced = iter(range(7, 99))
    assert bucket.lines(9, status="", path="", host="")["lines"] == []
    monkeypatch.setattr(store, "get_object", get)
    bucket = connected_again(store)
    del store.objects[key(10)]
    assert bucket.lines(9, status="", path="", host="")["lines"] == []
    assert not bucket.charts(60)["complete"]
    assert bucket.look().objects == []


@pytest.mark.parametrize(("fault", "error"), [(DOWN, NoAnswerError), (SLOW_DOWN, LookError)])
def test_every_call_may_fail(store: Store, fault: str, error: type[Exception]) -> None:
    """The 1st, 2nd, 3rd … call: each failure names its remedy, and the next look is as if nothing had been."""
    store.write(key(9), [archived(-60)] * 2)
    store.write(key(10), [archived(25)] * 3)

    def everything(bucket: Bucket) -> tuple[Any, ...]:
        bucket.look()
        charts = bucket.charts(180)
        lines = bucket.lines(9, status="", path="", host="")
        return bucket.inventory.lines, charts["lines"], lines, bucket.tree(""), bucket.raw(key(10), 100)

    expected = everything(connected(store))
    begun, failures = len(store.calls), 0
    everything(connected(store))
    calls = len(store.calls) - begun
    for number in range(calls):
        bucket = connected(store)
        store.faults = {len(store.calls) + number: fault}
        with pytest.raises(error) as raised:
            everything(bucket)
        assert type(raised.value) is error
        assert "LOCALSTACK_HOST" in str(raised.value) or "passes by itself" in str(raised.value)
        failures += 1
        assert everything(bucket) == expected
    assert failures == calls > 8


def test_a_bucket_that_is_not_there_is_said(store: Store) -> None:
    with pytest.raises(GoneError, match="the bucket another-bucket is not there"):
        connected(store, s3_bucket="another-bucket").look()
    with pytest.raises(GoneError, match="s3://my-bucket/2026/11/23/10/x is not there"):
        connected(store).raw("2026/11/23/10/x", 10)


def test_firehose_names_objects_as_it_likes() -> None:
    store = Store()
    store.write("2026/11/23/10/web-log-delivery-1-2026-11-23-10-00-00-uuid", [archived(25)], counted=False)
    bucket = connected(store, delivery="firehose")
    assert len(bucket.look().objects) == 1
    assert bucket.charts(60)["lines"] == 1
    assert connected(store).look().objects == []
