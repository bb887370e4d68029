"""Which requests are answered. The dashboard has no login: it trusts every connection, and no other site's page.

A page of another site, open in a user's browser, could make that browser ask. Three things stand against it. It cannot
read an answer (no CORS header is ever sent). It cannot become same-origin by pointing a name of its own at our address
(DNS rebinding), because only these hosts are answered: an address, localhost, which every browser resolves itself, and
DASHBOARD_HOST; any other name, below .local too, may be another machine's to give. And it cannot press "ship now",
because that needs a header which only our own page may send, and an Origin that is ours. What it embeds from /api (as
an image, say) would cost looks at the bucket, and is refused where the browser names the asking site: on localhost, and
with TLS.

/metrics, /healthz and /readyz tell no line of the log, and are asked by monitoring under any name.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.hosts import known_host

ANY_HOST = {"/metrics", "/healthz", "/readyz"}
MAX_QUERY = 4096  # bytes; a key of S3 has at most 1,024, each escaped as 3
HEADERS = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "object-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
ASKED_BY = "dashboard"  # the value of X-Requested-With


class Guard:
    """ASGI middleware: refuses what should not be asked, and puts the security headers on every answer.

    `name`: the one name, besides localhost, under which the dashboard is opened.
    """

    def __init__(self, app: ASGIApp, name: str) -> None:
        self._app = app
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                await send({"type": "websocket.close"})  # answered with 403
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                # a page and its scripts are asked for again each time, and are answered 304; numbers are never kept
                headers.setdefault("cache-control", "no-cache" if "etag" in headers else "no-store")
            await send(message)

        refusal = refused(scope, self._name)
        await (refusal or self._app)(scope, receive, guarded)


def refused(scope: Scope, name: str) -> JSONResponse | None:
    """The answer to a request that must not be answered, or None."""
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if scope["path"] not in ANY_HOST and not known_host(host, name):
        return problem(
            421,
            f"the dashboard is not known as {host[:100]!r}: open it by its address, as localhost, or by the name that "
            "is given with -e DASHBOARD_HOST=…; a proxy in front of it has to send `Host: localhost`",
        )
    if len(scope["query_string"]) > MAX_QUERY:
        return problem(414, f"the query is longer than {MAX_QUERY} bytes")
    if scope["path"].startswith("/api/") and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return problem(403, "only the dashboard's own page may ask for this")
    if scope["method"] == "POST":
        if headers.get("x-requested-with") != ASKED_BY:
            return problem(403, f"send the header X-Requested-With: {ASKED_BY}")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return problem(403, "only the dashboard's own page may ask for this")
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return problem(413, "no content is expected")
    return None


def problem(status: int, text: str, **headers: Any) -> JSONResponse:
    """An error; the text names the remedy."""
    return JSONResponse({"error": text}, status, headers=headers or None)
