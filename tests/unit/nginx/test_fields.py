"""What the real nginx logs for FIELDS, read as the function reads it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

from archiver.fields import TABLE
from archiver.format import compiled
from archiver.parse import parse
from tests.unit.nginx.web import Web, application, hello, needs_nginx

Serve = Callable[..., Web]
EVERY = tuple(field.name for field in TABLE)
KIM = f"Authorization: Basic {base64.b64encode(b'Kim Lee:secret').decode()}"


def entries(web: Web, count: int, fields: tuple[str, ...] = EVERY) -> list[dict[str, Any]]:
    return [json.loads(parse(line.encode(), compiled("combined", fields)).text) for line in web.wait(count)]


@needs_nginx
def test_each_field_has_what_it_says(serve: Serve) -> None:
    with application(hello) as app:
        web = serve(FIELDS=",".join(EVERY), UPSTREAM=app.url)
        request = f'GET /a HTTP/1.1\r\nHost: Example.org:81\r\nConnection: close\r\n{KIM}\r\nReferer: http://b/"\\\r\n'
        request += 'X-Forwarded-For: 10.0.0.1, " requestId="\r\nUser-Agent: a" requestTime=9.000\r\n\r\n'
        web.send(request.encode())
        [entry] = entries(web, 1)
    assert list(entry)[7:] == list(EVERY)
    assert 0 <= entry.pop("requestTime") < 9
    assert re.fullmatch(r"\d+\.\d{3}", entry.pop("upstreamTime"))
    assert re.fullmatch(r"[0-9a-f]{32}", entry.pop("requestId"))
    assert {name: entry[name] for name in ("userAgent", *EVERY) if name in entry} == {
        "userAgent": 'a" requestTime=9.000',
        "bytes": 5,
        "referer": 'http://b/"\\',
        "user": "Kim Lee",
        "forwardedFor": '10.0.0.1, " requestId="',
        "serverName": "example.org",
        "scheme": "http",
        "requestLength": len(request),
        "upstreamStatus": "200",
    }


@needs_nginx
def test_what_there_is_not_is_null(serve: Serve) -> None:
    web = serve(FIELDS=",".join(EVERY))
    web.get("/")
    web.send(b"\x16\x03\x01\r\n\r\n")
    for entry in entries(web, 2):
        for name in ("referer", "user", "forwardedFor", "upstreamTime", "upstreamStatus"):
            assert entry[name] is None


@needs_nginx
def test_lines_of_other_fields_are_entries_all_the_same(serve: Serve) -> None:
    web = serve(FIELDS="requestTime,upstreamStatus")
    web.get("/")
    [entry] = entries(web, 1, ("bytes", "requestTime"))
    assert (entry["bytes"] > 0, entry["requestTime"]) == (True, None)


@needs_nginx
def test_a_variable_that_combined_has_is_a_field_by_its_own_name(serve: Serve) -> None:
    web = serve(FIELDS="request,requestTime,remote_addr", DROP_QUERY="all", ANONYMIZE_IP="true")
    web.get("/a?b=c")
    [entry] = entries(web, 1, ("request", "requestTime", "remote_addr"))
    assert (entry["requestTime"] is not None, entry["request"]) == (True, "GET /a HTTP/1.1")
    assert entry["remote_addr"] == entry["host"] == "127.0.0.0"
