from __future__ import annotations

import hashlib
import io
import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count as count_from
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError

from archiver.archive import (
    ATTEMPTS,
    BACKOFF_CAP,
    Appended,
    Archive,
    ContentionError,
    Limits,
)
from archiver.filing import Item
from archiver.layout import HourlyObject
from archiver.ledger import Ledger, LedgerError
from archiver.stored import METADATA_KEY, State
from archiver.writer import CONTENT_TYPE, _spans
from bench.sizes import SizesS3
from tests.fake_s3 import FakeS3, Stored

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TARGET = HourlyObject("logs/", "2020/04/18/01")
GENERATION = "5e9a5f2a0123456789abcdef"
TINY = Limits(min_part=60, max_copy=130, max_metadata=80)
SEEDS = count_from()  # each writer has random numbers of its own


def archive(
    s3: FakeS3, *, bucket: str = "b", sleep: Callable[[float], None] = lambda _: None, limits: Limits = TINY
) -> Archive:
    return Archive(cast("S3Client", s3), bucket, rng=random.Random(next(SEEDS)), sleep=sleep, limits=limits)


def tiny() -> FakeS3:
    return FakeS3(min_part=60, max_copy=130, max_metadata=80 + len(METADATA_KEY))


def items(*numbers: int) -> list[Item]:
    return [Item(GENERATION, number * 10, number * 10 + 10, f"line {number}\n".encode()) for number in numbers]


def names(s3: FakeS3) -> list[str]:
    return [name for name, _ in s3.calls]


def body(s3: FakeS3) -> bytes:
    return s3.objects[TARGET.key].body


def test_a_new_object() -> None:
    s3 = tiny()
    assert archive(s3).append(TARGET, items(0, 1)) == Appended(2, 14, changed=True)
    assert names(s3) == ["get_object", "put_object"]
    assert s3.objects["logs/2020/04/18/01/web-access.log"].body == b"line 0\nline 1\n"
    assert s3.objects[TARGET.key].metadata == {"ledger": f"1;e;{GENERATION}=0-14", "lines": "2"}


def test_what_is_there_is_not_written_again() -> None:
    s3 = tiny()
    archive(s3).append(TARGET, items(0, 1, 2))
    s3.calls.clear()
    assert archive(s3).append(TARGET, items(2, 0)) == Appended(0, 0)
    assert names(s3) == ["get_object"]
    assert archive(s3).append(TARGET, items(1, 3, 3, 2)) == Appended(1, 7, changed=True)
    assert body(s3) == b"line 0\nline 1\nline 2\nline 3\n"


def test_a_line_is_dropped_only_when_all_of_it_is_covered() -> None:
    s3 = tiny()
    archive(s3).append(TARGET, items(1))
    (half,) = items(0)
    assert archive(s3).append(TARGET, [half._replace(end=15)]).lines == 1
    assert archive(s3).append(TARGET, [half._replace(start=3, end=20)]).lines == 0


def test_foreign_lines_are_always_written() -> None:
    s3 = tiny()
    foreign = Item(None, 0, 0, b"foreign\n")
    for _ in range(2):
        assert archive(s3).append(TARGET, [foreign]).lines == 1
    assert body(s3) == b"foreign\n" * 2


