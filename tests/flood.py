"""Hostile requests, as many as go: each is 12 KiB of `"`, which nginx logs as `\\x22`, so as four times as much."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from contextlib import suppress

# Three of nginx's four header buffers of 4 KiB
QUOTES = '"' * 3900
UPLOAD = bytes(1024 * 1024)
UPLOAD_EACH = 50
CONNECTIONS = 8
TIMEOUT = 10.0


class Flood:
    """`/<run>/<number>""…` over keep-alive connections for so many seconds, some with an upload; what became of each.

    `answered`: with anything but 503, so it must have a line. `refused`: with 503. `broken`: the connection ended
    without an answer, so there may be a line.
    """

    def __init__(self, port: int, run: str) -> None:
        self.answered: set[str] = set()
        self.refused: set[str] = set()
        self.broken: set[str] = set()
        self._port = port
        self._run = run
        self._numbers = itertools.count()

    def pour(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._pour, args=(end,)) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _pour(self, end: float) -> None:
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT) as connection:
                while time.monotonic() < end:
                    number = next(self._numbers)
                    path = f"/{self._run}/{number}"
                    self.broken.add(path)
                    status = _exchange(connection, path, UPLOAD if number % UPLOAD_EACH == 0 else b"")
                    (self.refused if status == 503 else self.answered).add(path)
                    self.broken.discard(path)


def _exchange(connection: socket.socket, path: str, body: bytes) -> int:
    """One request and its whole answer. Raises OSError."""
    head = f"{'POST' if body else 'GET'} {path}{QUOTES} HTTP/1.1\r\nHost: flood\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}Referer: {QUOTES}\r\nUser-Agent: {QUOTES}\r\n\r\n".encode() + body)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _more(connection)
    headers, _, rest = answer.partition(b"\r\n\r\n")
    lines = headers.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    while len(rest) < length:
        rest += _more(connection)
    return int(lines[0].split()[1])


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionResetError("closed before the answer")
    return data
