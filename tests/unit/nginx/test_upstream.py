"""How nginx finds the application, and how it knows it."""

from __future__ import annotations

import logging
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance import __main__ as start
from appliance import site
from appliance.checks import StartError, check_upstream
from common.settings import Settings
from tests.authority import Authority
from tests.unit.nginx.web import Application, Web, application, hello, needs_nginx

Serve = Callable[..., Web]
WHOLE = "app.web.svc.test"  # the one name that the DNS of these tests knows


class Dns(socketserver.BaseRequestHandler):
    """RFC 1035: one question, the address 127.0.0.1 for WHOLE."""

    def handle(self) -> None:
        query, answering = self.request
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        (kind,) = struct.unpack_from("!H", query, at + 1)
        there = ".".join(labels) == WHOLE
        found = there and kind == 1
        head = query[:2] + struct.pack("!HHHHH", 0x8180 if there else 0x8183, 1, found, 0, 0)
        record = b"\xc0\x0c" + struct.pack("!HHIH4s", 1, 1, 60, 4, socket.inet_aton("127.0.0.1"))
        answering.sendto(head + query[12 : at + 5] + record * found, self.client_address)


@pytest.fixture(autouse=True)
def dns(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose /etc/resolv.conf completes names in the domain of a cluster."""
    with socketserver.UDPServer(("127.0.0.1", 0), Dns) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        files = {"/etc/resolv.conf": "search web.svc.test svc.test\noptions ndots:5\n"}
        monkeypatch.setattr(site, "_read", lambda path: files.get(path, ""))
        monkeypatch.setattr(site, "nameservers", lambda _text: [f"127.0.0.1:{server.server_address[1]}"])
        monkeypatch.setattr(site, "known", lambda name: name == WHOLE)
        yield
        server.shutdown()
        thread.join()


@needs_nginx
def test_a_name_that_a_search_domain_completes_is_found(serve: Serve) -> None:
    with application(hello) as app:
        web = serve(UPSTREAM=f"http://app:{app.server_address[1]}")
        assert b" 200 " in web.get("/")
        [head] = app.heads
        assert b"\r\nHost: a\r\n" in head


@contextmanager
def secured(authority: Authority) -> Iterator[Application]:
    """An application that speaks TLS, to those who name it only."""

    def named(_socket: object, name: str | None, _context: object) -> int | None:
        return None if name == "app" else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.chain, authority.key)
    context.sni_callback = named

    def answer(_head: bytes, client: socket.socket) -> None:
        hello(b"", client)
        client.shutdown(socket.SHUT_WR)

    with application(answer) as app:
        app.socket = context.wrap_socket(app.socket, server_side=True)
        app.handle_error = lambda *_error: None  # type: ignore[method-assign]
        yield app


@needs_nginx
def test_an_application_proves_its_name(serve: Serve, tmp_path: Path) -> None:
    def authority(folder: str, name: str) -> Authority:
        (tmp_path / folder).mkdir()
        return Authority(tmp_path / folder, name)

    mine, other, elsewhere = authority("mine", "app"), authority("other", "app"), authority("third", "elsewhere")
    with secured(mine) as app:
        url = f"https://app:{app.server_address[1]}"
        assert b" 200 " in serve(UPSTREAM=url, UPSTREAM_CA=str(mine.bundle)).get("/")
        assert b" 502 " in serve(UPSTREAM=url, UPSTREAM_CA=str(other.bundle)).get("/")
        assert b" 200 " in serve(UPSTREAM=url, UPSTREAM_CA=str(other.bundle), UPSTREAM_VERIFY="false").get("/")
    with secured(elsewhere) as app:
        url = f"https://app:{app.server_address[1]}"
        assert b" 502 " in serve(UPSTREAM=url, UPSTREAM_CA=str(elsewhere.bundle)).get("/")


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_without_certificates_of_authorities_nothing_starts(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "ca.pem"
    if text:
        file.write_text(text)
    settings = Settings(upstream="https://app", upstream_ca=file)
    with pytest.raises(StartError, match=r"ca\.pem cannot be used: .*install ca-certificates.* -e UPSTREAM_CA="):
        check_upstream(settings)
    check_upstream(settings.model_copy(update={"upstream_verify": False}))
    check_upstream(settings.model_copy(update={"upstream": "http://app"}))


def test_an_application_that_is_not_verified_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(start, "run", lambda *_: 0)
    for name in ("check_nginx", "check_dashboard", "check_emulator"):
        monkeypatch.setattr(start, name, lambda _: None)
    for name, value in {"UPSTREAM": "https://app", "UPSTREAM_VERIFY": "false", "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    try:
        assert start.main([]) == 0
    finally:
        logging.getLogger().handlers.clear()
    assert "WARNING UPSTREAM_VERIFY=false: any machine that answers for https://app" in capsys.readouterr().out
