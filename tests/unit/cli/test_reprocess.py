"""Rejected lines become entries, each once, whatever is cut short or comes meanwhile."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from archiver.archive import Archive, Limits
from archiver.event import FRAGMENT, Record
from archiver.filing import Item, file_record, file_runs
from archiver.format import COMBINED, Format, compiled
from archiver.layout import HourlyObject
from archiver.ledger import Ledger
from archiver.parse import rejected
from archiver.stored import LINES_KEY, METADATA_KEY
from cli import __main__ as cli
from cli import reprocess
from cli.reprocess import Done, Reprocess, entry
from cli.screen import CommandError
from common.settings import Settings
from tests.fake_bucket import FakeBucket
from tests.fake_s3 import DOWN, LOST, SLOW_DOWN, Stored
from tests.lambda_events import GENERATION, combined

COMMON = compiled("common")
HOUR = HourlyObject("logs/", "2020/04/18/01")
OTHER = b"18/Apr/2020:05:00:00 +0000"


class Killed(BaseException):
    pass


class Bucket(FakeBucket):
    """`log`: lines that were sent, at their places."""

    def __init__(self) -> None:
        super().__init__(bucket="my-bucket")
        self.log = b""

    def archive(self, **limits: int) -> Archive:
        limit = Limits(**limits)
        return Archive(self.client, self.bucket, rng=random.Random(), sleep=lambda _: None, limits=limit)

    def send(self, lines: list[bytes], format_: Format, **limits: int) -> None:
        start, self.log = len(self.log), self.log + b"".join(line + b"\n" for line in lines)
        self.again(start, format_, **limits)

    def again(self, start: int, format_: Format, **limits: int) -> None:
        """The function gets the log from there on, from its start an environment of its own."""
        archive, items = self.archive(**limits), dict[HourlyObject, list[Item]]()
        for target, item in file_runs(Record(self.log[start:], GENERATION, start, None, 0.0, None), "logs/", format_):
            items.setdefault(target, []).append(item)
        for target in sorted(items):
            archive.append(target, items[target])

    def lines(self, *, of_rejected: bool) -> Counter[str]:
        """By what the user agent is, or would be."""
        found = Counter[str]()
        for key, stored in self.objects.items():
            assert b"\n\n" not in stored.body
            if key.endswith("/web-access.log") and ("/rejected/" in key) == of_rejected:
                lines = [json.loads(line) for line in stored.body.splitlines()]
                assert stored.metadata[LINES_KEY] == str(len(lines))
                assert stored.metadata[METADATA_KEY].startswith(f"1;{len(stored.body):x};")
                found.update(line["raw"].split('"')[-2] if of_rejected else line["userAgent"] for line in lines)
        return found


def lines_of(*numbers: int, **more: Any) -> list[bytes]:
    return [combined(agent=b"%d" % number, **more) for number in numbers]


def run(bucket: Bucket, hours: str = "", format_: Format = COMBINED) -> Done:
    made = Reprocess(bucket.client, Settings(s3_bucket="my-bucket"), format_, lambda _: None)
    made.run("logs/", hours)
    return made.done


def numbers(*wanted: int) -> Counter[str]:
    return Counter(str(number) for number in wanted)


def test_what_can_be_read_becomes_entries_and_the_rest_stays() -> None:
    bucket = Bucket()
    bucket.send([*lines_of(1, 2), b'junk "7" ', *lines_of(3, time=OTHER)], COMMON)
    assert run(bucket) == Done(objects=3, lines=4, entries=3)
    assert bucket.lines(of_rejected=False) == numbers(1, 2, 3)
    assert bucket.lines(of_rejected=True) == numbers(7)
    assert bucket.objects[HOUR.counterpart.key].body == b"", "its ledger is still needed"
    before = dict(bucket.objects)
    assert run(bucket) == Done(objects=3, lines=1, entries=0)
    assert bucket.objects == before


@pytest.mark.parametrize("format_", [COMBINED, COMMON])
@pytest.mark.parametrize("deleted", [False, True])
def test_lines_that_are_sent_again_are_archived(format_: Format, deleted: bool) -> None:
    """Also where the empty object was deleted, against the advice."""
    bucket = Bucket()
    bucket.send(lines_of(1, 2), COMMON)
    run(bucket)
    if deleted:
        del bucket.objects[HOUR.counterpart.key]
    bucket.again(0, format_)
    assert bucket.lines(of_rejected=False) == numbers(1, 2)
    assert not bucket.lines(of_rejected=True)


def test_hours_are_chosen_by_their_beginning() -> None:
    bucket = Bucket()
    bucket.send([*lines_of(1), *lines_of(2, time=OTHER)], COMMON)
    assert run(bucket, "2020/04/18/05").entries == 1
    assert bucket.lines(of_rejected=True) == numbers(1)
    assert run(bucket, "2019").objects == 0
    assert run(bucket, "2020/04").entries == 1


def test_a_ledger_of_entries_that_covers_rejected_lines_keeps_none_of_them_away() -> None:
    """Holes that other objects fill are closed in a long ledger."""
    bucket = Bucket()
    lines = [line if number % 2 else line.rsplit(b' "', 2)[0] for number, line in enumerate(lines_of(*range(40)))]
    bucket.send(lines, COMMON, max_metadata=150)
    bucket.send([lines[0]], COMMON, max_metadata=150)
    ledger, _ = Ledger.decode(bucket.objects[HOUR.key].metadata[METADATA_KEY])
    assert ledger.covers(GENERATION, 0, len(bucket.log) - 200)
    assert run(bucket).entries == 20
    found = bucket.lines(of_rejected=False)
    assert found.pop("") == 21
    assert found == numbers(*range(1, 40, 2))


def cut_short(bucket: Bucket, nth: int, fault: Any) -> bool:
    """A run whose nth call fails, or is the last of the process; whether it came that far."""
    at = len(bucket.calls) + nth
    bucket.faults = {at: fault}
    with suppress(ClientError, BotoCoreError, CommandError, Killed):
        run(bucket)
    bucket.faults = {}
    return len(bucket.calls) > at


def kill() -> None:
    raise Killed


@pytest.mark.parametrize("fault", [DOWN, LOST, SLOW_DOWN, kill], ids=["down", "lost", "slow down", "killed"])
@pytest.mark.parametrize("small", [False, True], ids=["put", "multipart"])
def test_fail_every_call_in_turn(fault: Any, small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the lines come again, in either format, and the run is made again."""
    monkeypatch.setattr(reprocess, "CHUNK", 700)
    if small:
        limits = Limits(min_part=300, max_copy=700, max_metadata=200)
        monkeypatch.setattr(reprocess, "Archive", partial(Archive, limits=limits))
    for nth in range(200):
        bucket = Bucket()
        bucket._min_part = 300 if small else bucket._min_part
        bucket.send([*lines_of(*range(8)), b'junk "100" ', *lines_of(8, 9, time=OTHER)], COMMON)
        reached = cut_short(bucket, nth, fault)
        assert not bucket.lines(of_rejected=False) - numbers(*range(10))
        assert bucket.lines(of_rejected=False) | bucket.lines(of_rejected=True) == numbers(*range(10), 100)
        bucket.again(0, COMBINED if nth % 2 else COMMON)
        run(bucket)
        assert bucket.lines(of_rejected=False) == numbers(*range(10))
        assert bucket.lines(of_rejected=True) == numbers(100)
        if not reached:
            assert nth > 10
            return
    raise AssertionError("there was no end of calls")


