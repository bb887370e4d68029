"""Firehose's records: an hour each, within every limit, and put together again they are the log, byte for byte."""

from __future__ import annotations

import base64
import json
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from archiver.filing import Item
from archiver.firehose import Transform
from archiver.parse import NotInFormatError, parse
from archiver.times import readable_hour
from producer import batch as batching
from producer import hourly as packing
from producer import record as recording
from producer.batch import hourly_batches
from producer.record import GZIP_MAGIC, Kind, Piece, Record
from tests.fake_kinesis import lines_in

GENERATION = "5e9a0000" + "0123456789abcdef"
START = datetime(2020, 4, 18, 1, 30, tzinfo=UTC)


def line(moment: datetime, path: str = "/", user: str = "-", agent: str = "curl/8.14.1") -> bytes:
    written = moment.strftime("%d/%b/%Y:%H:%M:%S %z")
    return f'192.168.99.1 - {user} [{written}] "GET {path} HTTP/1.1" 200 612 "-" "{agent}"'.encode()


def unpacked(record: Record, piece_of: bytes) -> bytes:
    """The bytes of the log a record stands for; `piece_of` are the bytes at its range, which a fragment must be."""
    if record.data == piece_of:
        return record.data
    return b"".join(each + b"\n" for each in lines_in(record.data))


def check(pieces: list[Piece]) -> list[Record]:
    log = b"".join(piece.data for piece in pieces)
    sent: list[Record] = []
    for batch in hourly_batches(pieces):
        assert 1 <= len(batch) <= batching.MAX_FIREHOSE_RECORDS
        assert sum(len(record.data) for record in batch) <= batching.MAX_FIREHOSE_BYTES
        assert all(len(record.data) <= packing.MAX_RECORD_BYTES for record in batch)
        sent += batch
    position = 0
    whole = b""
    for record in sent:
        assert (record.generation, record.start) == (GENERATION, position)
        assert record.window == log[: record.end][-recording.WINDOW_BYTES :]
        data = unpacked(record, log[record.start : record.end])
        assert len(data) == record.end - record.start
        whole += data
        position = record.end
        if not record.inside_line and data.endswith(b"\n"):
            one_hour(data)
            assert record.lines == data.count(b"\n")
        if record.data.startswith(GZIP_MAGIC) and not data.startswith(GZIP_MAGIC):
            assert packing.answer_bytes(data)[1] <= packing.EXPANSION * len(record.data)
        if not record.inside_line and record.lines > 1:
            assert packing.answer_bytes(data)[1] <= packing.ANSWER_BYTES
    assert whole == log + (b"\n" if sent and sent[-1].closed else b"")
    return sent


def one_hour(data: bytes) -> None:
    """Every entry of the record belongs into the same hour, and with several lines any time in it tells which."""
    lines = data.split(b"\n")[:-1]
    hours = set()
    for each in lines:
        try:
            hours.add(parse(each).hour)
        except NotInFormatError:
            continue
    assert len(hours) <= 1
    readable = {readable_hour(each) for each in lines} - {None}
    assert len(lines) == 1 or len(readable) <= 1


def cut(log: bytes, parts: list[int]) -> Iterator[Piece]:
    position = 0
    for part in [*parts, len(log)]:
        end = log.rfind(b"\n", position, max(position, part)) + 1 if part < len(log) else len(log)
        if end > position:
            yield Piece(GENERATION, position, log[position:end], log[:position][-recording.WINDOW_BYTES :])
            position = end


