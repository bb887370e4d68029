"""Whatever bytes a log line has, they are kept once; whatever a client sends, its fields stay its fields.

And the fast way, a block of lines at a time, makes of any bytes what the plain way makes of them line by line.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import archiver.fast
from archiver import filing
from archiver.event import kinesis_record
from archiver.fast import runs
from archiver.filing import Item, file_record, file_runs
from archiver.layout import HourlyObject
from archiver.parse import NotInFormatError, parse, visible
from tests.lambda_events import GENERATION, bytes_of, combined, gzipped, record

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
    except NotInFormatError:
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


@given(st.integers(1, 300) | st.just(178_890), st.booleans())
def test_nuls_before_a_line_are_no_part_of_it(nuls: int, known: bool) -> None:
    """A hole that copytruncate or a crash has left; the range is that of the bytes in the log."""
    line = combined() if known else b"junk"
    one = kinesis_record(record(b"\0" * nuls + line + b"\n", f"{GENERATION}:1000"))
    for way in (file_record, file_runs):
        ((target, item),) = way(one, "")
        assert (item.start, item.end) == (1000, 1000 + nuls + len(line) + 1)
        assert target.rejected is not known
        if known:
            assert item.text == parse(line).text
        else:
            assert bytes_of(json.loads(item.text)["raw"]) == b"\0" * nuls + line


@given(st.binary(min_size=1, max_size=3))
@example(b"a_b")
@example(b"%x1")
@example(b"\0")
def test_an_address_holds_what_addresses_hold(piece: bytes) -> None:
    fits = all((chr(byte).isalnum() and byte < 128) or byte in b".:%_-" for byte in piece)
    lines = [piece + PLAIN[1:], PLAIN[:5] + piece + PLAIN[5:]]
    for line in lines:
        if fits:
            assert json.loads(parse(line).text)["host"] == line.partition(b" - ")[0].decode()
        elif line.strip(b"\0") == line and b"\n" not in line and b" " not in piece:
            with pytest.raises(NotInFormatError):
                parse(line)
    check([line.replace(b"\n", b"") for line in lines])


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
    one = kinesis_record(record(data, key))
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


GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "lines.json").read_text())["lines"]
KNOWN = [base64.b64decode(each["line_base64"]) if "line_base64" in each else each["line"].encode() for each in GOLDEN]
PLAIN = combined(
    time=b"18/Apr/2020:01:59:09 +0000", request=b"GET /a?b=%20c HTTP/1.1", referer=b"http://a/", agent=b"b c"
)
ZONES = st.sampled_from([b"+0000", b"-0000", b"+0900", b"-0330", b"+0545", b"+2400", b"+0060", b"+9900"])
TIMES = st.builds(
    b"%02d/%b/%04d:%02d:%02d:%02d %b".__mod__,
    st.tuples(
        *(st.integers(0, 32), st.sampled_from([b"Apr", b"Feb", b"apr", b"Xyz"]), st.sampled_from([0, 1, 2020, 9999])),
        *(st.sampled_from([0, 1, 2, 23, 24]), st.integers(0, 61), st.integers(0, 61), ZONES),
    ),
)
FIELDS = st.sampled_from(
    [b"", b"-", b"a", b"a b", b"{", b"%", b"'", b"\x7f", b"\x80", b"\r", b"\0", b"\x85", b"\\", b'"']
)
UNUSUAL = [
    b"",
    b"-",
    b"GET /",
    b"GET  HTTP/1.1",
    b"GET /a b HTTP/1.1",
    b"get / HTTP/1.1",
    b"GET / HTTP/10.1",
    b"\x16\x03",
]


@st.composite
def close_to_plain(draw: st.DrawFn) -> bytes:
    """A line that the fast way takes, or would but for a byte or two."""
    line = draw(
        st.just(PLAIN)
        | st.builds(combined, time=TIMES)
        | st.builds(combined, time=TIMES, user=FIELDS, referer=FIELDS, agent=FIELDS, status=st.integers(0, 1000))
        | st.integers(1, 40).map(lambda nuls: b"\0" * nuls + PLAIN)
        | st.builds(combined, host=FIELDS, request=st.sampled_from(UNUSUAL), size=st.sampled_from([0, 10**9]))
    )
    if draw(st.booleans()):
        at = draw(st.integers(0, len(line)))
        instead = draw(FIELDS | st.binary(max_size=2))
        line = line[:at] + instead + line[at + draw(st.integers(0, 2)) :]
    return line.replace(b"\n", b"")


ESCAPES = st.lists(
    st.sampled_from(rb"\x22 \x5C \x5Cx41 \x41 \x78 \x32 \x20 \xED\x95\x9C \xFF \x00 \x16 x 22 a /".split()), max_size=6
)
WRITTEN = ESCAPES.map(b"".join)


@st.composite
def with_escapes(draw: st.DrawFn) -> bytes:
    """A line with escapes of nginx's wherever it may have them, and with requests that are no request line."""
    request = draw(
        st.sampled_from(
            [b"", b"%b", b"GET /%b", b"GET /%b HTTP/1.1", b"GET %b x HTTP/1.1", b"G%b / HTTP/1.1", b"\\x16%b /"]
        )
    )
    request = request % draw(WRITTEN) if b"%b" in request else request
    fields = (draw(WRITTEN), draw(WRITTEN), request, draw(WRITTEN), draw(WRITTEN))
    return b'h%b - %b [18/Apr/2020:01:42:18 +0000] "%b" 200 612 "%b" "%b"' % fields