@pytest.mark.parametrize("format_", [COMBINED, COMMON])
def test_the_function_writes_before_every_call_in_turn(format_: Format) -> None:
    for nth in range(200):
        bucket = Bucket()
        bucket.send(lines_of(1, 2), COMMON)

        def more(bucket: Bucket = bucket) -> None:
            bucket.log += lines_of(3)[0] + b"\n" + b'junk "100" \n'
            bucket.again(0, format_)

        reached = cut_short(bucket, nth, more)
        run(bucket)
        assert bucket.lines(of_rejected=False) == (numbers(1, 2, 3) if reached else numbers(1, 2))
        if not reached:
            return
    raise AssertionError("there was no end of calls")


def test_two_runs_at_the_same_time() -> None:
    for nth in range(200):
        bucket = Bucket()
        bucket.send(lines_of(1, 2), COMMON)
        reached = cut_short(bucket, nth, lambda bucket=bucket: run(bucket) and None)
        assert bucket.lines(of_rejected=False) == numbers(1, 2)
        if not reached:
            return
    raise AssertionError("there was no end of calls")


def test_an_object_that_never_rests() -> None:
    bucket = Bucket()
    bucket.send(lines_of(0), COMMON)
    put: Callable[..., Any] = bucket.put_object

    def put_object(**request: Any) -> Any:
        if request["Key"] == HOUR.counterpart.key and not isinstance(request["Body"], bytes):
            bucket.send(lines_of(len(bucket.calls)), COMMON)
        return put(**request)

    bucket.put_object = put_object  # type: ignore[method-assign]
    with pytest.raises(CommandError, match="was written to 5 times meanwhile: run it again, nothing is doubled"):
        run(bucket)


