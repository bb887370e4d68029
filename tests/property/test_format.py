"""Of every format: fields never shift, whatever a client sends, and a block is read as its lines are."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

import archiver.fast
from archiver.fast import runs
from archiver.fields import DECIMAL, INTEGER, TABLE, FormatError
from archiver.format import Format, compiled
from archiver.parse import parse, visible
from tests.lambda_events import escaped

SEEN = [
    b'"',
    b"\\",
    b"\\x22",
    b"-",
    b"[",
    b"]",
    b" ",
    b"  ",
    b":",
    b",",
    b", ",
    b" : ",
    b"|",
    b"\t",
    b"1",
    b"200",
    b"null",
]
SENT = st.lists(st.sampled_from([*SEEN, b'":', b"{", b"}", b"\xed\x95\x9c", b"GET / HTTP/1.1"]) | st.binary(max_size=3))
TEXTS = SENT.map(b"".join).map(lambda text: text.replace(b"\n", b"")) | st.just(b"-") | st.just(b"curl/8")
NUMBERS = st.sampled_from([b"0", b"5", b"1234567890123456789012"])
WORDS = st.sampled_from([b"-", b"https", b"a_b:c", b"f00"])
ISO, LOCAL = b"2020-04-18T01:42:18+00:00", b"18/Apr/2020:01:42:18 +0000"
NEEDED: dict[str, st.SearchStrategy[bytes]] = {
    "remote_addr": st.sampled_from([b"1.2.3.4", b"::1", b"unix:"]),
    "request": TEXTS | st.just(b"GET /a HTTP/1.1"),
    "status": st.sampled_from([b"200", b"404", b"000"]),
}
MORE = {
    "http_user_agent": TEXTS,
    "http_referer": TEXTS,
    "remote_user": TEXTS,
    "http_x_forwarded_for": TEXTS,
    "cookie_a": TEXTS,
    "body_bytes_sent": NUMBERS,
    "request_length": NUMBERS | st.just(b"-"),
    "request_time": st.sampled_from([b"0.000", b"12.345", b"-", b"7"]),
    "upstream_response_time": st.sampled_from([b"-", b"0.1", b"0.1, 0.2", b"0.1 : 0.2, -"]),
    "upstream_status": st.sampled_from([b"-", b"200", b"502, 200", b"- : 200"]),
    "scheme": WORDS,
    "request_id": WORDS,
    "host": st.sampled_from([b"example.org", b"[::1]", b"a"]),
    "server_port": NUMBERS,
    "mine": WORDS,
}
SEPARATORS = st.sampled_from([" ", '" "', '"', " - ", "] [", "\t", "|", ": ", '" ', ' "', " [", "] ", "' '", '","x":"'])
Line = tuple[str, list[str], list[dict[str, bytes]]]


@st.composite
def logs(draw: st.DrawFn) -> Line:
    """A format, fields of it, and what the variables of some lines hold."""
    clock = draw(st.sampled_from(["time_local", "time_iso8601"]))
    chosen = [*NEEDED, clock, *draw(st.lists(st.sampled_from([*MORE]), unique=True, max_size=6))]
    order = draw(st.permutations(chosen))
    text = draw(st.sampled_from(["", "[", '"', "{"]))
    for name in order:
        text += f"${{{name}}}" + draw(SEPARATORS)
    values = {clock: st.just(ISO if clock == "time_iso8601" else LOCAL)} | NEEDED | MORE
    one = st.fixed_dictionaries({name: values[name] for name in order})
    fields = [field.name for field in TABLE if set(field.variables) & {*order}]
    fields += [name for name in ("cookie_a", "mine") if name in order]
    return text, draw(st.lists(st.sampled_from(fields), unique=True)) if fields else [], draw(st.lists(one, min_size=1))


def written(text: str, values: dict[str, bytes]) -> bytes:
    line = text.encode()
    for name in values:
        line = line.replace(f"${{{name}}}".encode(), b"\0" + name.encode() + b"\0")
    for name, value in values.items():
        line = line.replace(b"\0" + name.encode() + b"\0", escaped(value))
    return line


def check(lines: list[bytes], format_: Format) -> int:
    """The runs of the lines are what `parse` makes of each; how many were taken the fast way."""
    block = b"".join(line + b"\n" for line in lines)
    taken, fast = b"", 0
    with mock.patch.object(archiver.fast, "FEWEST", 1):
        found = list(runs(block, format_))
    for some, entry in found:
        taken += some
        if entry is not None:
            singly = [parse(line, format_) for line in some.split(b"\n")[:-1]]
            assert entry.text == b"".join(each.text for each in singly)
            assert {entry.hour} == {each.hour for each in singly}
            fast += len(singly)
    assert taken == block
    return fast


def expected(values: dict[str, bytes], name: str) -> Any:
    field = next((field for field in TABLE if field.name == name), None)
    variable = next(each for each in field.variables if each in values) if field else name
    value = values[variable]
    if value in (b"", b"-"):
        return None
    return json.loads(value) if field and field.kind in (INTEGER, DECIMAL) else visible(value)


@given(logs())
def test_fields_never_shift(log: Line) -> None:
    """A line that is an entry has each value where it belongs; only what a variable cannot hold makes it none."""
    text, fields, drawn = log
    try:
        format_ = compiled(text, tuple(fields))
    except FormatError:
        return
    lines = [written(text, values) for values in drawn]
    for line, values in zip(lines, drawn, strict=True):
        entry = json.loads(parse(line, format_).text)
        assert entry["host"] == values["remote_addr"].decode()
        assert entry["time"] == "2020-04-18T01:42:18.000Z"
        assert entry["status"] == int(values["status"])
        assert entry["userAgent"] == visible(values.get("http_user_agent", b""))
        parts = [entry[key] for key in ("method", "path", "httpVersion") if entry[key]]
        assert " ".join(parts) == visible(values["request"])
        for name in fields:
            assert entry[name] == expected(values, name), line
        assert list(entry)[:7] == ["host", "time", "method", "path", "httpVersion", "status", "userAgent"]
        assert {*list(entry)[7:]} == {*fields}
    check(lines, format_)


@given(logs(), st.data())
def test_a_block_is_read_as_its_lines_are(log: Line, data: st.DataObject) -> None:
    text, fields, drawn = log
    try:
        format_ = compiled(text, tuple(fields))
    except FormatError:
        return
    lines = [written(text, values) for values in drawn]
    for number, line in enumerate(lines):
        at = data.draw(st.integers(0, len(line)))
        instead = data.draw(st.sampled_from([b"", *SEEN, b'null"', b"{", b"\1", b"\x80"]))
        if data.draw(st.booleans()):
            lines[number] = line[:at] + instead + line[at + data.draw(st.integers(0, 2)) :]
    check(lines, format_)