def test_from_the_size_of_a_part_on_the_old_bytes_are_neither_read_nor_sent() -> None:
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(20)))
    size = len(body(s3))
    s3.calls.clear()
    archive(s3).append(TARGET, items(20))
    copies = -(-size // TINY.max_copy)
    assert copies == 2
    assert names(s3) == [
        "get_object",
        "create_multipart_upload",
        *["upload_part_copy"] * copies,
        "upload_part",
        "complete_multipart_upload",
    ]
    assert body(s3) == b"".join(each.text for each in items(*range(21)))


def test_the_parts_of_a_large_object_are_copied_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=90)

    class Slow(FakeS3):
        def upload_part_copy(self, **request: object) -> dict[str, object]:
            together.wait()
            return super().upload_part_copy(**request)

    s3 = Slow(min_part=60, max_copy=130, max_metadata=200)
    archive(s3).append(TARGET, items(*range(40)))
    with ThreadPoolExecutor(3) as pool:
        side_by_side = Archive(
            cast("S3Client", s3), "b", rng=random.Random(0), sleep=lambda _: None, limits=TINY, side_by_side=pool.map
        )
        assert side_by_side.append(TARGET, items(40)).lines == 1
        assert names(s3).count("upload_part_copy") == 3
        assert body(s3) == b"".join(each.text for each in items(*range(41)))
        together.abort()
        with pytest.raises(threading.BrokenBarrierError):
            side_by_side.append(TARGET, items(41))
    assert s3.uploads == {}


@pytest.mark.parametrize("size", [5 * 1024**2, 1024**3, 1024**3 + 1, 5 * 1024**3 + 7, 5 * 1024**4 - 1])
def test_copied_parts_are_within_the_limits_of_s3(size: int) -> None:
    limits = Limits()
    spans = list(_spans(size, limits.max_copy))
    assert spans[0][0] == 0
    assert spans[-1][1] == size
    assert all(a[1] == b[0] for a, b in pairwise(spans))
    assert all(limits.min_part <= end - start <= limits.max_copy for start, end in spans)
    assert len(spans) < 10_000


def test_a_large_ledger_moves_out_and_comes_back() -> None:
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(0, 30, 2)))
    (side,) = [key for key in s3.objects if "/ledger/" in f"/{key}"]
    assert side.startswith("logs/ledger/2020/04/18/01/entries-")
    assert archive(s3).append(TARGET, items(2, 4)).lines == 0
    archive(s3).append(TARGET, items(*range(1, 30, 2)))
    assert list(s3.objects) == [TARGET.key], "one range again: it fits the metadata, the side object is gone"


def test_the_side_object_stands_before_the_object_that_names_it() -> None:
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(0, 30, 2)))
    assert [key for name, key in s3.calls if name == "put_object"][-1] == TARGET.key
    assert names(s3) == ["get_object", "head_object", "put_object", "put_object"], "two looks: it, its counterpart"


def test_the_names_of_metadata_come_back_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeS3, "titled", True)
    s3 = tiny()
    for numbers in ((1,), (1, 2), (2,)):
        archive(s3).append(TARGET, items(*numbers))
    assert body(s3) == b"line 1\nline 2\n"
    assert s3.objects[TARGET.key].metadata["lines"] == "2"


def test_a_lost_side_object_is_loud() -> None:
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(0, 30, 2)))
    (side,) = [key for key in s3.objects if key != TARGET.key]
    content = s3.objects.pop(side)
    with pytest.raises(LedgerError, match=r"side object .* is gone"):
        archive(s3).append(TARGET, items(1))
    s3.objects[side] = Stored(content.body + b" ", content.etag, {})
    with pytest.raises(LedgerError, match="not what the name says"):
        archive(s3).append(TARGET, items(1))
    s3.objects[side] = content
    assert archive(s3).append(TARGET, items(1)).lines == 1


@pytest.mark.parametrize("text", ["", "2;0", "1;0;ab=0", "rubbish"])
def test_a_ledger_that_cannot_be_read_is_loud(text: str) -> None:
    s3 = tiny()
    s3.objects[TARGET.key] = Stored(b"line 0\n", '"x"', {METADATA_KEY: text})
    with pytest.raises(
        LedgerError,
        match=r"s3://b/logs/2020/04/18/01/web-access\.log: .*appliance repair-ledger logs/2020/04/18/01/web-access",
    ):
        archive(s3).append(TARGET, items(1))
    assert body(s3) == b"line 0\n"


