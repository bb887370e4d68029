"""What the bucket says is archived: read as the function writes it, and asked for only when it is new."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from archiver.archive import Archive, Limits
from archiver.layout import HourlyObject
from journal.ledgers import Ledgers, LedgersError, decode
from journal.ranges import Ranges
from tests.fake_bucket import START, FakeBucket, item
from tests.fake_s3 import DOWN, SLOW_DOWN

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "lambda_ledger.json").read_text())
ONE, TWO = "5e9a5f2a" + "1" * 16, "5e9a5f2a" + "2" * 16
LONG_AGO = START - timedelta(days=1000)


@pytest.fixture
def bucket() -> FakeBucket:
    return FakeBucket()


def read(bucket: FakeBucket, ledgers: Ledgers | None = None, **options: Any) -> dict[str, Ranges]:
    return (ledgers or Ledgers("b", "")).read(bucket.client, options.pop("since", LONG_AGO), **options).ranges


@pytest.mark.parametrize("case", GOLDEN["ledgers"], ids=lambda case: str(case["text"])[:20])
def test_golden_ledger(case: dict[str, Any]) -> None:
    """The same file as the function's own test reads: what it writes is read here."""
    found = [[owner, start, end] for owner, pairs in decode(case["text"]).items() for start, end in pairs]
    assert found == [each for each in case["ranges"] if not each[0].startswith("~")]


@pytest.mark.parametrize(
    "text",
    ["", "2;0", "1;0;", "1;0;ab=", "1;0;ab=0-0", "1;0;ab=0-1;ab=0-1", "1;0;xy=0-1", "1;0;ab=0-1\n", "1;0;@abc"],
)
def test_what_is_no_ledger_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ledger"):
        decode(text)


def test_the_names_of_metadata_come_back_in_any_case(bucket: FakeBucket) -> None:
    bucket.titled = True
    bucket.file("2026/11/23/10", (ONE, 0, 5))
    assert read(bucket) == {ONE: Ranges.of(0, 5)}


def test_the_golden_side_object_is_looked_for_where_it_is(bucket: FakeBucket) -> None:
    case = GOLDEN["reference"]
    bucket.put_object(Bucket="b", Key=case["key"], Body=b"x", Metadata={"ledger": case["metadata"]})
    with pytest.raises(LedgersError, match="gone"):
        _complain(Ledgers("b", "logs/"), bucket)
    assert case["side"] in bucket.asked("get_object")


def _complain(ledgers: Ledgers, bucket: FakeBucket) -> None:
    problems = ledgers.read(bucket.client, LONG_AGO).problems
    if problems:
        raise LedgersError(problems[0], passing=False)


@pytest.mark.parametrize("prefix", ["", "logs/"])
def test_objects_of_all_hours_and_the_rejected_ones_are_one_set(bucket: FakeBucket, prefix: str) -> None:
    bucket.file("2020/04/18/01", (ONE, 0, 5), (TWO, 7, 9), prefix=prefix)
    bucket.file("2026/11/23/10", (ONE, 5, 8), prefix=prefix)
    bucket.file("2026/11/23/10", (ONE, 20, 21), (f"~{ONE}", 3, 4), prefix=prefix, rejected=True)
    found = read(bucket, Ledgers("b", prefix))
    assert found == {ONE: Ranges([(0, 8), (20, 21)]), TWO: Ranges([(7, 9)])}


def test_what_the_function_writes_is_read_side_objects_too(bucket: FakeBucket) -> None:
    """A ledger with holes outgrows any metadata."""
    rng = random.Random(1)
    archive = Archive(bucket.client, "b", rng=rng, sleep=lambda _: None, limits=Limits(max_metadata=200))
    offsets = range(0, 4000, 40)
    for at in offsets:
        archive.append(HourlyObject("", "2026/11/23/10"), [item(ONE, at, at + 10)])
        assert read(bucket)[ONE] == Ranges((each, each + 10) for each in offsets if each <= at)
    assert any(key.startswith("ledger/") for key in bucket.objects)


