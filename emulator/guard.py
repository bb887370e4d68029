"""Which requests reach MiniStack, which itself answers every program and every web page, and checks no key.

A program that signs with this DATA_DIR's key is answered. A web page cannot know the key; what a browser sends for a
page is refused all the same, so that a key that got out does not open the emulator to pages.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from common.hosts import known_host

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Coroutine[Any, Any, None]]

# what an HTML form, or a script without asking first, can send: the Fetch standard's "CORS-safelisted request-header"
FORMS = {"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"}
# MiniStack's and LocalStack's own paths begin with an underscore, which no bucket's name does
HEALTH = "/health"
CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256\s.*?Credential=([^/,\s]+)/[^/]*/[^/]*/([^/]*)/")


def credential(headers: dict[str, str], query: str) -> tuple[str, str]:
    """The access key that signed the request, and the service: in a header, or in the query of a presigned URL."""
    if found := CREDENTIAL.match(headers.get("authorization", "")):
        return found[1], found[2]
    parameters = parse_qs(query)
    if "X-Amz-Credential" in parameters:
        key, _, scope = parameters["X-Amz-Credential"][0].partition("/")
        return key, scope.split("/")[2] if scope.count("/") > 1 else ""
    return (parameters["AWSAccessKeyId"][0], "s3") if "AWSAccessKeyId" in parameters else ("", "")


def refusal(method: str, path: str, query: str, headers: dict[str, str], *, key: str, name: str) -> str | None:
    """Why a request must not be answered, with the remedy; None when it may. `headers`: by names in lower case.

    `key`: the access key of this DATA_DIR; `name`: what EMULATOR_HOST calls this machine.
    """
    host = headers.get("host", "")
    form = headers.get("content-type", "").partition(";")[0].strip().lower() in FORMS
    if "origin" in headers or headers.get("sec-fetch-site", "none") != "none" or method == "OPTIONS":
        return "the emulator answers no web page: use a program, such as script/aws"
    if form and method == "POST" and not headers.get("authorization"):
        return "the emulator takes no HTML form: sign the request by its Authorization header, as script/aws does"
    # a container knows others by names without a dot, and Docker's machine by one of .internal, which ICANN reserved
    local = re.fullmatch(r"[\w-]+(\.[\w-]+)*\.internal|[\w-]+", host.partition(":")[0])
    if not local and not known_host(host, name):
        return f"the emulator is not known as {host[:100]!r}: use an address, localhost, or a name without a dot"
    if path.startswith("/_") or path == HEALTH:
        return f"the emulator has no {path[:100]} here: use the APIs of AWS, and `appliance health`"
    if not hmac.compare_digest(credential(headers, query)[0].encode(), key.encode()):
        return "this is not the emulator's access key: use script/aws, or take the one in DATA_DIR/emulator/credentials"
    return None


def guarded(app: App, key: str, name: str) -> App:
    """`app` behind `refusal`; no answer of it lets a web page read it."""

    async def guard(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})  # answered with 403
            return
        headers = {header.decode("latin-1").lower(): value.decode("latin-1") for header, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        reason = refusal(scope["method"], scope["path"], query, headers, key=key, name=name)
        if reason:
            await refuse(send, reason, credential(headers, query)[1])
            return

        async def without_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [each for each in message["headers"] if not each[0].lower().startswith(b"access-control-")]
                message = {**message, "headers": kept}
            await send(message)

        await app(scope, receive, without_cors)

    return guard


async def refuse(send: Send, reason: str, service: str) -> None:
    """403, in the words that the SDKs expect of the service, so that they show the reason."""
    if service in ("s3", "iam", "sts"):
        body = f"<Error><Code>AccessDenied</Code><Message>{escape(reason)}</Message></Error>"
        kind, body = "application/xml", body if service == "s3" else f"<ErrorResponse>{body}</ErrorResponse>"
    else:
        kind, body = "application/json", json.dumps({"__type": "AccessDeniedException", "message": reason})
    headers = [(b"content-type", kind.encode()), (b"x-amzn-errortype", b"AccessDeniedException")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