@pytest.mark.parametrize("foreign", [b"mine", b"mine\n", b"mine" * 50, b"mine\n" * 50])
def test_an_object_of_somebody_else_keeps_its_bytes(foreign: bytes, caplog: pytest.LogCaptureFixture) -> None:
    s3 = tiny()
    s3.objects[TARGET.key] = Stored(foreign, '"x"', {"theirs": "1"})
    for _ in range(2):
        archive(s3).append(TARGET, items(0))
    assert body(s3) == foreign.removesuffix(b"\n") + b"\nline 0\n"
    assert Ledger.decode(s3.objects[TARGET.key].metadata[METADATA_KEY])[1] == len(body(s3))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("count", [3, 20])
@pytest.mark.parametrize("edit", [lambda old: old[7:], lambda old: old + b"by hand", lambda old: old + b"by hand\n"])
def test_an_edited_object_keeps_its_edit_and_its_ledger(
    count: int, edit: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """By an editor that keeps the metadata. What was removed does not come back with a re-send."""
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(count)))
    stored = s3.objects[TARGET.key]
    edited = edit(stored.body)
    s3.objects[TARGET.key] = Stored(edited, '"edited"', stored.metadata)
    for _ in range(2):
        archive(s3).append(TARGET, items(*range(count + 1)))
    assert body(s3) == edited.removesuffix(b"\n") + f"\nline {count}\n".encode()
    assert len([record for record in caplog.records if "was edited" in record.message]) == 1


@pytest.mark.parametrize("left", [[0], [1, 0], [0, 1]])
def test_what_a_killed_first_write_left_is_replaced(left: list[int]) -> None:
    s3 = tiny()
    s3.objects[TARGET.key] = Stored(b"".join(each.text for each in items(*left)), '"x"', {})
    archive(s3).append(TARGET, items(0, 1))
    assert body(s3) == b"line 0\nline 1\n"


@pytest.mark.parametrize("left", [b"line 0\nline 0\n", b"line 0\nline 7\n", b"\n", b"line 0"])
def test_other_bytes_without_a_ledger_are_not_replaced(left: bytes) -> None:
    s3 = tiny()
    s3.objects[TARGET.key] = Stored(left, '"x"', {})
    archive(s3).append(TARGET, items(0, 1))
    assert body(s3) == left.removesuffix(b"\n") + b"\nline 0\nline 1\n"


def test_an_empty_object_is_filled() -> None:
    s3 = tiny()
    s3.objects[TARGET.key] = Stored(b"", '"x"', {})
    archive(s3).append(TARGET, items(0))
    assert body(s3) == b"line 0\n"


def test_a_bucket_that_is_not_there_is_no_race() -> None:
    s3 = tiny()
    with pytest.raises(ClientError, match="NoSuchBucket"):
        archive(s3, bucket="other").append(TARGET, items(0))
    assert len(s3.calls) == 2


def test_who_always_loses_gives_up_with_growing_waits() -> None:
    s3 = tiny()
    rounds = 0

    def other() -> None:
        nonlocal rounds
        rounds += 1
        s3.objects[TARGET.key] = Stored(b"", f'"{rounds}"', {METADATA_KEY: "1;0"})

    s3.fault_from_now_on = (0, other)
    waits: list[float] = []
    with pytest.raises(ContentionError, match=str(ATTEMPTS)):
        archive(s3, sleep=waits.append).append(TARGET, items(0))
    assert len(waits) == ATTEMPTS
    assert all(0 <= wait <= BACKOFF_CAP for wait in waits)
    assert len(set(waits)) == ATTEMPTS, "jittered"
    assert max(waits) > 1


def test_an_object_deleted_under_us_is_begun_anew() -> None:
    for nth in range(8):
        for count in (3, 20):
            s3 = tiny()
            archive(s3).append(TARGET, items(*range(count)))
            s3.faults = {len(s3.calls) + nth: lambda s3=s3: s3.objects.pop(TARGET.key, None) and None}  # type: ignore[misc]
            archive(s3).append(TARGET, items(50))
            assert TARGET.key not in s3.objects or body(s3).count(b"line 50\n") == 1
            assert s3.uploads == {}


