"""Following hourly objects: every line that is added is shown once, whatever happens to objects and endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws

from cli import follow
from cli.follow import Follower
from common.delivery import FIREHOSE
from tests.fake_bucket import FakeBucket
from tests.fake_s3 import DOWN, LOST, SLOW_DOWN

NOW = datetime(2026, 11, 23, 16, 5, tzinfo=UTC)
KEY = "2026/11/23/16/web-access.log"
HOUR = timedelta(hours=1)
EARLIER = "2026/11/23/15/web-access.log"


class Bucket(FakeBucket):
    """Adds what listings say and a follower reads."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW

    def write(self, key: str, body: bytes) -> None:
        self.put_object(Bucket=self.bucket, Key=key, Body=body)

    def append(self, key: str, *lines: bytes) -> None:
        old = self.objects[key].body if key in self.objects else b""
        self.write(key, old + b"".join(line + b"\n" for line in lines))

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        # a page begins after its token, as the first one does after StartAfter
        after = {"ContinuationToken": request["StartAfter"]} if "StartAfter" in request else {}
        found = super().list_objects_v2(**after | request)
        for one in found.get("Contents", []):
            one["Size"] = len(self.objects[one["Key"]].body)
        return found


def following(bucket: Bucket, prefix: str = "", **options: Any) -> Follower:
    return Follower(bucket.client, bucket.bucket, prefix, **options)


def everything(_: bytes) -> bool:
    return True


def test_the_last_lines_and_then_those_that_come() -> None:
    bucket = Bucket()
    bucket.append(EARLIER, b"a", b"b")
    bucket.append(KEY, b"c", b"d")
    follower = following(bucket)
    assert follower.newest(NOW, 3, everything) == [b"b", b"c", b"d"]
    assert list(follower.fresh(NOW)) == []
    bucket.append(KEY, b"e", b"f")
    bucket.append(EARLIER, b"late")
    assert list(follower.fresh(NOW)) == [b"late", b"e", b"f"]
    assert list(follower.fresh(NOW)) == []


def test_only_wanted_lines_count_and_the_search_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket()
    bucket.append(KEY, *(b"%d" % number for number in range(1000)))
    follower = following(bucket)
    assert follower.newest(NOW, 2, lambda line: line.endswith(b"00")) == [b"800", b"900"]
    assert follower.newest(NOW, 2000, everything) == [b"%d" % number for number in range(1000)]
    assert follower.newest(NOW, 0, everything) == []
    monkeypatch.setattr(follow, "TAIL_BLOCK", 10)
    monkeypatch.setattr(follow, "BLOCK", 100)
    monkeypatch.setattr(follow, "SCAN_BYTES", 300)
    before = len(bucket.calls)
    assert follower.newest(NOW, 1, lambda _: False) == []
    assert len(bucket.calls) - before < 10
    assert follower.newest(NOW, 5, everything) == [b"995", b"996", b"997", b"998", b"999"]


def test_a_poll_in_which_nothing_happened_reads_no_object() -> None:
    bucket = Bucket()
    bucket.append(KEY, b"a")
    follower = following(bucket)
    follower.newest(NOW, 1, everything)
    del bucket.calls[:]
    list(follower.fresh(NOW))
    assert {name for name, _ in bucket.calls} == {"list_objects_v2"}
    assert len(bucket.calls) <= 2


def test_only_what_is_new_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket()
    bucket.append(KEY, b"x" * 100_000)
    follower = following(bucket)
    follower.newest(NOW, 0, everything)
    bucket.append(KEY, b"new")
    spans: list[str] = []
    get = bucket.get_object

    def spying(**request: Any) -> dict[str, Any]:
        spans.append(request["Range"])
        return get(**request)

    monkeypatch.setattr(bucket, "get_object", spying)
    assert list(follower.fresh(NOW)) == [b"new"]
    assert spans == ["bytes=100000-100004"]


def test_a_new_hour_and_a_new_day_are_followed() -> None:
    bucket = Bucket()
    follower = following(bucket, "logs/")
    late = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC)
    assert follower.newest(late, 10, everything) == []
    bucket.append("logs/2026/11/23/23/web-access.log", b"last of the day")
    bucket.append("2026/11/23/23/web-access.log", b"of another prefix")
    bucket.append("logs/rejected/2026/11/23/23/web-access.log", b"rejected")
    assert list(follower.fresh(late)) == [b"last of the day"]
    bucket.append("logs/2026/11/24/00/web-access.log", b"first of the day")
    bucket.append("logs/2026/11/23/23/web-access.log", b"late")
    assert list(follower.fresh(late + timedelta(seconds=2))) == [b"late", b"first of the day"]
    assert list(follower.fresh(late + timedelta(hours=30))) == []


