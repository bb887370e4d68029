"""What one client can take: memory, disk, connections; and what health sees of it."""

from __future__ import annotations

import os
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from appliance import site
from appliance.site import CLIENTS, capacity
from common.settings import Settings
from tests.unit.nginx.web import Web, application, hello, needs_nginx, rest
from tests.waiting import eventually

Serve = Callable[..., Web]
MIB, GIB = 2**20, 2**30


@pytest.fixture
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


# Bodies


def on_disk(web: Web) -> list[str]:
    """The files that nginx has open below its folder, also those without a name any more."""
    folder = str(web.settings.run_dir / "nginx")
    found = []
    for pid in web.workers():
        files = (str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir())
        found += [each for each in files if each.startswith(folder)]
    return found


@needs_nginx
def test_a_body_reaches_the_application_while_it_is_sent(serve: Serve) -> None:
    got = threading.Semaphore(0)

    def take(_head: bytes, client: socket.socket) -> None:
        taken = 0
        while taken < 8 * MIB:
            taken += len(client.recv(65536))
            if taken >= MIB:
                got.release()
        hello(b"", client)

    with application(take) as app:
        web = serve(UPSTREAM=app.url)
        with web.connect() as client:
            head = f"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {8 * MIB}\r\n\r\n"
            client.sendall(head.encode() + bytes(2 * MIB))
            assert got.acquire(timeout=60)
            assert not on_disk(web)
            client.sendall(bytes(6 * MIB))
            assert rest(client).endswith(b"hello")


@needs_nginx
def test_an_answer_waits_for_its_reader_in_the_application(serve: Serve) -> None:
    def give(_head: bytes, client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
        client.settimeout(1)
        try:
            for _ in range(64):
                client.sendall(bytes(MIB))
        except TimeoutError:
            waited.set()
            client.settimeout(None)

    waited = threading.Event()
    with application(give) as app:
        web = serve(UPSTREAM=app.url)
        with web.connect() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert waited.wait(60), "64 MiB went somewhere"
            assert not on_disk(web)


@needs_nginx
def test_a_line_is_not_much_longer_than_its_header(serve: Serve) -> None:
    web = serve()
    quotes = '"' * 3000
    web.get(f"/{quotes}", f"Referer: {quotes}", f"User-Agent: {quotes}")
    web.send(b"GET /" + b'"' * 5000 + b" HTTP/1.1\r\n\r\n")
    web.stop()
    assert [len(line) < 4 * 4 * 4096 for line in web.lines()] == [True, True]
    assert b" 414 " in web.lines()[1].encode()


# Limits


@needs_nginx
def test_too_many_requests_are_refused_and_logged(serve: Serve) -> None:
    web = serve(LIMIT_REQUESTS="1")
    answers = [web.get(f"/{number}").split()[1] for number in range(6)]
    assert answers == [b"404"] * 6, "five seconds' worth at once"
    while answers[-1] != b"429" and len(answers) < 1000:  # at once, on a machine that does not stand still
        answers.append(web.get(f"/{len(answers)}").split()[1])
    assert answers[-1] == b"429"
    assert web.healthy(), "health is never refused"
    assert b" 200 " in web.get("/healthz"), "nor is a probe"
    web.stop()
    assert [line.split()[8].encode() for line in web.lines()] == answers
    assert web.errors.read_text() == "", "they have a line already"


@needs_nginx
def test_too_many_connections_are_refused_and_logged(serve: Serve) -> None:
    held, free = threading.Semaphore(0), threading.Event()

    def wait(head: bytes, client: socket.socket) -> None:
        held.release()
        free.wait(90)
        hello(head, client)

    with application(wait) as app, ExitStack() as stack:
        web = serve(UPSTREAM=app.url, LIMIT_CONNECTIONS="2")
        for _ in range(2):
            client = stack.enter_context(web.connect())
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert held.acquire(timeout=60)
        assert b" 429 " in web.get("/refused")
        assert web.healthy()
        free.set()
        assert rest(client).endswith(b"hello")
        web.stop()
    assert sorted(line.split()[8] for line in web.lines()) == ["200", "200", "429"]


@needs_nginx
@pytest.mark.parametrize("limits", [{}, {"LIMIT_REQUESTS": "0", "LIMIT_CONNECTIONS": "0"}])
def test_a_thousand_requests_at_once_are_all_answered(serve: Serve, limits: dict[str, str]) -> None:
    web = serve(**limits)
    asked = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 999 + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert web.send(asked).count(b"HTTP/1.1 200 ") == 1000
    assert (b"limit" in (web.data / "run/nginx/landing.conf").read_bytes()) == (not limits)


def test_connections_as_far_as_the_open_files_go() -> None:
    def most(settings: Settings, files: int) -> str:
        return capacity(settings, files, 2, GIB)["CONNECTIONS"]

    alone, proxy = Settings(), Settings(upstream="http://app:3000")
    assert most(alone, resource.RLIM_INFINITY) == str(CLIENTS)
    assert most(proxy, 2**20) == str(2 * CLIENTS), "each request is two"
    assert most(alone, 1024) == "960"


def test_workers_as_far_as_processors_and_memory_go() -> None:
    def workers(processors: int, size: int) -> str:
        return capacity(Settings(), 2**20, processors, size)["WORKERS"]

    assert [workers(each, GIB) for each in (1, 2, 3, 4, 8, 64)] == ["1", "1", "1", "2", "4", "4"]
    assert [workers(64, each * GIB // 16) for each in (1, 3, 8, 12)] == ["1", "1", "2", "3"]


def test_the_container_s_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit, counts in (("201326592\n", 201326592), ("max\n", whole), ("", whole), (f"{2 * whole}\n", whole)):
        monkeypatch.setattr(site, "_read", lambda _, given=limit: given)
        assert site.memory() == counts


def unfinished(web: Web, count: int, stack: ExitStack) -> None:
    for _ in range(count):
        client = stack.enter_context(web.connect())
        with suppress(ConnectionError):  # nobody gets in any more
            client.sendall(b"GET / HTTP/1.1\r\nX-")


@needs_nginx
@pytest.mark.usefixtures("many_files")
def test_unfinished_headers_shut_nobody_out(serve: Serve) -> None:
    web = serve()
    with ExitStack() as stack:
        unfinished(web, 2300, stack)
        assert web.healthy()
        assert b" 200 " in web.get("/")
    assert "worker_connections" not in web.errors.read_text()


@needs_nginx
@pytest.mark.emulator  # it takes 10 s of waiting
@pytest.mark.usefixtures("many_files")
def test_health_sees_that_nobody_gets_in_and_that_it_ends(serve: Serve) -> None:
    web = serve(files=256)
    with ExitStack() as stack:
        for _ in range(40):
            unfinished(web, 50, stack)
            if not web.healthy():
                break
        else:
            pytest.fail("2,000 connections fit into 256 files a worker")
        gone = "unfinished headers are given up after 10 s"
        eventually(lambda: any('" 408 ' in line for line in web.lines()), within=45, every=0.5, patience=0, why=gone)
        eventually(web.healthy, within=30, every=0.5, why=gone)