def test_lines_of_other_programs() -> None:
    """Those of a run that was cut short are known by the version of the object that it read."""
    for nth in range(200):
        bucket = Bucket()
        for _ in range(2):
            for target, item in file_record(Record(combined(), None, 0, None, 1587171600.0, None), "logs/", COMMON):
                bucket.archive().append(target, [item])
        reached = cut_short(bucket, nth, DOWN)
        run(bucket)
        assert bucket.lines(of_rejected=False) == Counter({"curl/8.5.0": 2})
        if not reached:
            return
    raise AssertionError("there was no end of calls")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"[1]",
        rejected(combined(), FRAGMENT, GENERATION, 0),
        rejected(combined(), "broken base64", GENERATION, 0),
        rejected(combined(), "not in the common format", "zz" * 12, 0),
        rejected(combined(), "not in the common format", GENERATION, -1),
        rejected(combined(), "not in the common format", GENERATION, 10**18),
        rejected(combined() + b"\n" + combined(), "not in the common format", GENERATION, 0),
        rejected(b"\x1f\x8b" + combined(), "not in the common format", GENERATION, 0),
        b'{"reason":"not in x","raw":"\\ud800","generation":null,"offset":null}',
        b'{"reason":"not in x","raw":"a","generation":null,"offset":[]}',
        b'{"reason":1,"raw":"a","generation":null,"offset":null}',
    ],
    ids=range(14),
)
def test_what_is_no_whole_line_stays(line: bytes) -> None:
    assert entry(line.removesuffix(b"\n"), "", COMBINED, "x") is None


@pytest.mark.parametrize("agent", [b"\xe9\xff", rb"\xFF \x5C", "é".encode(), b"\\", b"\x7f"])
def test_the_bytes_of_a_line_are_those_that_were_sent(agent: bytes) -> None:
    for raw in (combined(agent=agent), combined().replace(b"curl", agent)):
        line = rejected(raw, "not in the common format", GENERATION, 7).removesuffix(b"\n")
        made = entry(line, "", COMBINED, "x")
        ((target, item),) = file_record(Record(raw, GENERATION, 7, None, 0.0, None), "")
        assert made == (
            target,
            [item._replace(owner=f"~0{GENERATION}", others=()), Item(GENERATION, 7, 8 + len(raw), b"", lines=0)],
        )


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LOCALSTACK_HOST", "127.0.0.1:1")
    monkeypatch.setenv("S3_PREFIX", "logs/")
    bucket = Bucket()
    monkeypatch.setattr(reprocess, "client", lambda *_, **__: bucket)
    return bucket


