"""What the real nginx leaves out of a line before the disk, and which requests have none."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

import pytest

from appliance.lines import HOPS, TIMES
from archiver.fields import TABLE
from tests.unit.nginx.test_requests import CLOSE, ODD
from tests.unit.nginx.web import Web, application, hello, needs_nginx, rest

Serve = Callable[..., Web]
SECRET = "h1dden"


def logged(web: Web, sent: Iterable[str | bytes], header: str = "X-Any: {}") -> list[str]:
    """The lines of these paths, or of requests as they are, from the request on. Workers write at the same time."""
    for number, request in enumerate(sent, 1):
        if isinstance(request, str):
            web.get(request, header.format(request))
        else:
            with web.connect() as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                rest(client)
        web.wait(number)
    return [line.partition("] ")[2] for line in web.lines()]


# Queries

NAMED = {
    "/?a=1&token=h1dden&b=2": "/?a=1&token=&b=2",
    "/?token=h1dden": "/?token=",
    "/?TOKEN=h1dden&Token=h1dden": "/?TOKEN=&Token=",
    "/?a=1;token=h1dden": "/?a=1;token=",
    "/?token=h1dden;h1dden&b=2": "/?token=&b=2",
    "/?%74o%6Ben=h1dden": "/?%74o%6Ben=",
    "/?%2574oken=h1dden": "/?%2574oken=",
    "/?%54oken%3dh1dden": "/?%54oken%3d",
    "/?token[a]=h1dden&token%5B%5D=h1dden": "/?token[a]=&token%5B%5D=",
    "/?token%5b%5d%3dh1dden": "/?token%5b%5d%3d",
    "/?+token=h1dden&%20token=h1dden": "/?+token=&%20token=",
    "/?to=https%3A%2F%2Fb%2F%3Ftoken%3Dh1dden%26c%3Dh1dden&d=4": "/?to=https%3A%2F%2Fb%2F%3Ftoken%3D&d=4",
    "/a%3Ftoken=h1dden": "/a%3Ftoken=",
    "/?a=1?token=h1dden": "/?a=1?token=",
    "/?token=h1dden=h1dden/h1dden": "/?token=",
    "/?token=%26h1dden": "/?token=",
    '/?a="&token="h1dden"&b=\\': r"/?a=\x22&token=&b=\x5C",
    "/?access_token=h1dden&code=3": "/?access_token=&code=3",
    f"/{'?token=h1dden&a=1' * TIMES}": f"/{'?token=&a=1' * TIMES}",
    f"/{'?token=h1dden&a=1' * (TIMES + 1)}": "/",
    # none of these is the parameter
    "/?tokens=1&atoken=2&token": "/?tokens=1&atoken=2&token",
    "/a;token=1/b?c=d": "/a;token=1/b?c=d",
    "/a%20b%2F?%": "/a%20b%2F?%",
}


@needs_nginx
def test_the_value_of_a_named_parameter_is_in_no_line(serve: Serve) -> None:
    web = serve(DROP_QUERY="token, access_token")
    for line, expected in zip(logged(web, NAMED, "Referer: http://b{}"), NAMED.values(), strict=True):
        assert line.startswith(f'"GET {expected} HTTP/1.1" ')
        assert f' "http://b{expected}" ' in line


@needs_nginx
def test_as_many_names_as_the_setting_takes(serve: Serve) -> None:
    names = ["n" * 49, "m" * 49, "o" * 50]
    web = serve(DROP_QUERY=",".join(names))
    [line] = logged(web, [f"/?{'&'.join(f'{name}=h1dden' for name in names)}"])
    assert line.startswith(f'"GET /?{"&".join(f"{name}=" for name in names)} HTTP/1.1" ')


@needs_nginx
def test_a_query_is_in_no_line(serve: Serve) -> None:
    web = serve(DROP_QUERY="all")
    for line, path in zip(logged(web, NAMED, "Referer: http://b{}"), NAMED, strict=True):
        kept = path.partition("?")[0].partition("%3F")[0]
        assert line.startswith(f'"GET {kept} HTTP/1.1" ')
        assert f' "http://b{kept}" ' in line


@needs_nginx
def test_requests_that_are_none_keep_all_but_the_secret(serve: Serve) -> None:
    sent = {
        b"GET /?token=h1dden\r\n": ("GET /", "GET /?token="),
        b"GET /?token=h1dden b HTTP/1.1\r\n" + CLOSE: ("GET / HTTP/1.1", "GET /?token= HTTP/1.1"),
        b"/?token=h1dden\r\n\r\n": ("/", "/?token="),
        b"G\xc3\x89T /?token=h1dden HTTP/1.1\r\n" + CLOSE: (
            *(r"G\xC3\x89T / HTTP/1.1", r"G\xC3\x89T /?token= HTTP/1.1"),
        ),
        b"GET /?token=h1dden" + b"a" * 5000 + b" HTTP/1.1\r\n" + CLOSE: ("GET /", "GET /?token="),
        b"\x16\x03\x01?a=b c\r\n\r\n": (r"\x16\x03\x01?a=b c",) * 2,
    }
    for number, dropped in enumerate(("all", "token")):
        lines = logged(serve(DROP_QUERY=dropped), sent)
        assert [line.split('"')[1] for line in lines] == [each[number] for each in sent.values()]


@needs_nginx
@pytest.mark.parametrize("settings", [{"ANONYMIZE_IP": "1"}, {"DROP_QUERY": "token"}, {"DROP_QUERY": "all"}], ids=str)
def test_what_has_nothing_to_hide_is_logged_as_ever(serve: Serve, settings: dict[str, str]) -> None:
    asked = [each for each in (*ODD.values(), b"\r\n", b"G", b" ") if b"?secret" not in each and b"/1 " not in each]
    assert logged(serve(**settings), asked) == logged(serve(), asked)


# Addresses

KEPT = {
    "192.168.99.17": "192.168.99.0",
    "192.168.99.17:4711": "192.168.99.0",
    "::ffff:192.168.99.17": "::ffff:192.168.99.0",
    "2001:db8:1:2:3:4:5:6": "2001:db8:1::",
    "2001:db8::6": "2001:db8::",
    "2001::6": "2001::",
    "2001:0:3:4:5:6:7:8": "2001:0:3::",
    "[2001:db8:1:2::6]:4711": "2001:db8:1::",
    "::1": "::",
}


@needs_nginx
def test_addresses_are_shortened(serve: Serve) -> None:
    web = serve(ANONYMIZE_IP="1", TRUSTED_PROXIES="127.0.0.1")
    for number, address in enumerate(KEPT, 1):
        web.get("/", f"X-Forwarded-For: {address}")
        web.wait(number)
    assert [line.split()[0] for line in web.lines()] == list(KEPT.values())


@needs_nginx
def test_a_list_of_addresses_is_shortened(serve: Serve) -> None:
    web = serve(ANONYMIZE_IP="1", FIELDS="forwardedFor")
    sent = {
        ", ".join([*KEPT][:HOPS]): ", ".join([*KEPT.values()][:HOPS]),
        "10.0.0.1,unknown , app.internal": "10.0.0.0, unknown, unknown",
        "10.0.0.1, 10.0.0.1;drop": "10.0.0.0, unknown",
        ", ".join(["10.0.0.1"] * (HOPS + 1)): "-",
        " " * 3000: "-",
        "": "-",
    }
    for number, header in enumerate(sent, 1):
        web.get("/", f"X-Forwarded-For: {header}")
        web.wait(number)
    assert [line.partition(" forwardedFor=")[2] for line in web.lines()] == [f'"{kept}"' for kept in sent.values()]


@needs_nginx
def test_no_field_brings_back_what_is_left_out(serve: Serve) -> None:
    web = serve(ANONYMIZE_IP="1", DROP_QUERY="token", FIELDS=",".join(field.name for field in TABLE))
    web.get("/?token=h1dden", "X-Forwarded-For: 203.0.113.77", "Referer: http://b/?token=h1dden")
    [line] = web.wait(1)
    assert SECRET not in line
    assert "203.0.113.77" not in line
    assert "127.0.0.1" not in line
    assert ' forwardedFor="203.0.113.0" ' in line


# Which have a line


@needs_nginx
@pytest.mark.parametrize("through", ["nginx alone", "an application"])
def test_requests_that_are_to_be_skipped_have_no_line(serve: Serve, through: str) -> None:
    asked = {
        "/health": True,
        "/health?a": False,
        "/health/": False,
        "/HEALTH": False,
        "/a/health": False,
        "/probe/": True,
        "/probe/a?b=c": True,
        "/a.b": True,
        "/acb": False,
        "/v": True,
        "/verify-0123/0": False,
    }
    with application(hello) as app:
        web = serve(
            UPSTREAM="" if through == "nginx alone" else app.url,
            LOG_SKIP="/health, /probe/*,/a.b,/v*,agent: kube-probe/ (",
        )
        for path in asked:
            web.get(path)
        web.get("/agent", "User-Agent: kube-probe/ (1.2)")
        web.get("/verify-0123/1", "User-Agent: kube-probe/ (1.2)")
        web.get("/other", "User-Agent: not kube-probe/ (")
        web.get("/other", "User-Agent: kube-probe/1", "Referer: kube-probe/ (")
        web.send(b"POST /health HTTP/1.1\r\n" + CLOSE)
        web.send(b"GET /health HTTP/1.1\r\nContent-Length: x\r\n" + CLOSE)
        web.stop()
    kept = [path for path, skipped in asked.items() if not skipped]
    if through == "nginx alone":  # where nothing is found; 404 has its line whatever is asked
        kept = [*asked, "/agent"]
    other = [
        f"{each} HTTP/1.1" for each in ("GET /verify-0123/1", "GET /other", "GET /other", "POST /health", "GET /health")
    ]
    assert sorted(line.split('"')[1] for line in web.lines()) == sorted(
        [f"GET {path} HTTP/1.1" for path in kept] + other
    )
