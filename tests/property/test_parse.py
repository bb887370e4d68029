"""Whatever bytes a log line has, they are kept once; whatever a client sends, its fields stay its fields."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from archiver.event import records
from archiver.filing import Item, file_record
from archiver.layout import HourlyObject
from archiver.parse import NotCombinedError, parse, visible
from tests.lambda_events import GENERATION, bytes_of, combined, event, gzipped, record

# Bytes as they come: anything, and pieces of what a parser looks for
SEEN = rb"""" \ \x \x22 \x5C 41 - [ ] ] HTTP/1.1 GET [18/Apr/2020:01:42:18 200 1""".split()
PIECES = st.sampled_from(
    [*SEEN, b" - ", b" [", b'] "', b"18/Apr/2020:01:42:18 +0000]", b"\xed\x95\x9c", b"\xff", b"\0", b"\r", b"\x1f\x8b"]
)
SENT = st.lists(PIECES | st.binary(max_size=8), max_size=8).map(b"".join)
LINES = (SENT | st.builds(combined, agent=SENT)).map(lambda line: line.replace(b"\n", b""))


@given(SENT)
@example(b"\\x5Cx41\\xFF\xff\\")
def test_bytes_made_visible_can_be_turned_back(data: bytes) -> None:
    text = visible(data)
    assert bytes_of(text) == data
    text.encode()  # no lone surrogates


@given(SENT)
def test_parse_answers_or_refuses(line: bytes) -> None:
    try:
        entry = parse(line)
    except NotCombinedError:
        return
    assert json.loads(entry.text)


METHODS = st.sampled_from([b"GET", b"POST", b"M-SEARCH", b"PROPFIND"])
TARGETS = SENT.filter(bool)


@given(
    host=st.sampled_from([b"1.2.3.4", b"::1", b"unix:"]),
    user=SENT,
    referer=SENT,
    agent=SENT,
    status=st.integers(0, 999),
)
def test_fields_never_shift(host: bytes, user: bytes, referer: bytes, agent: bytes, status: int) -> None:
    line = combined(host=host, user=user, referer=referer, agent=agent, status=status)
    entry = json.loads(parse(line).text)
    assert entry == {
        "host": host.decode(),
        "time": "2020-04-18T01:42:18.000Z",
        "method": "GET",
        "path": "/",
        "httpVersion": "HTTP/1.1",
        "status": status,
        "userAgent": visible(agent),
    }
    assert bytes_of(entry["userAgent"]) == agent


@given(METHODS, TARGETS, st.sampled_from([b"HTTP/1.0", b"HTTP/1.1", b"HTTP/2.0"]))
def test_a_request_line_is_taken_apart_at_its_ends(method: bytes, target: bytes, version: bytes) -> None:
    entry = json.loads(parse(combined(request=b"%s %s %s" % (method, target, version))).text)
    assert entry["method"] == method.decode()
    assert bytes_of(entry["path"]) == target
    assert entry["httpVersion"] == version.decode()


@given(SENT)
def test_nothing_of_a_request_is_lost(request: bytes) -> None:
    entry = json.loads(parse(combined(request=request)).text)
    kept = [entry["method"], entry["path"], entry["httpVersion"]]
    assert bytes_of(" ".join(part for part in kept if part)) == request


def file(data: bytes, key: str) -> list[tuple[HourlyObject, Item]]:
    (one,) = records(event([record(data, key)]))
    return list(file_record(one, ""))


def single(lines: list[bytes], offset: int) -> list[tuple[HourlyObject, Item]]:
    found = []
    for line in lines:
        data = gzipped(line + b"\n") if line.startswith(b"\x1f\x8b") else line
        found += file(data, f"{GENERATION}:{offset}")
        offset += len(line) + 1
    return found


@given(st.lists(LINES, min_size=1, max_size=5), st.integers(0, 10**12), st.sampled_from([bytes, gzipped]))
def test_every_line_comes_out_once_however_it_was_packed(lines: list[bytes], offset: int, pack: Any) -> None:
    """As an entry, or as a rejected entry that holds its very bytes; the ranges follow one another without a gap."""
    packed = b"".join(line + b"\n" for line in lines)
    if packed.startswith(b"\x1f\x8b"):
        pack = gzipped
    found = file(pack(packed), f"{GENERATION}:{offset}")
    assert found == single(lines, offset)
    at = offset
    for line, (target, item) in zip(lines, found, strict=True):
        assert (item.owner, item.start, item.end) == (GENERATION, at, at + len(line) + 1)
        at = item.end
        assert item.text.count(b"\n") == 1
        assert item.text.endswith(b"\n")
        entry = json.loads(item.text)
        if target.rejected:
            assert bytes_of(entry["raw"]) == line
            assert (entry["generation"], entry["offset"]) == (GENERATION, item.start)
        else:
            assert item.text == parse(line).text
    assert file(pack(packed), f"{GENERATION}:{offset}") == found


RECORDS = st.binary(max_size=64) | st.binary(max_size=32).map(lambda tail: b"\x1f\x8b\x08\0" + tail) | SENT
KEYS = st.text(max_size=40) | st.sampled_from([f"{GENERATION}:7", f"{GENERATION}:7:5"])


@given(RECORDS, KEYS)
def test_any_record_is_filed(data: bytes, key: str) -> None:
    for _, item in file(data, key):
        assert json.loads(item.text)
        assert 0 <= item.start <= item.end