def test_a_short_read_is_loud() -> None:
    class Short(FakeS3):
        def get_object(self, **request: object) -> dict[str, object]:
            answer = super().get_object(**request)
            answer["Body"].read(1)
            return answer

    s3 = Short()
    archive(s3).append(TARGET, items(0))
    with pytest.raises(OSError, match="6 bytes instead of 7"):
        archive(s3).append(TARGET, items(1))


@pytest.mark.parametrize("call", ["put_object", "complete_multipart_upload"])
@pytest.mark.parametrize("done", [True, False])
def test_an_answer_without_an_etag_says_nothing_of_the_write(
    monkeypatch: pytest.MonkeyPatch, call: str, *, done: bool
) -> None:
    """S3 answers 200 before it has joined the parts, and a proxy may answer instead of it."""
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(4 if call == "put_object" else 10)))
    lines = body(s3)
    real = getattr(s3, call)

    def answered(**request: Any) -> dict[str, Any]:
        if done:
            real(**request)
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(s3, call, answered)
        with pytest.raises(OSError, match="without the new ETag"):
            archive(s3).append(TARGET, items(11))
    assert archive(s3).append(TARGET, items(11)).lines == (0 if done else 1)
    assert body(s3) == lines + b"line 11\n"


def test_content_type() -> None:
    seen = []

    class Noting(FakeS3):
        def put_object(self, **request: object) -> dict[str, object]:
            seen.append(request["ContentType"])
            return super().put_object(**request)

    archive(Noting()).append(TARGET, items(0))
    assert seen == [CONTENT_TYPE]


def test_an_edited_object_is_not_taken_for_the_remains_of_a_write() -> None:
    s3 = tiny()
    same = [Item(GENERATION, at, at + 10, b"same\n") for at in (0, 10, 20)]
    archive(s3).append(TARGET, same[:2])
    s3.objects[TARGET.key] = Stored(b"same\n", '"edited"', s3.objects[TARGET.key].metadata)
    archive(s3).append(TARGET, same)
    assert body(s3) == b"same\nsame\n"


def test_an_equal_ledger_has_a_side_object_of_its_own() -> None:
    """Seven bytes were removed by hand and a foreign line of seven bytes comes: the same ledger for the same length."""
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(0, 30, 2)))
    stored = s3.objects[TARGET.key]
    s3.objects[TARGET.key] = Stored(stored.body[7:], '"edited"', stored.metadata)
    archive(s3).append(TARGET, [Item(None, 0, 0, b"line 0\n")])
    assert s3.objects[TARGET.key].metadata["ledger"] != stored.metadata["ledger"]
    assert len(s3.objects) == 2, "the one before is gone"
    assert archive(s3).append(TARGET, items(0)).lines == 0


def test_a_loser_does_not_delete_the_ledger_that_the_winner_names() -> None:
    """A brings {0, 2} and loses to B, which brings {0}; C, {2} on top of B, makes the very object that A wanted, just
    before A deletes what it has no use for."""

    class Between(FakeS3):
        def delete_object(self, **request: object) -> dict[str, object]:
            if waiting:
                archive(self).append(TARGET, waiting.pop())
                deleted = super().delete_object(**request)
                archive(self).append(TARGET, items(0))  # raises when the ledger is gone
                return deleted
            return super().delete_object(**request)

    s3, waiting = Between(min_part=60, max_copy=130, max_metadata=80 + len(METADATA_KEY)), list[list[Item]]()
    archive(s3).append(TARGET, items(*range(100, 130, 2)))

    def other() -> None:
        archive(s3).append(TARGET, items(0))
        waiting.append(items(2))

    s3.faults = {len(s3.calls) + 3: other}  # 0 looks, 1 reads the side object, 2 writes another, 3 begins the upload
    assert archive(s3).append(TARGET, items(0, 2)) == Appended(0, 0, conflicts=2)
    assert archive(s3).append(TARGET, items(4)).lines == 1
    assert len(s3.objects) == 2, "what the loser wrote is gone"


