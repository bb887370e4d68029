"""Every limit holds for any lines, and the records put together again are the log, byte for byte."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer import batch as batching
from producer import record as recording
from producer.batch import batches
from producer.reader import READ_BYTES
from producer.record import Kind, Piece, Record
from producer.signed import SIGNATURE_BYTES
from tests.fake_kinesis import covered

GENERATION = "5e9a0000" + "0123456789abcdef"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits scaled down, so that small examples reach each of them."""
    monkeypatch.setattr(recording, "MAX_RECORD_BYTES", 160)
    monkeypatch.setattr(recording, "PACK_BYTES", 70)
    monkeypatch.setattr(recording, "FRAGMENT_BYTES", 96)
    monkeypatch.setattr(recording, "WINDOW_BYTES", 20)
    monkeypatch.setattr(batching, "MAX_BATCH_RECORDS", 5)
    monkeypatch.setattr(batching, "MAX_BATCH_BYTES", 400)


def check(pieces: list[Piece], records: int, size: int, record_size: int, window: int) -> list[Record]:
    log = b"".join(piece.data for piece in pieces)
    sent: list[Record] = []
    for batch in batches(pieces):
        assert 1 <= len(batch) <= records
        assert sum(record.size for record in batch) <= size
        assert all(len(record.key) + len(record.data) <= record_size for record in batch)
        sent += batch
    position = 0
    for record in sent:
        assert (record.generation, record.start) == (GENERATION, position)
        assert record.key.split(":")[:2] == [GENERATION, str(position)]
        assert len(covered(record)) == record.end - record.start
        assert record.window == log[: record.end][-window:]
        position = record.end
    closed = bool(sent) and sent[-1].closed
    assert b"".join(map(covered, sent)) == log + (b"\n" if closed else b"")
    return sent


def cut(log: bytes, parts: list[int]) -> Iterator[Piece]:
    """The log as pieces of whole lines, as the source hands them out."""
    position = 0
    for part in [*parts, len(log)]:
        end = log.rfind(b"\n", position, max(position, part)) + 1 if part < len(log) else len(log)
        if end > position:
            yield Piece(GENERATION, position, log[position:end], log[:position][-recording.WINDOW_BYTES :])
            position = end


lines = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.integers(0, 600).map(lambda n: b"a" * n),
        st.tuples(st.integers(0, 600), st.integers(0, 9)).map(lambda t: random.Random(t[1]).randbytes(t[0])),
        st.binary(max_size=10).map(lambda rest: b"\x1f\x8b" + rest),
    ).map(lambda line: line.replace(b"\n", b" ")),
    max_size=30,
)


@pytest.mark.usefixtures("small")
@given(lines, st.lists(st.integers(0, 4000), max_size=4).map(sorted), st.one_of(st.none(), st.binary(max_size=300)))
def test_limits_hold_and_ranges_are_contiguous(written: list[bytes], parts: list[int], last: bytes | None) -> None:
    log = b"".join(line + b"\n" for line in written)
    pieces = list(cut(log, parts))
    if last is not None:
        last = last.replace(b"\n", b" ")
        pieces.append(Piece(GENERATION, len(log), last, log[-recording.WINDOW_BYTES :], Kind.LAST_LINE))
    sent = check(pieces, 5, 400, 160, 20)
    whole = sum(record.lines for record in sent)
    assert whole == len(written) + (last is not None)


def test_what_fits_in_one_call_goes_one_line_a_record() -> None:
    log = b"".join(b"line %d\n" % number for number in range(500))
    sent = check(list(cut(log, [])), 500, batching.MAX_BATCH_BYTES, recording.MAX_RECORD_BYTES, 1024)
    assert [record.data for record in sent] == [b"line %d" % number for number in range(500)]


def test_one_line_more_is_packed() -> None:
    log = b"".join(b"line %d\n" % number for number in range(501))
    (record,) = check(list(cut(log, [])), 500, batching.MAX_BATCH_BYTES, recording.MAX_RECORD_BYTES, 1024)
    assert record.lines == 501
    assert record.data.startswith(recording.GZIP_MAGIC)


@pytest.mark.parametrize("spare", [-1, 0, 1, 4096])
def test_a_line_at_the_very_limit(spare: int) -> None:
    """A record may be as large as the limit with its key; one byte more may still fit as gzip, a page does not."""
    key = len(f"{GENERATION}:0")
    line = random.Random(1).randbytes(recording.MAX_RECORD_BYTES - key - SIGNATURE_BYTES + spare).replace(b"\n", b" ")
    sent = check([Piece(GENERATION, 0, line + b"\n")], 500, batching.MAX_BATCH_BYTES, recording.MAX_RECORD_BYTES, 1024)
    assert (sent[0].data == line) == (spare <= 0)
    assert [record.inside_line for record in sent] == ([True, False] if spare == 4096 else [False])


def test_a_long_line_that_compresses_stays_whole() -> None:
    line = b"a" * (3 * recording.MAX_RECORD_BYTES)
    (record,) = check(
        [Piece(GENERATION, 0, line + b"\n")], 500, batching.MAX_BATCH_BYTES, recording.MAX_RECORD_BYTES, 1024
    )
    assert covered(record) == line + b"\n"


def test_real_limits_with_lines_that_do_not_compress() -> None:
    rng = random.Random(7)
    log = b"".join(
        rng.randbytes(rng.choice([10, 1000, 100_000, 900_000])).replace(b"\n", b" ") + b"\n" for _ in range(60)
    )
    check(
        list(cut(log, list(range(0, len(log), 4_000_000)))),
        500,
        batching.MAX_BATCH_BYTES,
        recording.MAX_RECORD_BYTES,
        1024,
    )


def test_a_read_is_two_packs_and_no_short_one() -> None:
    log = b"".join(b"%0214d\n" % number for number in range(READ_BYTES // 215))
    sent = check(list(cut(log, [])), 500, batching.MAX_BATCH_BYTES, recording.MAX_RECORD_BYTES, 1024)
    assert [record.lines for record in sent] == pytest.approx([len(log) / 430] * 2, abs=1)


def test_a_small_backlog_is_packed_small_and_what_is_beyond_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "SMALL_BACKLOG", 2 * recording.PACK_BYTES)
    data = b"".join(b'192.168.99.1 "GET /%d HTTP/1.1" 200\n' % number for number in range(60_000))
    records = [record for call in batches([Piece(GENERATION, 0, data)]) for record in call]
    assert len(records) > 3
    for record in records[:2]:
        block = zlib.decompress(record.data, wbits=31)
        assert record.data == zlib.compress(block, 6, wbits=31)
    block = zlib.decompress(records[-1].data, wbits=31)
    assert records[-1].data == recording.gzipped(block)
    assert b"".join(zlib.decompress(each.data, wbits=31) for each in records) == data
    large = Piece(GENERATION, 0, data, backlog=recording.LARGE_BACKLOG + 1)
    for record in (record for call in batches([large]) for record in call):
        assert record.data == recording.gzipped(zlib.decompress(record.data, wbits=31))