moments = st.tuples(
    st.integers(-3 * 3600, 3 * 3600),
    st.sampled_from([0, 0, 0, 60, -300, 330, 345, -210, 13 * 60 + 45]),
).map(lambda drawn: (START + timedelta(seconds=drawn[0])).astimezone(timezone(timedelta(minutes=drawn[1]))))
fakes = moments.map(lambda moment: moment.strftime("[%d/%b/%Y:%H:%M:%S %z]"))
written = st.one_of(
    moments.map(line),
    st.tuples(moments, fakes).map(lambda drawn: line(drawn[0], path=f"/a{drawn[1]}b")),
    st.tuples(moments, fakes).map(lambda drawn: line(drawn[0], user=drawn[1])),
    st.tuples(moments, fakes).map(lambda drawn: line(drawn[0], agent=f"x {drawn[1]} ")),
    st.tuples(moments, st.integers(0, 600)).map(lambda drawn: line(drawn[0], path="/" + "a" * drawn[1])),
    st.sampled_from([b"", b"no time", b"[99/Apr/2020:77:00:00 +0000]", b"[01/Jan/0001:00:00:00 +0100] early", b"["]),
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b" ")),
    st.tuples(st.integers(0, 700), st.integers(0, 9)).map(
        lambda drawn: random.Random(drawn[1]).randbytes(drawn[0]).replace(b"\n", b" ")
    ),
    st.binary(max_size=10).map(lambda rest: b"\x1f\x8b" + rest.replace(b"\n", b" ")),
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits scaled down, so that small examples reach each of them."""
    monkeypatch.setattr(packing, "MAX_RECORD_BYTES", 900)
    monkeypatch.setattr(packing, "WHOLE_BYTES", 560)
    monkeypatch.setattr(recording, "PACK_BYTES", 500)
    monkeypatch.setattr(packing, "BILLED_BYTES", 120)
    monkeypatch.setattr(packing, "ANSWER_BYTES", 900)
    monkeypatch.setattr(recording, "WINDOW_BYTES", 20)
    monkeypatch.setattr(batching, "MAX_FIREHOSE_RECORDS", 5)
    monkeypatch.setattr(batching, "MAX_FIREHOSE_BYTES", 1500)


@pytest.mark.usefixtures("small")
@given(
    st.lists(written, max_size=30),
    st.lists(st.integers(0, 4000), max_size=4).map(sorted),
    st.one_of(st.none(), st.binary(max_size=900)),
)
def test_limits_hold_and_a_record_is_of_one_hour(lines: list[bytes], parts: list[int], last: bytes | None) -> None:
    log = b"".join(each + b"\n" for each in lines)
    pieces = list(cut(log, parts))
    if last is not None:
        last = last.replace(b"\n", b" ")
        pieces.append(Piece(GENERATION, len(log), last, log[-recording.WINDOW_BYTES :], Kind.LAST_LINE))
    sent = check(pieces)
    assert sum(record.lines for record in sent) == len(lines) + (last is not None)


@given(st.lists(moments, min_size=1, max_size=40))
def test_lines_of_one_hour_stay_together(times: list[datetime]) -> None:
    """As many records as the hour, or the way it is written, changes from line to line; never more."""
    log = b"".join(line(moment) + b"\n" for moment in times)
    (sent,) = [check([Piece(GENERATION, 0, log)])]
    spoken = [(f"{moment.astimezone(UTC):%Y%m%d%H}", moment.utcoffset()) for moment in times]
    assert len(sent) == 1 + sum(this != following for this, following in pairwise(spoken))


def test_the_minutes_of_a_half_hour_offset() -> None:
    """16:29 and 16:30 at +0530 are in two hours; 15:59 and 16:00 are in one."""
    zone = timezone(timedelta(hours=5, minutes=30))
    times = [datetime(2020, 4, 17, *clock, tzinfo=zone) for clock in ((15, 29), (15, 30), (15, 59), (16, 0), (16, 29))]
    times.append(datetime(2020, 4, 17, 16, 30, tzinfo=zone))
    log = b"".join(line(moment) + b"\n" for moment in times)
    assert [record.lines for record in check([Piece(GENERATION, 0, log)])] == [1, 4, 1]


def test_what_is_billed_as_5_kb_anyway_stays_readable() -> None:
    log = (line(START) + b"\n") * 30
    (record,) = check([Piece(GENERATION, 0, log)])
    assert record.data == log


def test_a_backlog_is_gzipped_in_packs() -> None:
    rng = random.Random(1)
    log = b"".join(line(START, f"/{rng.getrandbits(64)}/{rng.getrandbits(64)}") + b"\n" for _ in range(20_000))
    sent = check(list(cut(log, [1_000_000])))
    assert all(
        record.data.startswith(GZIP_MAGIC) for record in sent if record.end - record.start > packing.BILLED_BYTES
    )
    assert len(sent) <= 2 + len(log) // recording.PACK_BYTES
    assert sum(len(record.data) for record in sent) < len(log) / 3


def test_what_would_make_the_answer_of_the_transform_too_long_goes_plain() -> None:
    """An invocation of 0.2 MB on the wire, and one record more, stays below 6 MB of base64 however alike lines are."""
    sent = check(list(cut((line(START) + b"\n") * 50_000, [4_000_000])))
    assert not any(record.data.startswith(GZIP_MAGIC) for record in sent)
    size = answer = 0
    for record in sent:
        size += len(record.data)
        answer += sum(len(parse(each).text) for each in lines_in(record.data))
        assert answer * 4 / 3 < 6_000_000
        if size >= 200_000:
            size = answer = 0


# What a field of a line may hold: what nginx writes for odd bytes, what others do, and the odd bytes themselves
tokens = st.one_of(
    st.integers(0, 255).map(lambda byte: b"\\x%02X" % byte),
    st.integers(0, 255).map(lambda byte: b"\\x%02x" % byte),
    st.sampled_from([rb"\\", rb"\"", rb"\\xFF", rb"\\\xFF", rb"\x5CxFF", rb"\t", rb"\xZZ", b"a", b"xFF", b"\t"]),
    st.binary(max_size=4).map(lambda raw: re.sub(rb'[\n" \\]', b"", raw)),
    st.text(max_size=2).map(lambda text: re.sub(rb'[\n" \\]', b"", text.encode("utf-8", "surrogatepass"))),
)
fields = st.lists(tokens, max_size=20).map(b"".join)


@given(fields, fields, fields, st.sampled_from([b"GET /%s HTTP/1.1", b"GET /%s", b"%s"]))
@example(b"1", b"", b"", b"%s")
def test_no_line_takes_more_in_the_answer_than_the_producer_reckons(
    host: bytes, path: bytes, agent: bytes, request: bytes
) -> None:
    text = b'%b - - [18/Apr/2020:01:42:00 +0000] "%b" 200 - "" "%b"'
    each = text % (re.sub(rb"[^0-9A-Za-z.:%_-]", b"", host) or b"1", request % path, agent)
    for shortest in (each, each.replace(b" - - ", b" -  ", 1)):
        entry = parse(shortest)
        assert len(entry.text) + packing.RECORD_BYTES <= packing.answer_bytes(shortest + b"\n")[1]


def escaped(kind: bytes, length: int, noise: int) -> list[Record]:
    """Records of lines with so many bytes of `kind` each, and with `noise` random bits, on which gzip depends."""
    rng = random.Random(1)
    agents = kind * (length // len(kind))
    text = b'::1 - - [18/Apr/2020:01:42:00 +0000] "GET /%x HTTP/1.1" 200 5 "-" "%b"\n'
    lines = (text % (rng.getrandbits(noise), agents) for _ in range(recording.PACK_BYTES // (length + 70) + 1))
    log = b"".join(lines)[: recording.PACK_BYTES].rpartition(b"\n")[0] + b"\n"
    return list(packing.hourly(Piece(GENERATION, 0, log)))


@pytest.mark.parametrize("kind", [b"a", rb"\x01", rb"\xFF", rb"\\xFF", b"\x01", b"\xff"])
@pytest.mark.parametrize("length", [12, 300])
def test_whatever_is_escaped_no_line_is_crowded_out_of_the_answer(kind: bytes, length: int) -> None:
    """The worst invocation: 0.2 MB on the wire that shrank as far as is let through, and the longest record on top."""
    packed = (escaped(kind, length, noise) for noise in range(0, 2000, 16))
    dense = next(records[0].data for records in packed if records[0].data.startswith(GZIP_MAGIC))
    longest = max((record.data for record in escaped(kind, length, 0)), key=len)
    assert not longest.startswith(GZIP_MAGIC)
    found = answered([dense] * (WIRE_BYTES // len(dense)) + [longest])
    assert {each["result"] for each in found} == {"Ok"}


# BufferSizeInMBs 0.2
WIRE_BYTES = 209_716


def answered(records: list[bytes]) -> list[dict[str, Any]]:
    """What the transform answers; its ids are as long as AWS's."""
    happened = [
        {"recordId": f"{number:056}", "data": base64.b64encode(data).decode()} for number, data in enumerate(records)
    ]
    answer = Transform(lambda *_: None, "").answer({"records": happened})
    assert len(json.dumps(answer)) <= 6_000_000
    found: list[dict[str, Any]] = answer["records"]
    return found