def test_the_side_object_of_a_write_that_may_still_arrive_stays() -> None:
    """Its first answer is a conflict, though S3 carries it out: just after the object was read again."""
    late: list[Callable[[], object]] = []

    class Late(FakeS3):
        def put_object(self, **request: object) -> dict[str, object]:
            if request["Key"] == TARGET.key and not late:
                late.append(lambda: FakeS3.put_object(self, **request))
                self._refuse(409, "ConditionalRequestConflict", "PutObject")
            elif late:
                late.pop()()
                late.append(lambda: None)
            return super().put_object(**request)

    s3 = Late(max_metadata=80 + len(METADATA_KEY))
    limits = TINY._replace(min_part=5 * 1024**2)
    assert archive(s3, limits=limits).append(TARGET, items(*range(0, 30, 2))) == Appended(0, 0, conflicts=2)
    assert archive(s3, limits=limits).append(TARGET, items(0, 1)).lines == 1
    assert len(s3.objects) == 2


def test_a_side_object_of_an_older_version_is_read() -> None:
    """Its content was the ledger alone."""
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(0, 30, 2)))
    (side,) = [key for key in s3.objects if key != TARGET.key]
    text = s3.objects.pop(side).body.partition(b"\n")[0]
    digest = hashlib.sha256(text).hexdigest()
    s3.objects[TARGET.ledger_key(digest)] = Stored(text, '"old"', {})
    stored = s3.objects[TARGET.key]
    length = stored.metadata[METADATA_KEY].split(";")[1]
    s3.objects[TARGET.key] = Stored(stored.body, stored.etag, stored.metadata | {METADATA_KEY: f"1;{length};@{digest}"})
    assert archive(s3).append(TARGET, items(0, 1)).lines == 1
    assert len(s3.objects) == 2


@pytest.mark.parametrize("count", [1, 8, 9, 40])
@pytest.mark.parametrize("cut", [0, 1])
def test_another_ledger_for_the_same_bytes(count: int, cut: int) -> None:
    """Of an object that is written anew, and of one whose bytes are copied inside S3; a newline may be missing."""
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(0, 2 * count, 2)))
    before = body(s3)
    stored = Stored(before[: len(before) - cut], '"x"', {METADATA_KEY: "rubbish"})
    s3.objects = {TARGET.key: stored}
    ledger = Ledger()
    for each in items(*range(count)):
        ledger.add(GENERATION, each.start, each.end)
    state = State('"x"', len(stored.body), Ledger(), None, ledgered=False, intact=False, lines=None)
    archive(s3).rewrite(TARGET, state, ledger, count)
    assert body(s3) == before
    assert counted(s3) == str(count)
    assert archive(s3).append(TARGET, items(*range(count + 1))).lines == 1
    with pytest.raises(ClientError):
        archive(s3).rewrite(TARGET, state, ledger, count)


def counted(s3: FakeS3) -> str | None:
    return s3.objects[TARGET.key].metadata.get("lines")


def test_the_object_tells_how_many_lines_it_has() -> None:
    s3 = tiny()
    for count in (3, 4, 20, 21, 40):
        archive(s3).append(TARGET, items(*range(count)))
        assert counted(s3) == str(count) == str(body(s3).count(b"\n"))
    assert "complete_multipart_upload" in names(s3)


