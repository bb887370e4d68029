"""A change of ACCESS_LOG_FORMAT loses and doubles nothing, of the lines that are sent again under the new one too."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import count, product
from typing import TYPE_CHECKING, cast
from unittest import mock

from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

import archiver.fast
from archiver.archive import Archive
from archiver.event import Record
from archiver.filing import Filed, Item, file_record, file_runs
from archiver.format import Format, compiled
from archiver.layout import HourlyObject
from archiver.others import MOST
from archiver.times import MOST_HOURS, hours_in
from tests.fake_s3 import DOWN, LOST, SLOW_DOWN, FakeS3
from tests.lambda_events import GENERATION, GENERATION_HOUR

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Of each format a line, with a place for what a client may write and for a mark
REQUEST = '"GET /%(mark)s HTTP/1.1"'
LINES = {
    "combined": f'1.2.3.4 - %(user)s [%(local)s] {REQUEST} 200 5 "-" "%(user)s"',
    "main": f'1.2.3.4 - %(user)s [%(local)s] {REQUEST} 200 5 "-" "%(user)s" "-"',
    "common": f"1.2.3.4 - %(user)s [%(local)s] {REQUEST} 200 5",
    "json": '{"remote_addr":"1.2.3.4","time_iso8601":"%(iso)s","request":"GET /%(mark)s HTTP/1.1","status":"200",'
    '"remote_user":"%(user)s"}',
    '[$remote_user] [$time_local] $remote_addr "$request" $status': f"[%(user)s] [%(local)s] 1.2.3.4 {REQUEST} 200",
    '$time_iso8601|$remote_addr|"$request"|$status|"$http_user_agent"': f'%(iso)s|1.2.3.4|{REQUEST}|200|"%(user)s"',
    '"$http_user_agent" [$time_local] $remote_addr "$request" $status': f'"%(user)s" [%(local)s] 1.2.3.4 {REQUEST} 200',
    '"$http_user_agent" $msec $remote_addr "$request" $status': f'"%(user)s" %(msec)s 1.2.3.4 {REQUEST} 200',
    "vhost_combined": "%(user)s /%(mark)s HTTP junk",
}
FORMATS = [compiled(text) for text in LINES]
OWN = {"local": "18/Apr/2020:01:42:18 +0000", "iso": "2020-04-18T01:42:18+00:00", "msec": "1587174138.123"}
USERS = ["-", "[", "a]", "[18/Apr/2020:01:00:00 +0000]", "[01/Jan/1999:00:00:00 +0000]", "[02/Jan/1999:07:00:00 +0900]"]
USERS += ["[99/Jan/1999:00:00:00 +0000]", "01/Jan/1999:00:00:00 +0000", "1999-01-01T00:00:00+00:00", "0.005"]
SEEDS = count()


@st.composite
def logs(draw: st.DrawFn) -> list[bytes]:
    shapes = draw(st.lists(st.tuples(st.sampled_from([*LINES]), st.sampled_from(USERS)), min_size=1, max_size=12))
    return [line(number, name, user) for number, (name, user) in enumerate(shapes)]


def line(number: int, name: str, user: str = "-") -> bytes:
    return (LINES[name] % {**OWN, "user": user, "mark": f"m{number}."}).encode()


def filed(lines: list[bytes], first: int, last: int, format_: Format) -> Iterator[Filed]:
    start = sum(len(line) + 1 for line in lines[:first])
    data = b"".join(line + b"\n" for line in lines[first:last])
    return file_runs(Record(data, GENERATION, start, None, 0.0, None), "", format_)


def singly(found: Iterator[Filed]) -> dict[int, tuple[HourlyObject, tuple[str, ...]]]:
    return {each.start: (target, each.others) for target, item in found for each in item.singly()}


@given(logs())
@settings(max_examples=200)
def test_what_another_format_made_of_a_line_is_known(lines: list[bytes]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    record = Record(data, GENERATION, 0, None, 0.0, None)
    with mock.patch.object(archiver.fast, "FEWEST", 1):
        made = [singly(filed(lines, 0, len(lines), format_)) for format_ in FORMATS]
    for format_, mine in zip(FORMATS, made, strict=True):
        assert mine == singly(file_record(record, "", format_))
    for one, other in product(made, made):
        for start, (target, others) in one.items():
            there = other[start][0]
            assert there == target or (there.rejected != target.rejected and there.hour in others)


def test_a_line_without_a_time_and_one_full_of_them() -> None:
    ((target, item),) = file_record(Record(b"junk", GENERATION, 0, None, 0.0, None), "")
    assert (target.hour, item.others) == (GENERATION_HOUR, ())
    times = " ".join(f"{day:02}/Jan/2020:00:00:00 +0000" for day in range(1, 29))
    assert hours_in(times.encode()) == tuple(f"2020/01/{day:02}/00" for day in range(1, MOST_HOURS + 1))


class Bucket(FakeS3):
    """What it holds of each line, by the mark."""

    def marks(self) -> Counter[bytes]:
        bodies = [stored.body for stored in self.objects.values()]
        return Counter(word.split(b".")[0] for body in bodies for word in body.split(b"/m")[1:])

    def archive(self) -> Archive:
        return Archive(cast("S3Client", self), self.bucket, rng=random.Random(next(SEEDS)), sleep=lambda _: None)


def append(archive: Archive, found: Iterator[Filed]) -> None:
    items: dict[HourlyObject, list[Item]] = {}
    for target, item in found:
        items.setdefault(target, []).append(item)
    for target in sorted(items):
        archive.append(target, items[target])


@given(logs(), st.data())
@settings(max_examples=200)
def test_changes_at_any_moment_with_lines_sent_again(lines: list[bytes], data: st.DataObject) -> None:
    """Every environment has a format of its own, is handed any lines, and is killed or refused at any call."""
    s3 = Bucket()
    archive, format_ = s3.archive(), FORMATS[0]
    done: set[int] = set()
    steps = data.draw(st.integers(1, 12))
    for _ in range(steps):
        if data.draw(st.booleans()):
            archive, format_ = s3.archive(), data.draw(st.sampled_from(FORMATS))
        first = data.draw(st.integers(0, len(lines) - 1))
        last = data.draw(st.integers(first + 1, len(lines)))
        if data.draw(st.booleans()):
            s3.faults = {
                len(s3.calls) + data.draw(st.integers(0, 9)): data.draw(st.sampled_from([DOWN, LOST, SLOW_DOWN]))
            }
        with mock.patch.object(archiver.fast, "FEWEST", data.draw(st.sampled_from([1, 99]))):
            try:
                append(archive, filed(lines, first, last, format_))
                done.update(range(first, last))
            except (ClientError, BotoCoreError):
                pass
        s3.faults = {}
        assert not [mark for mark, times in s3.marks().items() if times > 1]
        assert s3.marks().keys() >= {b"%d" % number for number in done}


def test_an_append_asks_for_no_more_but_for_the_first_of_an_object() -> None:
    s3 = Bucket()
    archive = Archive(cast("S3Client", s3), "b", rng=random.Random(), sleep=lambda _: None)
    lines = [line(number, "combined") for number in range(3)]
    asked = []
    for number in range(3):
        begun = len(s3.calls)
        append(archive, filed(lines, number, number + 1, FORMATS[0]))
        asked.append([name.removesuffix("_object") for name, _ in s3.calls[begun:]])
    assert asked == [["get", "head", "put"], ["get", "put"], ["get", "put"]]


def test_a_client_cannot_make_an_append_read_without_end() -> None:
    """Each line has another time in the place of the user; those of the others are still found."""
    times = [f"[{day:02}/{month}/1999:00:00:00 +0000]" for month in ("Jan", "Feb", "Mar") for day in range(1, 28)]
    lines = [line(number, "main", user) for number, user in enumerate([*times, *("-" for _ in range(5))])]
    s3 = Bucket()
    append(s3.archive(), filed(lines, len(times), len(lines), FORMATS[2]))
    s3.calls.clear()
    append(s3.archive(), filed(lines, 0, len(lines), FORMATS[0]))
    assert len(s3.calls) == 1 + MOST + 1
    assert s3.marks() == Counter(b"%d" % number for number in range(len(lines)))
