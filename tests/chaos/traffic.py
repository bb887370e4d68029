"""Continuous requests that can be told apart, and which of them must have a line in the log.

nginx writes a request's line after its answer was sent, so an answer alone does not prove a line: the worker may have
been killed in between. What proves it is that the same connection answers once more, since a worker goes on with a
connection only after the line of the request before is written. So each request is one of

- confirmed: answered, and something after it on the same connection too. It must be archived exactly once.
- uncertain: sent, but its answer, or the next one, never came. It may be archived once or not at all.
- doubted: sent while the test knew that lines could not be written (a full disk). The same.
- refused: answered with 503, as there is no room for its line. It must not be archived.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.waiting import eventually

CONNECTIONS = 8
ANSWER_TIMEOUT = 10.0
RECONNECT_EVERY = 0.1
# nginx closes a connection after keepalive_requests (1,000) by itself, and then nothing could confirm the last request
REQUESTS_PER_CONNECTION = 900
# What was not sent while nginx was down is sent afterwards, at this many times the rate
CATCH_UP = 3
AGENTS = ("chaos/1", 'quotes "inside" and \\ too', "한글 브라우저", "a" * 200, "")


class Traffic:
    """Sends `/<run>/<number>` at `rate` a second over some keep-alive connections, in a thread of its own."""

    def __init__(self, port: int, rate: float, run: str) -> None:
        self.confirmed: set[str] = set()
        self.uncertain: set[str] = set()
        self.doubted: set[str] = set()
        self.refused: set[str] = set()
        self.run = run
        self._port = port
        self._interval = 1 / rate
        self._next = 0
        self._slot = time.monotonic()
        self._due = self._slot
        self._running = True
        self._paused = False
        self._idle = 0
        self._doubtful = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="traffic")
        self._problem: BaseException | None = None

    @property
    def sent(self) -> int:
        return self._next

    def start(self) -> None:
        self._due = self._slot = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """End, and let each connection confirm its last request. Raises what has ended the traffic too early."""
        self._running = False
        if self._thread.ident is None:
            self._loop.close()  # it was never started
            return
        self._thread.join(60)
        assert not self._thread.is_alive(), "the traffic does not end"
        if self._problem:
            raise self._problem

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is on its way, and every line of what was answered is written."""
        self._paused = True
        try:
            eventually(lambda: self._idle == CONNECTIONS, within=60, every=0.02, why="the traffic pauses")
            yield
        finally:
            self._paused = False

    @contextmanager
    def doubtful(self) -> Iterator[None]:
        """What is sent meanwhile may or may not get a line."""
        with self.paused():
            self._doubtful = True
        try:
            yield
        finally:
            with self.paused():
                self._doubtful = False

    # In the loop's thread from here on

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._all())
        except BaseException as error:
            self._problem = error
        finally:
            self._loop.close()

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CONNECTIONS):
                group.create_task(self._converse(number))

    async def _converse(self, number: int) -> None:
        """One connection after the other, as long as the traffic lasts."""
        while self._running:
            if self._paused:
                await self._wait_out()
                continue
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(RECONNECT_EVERY)
                continue
            try:
                await self._use(reader, writer, number)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _wait_out(self) -> None:
        self._idle += 1
        while self._paused and self._running:
            await asyncio.sleep(0.01)
        self._idle -= 1

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        """Requests on this connection until it breaks, is used up, or the traffic ends or pauses."""
        unconfirmed: str | None = None
        current: str | None = None
        try:
            for _ in range(REQUESTS_PER_CONNECTION):
                if not await self._turn():
                    break
                current = f"/{self.run}/{self._next}"
                agent = AGENTS[(self._next + number) % len(AGENTS)]
                self._next += 1
                doubtful = self._doubtful
                if doubtful:
                    self.doubted.add(current)
                status = await _exchange(reader, writer, current, agent)
                if unconfirmed:
                    self.confirmed.add(unconfirmed)
                    unconfirmed = None
                if status == 503:
                    self.refused.add(current)
                    self.doubted.discard(current)
                elif not doubtful:
                    unconfirmed = current
                current = None
            if unconfirmed:
                await _exchange(reader, writer, "/healthz", "")  # which is never logged
                self.confirmed.add(unconfirmed)
                unconfirmed = None
        except (TimeoutError, OSError, EOFError, ValueError):
            pass
        finally:
            self.uncertain.update(each for each in (unconfirmed, current) if each and each not in self.doubted)

    async def _turn(self) -> bool:
        """Wait until the next request is due; False when there is none on this connection."""
        while self._running and not self._paused:
            now = time.monotonic()
            at = max(self._due, self._slot + self._interval / CATCH_UP)
            if at <= now:
                self._due += self._interval
                self._slot = now
                return True
            await asyncio.sleep(min(0.05, at - now))
        return False


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, agent: str) -> int:
    """One request and its whole answer; the status. Raises OSError, EOFError, ValueError, TimeoutError."""
    async with asyncio.timeout(ANSWER_TIMEOUT):
        head = f"GET {path} HTTP/1.1\r\nHost: chaos\r\nUser-Agent: {agent}\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        if not lines[0].startswith("http/1.1 "):
            raise ValueError(lines[0])
        length = next(line.split(":")[1] for line in lines if line.startswith("content-length:"))
        await reader.readexactly(int(length))
        return int(lines[0].split()[1])