BLOCKS = st.lists(
    close_to_plain() | with_escapes() | st.just(PLAIN) | LINES | st.sampled_from(KNOWN), min_size=1, max_size=8
)


def check(lines: list[bytes]) -> int:
    """The runs of the lines are what `parse` makes of each; how many were taken the fast way."""
    block = b"".join(line + b"\n" for line in lines)
    taken, fast = b"", 0
    with mock.patch.object(archiver.fast, "FEWEST", 1):
        found = list(runs(block))
    for some, entry in found:
        taken += some
        assert some.endswith(b"\n")
        if entry is None:
            continue
        singly = [parse(line) for line in some.split(b"\n")[:-1]]
        assert entry.text == b"".join(each.text for each in singly)
        assert {entry.hour} == {each.hour for each in singly}
        fast += len(singly)
    assert taken == block
    return fast


@given(BLOCKS)
@example([PLAIN, *(PLAIN[:-1] + end + b'"' for end in (rb"\x", rb"\x22\x", rb"\x4", rb"\x2G"))])
@example([PLAIN, *(PLAIN.replace(b"?b=%20c HTTP/1.1", end) for end in (rb"\x", rb"\x20", rb"\x4", rb" \x HTTP/1.1"))])
@example([PLAIN, b'{"host":"1.2.3.4"}', PLAIN])
@example([b"9" + PLAIN, b"x" + PLAIN[3:], b"", b"junk", PLAIN, b"junk", b"ajunk", b"junk", PLAIN])
@example([PLAIN + b"\r", PLAIN.replace(b" 200 ", b" 020 "), PLAIN.replace(b"]", b"\x85]")])
def test_the_fast_way_is_the_plain_way(lines: list[bytes]) -> None:
    check(lines)


@given(st.binary(max_size=300))
def test_the_fast_way_answers_any_bytes(data: bytes) -> None:
    check(data.split(b"\n"))


def test_ordinary_lines_go_the_fast_way() -> None:
    assert check([PLAIN] * 3) == 3
    hostile = [combined(request=request) for request in (b'GET /" HTTP/1.1', b"GET /\xff", b"\x16\x03\x01\xfc", b"")]
    assert check([*hostile, PLAIN, combined(agent=b'"\xed\x95\x9c')]) == 6
    assert check([PLAIN, b"junk", PLAIN, PLAIN]) == 3
    for zone in (b"+0900", b"-1100"):
        assert check([combined(time=b"18/Apr/2020:01:%02d:59 %b" % (minute, zone)) for minute in (0, 59)]) == 2
    for zone in (b"+0530", b"-0330"):
        assert check([combined(time=b"18/Apr/2020:01:%02d:59 %b" % (minute, zone)) for minute in (40, 49, 50)]) == 2
    assert check([combined(time=b"18/Apr/2020:%02d:00:00 +0000" % hour) for hour in (1, 1, 2, 1)]) == 3


@given(
    BLOCKS,
    st.booleans(),
    st.sampled_from([bytes, gzipped]),
    st.sampled_from([f"{GENERATION}:0", f"{GENERATION}:70000", f"{GENERATION}:5:100", "somebody"]),
    st.sampled_from([1, 100, 300, 10**6]),
)
def test_runs_are_filed_as_their_lines_are(lines: list[bytes], ended: bool, pack: Any, key: str, block: int) -> None:
    data = b"\n".join(lines) + (b"\n" if ended else b"")
    one = kinesis_record(record(pack(data), key))
    with mock.patch.multiple(filing, BLOCK_BYTES=block, MAX_REJECTED=40), mock.patch.object(archiver.fast, "FEWEST", 1):
        plain = list(file_record(one, "logs/"))
        fast = list(file_runs(one, "logs/"))
    assert [(target, line) for target, item in fast for line in item.singly()] == plain
    for _, item in fast:
        assert item.lines == item.text.count(b"\n")
        assert not item.raw or len(item.raw) == item.end - item.start
