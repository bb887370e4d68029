"""A proxy between the appliance and its emulator that breaks requests on demand; standard library only.

It speaks HTTP/1.1 on both sides and knows each request's service from its signature, so a fault can be aimed at Kinesis
or S3 alone, has the shape AWS would give it, and is counted only when a request has really met it.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

# Longer than any answer of the emulator takes, and any of its pauses: the proxy must never be the one who gives up
UPSTREAM_TIMEOUT = 90.0
MAX_HEAD_BYTES = 64 * 1024
READ_BYTES = 64 * 1024
BODYLESS = {204, 304}


class Kind(Enum):
    """What becomes of a request that meets the fault."""

    THROTTLED = "429 throttled"
    ERROR = "500 internal error"
    UNAVAILABLE = "503 slow down"
    EXPIRED = "400 expired token"
    RESET = "connection reset before the request is passed on"
    SLOW = "slow answer"
    DROPPED = "response dropped after success"
    CUT = "response cut in its middle"
    PARTIAL = "PutRecords partly refused"
    OUTAGE = "outage: connections refused"


REFUSALS = (Kind.THROTTLED, Kind.ERROR, Kind.UNAVAILABLE, Kind.EXPIRED)


@dataclass(slots=True)
class Fault:
    """Meets the next `count` requests to `service` ("" for any); with `lasting`, all within as many seconds.

    `seconds`: how slow, or how long an outage takes.
    """

    kind: Kind
    service: str = ""
    count: int = 1
    seconds: float = 0.0
    lasting: float = 0.0
    until: float = 0.0


@dataclass(slots=True)
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def service(self) -> str:
        """As the signature names it (Credential=<key>/<day>/<region>/<service>/aws4_request); "" without one."""
        _, found, scope = self.header("authorization").partition("Credential=")
        parts = scope.split(",")[0].split("/")
        return parts[3] if found and len(parts) > 3 else ""


@dataclass(slots=True)
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def encode(self, method: str) -> bytes:
        kept = [(key, value) for key, value in self.headers if key.lower() not in FRAMING]
        # the answer to HEAD says how long the body is that it does not have
        length = [value for key, value in self.headers if key.lower() == "content-length"] if method == "HEAD" else []
        head = [f"HTTP/1.1 {self.status} -", *(f"{key}: {value}" for key, value in kept)]
        if self.status not in BODYLESS:
            head.append(f"Content-Length: {length[0] if length else len(self.body)}")
        return "\r\n".join([*head, "", ""]).encode("latin-1") + self.body


FRAMING = {"content-length", "transfer-encoding", "connection", "keep-alive", "expect"}


class FaultProxy:
    """Listens on `port` of the loopback interface and passes to `upstream`; lives in a thread of its own."""

    def __init__(self, port: int, upstream: int, rng: random.Random) -> None:
        self.port = port
        self.upstream = upstream
        self.hits: Counter[Kind] = Counter()
        self.passed = 0
        self._rng = rng
        self._faults: list[Fault] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy")
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._up = asyncio.Lock()

    def start(self) -> None:
        self._thread.start()
        self._call(self._listen())

    def stop(self) -> None:
        if self._thread.ident is not None:
            self._call(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
        self._loop.close()

    def inject(self, fault: Fault) -> None:
        """Break the next requests that fit. An outage is of now, and over when this returns."""
        if fault.kind is Kind.OUTAGE:
            self._call(self._outage(fault.seconds), 30 + fault.seconds)
        else:
            if fault.lasting:
                fault.until = time.monotonic() + fault.lasting
            self._loop.call_soon_threadsafe(lambda: self._faults.append(fault))

    def clear(self) -> None:
        """No further request is broken."""
        self._loop.call_soon_threadsafe(lambda: self._faults.clear())

    def pending(self) -> int:
        """Faults that still wait for a request."""
        return len(self._faults)

    # In the loop's thread from here on

    def _call(self, work: Any, timeout: float = 30) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._connected, "127.0.0.1", self.port, limit=MAX_HEAD_BYTES, reuse_address=True
        )

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        # a connection that was taken a moment ago has no task yet
        await asyncio.sleep(0.05)
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _outage(self, seconds: float) -> None:
        async with self._up:
            await self._close()
            self.hits[Kind.OUTAGE] += 1
            await asyncio.sleep(seconds)
            await self._listen()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._serve(reader, writer):
                pass
        except (TimeoutError, OSError, EOFError, asyncio.CancelledError, ValueError):
            _reset(writer)
        finally:
            self._connections.discard(task)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request. Whether the connection goes on."""
        request = await _read_request(reader, writer)
        if request is None:
            return False
        fault = self._meet(request)
        kind = fault.kind if fault else None
        if kind is Kind.RESET:
            _reset(writer)
            return False
        if fault and kind is Kind.SLOW:
            await asyncio.sleep(fault.seconds)
        if kind in REFUSALS:
            response = refusal(kind, request)
        elif kind is Kind.PARTIAL:
            response = await self._partly(request)
        else:
            response = await self._pass(request)
        data = response.encode(request.method)
        if kind is Kind.DROPPED:
            _reset(writer)
            return False
        if kind is Kind.CUT:
            writer.write(data[: max(1, len(data) - max(1, len(response.body) // 2))])
            await writer.drain()
            writer.close()  # in order, so that what was sent arrives: it is the length that tells
            return False
        writer.write(data)
        await writer.drain()
        return request.header("connection").lower() != "close"

    def _meet(self, request: Request) -> Fault | None:
        self._faults = [fault for fault in self._faults if not fault.until or time.monotonic() < fault.until]
        for fault in self._faults:
            if fault.service not in ("", request.service):
                continue
            if fault.kind is Kind.PARTIAL and not _is_put_records(request):
                continue
            fault.count -= not fault.until
            if fault.count <= 0:
                self._faults.remove(fault)
            self.hits[fault.kind] += 1
            return fault
        return None

    async def _pass(self, request: Request) -> Response:
        """To the emulator and back, on a connection of its own. Raises OSError, EOFError."""
        self.passed += 1
        async with asyncio.timeout(UPSTREAM_TIMEOUT):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=MAX_HEAD_BYTES)
            try:
                headers = [(key, value) for key, value in request.headers if key.lower() not in FRAMING]
                headers += [("Content-Length", str(len(request.body))), ("Connection", "close")]
                head = [f"{request.method} {request.target} HTTP/1.1", *(f"{key}: {value}" for key, value in headers)]
                writer.write("\r\n".join([*head, "", ""]).encode("latin-1") + request.body)
                await writer.drain()
                return await _read_response(reader, request.method)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _partly(self, request: Request) -> Response:
        """Pass a random part of the records on and refuse the others, and say a wrong FailedRecordCount."""
        asked = json.loads(request.body)
        chosen = [self._rng.random() < 0.5 for _ in asked["Records"]]
        forwarded = asked | {"Records": [record for record, go in zip(asked["Records"], chosen, strict=True) if go]}
        answers: list[dict[str, Any]] = []
        response = Response(200, [("Content-Type", "application/x-amz-json-1.1")], b"")
        if forwarded["Records"]:
            passed = Request(request.method, request.target, request.headers, json.dumps(forwarded).encode())
            response = await self._pass(passed)
            if response.status != 200:
                return response
            answers = json.loads(response.body)["Records"]
        rest = iter(answers)
        refused = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard"}
        merged = [next(rest) if go else refused for go in chosen]
        response.body = json.dumps({"FailedRecordCount": 1, "Records": merged}).encode()
        return response


def refusal(kind: Kind, request: Request) -> Response:
    """The error in the words of the service that was asked: JSON for Kinesis and Lambda, XML for S3 and IAM."""
    json_spoken = request.service in ("kinesis", "lambda")
    throttled = "ProvisionedThroughputExceededException" if request.service == "kinesis" else "TooManyRequestsException"
    status, code = {
        Kind.THROTTLED: (429, throttled if json_spoken else "SlowDown" if request.service == "s3" else "Throttling"),
        Kind.ERROR: (500, "InternalFailure" if json_spoken else "InternalError"),
        Kind.UNAVAILABLE: (503, "ServiceUnavailable" if json_spoken else "SlowDown"),
        Kind.EXPIRED: (400, "ExpiredTokenException" if json_spoken else "ExpiredToken"),
    }[kind]
    message = f"injected: {kind.value}"
    if json_spoken:
        body = json.dumps({"__type": code, "message": message})
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)]
    else:
        error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        wrapped = error if request.service == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        body, headers = f'<?xml version="1.0" encoding="UTF-8"?>\n{wrapped}', [("Content-Type", "application/xml")]
    return Response(status, headers, b"" if request.method == "HEAD" else body.encode())


def _is_put_records(request: Request) -> bool:
    return request.header("x-amz-target").endswith(".PutRecords") and request.body.startswith(b"{")


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the peer gets a reset: with no time to linger, what is unsent is thrown away (socket(7))."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, list[tuple[str, str]]] | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    except asyncio.LimitOverrunError as error:
        raise ValueError("the head is too long") from error
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    return first, [(key.strip(), value.strip()) for key, _, value in (line.partition(":") for line in lines)]


async def _read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """None when the client has closed."""
    head = await _read_head(reader)
    if head is None:
        return None
    method, target, _ = head[0].split(" ", 2)
    request = Request(method, target, head[1], b"")
    if request.header("expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    request.body = await _read_body(reader, head[1], until_end=False)
    return request


async def _read_response(reader: asyncio.StreamReader, method: str) -> Response:
    while True:
        head = await _read_head(reader)
        if head is None:
            raise EOFError("no answer")
        status = int(head[0].split(" ", 2)[1])
        if status >= 200:
            break
    bodyless = method == "HEAD" or status in BODYLESS
    return Response(status, head[1], b"" if bodyless else await _read_body(reader, head[1], until_end=True))


async def _read_body(reader: asyncio.StreamReader, headers: list[tuple[str, str]], *, until_end: bool) -> bytes:
    named = {key.lower(): value for key, value in headers}
    if "chunked" in named.get("transfer-encoding", "").lower():
        body = bytearray()
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers, which nobody here needs
            pass
        return bytes(body)
    if "content-length" in named:
        return await reader.readexactly(int(named["content-length"]))
    return await reader.read() if until_end else b""