def test_a_line_that_looks_like_gzip_does_not_grow_beyond_the_answer_either() -> None:
    log = (GZIP_MAGIC + line(START, agent="a" * 400) + b"\n") * 5_000
    for record in check([Piece(GENERATION, 0, log)]):
        assert packing.answer_bytes(log[record.start : record.end])[1] <= packing.EXPANSION * len(record.data)


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_a_line_at_the_very_limit(spare: int) -> None:
    rng = random.Random(1)
    text = GZIP_MAGIC + rng.randbytes(packing.WHOLE_BYTES - 3 + spare).replace(b"\n", b" ")
    sent = check([Piece(GENERATION, 0, text + b"\n")])
    assert [record.inside_line for record in sent] == ([False] if spare <= 0 else [True, False])


def test_the_transform_files_every_line_under_its_hour() -> None:
    """As Firehose hands what the producer sends to the real transform: none refused, none lost, none misfiled."""
    rng = random.Random(5)
    moments = sorted(START + timedelta(seconds=rng.randrange(5 * 3600)) for _ in range(20_000))
    lines = [line(moment, f"/{number}/{rng.getrandbits(64):x}") for number, moment in enumerate(moments)]
    for _ in range(200):  # two workers of nginx, and a line that is none
        here = rng.randrange(len(lines) - 1)
        lines[here], lines[here + 1] = lines[here + 1], lines[here]
    for _ in range(20):
        lines.insert(rng.randrange(len(lines)), b"no request [at all]")
    sent = check(list(cut(b"".join(each + b"\n" for each in lines), [1_000_000, 2_000_000])))
    rejected: list[Item] = []
    transform = Transform(lambda _target, items: rejected.extend(items), "")
    found = 0
    while sent:
        size, records = 0, []
        while sent and size < 200_000:
            record = sent.pop(0)
            size += len(record.data)
            records.append({"recordId": str(record.start), "data": base64.b64encode(record.data).decode()})
        answer = transform.answer({"records": records})
        assert len(json.dumps(answer)) < 6_000_000
        for each in answer["records"]:
            assert each["result"] == "Ok"
            keys = each["metadata"]["partitionKeys"]
            for entry in base64.b64decode(each["data"]).splitlines():
                assert json.loads(entry)["time"][:13] == f"{keys['year']}-{keys['month']}-{keys['day']}T{keys['hour']}"
                found += 1
    assert found == 20_000
    assert sum(item.lines for item in rejected) == 20
