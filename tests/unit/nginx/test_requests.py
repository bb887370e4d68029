"""Whatever nginx answers, or lets an application answer, is a line of the log; and what an application may trust."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

from tests.unit.nginx.web import Web, application, hello, needs_nginx

pytestmark = needs_nginx
Serve = Callable[..., Web]


def requests(web: Web) -> list[str]:
    """What stands as the request in each line."""
    return [line.split('"')[1] for line in web.lines()]


# Tunnels


def speak_h2c(seen: list[str]) -> Callable[[bytes, socket.socket], None]:
    """An application that takes any offer of h2c, and notes each path that it answers."""

    def answer(head: bytes, client: socket.socket) -> None:
        if b"h2c" not in head.lower():
            hello(head, client)
            return
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_upgrade_connection(b"AAMAAABkAAQAoAAAAAIAAAAA")
        client.sendall(connection.data_to_send())
        while data := client.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    seen.append(dict(event.headers)[b":path"].decode())
                    connection.send_headers(event.stream_id, [(":status", "200")], end_stream=True)
            client.sendall(connection.data_to_send())

    return answer


@pytest.mark.parametrize(
    "headers",
    [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
        "Upgrade: h2c, websocket\r\nConnection: Upgrade",
        "Upgrade: websocket, h2c\r\nConnection: Upgrade",
        "Upgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade",
        "Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: Upgrade",
    ],
)
def test_no_tunnel_carries_requests_without_lines(serve: Serve, headers: str) -> None:
    seen: list[str] = []
    with application(speak_h2c(seen)) as app, ending(serve(UPSTREAM=app.url)) as (web, client):
        client.sendall(f"GET /first HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n".encode())
        head = client.recv(65536)
        if b" 101 " in head:
            tunnel = H2Connection(H2Configuration())
            tunnel.initiate_upgrade_connection()
            for number in range(5):
                fields = [(":method", "GET"), (":path", f"/{number}"), (":scheme", "http"), (":authority", "a")]
                tunnel.send_headers(2 * number + 3, [*fields, ("x-real-ip", "10.0.0.1")], end_stream=True)
            client.sendall(tunnel.data_to_send())
            ended = 0
            while ended < 5:
                ended += sum(isinstance(event, StreamEnded) for event in tunnel.receive_data(client.recv(65536)))
    assert requests(web) == ["GET /first HTTP/1.1"]
    assert not seen


class ending:  # noqa: N801 - a context manager
    """A connection, and after it nginx has ended, so that every line is written."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._client = web.connect()

    def __enter__(self) -> tuple[Web, socket.socket]:
        return self._web, self._client

    def __exit__(self, *_error: object) -> None:
        self._client.close()
        self._web.stop()


def test_a_websocket_passes_and_has_its_line(serve: Serve) -> None:
    def echo(_head: bytes, client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        while data := client.recv(65536):
            client.sendall(data)

    with application(echo) as app, ending(serve(UPSTREAM=app.url)) as (web, client):
        client.sendall(b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 101 ")
        client.sendall(b"frame")
        assert client.recv(65536) == b"frame"
        [head] = app.heads
    assert b"\r\nUpgrade: websocket\r\nConnection: upgrade\r\n" in head
    assert [line.split('"')[1:3] for line in web.lines()] == [["GET /chat HTTP/1.1", " 101 5 "]]


# Each answer is a line

CLIENT_HELLO = ssl.MemoryBIO()
with suppress(ssl.SSLWantReadError):
    ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), CLIENT_HELLO, server_hostname="a").do_handshake()
CLOSE = b"Host: a\r\nConnection: close\r\n\r\n"
ODD = {
    "HTTP/0.9": b"GET /old\r\n",
    "HTTP/1.0": b"GET /old HTTP/1.0\r\n\r\n",
    "HTTP/2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": CLIENT_HELLO.read(),
    "no request": b"\r\nnothing\r\n\r\n",
    "an unknown method": b"BREW /pot HTTP/1.1\r\n" + CLOSE,
    "a tunnel": b"CONNECT other:443 HTTP/1.1\r\n" + CLOSE,
    "another site": b"GET http://other/ HTTP/1.1\r\n" + CLOSE,
    "TRACE": b"TRACE / HTTP/1.1\r\n" + CLOSE,
    "OPTIONS *": b"OPTIONS * HTTP/1.1\r\n" + CLOSE,
    "no host": b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: b\r\n" + CLOSE,
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + CLOSE + b"aa",
    "two framings": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"0\r\n\r\n",
    "an unknown framing": b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n" + CLOSE + b"0\r\n\r\n",
    "no chunks": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + CLOSE + b"zz\r\n\r\n",
    "a long path": b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\n" + CLOSE,
    "a long header": b"GET / HTTP/1.1\r\nCookie: " + b"a" * 5000 + b"\r\n" + CLOSE,
    "many headers": b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: " % n + b"a" * 3000 + b"\r\n" for n in range(7)) + CLOSE,
    "a large body": b"POST / HTTP/1.1\r\nContent-Length: 9999\r\n" + CLOSE + b"a" * 9999,
    "waiting for 100": b"PUT / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n" + CLOSE + b"aa",
    "three in a row": b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + b"GET /3 HTTP/1.1\r\n" + CLOSE,
    "a probe, by another name": b"GET /%68ealthz HTTP/1.1\r\n" + CLOSE,
    "a probe and more": b"GET /healthz?secret=1 HTTP/1.1\r\n" + CLOSE,
    "a probe with a body": b"POST /healthz HTTP/1.1\r\nContent-Length: 2\r\n" + CLOSE + b"aa",
    "a probe that is refused": b"GET /healthz HTTP/1.1\r\nContent-Length: 9999\r\n" + CLOSE + b"a" * 9999,
}


