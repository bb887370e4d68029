"""Formats and fields by example: lines and what becomes of them; which formats are refused, and how it is said."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import archiver.fast
from archiver.fast import FEWEST, runs
from archiver.fields import TABLE, FormatError, names
from archiver.format import JSON, NAMED, compiled, own_format
from archiver.kinds import DECIMAL
from archiver.parse import NotInFormatError, parse
from archiver.rule import rule
from tests.lambda_events import combined

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "formats.json").read_text())["lines"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["about"]))
def test_golden_line(case: dict[str, Any]) -> None:
    format_ = compiled(case["format"], names(case.get("fields", "")))
    line = case["line"].encode()
    if "rejected" in case:
        with pytest.raises(NotInFormatError) as caught:
            parse(line, format_)
        assert str(caught.value) == case["rejected"]
        return
    entry = parse(line, format_)
    assert json.loads(entry.text) == case["entry"]
    assert list(json.loads(entry.text)) == list(case["entry"])
    block = (line + b"\n") * FEWEST
    found = list(runs(block, format_))
    assert found == ([(block, None)] if case.get("slow") else [(block, (entry.hour, entry.text * FEWEST))])


def test_each_named_format_has_golden_lines() -> None:
    assert {case["format"] for case in GOLDEN} >= {*NAMED, JSON}
    assert {name for case in GOLDEN for name in names(case.get("fields", ""))} >= {field.name for field in TABLE}


def bodies(expression: Any) -> Iterator[list[tuple[str, Any]]]:
    """What the possessive groups of an expression repeat."""
    for part in expression if isinstance(expression, list | tuple) or hasattr(expression, "data") else ():
        if isinstance(part, tuple) and str(part[0]) == "POSSESSIVE_REPEAT":
            yield [(str(name), value) for name, value in part[1][2]]
        yield from bodies(part)


def test_python_before_3_11_5_reads_the_same() -> None:
    """Where a possessive group fails it may go on at the last repetition, alternative or look around within (CPython
    gh-106052). So these stand where nothing can fail any more, or at the beginning."""
    compiled.cache_clear()
    rule.cache_clear()
    with mock.patch.object(re, "compile", wraps=re.compile) as spy, mock.patch.object(archiver.fast, "FEWEST", 1):
        for case in GOLDEN:
            list(runs(case["line"].encode() + b"\n", compiled(case["format"], names(case.get("fields", "")))))
            list(runs(b"\n".join([case["line"].encode(), combined(request=b"GET /\\xFF"), b""])))
    expressions = {call.args[0] for call in spy.call_args_list}
    assert len(expressions) >= len({case["format"] for case in GOLDEN})
    grammar = importlib.import_module("re._parser")
    single = {"LITERAL", "NOT_LITERAL", "IN", "ANY"}
    seen = [body for expression in expressions for body in bodies(grammar.parse(expression, re.DOTALL))]
    groups = [body for body in seen if len(body) > 1]
    assert groups
    for first, *middle, (last, value) in groups:
        assert first[0] in {*single, "BRANCH", "SUBPATTERN"}, first
        assert {name for name, _ in middle} <= single, middle
        assert last in single or (last.endswith("REPEAT") and value[0] == 0), last


def test_lines_with_and_without_a_value_are_one_run() -> None:
    format_ = compiled("combined", ("referer",))
    lines = [combined(referer=b"-" if number % 3 else b"http://a/") for number in range(FEWEST * 4)]
    block = b"".join(line + b"\n" for line in lines)
    [(raw, entry)] = runs(block, format_)
    assert raw == block
    assert entry
    assert entry.text == b"".join(parse(line, format_).text for line in lines)


def test_two_fields_of_one_variable() -> None:
    format_ = compiled("combined", ("bytes", "body_bytes_sent"))
    line = combined()
    [(_, entry)] = runs((line + b"\n") * FEWEST, format_)
    assert entry
    assert entry.text == parse(line, format_).text * FEWEST


MAIN = """'$remote_addr - $remote_user [$time_local] "$request" '
    '$status $body_bytes_sent "$http_referer" '
    '"$http_user_agent" "$http_x_forwarded_for"'"""
PASTED = [
    (MAIN, "main"),
    (f" log_format  main  {MAIN};\n", "main"),
    (f"log_format main escape=default {MAIN} ;", "main"),
    (
        r"""log_format a "$remote_addr [$time_local] \"$request\" " '$status';""",
        '$remote_addr [$time_local] "$request" $status',
    ),
    (
        """log_format j escape=json '{'
        '"t":"$msec","a":"$remote_addr","r":"$request",'
        '"s":$status}';""",
        'json:{"t":"msec","a":"remote_addr","r":"request","s":"status"}',
    ),
]


@pytest.mark.parametrize(("pasted", "meant"), PASTED)
def test_a_log_format_is_taken_as_it_is_in_the_configuration(pasted: str, meant: str) -> None:
    there, wanted = compiled(pasted, ("remote_addr",)), compiled(meant, ("remote_addr",))
    assert (there.parts, there.behind, there.keys) == (wanted.parts, wanted.behind, wanted.keys)


NEEDED = '[$time_local] "$request" $status'


@pytest.mark.parametrize(
    ("text", "fields", "said"),
    [
        ("apache", "", "use combined, main, common, vhost_combined, json, or a log_format of nginx's"),
        (f"$remote_addr$remote_user {NEEDED}", "", "nothing separates $remote_addr from $remote_user"),
        (
            f"$remote_addr $remote_user $http_referer {NEEDED}",
            "",
            "$remote_user and $http_referer cannot be told apart",
        ),
        (
            f"$http_referer $http_cookie $remote_addr {NEEDED}",
            "",
            "$http_referer and $http_cookie cannot be told apart",
        ),
        (
            f"$remote_addr {NEEDED} $upstream_status, $upstream_addr",
            "",
            "$upstream_status and $upstream_addr cannot be told",
        ),
        (
            f'$remote_addr {NEEDED} $upstream_status $server_name: $mine "$http_x"',
            "",
            "$upstream_status and $mine cannot be told",
        ),
        (f"$remote_addr {NEEDED} ${{request_length}}0", "", "$request_length cannot be told from '0' behind it"),
        (f"$remote_addr {NEEDED} $host-$server_port", "", "$host cannot be told from '-' behind it"),
        (f"$remote_addr {NEEDED} $http_x:$host", "", "$http_x and $host cannot be told apart"),
        (f"$remote_addr {NEEDED} $scheme:$host", "", "$scheme and $host cannot be told apart"),
        (
            f"$remote_addr {NEEDED} $server_protocol $http2 $http_user_agent",
            "",
            "$server_protocol and $http_user_agent cannot be told apart",
        ),
        (f"$host:$remote_addr {NEEDED}", "", "$host and $remote_addr cannot be told apart"),
        (f"$host:$server_port:$remote_addr {NEEDED}", "", "$host and $remote_addr cannot be told apart"),
        (f"$remote_addr {NEEDED} $host:|$http_x", "", "$host and $http_x cannot be told apart"),
        (f"$remote_addr {NEEDED} $http_x=:$host", "", "$http_x and $host cannot be told apart"),
        (NEEDED, "", "it lacks $remote_addr or $realip_remote_addr"),
        ('$remote_addr "$request" $status', "", "it lacks $time_local or $time_iso8601 or $msec"),
        ('$remote_addr [$time_local] "$request"', "", "it lacks $status"),
        (
            "$remote_addr [$time_local] $status $request_method",
            "",
            "it lacks $request, or $request_method, $request_uri",
        ),
        (f"$remote_addr {NEEDED} $", "", "' $' of it can be no part of a line"),
        (f"$remote_addr {NEEDED} \n", "", "of it can be no part of a line"),
        (f"escape=none $remote_addr {NEEDED}", "", "with escape=none a client could write what it likes"),
        ("main", "bytes,requestTime", "the field requestTime needs $request_time, which the format lacks"),
        ("combined", "mine", "the field mine needs $mine, which the format lacks"),
        ("main", "status", "'status' can be no field"),
        ("main", "a b", "'a b' can be no field"),
        ("json:{", "", "it is no JSON object of keys and variables"),
        ('json:{"a":"status"}', "", "it lacks $remote_addr or"),
        ('escape=json {"http":{"a":"$remote_addr"},"s":$status}', "", ", as the whole value of a key that is in no in"),
        (
            'json:{"a":"remote_addr","t":"msec","s":"status","r":"$request_method $uri"}',
            "",
            "$request_uri and $server_protocol, as",
        ),
        ('json:{"a":"status","a":"status"}', "", "it has a key twice"),
        (json.dumps({"json": 1}), "", "use combined"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused_by_name(text: str, fields: str, said: str) -> None:
    with pytest.raises(FormatError) as caught:
        compiled(text, names(fields))
    assert said in str(caught.value)


@pytest.mark.parametrize("listed", [b"200", b"502, 200", b"502 : 200, -"])
@pytest.mark.parametrize("named", [b"", b"a", b"[::1]"])
def test_where_a_host_may_be_empty_a_list_does_not_take_in_what_is_behind_it(listed: bytes, named: bytes) -> None:
    format_ = compiled(f"$remote_addr {NEEDED} $upstream_status $host: $scheme")
    line = b'1.2.3.4 [18/Apr/2020:01:42:18 +0000] "-" 400 %b %b: https' % (listed, named)
    values = format_.values(line) or {}
    assert [values.get(name) for name in ("upstream_status", "host", "scheme")] == [listed, named, b"https"]


def test_without_fields_nothing_of_the_default_has_changed() -> None:
    assert parse(combined(), compiled("combined")).text == parse(combined()).text
    assert own_format(()) == NAMED["combined"]


def test_each_field_of_the_containers_log_has_a_name_before_it() -> None:
    every = tuple(field.name for field in TABLE)
    tail = own_format(every).removeprefix(NAMED["combined"])
    assert [pair.partition("=")[0] for pair in tail.split()] == [
        name for name in every if name not in ("bytes", "referer", "user")
    ]


def test_a_number_ends_before_a_point_that_no_digit_follows() -> None:
    """Python before 3.11.5 takes the point in where the digits behind it are an optional possessive group."""
    assert re.findall(DECIMAL.shape or b"", b"80. 0.5 -") == [b"80", b"0.5", b"-"]
