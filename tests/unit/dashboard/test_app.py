"""The HTTP side over a collector that nothing stands behind: who may ask what, and how errors are said."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any, NamedTuple, cast
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request

from appliance.health import Check
from common.hosts import known_host
from common.settings import Settings
from dashboard import app as module
from dashboard.app import Dashboard
from dashboard.bucket import NotOursError
from dashboard.collector import Collector
from dashboard.endpoint import GoneError, NoAnswerError
from dashboard.guard import HEADERS


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(path: str, method: str, headers: dict[str, str]) -> dict[str, Any]:
    target, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080),
    }


async def call(app: Starlette, path: str, method: str, headers: dict[str, str]) -> Answer:
    sent: list[Any] = []
    received: list[bool] = []

    async def receive() -> Any:
        if received:
            await asyncio.Event().wait()  # who asks stays until the end of the answer
        received.append(True)
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(request(path, method, headers), receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body)


class Watcher:
    """Somebody who reads the events until `leave`."""

    def __init__(self, app: Starlette) -> None:
        self._left = asyncio.Event()
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._first = asyncio.Event()
        self._task = asyncio.create_task(self._read(app))

    async def _read(self, app: Starlette) -> None:
        async def receive() -> Any:
            await self._left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._status.set_result(message["status"])
            elif message.get("body"):
                self._first.set()

        await app(request("/api/events", "GET", {"Host": "localhost:8080"}), receive, send)

    async def begun(self) -> int:
        """The status, once the first bytes are here."""
        await self._first.wait()
        return await self._status

    async def leave(self) -> None:
        self._left.set()
        await self._task


class FakeBucket:
    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.error: Exception | None = None
        self.asked: list[Any] = []

    def _answer(self, *asked: Any, **named: Any) -> Any:
        self.asked.append((*asked, named) if named else asked)
        self.answers.wait()
        if self.error:
            raise self.error
        return {"asked": asked}

    tree = lines = charts = _answer

    def raw(self, key: str, tail: int) -> str:
        self._answer(key, tail)
        return "<script>\n"


class FakeCollector:
    def __init__(self) -> None:
        self.settings = Settings()
        self.bucket = FakeBucket()
        self.health = [Check("nginx", "ok", "answers"), Check("producer", "ok", "last poll")]
        self.watched = 0
        self.error: OSError | None = None

    def watch(self) -> None:
        self.watched += 1

    def fresh(self, age: float, timeout: float) -> None:
        self.watched += age >= 0 and timeout > 0

    def state(self) -> dict[str, Any]:
        return {"number": self.watched}

    def checks(self) -> list[Check]:
        return self.health

    def ship_now(self) -> str:
        if self.error:
            raise self.error
        return "0123456789abcdef"


class Site:
    def __init__(self) -> None:
        self.collector = FakeCollector()

    def ask(self, path: str, method: str = "GET", host: str = "localhost:8080", **headers: str) -> Answer:
        async def run() -> Answer:
            dashboard = Dashboard(cast("Collector", self.collector))
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await call(dashboard.app(), path, method, {"Host": host} | named)

        return asyncio.run(run())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    static = tmp_path / "static"
    (static / "js").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html>")
    (static / "js" / "page.js").write_text("export {}\n" * 500)
    (tmp_path / "secret").write_text("secret")
    monkeypatch.setattr(module, "STATIC", static)
    return Site()


def test_the_page_and_its_files(site: Site) -> None:
    page = site.ask("/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-cache"
    script = site.ask("/js/page.js", Accept_Encoding="gzip")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["content-encoding"] == "gzip"
    assert site.ask("/js/page.js", If_None_Match=script.headers["etag"]).status == 304
    assert site.ask("/", "HEAD").status == 200


@pytest.mark.parametrize("path", ["/", "/api/state", "/nothing", "/api/lines?limit=0", "/metrics/", "/api/ship-now"])
def test_every_answer_has_the_security_headers(site: Site, path: str) -> None:
    answer = site.ask(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["cache-control"] == ("no-cache" if path == "/" else "no-store")
    assert "access-control-allow-origin" not in answer.headers
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/../secret", "/js/../../secret", "/%2e%2e/secret", "//secret", "/js/%2e%2e%2f%2e%2e%2fsecret", "/\0"]
)
def test_nothing_outside_the_folder_is_served(site: Site, path: str) -> None:
    answer = site.ask(path)
    assert answer.status == 404
    assert "error" in answer.json


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/api/state", "/api/tree", "/metrics"])
def test_it_only_reads(site: Site, method: str, path: str) -> None:
    assert site.ask(path, method, X_Requested_With="dashboard").status == 405


def test_ship_now_is_for_our_own_page(site: Site) -> None:
    def press(**headers: str) -> int:
        return site.ask("/api/ship-now", "POST", **headers).status

    ours = {"X_Requested_With": "dashboard"}
    assert site.ask("/api/ship-now").status == 404
    assert press() == 403
    assert press(X_Requested_With="XMLHttpRequest") == 403
    assert press(**ours, Origin="http://evil.example") == 403
    assert press(**ours, Origin="null") == 403
    assert press(**ours, Origin="http://localhost:9999") == 403
    assert press(**ours, Sec_Fetch_Site="cross-site") == 403
    assert press(**ours, Content_Length="5") == 413
    assert press(**ours, Transfer_Encoding="chunked") == 413
    answer = site.ask("/api/ship-now", "POST", **ours, Origin="http://localhost:8080", Sec_Fetch_Site="same-origin")
    assert (answer.status, answer.json) == (202, {"id": "0123456789abcdef"})
    assert press(**ours) == 202
    site.collector.error = OSError(28, "No space left on device")
    answer = site.ask("/api/ship-now", "POST", **ours)
    assert (answer.status, "free space on DATA_DIR" in answer.json["error"]) == (500, True)


@pytest.mark.parametrize("site_of_origin", ["cross-site", "same-site"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_another_page_embeds_is_not_looked_up(
    site: Site, site_of_origin: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.metrics.exposition", lambda *_: (b"", "text/plain"))
    for path in ("state", "events", "tree", "lines", "raw?key=2026/x", "charts"):
        assert site.ask(f"/api/{path}", method, Sec_Fetch_Site=site_of_origin).status == 403, path
    assert (site.collector.watched, site.collector.bucket.asked) == (0, [])
    # a link may lead to the page, and monitoring asks from anywhere
    for path in ("/", "/metrics", "/healthz", "/readyz"):
        assert site.ask(path, method, Sec_Fetch_Site=site_of_origin).status == 200, path
    for ours in ("same-origin", "none"):
        assert site.ask("/api/lines", Sec_Fetch_Site=ours).status == 200


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("localhost", True),
        ("localhost:8080", True),
        ("127.0.0.1:8080", True),
        ("192.168.99.100:8080", True),
        ("[::1]:8080", True),
        ("appliance:8080", False),
        ("box.local", False),  # any machine of the network may take such a name, and then ours
        ("appliance.local", False),
        ("Our.Name.:8080", True),
        ("host.docker.internal:8080", False),
        ("dashboard.localhost", True),
        ("LOCALHOST.", True),
        ("evil.example", False),
        ("127.0.0.1.nip.io:8080", False),
        ("localhost.evil.example", False),
        ("local", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example@localhost", True),  # what stands before the @ is no part of the name
        ("", False),
        (":8080", False),
        ("[::1", False),
    ],
)
def test_no_web_site_can_lend_us_its_name(site: Site, host: str, known: bool) -> None:
    site.collector.settings = Settings(dashboard_host="our.NAME")
    assert known_host(host, "our.NAME") is known
    assert site.ask("/api/state", host=host).status == (200 if known else 421)
    assert site.ask("/healthz", host=host).status == 200


def test_what_is_asked_for_is_limited(site: Site) -> None:
    assert site.ask("/api/lines?" + "x" * 5000).status == 414
    for path in (
        "lines?limit=0",
        "lines?limit=501",
        "lines?limit=-1",
        "lines?limit=x",
        "raw?key=a&tail=1048577",
    ):
        answer = site.ask(f"/api/{path}")
        assert (answer.status, "is a number from 1 to" in answer.json["error"]) == (400, True), path
    assert site.ask("/api/charts?minutes=181").status == 400
    assert site.ask("/api/charts?minutes=" + "9" * 4000).status == 400
    assert site.ask("/api/raw").status == 400
    for status in ("5", "9xx", "404x", "\u0664\u0660\u0664"):
        answer = site.ask(f"/api/lines?status={quote(status)}")
        assert (answer.status, "such as 404" in answer.json["error"]) == (400, True), status
    assert site.collector.bucket.asked == []


DIGITS = st.sampled_from([*"0019", "\u0664", "\uff11", "\u00b2", "+", "-", ".", "e", "_", " ", "x", "\0"])
NUMBERS = st.one_of(
    st.text(DIGITS, max_size=20),
    st.tuples(st.integers(0, 4000), st.integers(0, 10**9)).map(lambda pair: "0" * pair[0] + str(pair[1])),
    st.integers(1, 4000).map("9".__mul__),
    st.integers(0, 600).map(str),
)
LIMITED = {"minutes": ("charts", "", 180), "limit": ("lines", "", 500), "tail": ("raw", "key=2026/x&", 1024 * 1024)}


@given(st.sampled_from(sorted(LIMITED)), NUMBERS, NUMBERS)
@example("minutes", "000000000110000000", "1")
def test_whatever_number_is_asked_for_the_limit_holds(name: str, text: str, range_: str) -> None:
    path, others, most = LIMITED[name]
    site = Site()
    answer = site.ask(f"/api/{path}?{others}{name}={quote(text)}", Range=f"bytes={range_}")
    if handed_on := site.collector.bucket.asked:
        number = next(one for one in handed_on[0] if isinstance(one, int))
        assert (answer.status, 1 <= number <= most) == (200, True)
        assert not text or number == int(text)
    else:
        assert answer.status in (400, 414)
        assert "a number from 1 to" in answer.json["error"] or answer.status == 414


@given(NUMBERS)
def test_whatever_range_of_a_file_is_asked_for_it_is_answered(text: str) -> None:
    for range_ in (f"{text}-", f"-{text}", f"{text}-{text}", ",".join([f"{text}-{text}"] * 100)):
        answer = Site().ask("/icon.svg", Range=f"bytes={range_}")
        assert answer.status in (200, 206, 400, 416)
        assert len(answer.body) < 100_000


def test_what_is_asked_for_is_handed_on(site: Site) -> None:
    site.ask(f"/api/tree?prefix={quote('2026/11/')}")
    site.ask(f"/api/lines?limit=5&status=4XX&path={quote('/a b')}&host=10")
    site.ask("/api/charts")
    raw = site.ask("/api/raw?key=2026/x&tail=10")
    assert site.collector.bucket.asked == [
        ("2026/11/",),
        (5, {"status": "4xx", "path": "/a b", "host": "10"}),
        (60,),
        ("2026/x", 10),
    ]
    assert (raw.headers["content-type"], raw.body) == ("text/plain; charset=utf-8", b"<script>\n")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotOursError("only keys below"), 400),
        (GoneError("is not there (yet)"), 404),
        (NoAnswerError("does not answer"), 502),
        (TimeoutError(), 504),
    ],
)
def test_errors_are_said(site: Site, error: Exception, status: int) -> None:
    site.collector.bucket.error = error
    answer = site.ask("/api/tree")
    assert (answer.status, str(error) in answer.json["error"]) == (status, True)


def test_live_and_ready(site: Site) -> None:
    assert site.ask("/healthz").json == {"live": True, "reasons": []}
    assert site.ask("/readyz").json["ready"] is True
    site.collector.health[1] = Check("producer", "degraded", "the stream is not there")
    assert site.ask("/healthz").status == 200
    ready = site.ask("/readyz")
    assert (ready.status, ready.json["ready"]) == (503, False)
    assert ready.json["checks"][1] == {"part": "producer", "state": "degraded", "reason": "the stream is not there"}
    site.collector.health[0] = Check("nginx", "failing", "does not answer")
    live = site.ask("/healthz")
    assert (live.status, live.json) == (503, {"live": False, "reasons": ["nginx: does not answer"]})


def test_probes_are_answered_while_the_endpoint_hangs(site: Site) -> None:
    bucket = site.collector.bucket
    bucket.answers.clear()

    async def run() -> list[int]:
        app = Dashboard(cast("Collector", site.collector)).app()
        ours = {"Host": "localhost:8080"}
        paths = ("tree", "lines", "charts", "raw?key=2026/x") * module.WORKERS
        questions = [asyncio.create_task(call(app, f"/api/{path}", "GET", ours)) for path in paths]
        try:
            async with asyncio.timeout(30):
                while len(bucket.asked) < module.WORKERS:
                    await asyncio.sleep(0.01)
                return [(await call(app, path, "GET", ours)).status for path in ("/healthz", "/readyz") * 3]
        finally:
            bucket.answers.set()
            await asyncio.gather(*questions)

    assert asyncio.run(run()) == [200] * 6


def test_events_come_until_the_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVERY", 0.01)

    async def run() -> list[str]:
        dashboard = Dashboard(cast("Collector", site.collector))
        found: list[str] = []
        answer = await dashboard.events(Request({"type": "http", "method": "GET"}))
        async for part in cast("Any", answer).body_iterator:
            found.append(part)
            if len(found) == 4:
                dashboard.ending.set()
        return found

    retry, *states = asyncio.run(run())
    assert retry == "retry: 2000\n\n"
    assert site.ask("/api/events", "HEAD").headers["content-type"].startswith("text/event-stream")
    assert states == [f'event: state\ndata: {{"number":{number}}}\n\n' for number in (1, 2, 3)]


def test_not_more_than_so_many_may_watch(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WATCHERS", 3)

    async def run() -> None:
        app = Dashboard(cast("Collector", site.collector)).app()
        watchers = [Watcher(app) for _ in range(3)]
        assert [await each.begun() for each in watchers] == [200] * 3
        refused = await call(app, "/api/events", "GET", {"Host": "localhost:8080"})
        assert (refused.status, "3 pages are open already" in refused.json["error"]) == (503, True)
        assert [refused.headers["retry-after"]] == ["10"]
        await watchers[1].leave()
        another = Watcher(app)
        assert await another.begun() == 200
        assert await Watcher(app).begun() == 503
        for each in (watchers[0], watchers[2], another):
            await each.leave()

    asyncio.run(asyncio.wait_for(run(), 10))


def test_not_more_than_so_many_may_watch_when_they_come_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WATCHERS", 3)

    async def run() -> None:
        app = Dashboard(cast("Collector", site.collector)).app()
        for _ in range(2):  # the second time shows that every place was given back
            watchers = [Watcher(app) for _ in range(10)]
            assert sorted([await each.begun() for each in watchers]) == [200] * 3 + [503] * 7
            for each in watchers:
                await each.leave()
            # one that leaves before its first event
            for each in [Watcher(app) for _ in range(10)]:
                await each.leave()

    asyncio.run(asyncio.wait_for(run(), 10))


def test_there_are_no_web_sockets(site: Site) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        dashboard = Dashboard(cast("Collector", site.collector))
        await dashboard.app()({"type": "websocket", "path": "/api/events", "headers": []}, receive, send)

    asyncio.run(run())
    assert sent == [{"type": "websocket.close"}]
