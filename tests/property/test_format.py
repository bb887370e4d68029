"""Of every format: fields never shift, whatever a client sends, and a block is read as its lines are."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import Any
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

import archiver.fast
from archiver.fast import runs
from archiver.fields import DECIMAL, INTEGER, TABLE, FormatError
from archiver.format import Format, compiled, own_format
from archiver.parse import NotInFormatError, parse, visible
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
    "upstream_response_time": st.sampled_from([b"-", b"0.1", b"0.1, 0.2", b"0.1 : 0.2, -", b"0.1 : "]),
    "upstream_status": st.sampled_from([b"-", b"200", b"502, 200", b"- : 200"]),
    "scheme": WORDS,
    "request_id": WORDS,
    "host": st.sampled_from([b"example.org", b"[::1]", b"a", b""]),
    "server_port": NUMBERS | st.just(b""),
    "remote_port": NUMBERS | st.just(b""),
    "mine": WORDS,
}
SEPARATORS = st.sampled_from(
    [" ", '" "', '"', " - ", "] [", "\t", "|", ":", ",", "-", "=", ": ", '" ', ' "', " [", "] ", "' '", '","x":"']
)
# What else a client can make nginx write: such a line may be rejected
ODD_HOSTS = st.lists(st.sampled_from([b":", b"80", b"a", b"]", b"|", b"=", b",", b"::1"])).map(b"".join)
UNUSUAL = MORE | {
    "host": ODD_HOSTS.map(lambda text: b"[" + text.partition(b"]")[0] + text.partition(b"]")[1]),
    "mine": TEXTS | st.just(b": 5 x"),
    "req_id": TEXTS | st.just(b": 5 x"),
}
Line = tuple[str, list[str], list[dict[str, bytes]]]


@st.composite
def logs(draw: st.DrawFn, more: dict[str, st.SearchStrategy[bytes]] = MORE) -> Line:
    """A format, fields of it, and what the variables of some lines hold."""
    clock = draw(st.sampled_from(["time_local", "time_iso8601"]))
    chosen = [*NEEDED, clock, *draw(st.lists(st.sampled_from([*more]), unique=True, max_size=6))]
    order = draw(st.permutations(chosen))
    text = draw(st.sampled_from(["", "[", '"', "{"]))
    for name in order:
        text += f"${{{name}}}" + draw(SEPARATORS)
    values = {clock: st.just(ISO if clock == "time_iso8601" else LOCAL)} | NEEDED | more
    one = st.fixed_dictionaries({name: values[name] for name in order}).map(of_the_same_upstreams)
    fields = [field.name for field in TABLE if set(field.variables) & {*order}]
    fields += [name for name in ("cookie_a", "mine", "remote_port") if name in order]
    return text, draw(st.lists(st.sampled_from(fields), unique=True)) if fields else [], draw(st.lists(one, min_size=1))


def of_the_same_upstreams(values: dict[str, bytes]) -> dict[str, bytes]:
    """As nginx writes the lists of one line. Of one list alone, ` : ` may be what a variable behind it begins with."""
    lists = [name for name in values if name.startswith("upstream_")]
    if len(lists) > 1:
        values[lists[1]] = re.sub(rb"[\d.]+", b"200", values[lists[0]])
    elif lists and "mine" in values:
        values[lists[0]] = values[lists[0]].partition(b" : ")[0]
    return values


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


def check_entry(entry: dict[str, Any], values: dict[str, bytes], fields: list[str]) -> None:
    assert entry["host"] == values["remote_addr"].decode()
    assert entry["time"] == "2020-04-18T01:42:18.000Z"
    assert entry["status"] == int(values["status"])
    assert entry["userAgent"] == visible(values.get("http_user_agent", b""))
    parts = [entry[key] for key in ("method", "path", "httpVersion") if entry[key]]
    assert " ".join(parts) == visible(values["request"])
    for name in fields:
        assert entry[name] == expected(values, name)
    assert list(entry)[:7] == ["host", "time", "method", "path", "httpVersion", "status", "userAgent"]
    assert {*list(entry)[7:]} == {*fields}


@given(logs())
@example(
    (
        "${remote_addr}: ${request} ${status} ${time_local}",
        [],
        [{"remote_addr": b"::1", "request": b"-", "status": b"200", "time_local": LOCAL}],
    )
)
def test_fields_never_shift(log: Line) -> None:
    """A line that is an entry has each value where it belongs; only what a variable cannot hold makes it none."""
    text, fields, drawn = log
    try:
        format_ = compiled(text, tuple(fields))
    except FormatError:
        return
    lines = [written(text, values) for values in drawn]
    for line, values in zip(lines, drawn, strict=True):
        check_entry(json.loads(parse(line, format_).text), values, fields)
    check(lines, format_)


@given(logs(UNUSUAL))
@example(
    (
        "${host}:${remote_addr} ${time_local} ${status} ${request}",
        ["serverName"],
        [{"host": b"[a:1", "remote_addr": b"::1", "time_local": LOCAL, "status": b"200", "request": b"-"}],
    )
)
@example(
    (
        '${remote_addr} ${time_local} ${status} "${request}" ${upstream_status} ${req_id}',
        ["upstreamStatus", "requestId"],
        [
            {"remote_addr": b"::1", "time_local": LOCAL, "status": b"200", "request": b"-"}
            | {"upstream_status": b"200", "req_id": b": 5 x"}
        ],
    )
)
def test_fields_do_not_shift_where_a_client_writes_what_its_variable_is_not_for(log: Line) -> None:
    text, fields, drawn = log
    try:
        format_ = compiled(text, tuple(fields))
    except FormatError:
        return
    for values in drawn:
        with suppress(NotInFormatError):
            check_entry(json.loads(parse(written(text, values), format_).text), values, fields)


OWN = [field.name for field in TABLE]
FIELDS = st.lists(st.sampled_from(OWN), unique=True).map(tuple)


@given(FIELDS, FIELDS, st.fixed_dictionaries(NEEDED | MORE | {"host": TEXTS}), st.booleans())
def test_in_the_containers_own_log_no_field_shifts_when_the_fields_change(
    logged: tuple[str, ...], fields: tuple[str, ...], values: dict[str, bytes], same: bool
) -> None:
    """A line has what its own FIELDS say; other ones than it has are null, but for those that combined has."""
    fields = logged if same else fields
    values = values | {"time_local": LOCAL}
    text = re.sub(r"\$(\w+)", r"${\1}", own_format(logged))
    line = written(text, {name: values[name] for name in re.findall(r"{(\w+)}", text)})
    entry = json.loads(parse(line, compiled("combined", fields)).text)
    assert entry["userAgent"] == visible(values["http_user_agent"])
    assert list(entry)[7:] == [name for name in OWN if name in fields]
    pairs = [{*names} - {"bytes", "referer", "user"} for names in (logged, fields)]
    for name in fields:
        there = pairs[0] == pairs[1] or name not in pairs[1]
        assert entry[name] == (expected(values, name) if there else None)
    check([line, line], compiled("combined", fields))


BARE = ("request_length", "request_time", "upstream_response_time", "upstream_status")


def json_escaped(data: bytes) -> bytes:
    """A variable as nginx writes it: ngx_escape_json, `escape=json`."""
    short = {
        b"\n"[0]: b"\\n",
        b"\r"[0]: b"\\r",
        b"\t"[0]: b"\\t",
        8: b"\\b",
        12: b"\\f",
        b'"'[0]: b'\\"',
        b"\\"[0]: rb"\\",
    }
    return b"".join(short.get(byte, b"\\u%04X" % byte if byte < 32 else bytes([byte])) for byte in data)


@given(logs(), st.permutations([*NEEDED, *MORE, "msec"]), st.sampled_from([b",", b", ", b" ,\t"]), st.data())
def test_in_json_no_field_shifts_either(log: Line, order: list[str], comma: bytes, data: st.DataObject) -> None:
    """Members in any order, with whatever is between them; numbers bare or as texts."""
    _, _, drawn = log
    there = [name for name in order if name in drawn[0]]
    clock = {"time_iso8601": ISO} if "time_iso8601" in drawn[0] else {"time_local": LOCAL}
    fields = [field.name for field in TABLE if {*field.variables} & {*there}] + [n for n in ("mine",) if n in there]
    format_ = compiled("json", tuple(fields))
    others = data.draw(st.sampled_from([[], [b'"other":[{"status":1}]']]))
    lines = []
    for values in drawn:
        members = []
        for name in [*there, *clock]:
            value = (values | clock)[name]
            # nginx writes no value as nothing, and the same of several upstreams as a list
            number = name in BARE or bool(re.fullmatch(rb"0|[1-9]\d*|\d\.\d+", value))
            if name in BARE and value == b"-" and data.draw(st.booleans()):
                value = b""
            bare = number and data.draw(st.booleans())
            members.append(b'"%b":%b' % (name.encode(), value if bare else b'"%b"' % json_escaped(value)))
        lines.append(b"{" + comma.join([*members, *others]) + b"}")
        entry = json.loads(parse(lines[-1], format_).text)
        assert entry["userAgent"] == visible(values.get("http_user_agent", b""))
        assert entry["status"] == int(values["status"])
        for name in fields:
            assert entry[name] == expected(values, name), lines[-1]
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