def test_lines_of_an_outage_are_shown_though_their_hour_is_long_over() -> None:
    bucket = Bucket()
    follower = following(bucket)
    follower.newest(NOW, 10, everything)
    bucket.append("2026/11/22/17/web-access.log", b"23 hours late")
    assert list(follower.fresh(NOW)) == [b"23 hours late"]


def test_since_shows_whole_hours_and_goes_on_from_there() -> None:
    bucket = Bucket()
    for hour in ("2026/11/20/08", "2026/11/20/09", "2026/11/23/16"):
        bucket.append(f"{hour}/web-access.log", hour.encode())
    follower = following(bucket)
    moment = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    assert list(follower.since(moment, NOW)) == [b"2026/11/20/09", b"2026/11/23/16"]
    bucket.append(KEY, b"new")
    assert list(follower.fresh(NOW)) == [b"new"]
    bucket.append(EARLIER, b"early")
    again = following(bucket)
    assert list(again.since(NOW, NOW)) == [b"2026/11/23/16", b"new"]
    bucket.append(EARLIER, b"late")
    assert list(again.fresh(NOW)) == [b"late"]


@pytest.mark.parametrize("rewritten", [b"x\ny\n", b"other\nwhole\nnew lines\n", b""])
def test_an_object_that_was_rewritten_is_shown_from_its_beginning(rewritten: bytes) -> None:
    bucket = Bucket()
    said: list[str] = []
    bucket.append(KEY, b"one", b"two", b"three")
    follower = following(bucket, notice=said.append)
    assert len(list(follower.since(NOW, NOW))) == 3
    bucket.write(KEY, rewritten)
    assert list(follower.fresh(NOW)) == rewritten.splitlines()
    assert len(said) == 1
    assert "rewritten" in said[0]
    assert list(follower.fresh(NOW)) == []


def test_an_object_that_was_never_read_and_shrank_is_shown_too() -> None:
    bucket = Bucket()
    bucket.append(KEY, b"one", b"two")
    follower = following(bucket)
    follower.newest(NOW, 0, everything)
    bucket.write(KEY, b"1\n")
    assert list(follower.fresh(NOW)) == [b"1"]