def answers(received: bytes) -> int:
    """How many final answers; one without a head is HTTP/0.9's."""
    return received.count(b"HTTP/1.1 ") - received.count(b"HTTP/1.1 100 ") or 1


@pytest.mark.parametrize("through", ["nginx alone", "an application"])
def test_every_answer_has_its_line(serve: Serve, through: str) -> None:
    with application(hello) as app:
        web = serve(UPSTREAM="" if through == "nginx alone" else app.url)
        expected = 0
        for name, request in ODD.items():
            expected += answers(web.send(request))
            logged = web.wait(expected)
            assert len(logged) == expected, name
        web.stop()
        # and what the application has seen stands there
        logged = requests(web)
        for path in app.paths():
            assert any(path in one for one in logged), path
    assert len(logged) == expected


def test_one_request_has_no_line_and_does_nothing(serve: Serve) -> None:
    web = serve()
    for method in ("GET", "HEAD"):
        assert b" 200 " in web.send(f"{method} /healthz HTTP/1.1\r\nReferer: b\r\n".encode() + CLOSE)
    web.get("/after")
    web.stop()
    assert requests(web) == ["GET /after HTTP/1.1"]


@pytest.mark.parametrize("request_line", [b"get / HTTP/1.1", b"\x16\x03\x01", b"GET / HTTP/1.1", b"GET  HTTP/9"])
def test_what_is_no_request_makes_a_line_and_no_warning(serve: Serve, request_line: bytes) -> None:
    web = serve()
    assert b" 400 " in web.send(request_line + b"\r\n\r\n")
    web.wait(1)
    web.stop()
    assert web.errors.read_text() == ""


def test_behind_an_application_healthz_is_a_path_like_any_other(serve: Serve) -> None:
    with application(hello) as app:
        web = serve(UPSTREAM=app.url)
        web.get("/healthz")
        web.stop()
    assert requests(web) == ["GET /healthz HTTP/1.1"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: %s\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /other\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: " + b"a" * 12_000 + b"\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: " + b"a" * 20_000 + b"\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno",
        b"nothing of the kind\r\n\r\n",
        b"",
    ],
)
def test_an_answer_of_the_application_takes_no_line_away(serve: Serve, answer: bytes) -> None:
    def say(_head: bytes, client: socket.socket) -> None:
        client.sendall(answer.replace(b"%s", web.settings.health_path.read_bytes()))

    with application(say) as app:
        web = serve(UPSTREAM=app.url)
        web.get("/asked")
        web.stop()
    assert requests(web) == ["GET /asked HTTP/1.1"]
    assert app.paths() == ["/asked"]


def test_a_body_that_the_application_does_not_read_is_no_request(serve: Serve) -> None:
    def keep(head: bytes, client: socket.socket) -> None:
        """Takes no body, and what follows for the next request, as long as it is not told to close."""
        while head:
            hidden.extend(part for part in (b"/hidden",) if head.startswith(b"GET /hidden"))
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
            if b"connection: close" in head.lower():
                return
            head = client.recv(65536)

    hidden: list[bytes] = []
    smuggled = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
    with application(keep) as app:
        web = serve(UPSTREAM=app.url)
        web.send(b"GET /asked HTTP/1.1\r\nContent-Length: %d\r\n" % len(smuggled) + CLOSE + smuggled)
        web.stop()
    assert not hidden


# What an application may trust

FORGED = [
    *("X-Real-IP: 10.6.6.6", "X-Forwarded-For: 10.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil"),
    *("X-Forwarded-Port: 666", "X-Forwarded-Prefix: /evil", "X-Forwarded-Server: evil", "X-Forwarded-Ssl: on"),
    *("X-Forwarded-Scheme: https", "Forwarded: for=10.6.6.6;host=evil", "Via: 1.1 evil", "X-Client-IP: 10.6.6.6"),
    *("True-Client-IP: 10.6.6.6", "CF-Connecting-IP: 10.6.6.6", "X-Original-URL: /evil", "X-Rewrite-URL: /evil"),
    *("Proxy: http://evil", "TE: trailers", "Keep-Alive: evil", "X_Real_IP: 10.6.6.6"),
]


def test_what_a_client_says_of_proxies_is_not_passed_on(serve: Serve) -> None:
    with application(hello) as app:
        serve(UPSTREAM=app.url).get("/", *FORGED, "X-Own: kept")
    [head] = app.heads
    assert sorted(head.decode().lower().split("\r\n")) == [
        *("", "", "connection: close", "get / http/1.1", "host: a", "x-forwarded-for: 127.0.0.1"),
        *("x-forwarded-proto: http", "x-own: kept", "x-real-ip: 127.0.0.1"),
    ]
