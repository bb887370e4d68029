"""The HTTP side: the page, its data, and what monitoring asks for.

    GET  /                    the page, and the files beside it in dashboard/static
    GET  /api/state           everything at once; its shape is told in dashboard/state.py
    GET  /api/events          the same once a second, as server-sent events (`event: state`)
    GET  /api/tree?prefix=    one level of the hourly objects
    GET  /api/lines?limit=&status=&path=&host=    the newest archived lines
    GET  /api/raw?key=&tail=  the last bytes of an object, whole lines
    GET  /api/charts?minutes= requests by minute, status, path and agent, from the archived lines
    POST /api/ship-now        ask the producer to ship at once: 202 {"id"}
    GET  /healthz, /readyz    200 or 503, with the reasons
    GET  /metrics             for Prometheus; docs/metrics.md

An error is {"error": text}, and the text names the remedy: 400 what was asked, 502 what the endpoint answered, 504 it
did not in time.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from appliance.health import Check
from dashboard.bucket import NotOursError
from dashboard.collector import Collector
from dashboard.endpoint import GoneError
from dashboard.guard import Guard, problem
from dashboard.periodic import LookError

STATIC = Path(__file__).parent / "static"
# Seconds between two states that are sent, and after which a question is given up
EVERY = 1.0
PATIENCE = 12.0
# How long the first answer after a quiet time, and a scrape, wait for numbers that are not older than EVERY
FRESH_WITHIN = 3.0
# Questions that may be worked on at once, and probes beside them: those must be answered when the endpoint hangs
WORKERS = 6
PROBES = 2
# Pages that may watch at once: each costs a connection and one state a second
MAX_WATCHERS = 50
# The limits of what may be asked for
MAX_LINES = 500
MAX_TAIL = 1024 * 1024
MAX_MINUTES = 180
NUMBER = re.compile(r"[0-9]{1,10}")
STATUS = re.compile(r"([2-5]xx|[1-5]\d\d)?", re.ASCII)

T = TypeVar("T")


class Watched(StreamingResponse):
    """A stream of events that calls `left` once it is over, even if it ends before its first event."""

    def __init__(self, stream: AsyncIterator[str], left: Callable[[], None]) -> None:
        super().__init__(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        self._left = left

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._left()


class Dashboard:
    """`ending` is set when the process is to stop: it ends the streams of events."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="question")
        self._probes = ThreadPoolExecutor(PROBES, thread_name_prefix="probe")
        self._watchers = 0
        self.ending = asyncio.Event()

    async def _ask(self, question: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Work on it in a thread. Raises TimeoutError."""
        return await self._within(self._workers, lambda: question(*arguments, **named))

    async def _checks(self) -> list[Check]:
        """What `health` says. Raises TimeoutError."""
        return await self._within(self._probes, self._collector.checks)

    async def _within(self, workers: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(workers, work), PATIENCE)

    async def state(self, _request: Request) -> Response:
        self._collector.watch()
        await self._ask(self._collector.fresh, 2 * EVERY, FRESH_WITHIN)
        return JSONResponse(self._collector.state())

    async def events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self._watchers >= MAX_WATCHERS:
            return problem(503, f"{MAX_WATCHERS} pages are open already: close one", **{"Retry-After": "10"})
        # counted here, where nothing can come between the look and the count: pages may open at the same instant
        self._watchers += 1
        return Watched(self._stream(), self._left)

    def _left(self) -> None:
        self._watchers -= 1

    async def _stream(self) -> AsyncIterator[str]:
        yield "retry: 2000\n\n"
        while not self.ending.is_set():
            self._collector.watch()
            yield f"event: state\ndata: {json.dumps(self._collector.state(), separators=(',', ':'))}\n\n"
            try:
                await asyncio.wait_for(self.ending.wait(), EVERY)
            except TimeoutError:
                continue

    async def tree(self, request: Request) -> Response:
        prefix = request.query_params.get("prefix", "")
        self._collector.watch()
        return JSONResponse(await self._ask(self._collector.bucket.tree, prefix))

    async def lines(self, request: Request) -> Response:
        limit = _number(request, "limit", 100, MAX_LINES)
        filters = {name: request.query_params.get(name, "") for name in ("status", "path", "host")}
        filters["status"] = filters["status"].lower()
        if not STATUS.fullmatch(filters["status"]):
            raise HTTPException(400, "status is one such as 404, or a class such as 4xx")
        self._collector.watch()
        return JSONResponse(await self._ask(self._collector.bucket.lines, limit, **filters))

    async def raw(self, request: Request) -> Response:
        key = request.query_params.get("key", "")
        if not key:
            raise HTTPException(400, "name an object: key=2026/11/23/10/web-access.log")
        tail = _number(request, "tail", 64 * 1024, MAX_TAIL)
        return PlainTextResponse(await self._ask(self._collector.bucket.raw, key, tail))

    async def charts(self, request: Request) -> Response:
        minutes = _number(request, "minutes", 60, MAX_MINUTES)
        self._collector.watch()
        return JSONResponse(await self._ask(self._collector.bucket.charts, minutes))

    async def ship_now(self, _request: Request) -> Response:
        try:
            name = await self._ask(self._collector.ship_now)
        except OSError as error:
            return problem(500, f"the producer cannot be asked: {error}: free space on DATA_DIR")
        return JSONResponse({"id": name}, 202)

    async def healthz(self, _request: Request) -> Response:
        bad = [check for check in await self._checks() if check.state == "failing"]
        reasons = [f"{check.part}: {check.reason}" for check in bad]
        return JSONResponse({"live": not bad, "reasons": reasons}, 503 if bad else 200)

    async def readyz(self, _request: Request) -> Response:
        checks = await self._checks()
        ready = all(check.state == "ok" for check in checks)
        return JSONResponse({"ready": ready, "checks": [asdict(check) for check in checks]}, 200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        from dashboard.metrics import exposition  # with its library, as soon as it is scraped

        await self._ask(self._collector.fresh, 0.0, FRESH_WITHIN)
        content, kind = await self._ask(exposition, self._collector, request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/state", self.state),
                Route("/api/events", self.events),
                Route("/api/tree", self.tree),
                Route("/api/lines", self.lines),
                Route("/api/raw", self.raw),
                Route("/api/charts", self.charts),
                Route("/api/ship-now", self.ship_now, methods=["POST"]),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
                Route("/metrics", self.metrics),
                Mount("/", StaticFiles(directory=STATIC, html=True, check_dir=False)),
            ],
            middleware=[
                Middleware(Guard, name=self._collector.settings.dashboard_host),
                Middleware(GZipMiddleware, minimum_size=1024),
            ],
            exception_handlers={
                HTTPException: _http,  # type: ignore[dict-item]
                NotOursError: lambda _, error: problem(400, str(error)),
                Exception: lambda _, error: problem(500, f"{type(error).__name__}: the dashboard's log says more"),
                GoneError: lambda _, error: problem(404, str(error)),
                LookError: lambda _, error: problem(502, str(error)),
                TimeoutError: lambda _, __: problem(504, f"no answer from the endpoint within {PATIENCE:.0f} s"),
            },
        )


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, "") or str(default)
    # what is compared is what is handed on; no limit has ten digits
    number = int(text) if NUMBER.fullmatch(text) else 0
    if not 1 <= number <= most:
        raise HTTPException(400, f"{name} is a number from 1 to {most}")
    return number


async def _http(_request: Request, error: HTTPException) -> Response:
    words = {404: "there is nothing here; the page is at /", 405: "this is not asked for in this way"}
    text = words.get(error.status_code, error.detail)
    return JSONResponse({"error": text}, error.status_code, headers=error.headers)
