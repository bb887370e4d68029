"""The client's address behind proxies, by X-Forwarded-For or the PROXY protocol: only trusted ones name it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from common.settings import SettingsError, load_settings
from tests.unit.nginx.test_requests import CLOSE, FORGED
from tests.unit.nginx.web import Web, application, hello, needs_nginx

Serve = Callable[..., Web]
HERE = "127.0.0.1"  # what these requests come from


def hosts(web: Web) -> list[str]:
    web.stop()
    return [line.split()[0] for line in web.lines()]


@needs_nginx
@pytest.mark.parametrize(
    ("trusted", "header", "client"),
    [
        ("", "203.0.113.9", HERE),
        ("10.0.0.0/8, 127.0.0.2", "203.0.113.9", HERE),
        (HERE, "203.0.113.9", "203.0.113.9"),
        ("private", "203.0.113.9", "203.0.113.9"),
        ("docker,127.0.0.0/8", "203.0.113.9, 172.18.0.5", "203.0.113.9"),
        ("private,198.51.100.0/24", "203.0.113.9, 198.51.100.7, 10.1.2.3", "203.0.113.9"),
        # what stands before the last address that is not trusted, the client may have written itself
        ("private", "10.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("private", "203.0.113.1, evil, 203.0.113.9", "203.0.113.9"),
        ("private", "evil", HERE),
        ("private", "2001:db8::9", "2001:db8::9"),
    ],
)
def test_the_client_is_the_last_address_that_is_not_trusted(
    serve: Serve, trusted: str, header: str, client: str
) -> None:
    web = serve(TRUSTED_PROXIES=trusted)
    web.get("/", f"X-Forwarded-For: {header}")
    assert hosts(web) == [client]


@needs_nginx
def test_an_application_gets_what_trusted_proxies_say_of_address_and_scheme_and_nothing_else(serve: Serve) -> None:
    given = ("X-Forwarded-For: 10.6.6.6, 203.0.113.9", "X-Forwarded-Proto: https")
    others = [each for each in FORGED if not each.startswith(("X-Forwarded-For", "X-Forwarded-Proto"))]
    with application(hello) as app:
        serve(UPSTREAM=app.url, TRUSTED_PROXIES="127.0.0.0/8").get("/", *given, *others)
        serve(UPSTREAM=app.url, TRUSTED_PROXIES="10.0.0.0/8").get("/", *given, *others)
    seen = [sorted(line for line in head.decode().lower().split("\r\n") if line.startswith("x-")) for head in app.heads]
    assert seen == [
        ["x-forwarded-for: 203.0.113.9", "x-forwarded-proto: https", "x-real-ip: 203.0.113.9"],
        [f"x-forwarded-for: {HERE}", "x-forwarded-proto: http", f"x-real-ip: {HERE}"],
    ]


@needs_nginx
def test_limits_are_those_of_the_client(serve: Serve) -> None:
    web = serve(TRUSTED_PROXIES=HERE, LIMIT_REQUESTS="1")
    answers = [web.get("/", f"X-Forwarded-For: 203.0.113.{number}").split()[1] for number in range(12)]
    assert answers == [b"200"] * 12
    same = [web.get("/", "X-Forwarded-For: 203.0.113.99").split()[1] for _ in range(12)]
    assert b"429" in same


@needs_nginx
def test_the_proxy_protocol_names_the_client(serve: Serve) -> None:
    with application(hello) as app:
        web = serve(UPSTREAM=app.url, TRUSTED_PROXIES="private", PROXY_PROTOCOL="1")
        assert web.healthy()
        request = b"GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.1\r\nX-Forwarded-Proto: https\r\n" + CLOSE
        assert b"hello" in web.send(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n" + request)
        assert b"hello" in web.send(b"PROXY UNKNOWN\r\n" + request)
        assert web.send(request) == b"", "without its line of the protocol"
        assert sorted(hosts(web)) == [HERE, "203.0.113.9"]
    assert [re.findall(rb"(?i)x-(?:forwarded|real)-\w+: (\S+)", head) for head in app.heads] == [
        [b"203.0.113.9", b"203.0.113.9", b"http"],
        [HERE.encode(), HERE.encode(), b"http"],
    ]


@needs_nginx
def test_a_proxy_that_is_not_trusted_names_nobody(serve: Serve) -> None:
    web = serve(TRUSTED_PROXIES="10.0.0.0/8", PROXY_PROTOCOL="1")
    web.send(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\nGET / HTTP/1.1\r\n" + CLOSE)
    assert hosts(web) == [HERE]


@pytest.mark.parametrize(
    ("trusted", "rule"),
    [
        ("0.0.0.0/0", "any client in 0.0.0.0/0 could name"),
        ("::/0", "any client in ::/0 could"),
        ("0.0.0.0/1,128.0.0.0/1", "0.0.0.0/0"),
        (",".join(f"{first}.0.0.0/8" for first in range(32, 64)), "32.0.0.0/3"),
        ("2000::/3", "2000::/3"),
        ("docker,everywhere", "docker or private"),
        ("10.0.0.1/8", "docker or private"),
        ("10.0.0.1; deny all", "docker or private"),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, trusted: str, rule: str
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", trusted)
    with pytest.raises(SettingsError, match=re.escape(rule)):
        load_settings()


def test_the_proxy_protocol_alone_would_name_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXY_PROTOCOL", "1")
    with pytest.raises(SettingsError, match="-e TRUSTED_PROXIES=docker"):
        load_settings()