@pytest.mark.parametrize("said", [None, "", "-1", "x", "1" * 16])
def test_lines_of_a_large_object_that_nobody_has_counted_stay_unknown(said: str | None) -> None:
    s3 = tiny()
    archive(s3).append(TARGET, items(*range(20)))
    stored = s3.objects[TARGET.key]
    ledger = {METADATA_KEY: stored.metadata[METADATA_KEY]}
    s3.objects[TARGET.key] = Stored(stored.body, stored.etag, ledger | ({"lines": said} if said is not None else {}))
    archive(s3).append(TARGET, items(20))
    assert counted(s3) is None


def test_lines_of_an_edited_object_are_counted_again_when_it_is_small_and_unknown_when_it_is_not() -> None:
    for count, expected in ((3, "5"), (20, None)):
        s3 = tiny()
        archive(s3).append(TARGET, items(*range(count)))
        stored = s3.objects[TARGET.key]
        s3.objects[TARGET.key] = Stored(stored.body + b"by hand\n", '"edited"', stored.metadata)
        archive(s3).append(TARGET, items(count))
        assert counted(s3) == expected


def test_lost_rounds_are_counted() -> None:
    s3 = tiny()
    s3.faults = {1: lambda: archive(s3).append(TARGET, items(1)) and None}
    assert archive(s3).append(TARGET, items(0)) == Appended(1, 7, conflicts=1, changed=True)


def run(first: int, after: int) -> Item:
    """The lines [first, after) of `items` as one item."""
    singly = items(*range(first, after))
    raw = b"".join(b"log %05d\n" % number for number in range(first, after))
    return Item(GENERATION, singly[0].start, singly[-1].end, b"".join(each.text for each in singly), raw, len(singly))


def test_a_run_is_its_lines() -> None:
    assert list(run(3, 7).singly()) == items(3, 4, 5, 6)
    assert run(3, 7).lines == 4
    (one,) = items(3)
    assert (one.lines, list(one.singly())) == (1, [one])


def test_a_run_is_written_whole_or_in_part_or_not() -> None:
    s3 = tiny()
    assert archive(s3).append(TARGET, [run(0, 3), run(3, 5)]).lines == 5
    assert archive(s3).append(TARGET, [run(1, 5)]) == Appended(0, 0)
    assert archive(s3).append(TARGET, [run(7, 9)]).lines == 2
    assert archive(s3).append(TARGET, [run(2, 12), run(4, 13)]).lines == 6
    assert sorted(body(s3).splitlines()) == sorted(b"line %d" % number for number in range(13))
    assert archive(s3).append(TARGET, [run(0, 2)._replace(owner=None)]).lines == 2