def test_the_command(bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.send([*lines_of(1), b'junk "7" '], COMMON)
    assert cli.main(["reprocess"]) == 0
    assert capsys.readouterr().out == "1 of 2 rejected lines are entries now, 1 stay rejected\n"
    assert cli.main(["reprocess", "--json", "2020"]) == 0
    assert json.loads(capsys.readouterr().out) == {"objects": 2, "lines": 1, "entries": 0}


def test_of_a_host_no_more_is_kept_than_of_other_lines(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what would not be kept at all stays where it is."""
    for name, value in {
        "LOG_FILE": "/nowhere/a.log",
        "ANONYMIZE_IP": "1",
        "DROP_QUERY": "all",
        "LOG_SKIP": "/up",
    }.items():
        monkeypatch.setenv(name, value)
    requests = [b"GET /a?token=b HTTP/1.1", b"GET /up HTTP/1.1"]
    bucket.send([combined(request=request, agent=b"%d" % at) for at, request in enumerate(requests)], COMMON)
    assert cli.main(["reprocess"]) == 0
    (line,) = bucket.objects[HOUR.key].body.splitlines()
    kept = json.loads(line)
    assert (kept["host"], kept["path"]) == ("192.168.99.0", "/a")
    assert bucket.lines(of_rejected=True) == numbers(1)


def test_each_of_several_logs(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_FILES", f"shop={tmp_path / 'shop.log'}")
    for folder in ("", "shop/"):
        record = Record(combined(), GENERATION, 0, None, 0.0, None, folder)
        for target, item in file_record(record, "logs/", COMMON):
            bucket.archive().append(target, [item])
    assert cli.main(["reprocess"]) == 0
    assert {HOUR.key, HOUR._replace(prefix="logs/shop/").key} <= bucket.objects.keys()
    monkeypatch.setenv("LOG_FILES", f"{tmp_path}/nowhere")
    assert cli.main(["reprocess"]) == 1  # there may be rejected lines of its logs
    assert "nowhere is no folder of logs that this user can list" in capsys.readouterr().err


def test_what_it_refuses(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.send(lines_of(1), COMMON)
    key = HOUR.counterpart.key
    bucket.objects[key] = Stored(bucket.objects[key].body, "e", {METADATA_KEY: "rubbish"})
    assert cli.main(["reprocess"]) == 1
    assert f"appliance repair-ledger {key}" in capsys.readouterr().err
    bucket.fault_from_now_on = (0, DOWN)
    assert cli.main(["reprocess"]) == 1
    assert "run it again to go on: nothing is doubled" in capsys.readouterr().err
    monkeypatch.setenv("DELIVERY", "firehose")
    bucket.calls.clear()
    assert cli.main(["reprocess"]) == 2
    assert "keeps no ledger" in capsys.readouterr().err
    assert not bucket.calls


@pytest.mark.parametrize(
    "problem", ["s3://b/k: 3 bytes instead of 5 from byte 0", "[Errno 28] No space left on device"]
)
def test_bytes_that_are_missing_or_find_no_room(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: str
) -> None:
    bucket.send(lines_of(1), COMMON)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device") if "Errno" in problem else OSError(problem)

    with monkeypatch.context() as patched:
        patched.setattr(Archive, "append", fail)
        assert cli.main(["reprocess"]) == 1
    assert f"{problem}; run it again to go on: nothing is doubled" in capsys.readouterr().err
    assert cli.main(["reprocess"]) == 0
    assert bucket.lines(of_rejected=False) == numbers(1)


def test_an_interruption(bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.send(lines_of(1), COMMON)

    def interrupt() -> None:
        raise KeyboardInterrupt

    bucket.faults = {len(bucket.calls) + 3: interrupt}
    assert cli.main(["reprocess"]) == 130
    assert "interrupted; run it again to go on: nothing is doubled" in capsys.readouterr().err