@pytest.mark.parametrize("moment", [datetime(2020, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("prefix", ["", "logs/"])
def test_since_long_ago_costs_what_is_there(moment: datetime, prefix: str) -> None:
    bucket = Bucket()
    bucket.page = 1000
    hours = ["2019/12/31/23", "2020/01/01/00", "2024/02/29/10", "2026/11/23/16", "2026/11/23/17"]
    for hour in hours:
        bucket.append(f"{prefix}{hour}/web-access.log", hour.encode())
    bucket.append(f"{prefix}ledger/2026/11/23/16/x", b"no line")
    shown = list(following(bucket, prefix).since(moment, NOW))
    assert [line.decode() for line in shown] == [hour for hour in hours if f"{moment.year:04}" <= hour][:-1]
    assert len(bucket.asked("list_objects_v2")) == 1


def test_a_look_lists_no_older_hours() -> None:
    bucket = Bucket()
    bucket.page = 10
    for hour in range(23):
        bucket.append(f"2026/11/21/{hour:02}/web-access.log", b"old")
    bucket.append(EARLIER, b"a")
    follower = following(bucket)
    assert follower.newest(NOW, 5, everything) == [b"a"]
    assert len(bucket.asked("list_objects_v2")) == 1


def test_an_object_that_was_deleted_and_made_again_is_new() -> None:
    bucket = Bucket()
    bucket.append(KEY, b"one")
    follower = following(bucket)
    follower.newest(NOW, 0, everything)
    bucket.delete_object(Bucket=bucket.bucket, Key=KEY)
    assert list(follower.fresh(NOW)) == []
    bucket.append(KEY, b"one")
    assert list(follower.fresh(NOW)) == [b"one"]


def test_a_line_without_its_end_waits_for_it() -> None:
    bucket = Bucket()
    bucket.write(KEY, b"whole\nha")
    follower = following(bucket)
    assert list(follower.since(NOW, NOW)) == [b"whole"]
    bucket.write(KEY, b"whole\nhalf\n")
    assert list(follower.fresh(NOW)) == [b"half"]
    bucket.write(KEY, b"whole\nhalf\nha")
    assert following(bucket).newest(NOW, 2, everything) == [b"whole", b"half"]


def test_firehose_names_objects_as_it_likes() -> None:
    bucket = Bucket()
    bucket.append("2026/11/23/16/2026/11/23/16/stream-1-a", b"a")
    follower = following(bucket, delivery=FIREHOSE)
    assert follower.newest(NOW, 10, everything) == [b"a"]
    bucket.append("2026/11/23/16/stream-1-b", b"b")
    bucket.append("2026/11/23/15/stream-1-c", b"late")
    assert list(follower.fresh(NOW)) == [b"late", b"b"]


def test_rejected_lines_have_folders_of_their_own() -> None:
    bucket = Bucket()
    bucket.append(KEY, b"entry")
    bucket.append(f"rejected/{KEY}", b"bad")
    follower = following(bucket, rejected=True)
    assert follower.newest(NOW, 10, everything) == [b"bad"]
    bucket.append("rejected/processing-failed/2026/11/23/16/x", b"of firehose")
    firehose = following(bucket, rejected=True, delivery=FIREHOSE)
    assert firehose.newest(NOW, 10, everything) == [b"bad", b"of firehose"]


def test_long_objects_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "BLOCK", 7)
    bucket = Bucket()
    lines = [b"%d" % (number * 7919) for number in range(40)] + [b"z" * 50]
    bucket.append(KEY, *lines[:20])
    follower = following(bucket)
    assert list(follower.since(NOW, NOW)) == lines[:20]
    bucket.append(KEY, *lines[20:])
    assert list(follower.fresh(NOW)) == lines[20:]


def test_an_object_that_grows_while_it_is_read_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "BLOCK", 4)
    bucket = Bucket()
    bucket.append(KEY, b"1", b"2", b"3", b"4")
    follower = following(bucket)
    reading = follower.since(NOW, NOW)
    found = [next(reading), next(reading)]
    bucket.append(KEY, b"5")
    found += list(reading) + list(follower.fresh(NOW))
    assert found == [b"1", b"2", b"3", b"4", b"5"]


@pytest.mark.parametrize("fault", [DOWN, LOST, SLOW_DOWN])
def test_whichever_call_fails_no_line_is_lost_or_shown_twice(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "BLOCK", 8)
    number = 0
    while True:
        bucket = Bucket()
        bucket.append(EARLIER, b"old")
        follower = following(bucket)
        follower.newest(NOW, 10, everything)
        lines = [b"line %d" % each for each in range(6)]
        bucket.append(KEY, *lines[:3])
        bucket.append(EARLIER, *lines[3:])
        begun = len(bucket.calls)
        bucket.faults = {begun + number: fault}
        found: list[bytes] = []
        for _ in range(3):
            try:
                for line in follower.fresh(NOW):
                    found.append(line)
            except (ClientError, BotoCoreError):
                continue
        assert sorted(found) == lines, number
        if bucket.faults:
            return  # no call was left that could fail
        number += 1


@given(st.data())
@settings(max_examples=40)
def test_whatever_is_written_when_every_line_is_shown_once_and_in_order(data: st.DataObject) -> None:
    bucket = Bucket()
    follower = following(bucket)
    keys = [EARLIER, KEY, "2026/11/23/17/web-access.log"]
    written: dict[str, list[bytes]] = {key: [] for key in keys}
    shown: list[bytes] = []
    now = NOW
    follower.newest(now, 0, everything)
    number = 0
    for step in data.draw(st.lists(st.sampled_from([*keys, "look", "fail", "later"]), max_size=25)):
        if step == "later":
            now = min(now + HOUR, NOW + HOUR)
        elif step in ("look", "fail"):
            if step == "fail":
                bucket.faults = {len(bucket.calls) + data.draw(st.integers(0, 4)): DOWN}
            take(follower.fresh(now), shown)
            bucket.faults = {}
        elif step <= f"{now:%Y/%m/%d/%H}~":
            line = b"%d" % number
            number += 1
            bucket.append(step, line)
            written[step].append(line)
    take(follower.fresh(now), shown)
    for lines in written.values():
        assert [line for line in shown if line in lines] == lines
    assert len(shown) == number


def take(lines: Iterator[bytes], into: list[bytes]) -> None:
    try:
        for line in lines:
            into.append(line)
    except (ClientError, BotoCoreError):
        return


def test_against_an_implementation_of_s3(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="some")
        put = cast(Callable[..., Any], s3.put_object)
        put(Bucket="some", Key=KEY, Body=b"one\ntwo\n")
        follower = Follower(s3, "some", "")
        assert follower.newest(NOW, 1, everything) == [b"two"]
        put(Bucket="some", Key=KEY, Body=b"one\ntwo\nthree\n")
        assert list(follower.fresh(NOW)) == [b"three"]
        put(Bucket="some", Key=KEY, Body=b"0\n")
        assert list(follower.fresh(NOW)) == [b"0"]
        with pytest.raises(ClientError, match="NoSuchBucket"):
            Follower(s3, "other", "").newest(NOW, 1, everything)
        s3.close()