def test_only_what_is_new_or_changed_is_asked(bucket: FakeBucket) -> None:
    ledgers = Ledgers("b", "")
    keys = [bucket.file(f"2026/11/23/{hour:02}", (ONE, hour, hour + 1)) for hour in range(5)]
    read(bucket, ledgers)
    assert bucket.asked("head_object") == keys
    bucket.calls.clear()
    read(bucket, ledgers)
    assert bucket.asked("head_object") == []
    bucket.calls.append(("", ""))
    bucket.file("2026/11/23/03", (ONE, 3, 4), (ONE, 70, 71))
    assert read(bucket, ledgers)[ONE] == Ranges([(0, 5), (70, 71)])
    assert bucket.asked("head_object") == [keys[3]]
    del bucket.objects[keys[0]]
    assert read(bucket, ledgers)[ONE] == Ranges([(1, 5), (70, 71)]), "what was deleted is there no more"


def test_what_was_written_before_a_log_was_there_is_not_asked(bucket: FakeBucket) -> None:
    bucket.file("2026/11/22/10", (ONE, 0, 5))
    bucket.now += timedelta(hours=1)
    new = bucket.file("2026/11/23/10", (ONE, 5, 6))
    answer = Ledgers("b", "").read(bucket.client, START + timedelta(seconds=1))
    assert (answer.ranges, answer.oldest) == ({ONE: Ranges([(5, 6)])}, START)
    assert bucket.asked("head_object") == [new]


def test_what_else_is_in_a_bucket_is_not_even_listed(bucket: FakeBucket) -> None:
    bucket.file("2026/11/23/10", (ONE, 0, 5))
    others = ["a/b", "ledger/2026/11/23/10/entries-x", "web/2026/11/23/10/web-access.log", "z1", "z2", "z3", "z4"]
    for key in [*others, "2026/11/23/10/other.log", "2026/11/23/web-access.log", "2026/summary", "0/1"]:
        bucket.put_object(Bucket="b", Key=key, Body=b"", Metadata={"ledger": "nonsense"})
    assert read(bucket) == {ONE: Ranges([(0, 5)])}
    assert bucket.asked("head_object") == ["2026/11/23/10/web-access.log"]
    assert len(bucket.asked("list_objects_v2")) < 8, "the end of the years ends the listing"


def test_an_object_of_somebody_else_holds_nothing_of_ours(bucket: FakeBucket) -> None:
    bucket.put_object(Bucket="b", Key="2026/11/23/10/web-access.log", Body=b"")
    assert read(bucket) == {}


def test_an_object_deleted_while_it_is_read_is_gone(bucket: FakeBucket) -> None:
    key = bucket.file("2026/11/23/10", (ONE, 0, 5))

    def delete() -> None:
        del bucket.objects[key]

    bucket.faults[len(bucket.calls) + 3] = delete
    assert read(bucket) == {}


@pytest.mark.parametrize("damage", ["1;0;oops", "2;0"])
def test_a_ledger_that_cannot_be_read_is_named_and_the_others_are_read(bucket: FakeBucket, damage: str) -> None:
    key = bucket.file("2026/11/23/09", (TWO, 0, 5))
    bucket.file("2026/11/23/10", (ONE, 0, 5))
    bucket.objects[key].metadata["ledger"] = damage
    ledgers = Ledgers("b", "")
    answer = ledgers.read(bucket.client, LONG_AGO)
    assert answer.ranges == {ONE: Ranges([(0, 5)])}
    (problem,) = answer.problems
    assert f"s3://b/{key}" in problem
    assert f"appliance repair-ledger {key}" in problem
    bucket.now += timedelta(seconds=5)
    bucket.file("2026/11/23/09", (TWO, 0, 5))
    assert ledgers.read(bucket.client, LONG_AGO).problems == []