def test_an_append_costs_the_same_from_5_mib_to_10_gb() -> None:
    """S3's own limits, and an object of which only the size is kept."""
    s3 = SizesS3()
    large = Archive(cast("S3Client", s3), "b", rng=random.Random(0), sleep=lambda _: None)
    text = b"x" * (32 * 1024**2 - 1) + b"\n"
    for number in range(10 * 10**9 // len(text) + 1):
        size = number * len(text)
        before = (s3.requests, s3.sent, s3.received, s3.copied)
        large.append(TARGET, [Item(GENERATION, size, size + len(text), text)])
        spent = [now - then for now, then in zip((s3.requests, s3.sent, s3.received, s3.copied), before, strict=True)]
        if number:
            assert spent == [4 + -(-size // (5 * 1024**3 // 2)), len(text), 0, size]
    assert s3.objects[TARGET.key].size > 10 * 10**9
    assert s3.objects[TARGET.key].metadata["lines"] == str(number + 1)


@pytest.mark.parametrize("size", [0, 1, 59, 60, 61, 129, 131, 300])
def test_places_without_lines_are_entered_whatever_the_size(size: int) -> None:
    """Below, of and above the size of a part, which is 60 bytes here."""
    s3 = tiny()
    before = b"x" * (size - 1) + b"\n" if size else b""
    if size:
        archive(s3).append(TARGET, [Item(GENERATION, 0, size, before)])
    place = Item(GENERATION, size, size + 5, b"", lines=0)
    assert archive(s3).append(TARGET, [place]) == Appended(0, 0, changed=True)
    assert (body(s3), counted(s3)) == (before, str(min(size, 1)))
    assert s3.objects[TARGET.key].metadata[METADATA_KEY] == f"1;{size:x};{GENERATION}=0-{size + 5:x}"
    assert archive(s3).append(TARGET, [place]) == Appended(0, 0)
    archive(s3).append(TARGET, [Item(GENERATION, size + 5, size + 9, b"new\n")])
    assert body(s3) == before + b"new\n"


class Otherwise(FakeS3):
    """An endpoint that changes the answer to a read."""

    def __init__(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        super().__init__(min_part=60, max_copy=130, max_metadata=200)
        self.change = change

    def get_object(self, **request: Any) -> dict[str, Any]:
        return self.change(super().get_object(**request))


@pytest.mark.parametrize("standing", [2, 8, 9, 20])
def test_an_endpoint_that_ignores_ranges(standing: int) -> None:
    """Its answer is the whole object, and names no range. 8 lines are less than a part, 9 are more."""

    def whole(answer: dict[str, Any]) -> dict[str, Any]:
        text = s3.objects[TARGET.key].body
        del answer["ContentRange"]
        return answer | {"ContentLength": len(text), "Body": io.BytesIO(text)}

    s3 = Otherwise(whole)
    archive(s3).append(TARGET, items(*range(standing)))
    assert archive(s3).append(TARGET, items(standing)).lines == 1
    assert body(s3) == b"".join(each.text for each in items(*range(standing + 1)))


@pytest.mark.parametrize("seen", [b"line 0\n", b"line 0\nline 1\nline"])
def test_bytes_that_are_not_as_many_as_the_answer_says_are_not_written(seen: bytes) -> None:
    s3 = Otherwise(lambda answer: answer | {"Body": io.BytesIO(seen)})
    archive(s3).append(TARGET, items(0, 1))
    with pytest.raises(OSError, match="bytes instead of 14"):
        archive(s3).append(TARGET, items(2))
    assert body(s3) == b"line 0\nline 1\n"


def test_what_comes_again_of_an_object_in_glacier_is_there() -> None:
    class Glacier(FakeS3):
        def get_object(self, **request: Any) -> dict[str, Any]:
            if request["Key"] in self.objects:
                self._refuse(403, "InvalidObjectState", "GetObject")
            return super().get_object(**request)

    s3 = Glacier()
    archive(s3).append(TARGET, items(0, 1))
    assert archive(s3).append(TARGET, items(1)) == Appended(0, 0)
    with pytest.raises(ClientError, match="InvalidObjectState"):
        archive(s3).append(TARGET, items(1, 2))


def test_the_bytes_of_a_large_object_are_not_read() -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError(size)

    closed = Unread()
    s3 = Otherwise(lambda answer: answer | {"Body": closed})
    archive(s3).append(TARGET, items(*range(20)))
    assert archive(s3).append(TARGET, items(20)).lines == 1
    assert closed.closed


def test_an_answer_with_the_range_of_an_object_and_the_rest_of_its_successor() -> None:
    """As LocalStack gives it when a write comes between; the condition of the next write would not find out."""

    s3 = Otherwise(lambda answer: answer)
    archive(s3).append(TARGET, items(0, 1))

    def mixed(answer: dict[str, Any]) -> dict[str, Any]:
        s3.change = lambda answer: answer
        before = answer["Body"].read()
        archive(s3).append(TARGET, items(2, 3))
        now = s3.objects[TARGET.key]
        return answer | {"ETag": now.etag, "Metadata": now.metadata, "Body": io.BytesIO(now.body[: len(before)])}

    s3.change = mixed
    archive(s3).append(TARGET, items(4))
    assert body(s3) == b"".join(each.text for each in items(0, 1, 2, 3, 4))
