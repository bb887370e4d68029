"""Of a host's log nothing rests that is to be left out, no line gets lost over it, and a block is kept as its lines."""

from __future__ import annotations

import json
import re
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

import archiver.fast
from archiver import filing
from archiver.event import kinesis_record
from archiver.filing import Item, file_record, file_runs
from archiver.kept import format_of
from archiver.layout import HourlyObject
from tests.lambda_events import combined, escaped, record

Filed = list[tuple[HourlyObject, Item]]

SECRET = b"h1dden"
PIECES = [b"?", b"&", b";", b"=", b"%", b"%3F", b"%26", b"%3d", b"%25", b"[", b"]", b"+", b"/", b" ", b'"', b"\\", b","]
PIECES += [b"token", b"TOKEN", b"%74oken", b"a", b"\xff", b"\x01", b'","path":"', b'{"host":"', b"null", b"/health"]
TEXTS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=2), max_size=9).map(
    lambda pieces: b"".join(pieces).replace(b"\n", b"")
)
NAMED = st.sampled_from([b"?token=", b"&TOKEN=", b"?%74oken=", b"%26token%3D", b";token[a]=", b"?+token%5B%5D="])
ADDRESSES = st.sampled_from(
    [b"203.0.113.77", b"10.0.0.77", b"::ffff:203.0.113.77", b"2001:db8:1:2::77", b"fc00::77", b"unix:", b"-", b"a.b"]
)
PORTS = st.sampled_from([b"[2001:db8:1:2::77]:4711", b"203.0.113.77:4711"])
HOPS = st.lists(ADDRESSES | PORTS | TEXTS, max_size=4).map(lambda hops: b", ".join(hops))


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    target = b"/" + draw(TEXTS) + draw(st.just(b"") | NAMED.map(lambda name: b"?" + name + SECRET)) + draw(TEXTS)
    line = combined(
        host=draw(ADDRESSES),
        request=b"%b %b HTTP/1.1"
        % (draw(st.sampled_from([b"GET", b"POST"])), draw(st.just(b"/health") | st.just(target))),
        status=draw(st.sampled_from([200, 301, 404, 503])),
        referer=draw(st.just(b"-") | st.just(b"http://b" + target)),
        agent=draw(TEXTS | st.just(b"kube-probe/1")),
    )
    return line + b' "%b"' % escaped(draw(HOPS))


GIVEN = st.fixed_dictionaries(
    {"ACCESS_LOG_FORMAT": st.just("main"), "FIELDS": st.sampled_from(["", "referer", "bytes,referer,forwardedFor"])},
    optional={
        "TRUSTED_PROXIES": st.just("10.0.0.0/8,fc00::/7"),
        "ANONYMIZE_IP": st.just("1"),
        "DROP_QUERY": st.sampled_from(["all", "token,code"]),
        "LOG_SKIP": st.sampled_from(["/health", "/health,agent:kube-probe/", "/*a"]),
    },
)
LINES = st.lists(lines() | TEXTS, min_size=1, max_size=8)


def filed(drawn: list[bytes], given: dict[str, str]) -> tuple[Filed, Filed]:
    one = kinesis_record(record(b"".join(line + b"\n" for line in drawn)))
    with mock.patch.object(archiver.fast, "FEWEST", 1), mock.patch.object(filing, "BLOCK_BYTES", 400):
        return list(file_record(one, "", format_of(given))), list(file_runs(one, "", format_of(given)))


def singly(items: Filed) -> list[tuple[HourlyObject, Item]]:
    return [(target, line) for target, item in items if item.text for line in item.singly()]


@given(LINES, GIVEN)
def test_a_block_is_kept_as_its_lines_are_and_each_line_has_its_place(
    drawn: list[bytes], given: dict[str, str]
) -> None:
    plain, fast = filed(drawn, given)
    assert singly(plain) == singly(fast)
    size = sum(len(line) + 1 for line in drawn)
    for items in (plain, fast):
        at = 0
        for _, item in items:
            assert item.start == at
            assert item.lines == item.text.count(b"\n")
            at = item.end
        assert at == size
    # no line is left out but for LOG_SKIP, and none of those of 400 and above; none changes its object
    every, _ = filed(drawn, {name: value for name, value in given.items() if name == "ACCESS_LOG_FORMAT"})
    assert [target for target, _ in plain] == [target for target, _ in every]
    for (target, item), (_, before) in zip(plain, every, strict=True):
        assert item.text or ("LOG_SKIP" in given and not target.rejected and json.loads(before.text)["status"] < 400)


@given(LINES, GIVEN)
@example([combined(request=b"GET /?token[" + b"\x01" * 40 + b"]=h1dden HTTP/1.1") + b' "-"'], {"DROP_QUERY": "token"})
def test_nothing_rests_of_what_is_left_out(drawn: list[bytes], given: dict[str, str]) -> None:
    given |= {"ACCESS_LOG_FORMAT": "main"}
    for target, item in filed(drawn, given)[1]:
        if target.rejected or not item.text:
            continue
        for line in item.text.splitlines():
            entry = json.loads(line)
            if given.get("DROP_QUERY") == "all":
                assert not re.search(r"\?|%(?:25)*3f", entry["path"] + (entry.get("referer") or ""), re.I)
            if "DROP_QUERY" in given:
                assert SECRET not in line
            if "ANONYMIZE_IP" in given:
                assert not re.search(r"\.77|:77", entry["host"] + (entry.get("forwardedFor") or ""))


@given(LINES, GIVEN)
def test_what_is_kept_stays_as_it_is(drawn: list[bytes], given: dict[str, str]) -> None:
    format_ = format_of({**given, "TRUSTED_PROXIES": ""})
    for target, item in filed(drawn, {**given, "TRUSTED_PROXIES": ""})[0]:
        if format_.kept and item.text:
            assert list(format_.kept.filed(iter([(target, item)]))) == [(target, item)]