def test_a_side_object_whose_content_is_not_its_name_is_a_problem(bucket: FakeBucket) -> None:
    archive = Archive(bucket.client, "b", rng=random.Random(1), sleep=lambda _: None, limits=Limits(max_metadata=10))
    archive.append(HourlyObject("", "2026/11/23/10"), [item(ONE, 0, 5)])
    (side,) = [key for key in bucket.objects if key.startswith("ledger/")]
    good = bucket.objects[side].body
    bucket.objects[side].body = b"1;2;ab=0-1"
    assert "not what the name says" in Ledgers("b", "").read(bucket.client, LONG_AGO).problems[0]
    del bucket.objects[side]
    ledgers = Ledgers("b", "")
    assert "is gone: appliance repair-ledger" in ledgers.read(bucket.client, LONG_AGO).problems[0]
    bucket.put_object(Bucket="b", Key=side, Body=good)
    assert ledgers.read(bucket.client, LONG_AGO).ranges == {ONE: Ranges([(0, 5)])}, "it is looked for again"


def test_a_side_object_superseded_between_two_reads(bucket: FakeBucket) -> None:
    archive = Archive(bucket.client, "b", rng=random.Random(1), sleep=lambda _: None, limits=Limits(max_metadata=10))
    hour = HourlyObject("", "2026/11/23/10")
    archive.append(hour, [item(ONE, 0, 5)])
    # 0 to 2 list, 3 asks the object, 4 the side object

    def append() -> None:
        archive.append(hour, [item(ONE, 5, 9)])

    bucket.faults[len(bucket.calls) + 4] = append
    assert read(bucket) == {ONE: Ranges([(0, 9)])}


def test_a_deadline_ends_the_reading_and_the_next_one_goes_on(bucket: FakeBucket) -> None:
    keys = [bucket.file(f"2026/11/23/{hour:02}", (ONE, hour, hour + 1)) for hour in range(9)]
    ledgers = Ledgers("b", "")

    def after(calls: int) -> Callable[[], bool]:
        start = len(bucket.calls)
        return lambda: len(bucket.calls) - start >= calls

    with pytest.raises(LedgersError, match="S3_PREFIX of its own") as raised:
        read(bucket, ledgers, expired=after(10))
    assert raised.value.passing
    assert 0 < len(bucket.asked("head_object")) < len(keys)
    assert read(bucket, ledgers) == {ONE: Ranges([(0, 9)])}
    assert bucket.asked("head_object") == keys


@pytest.mark.parametrize(
    ("fault", "passing", "says"),
    [
        (DOWN, True, "does not answer"),
        (SLOW_DOWN, True, "It passes by itself"),
        ("AccessDenied", False, "Allow s3:ListBucket to these credentials"),
        ("ExpiredToken", False, "AWS_ACCESS_KEY_ID"),
    ],
)
def test_errors_name_the_remedy(bucket: FakeBucket, fault: str, passing: bool, says: str) -> None:
    bucket.file("2026/11/23/10", (ONE, 0, 5))

    def refuse() -> None:
        raise ClientError(
            {"Error": {"Code": fault}, "ResponseMetadata": {"HTTPStatusCode": 403}},  # type: ignore[typeddict-item]
            "ListObjectsV2",
        )

    for at in range(4):  # each of the calls of a reading
        start = len(bucket.calls)
        bucket.faults = {start + at: fault if fault in (DOWN, SLOW_DOWN) else refuse}
        with pytest.raises(LedgersError, match=says) as raised:
            read(bucket)
        assert raised.value.passing is passing


def test_no_bucket_is_no_news(bucket: FakeBucket) -> None:
    with pytest.raises(LedgersError, match=r"s3://elsewhere/ is not there .* The entrypoint makes it") as raised:
        Ledgers("elsewhere", "").read(bucket.client, LONG_AGO)
    assert raised.value.passing


def test_when_the_bucket_was_created(bucket: FakeBucket) -> None:
    assert Ledgers("b", "").created(bucket.client) == START
    bucket.created = None
    assert Ledgers("b", "").created(bucket.client) is None

    def refuse() -> None:
        bucket._refuse(403, "AccessDenied", "ListBuckets")

    bucket.faults[len(bucket.calls)] = refuse
    assert Ledgers("b", "").created(bucket.client) is None, "these credentials may not know"
    bucket.faults[len(bucket.calls)] = DOWN
    with pytest.raises(LedgersError):
        Ledgers("b", "").created(bucket.client)
