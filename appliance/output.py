"""What all programs print, passed on to where the appliance's own output goes.

nginx and the others write to a pipe that is always read. Where it leads, nothing may read (a log driver that is stuck,
Ctrl-S), the disk may be full, or the reader be gone: then lines are lost and counted, and no program waits.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from common.log import event

log = logging.getLogger("appliance")

# Bytes of lines that wait to be read; the pipe itself takes 64 KiB more (pipe(7))
WAITING_BYTES = 1024 * 1024
# How long what was printed last is waited for
END_SECONDS = 1.0


class Output:
    """Lines between the thread that `take`s and the one that `give`s. `lost`: how many were not passed on."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._bytes = 0
        self._counting = threading.Lock()
        self.lost = 0

    def take(self) -> None:
        """Read until all writers are gone."""
        rest = b""
        while chunk := os.read(self._source, 65536):
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if not newline and len(rest) < 65536:
                continue
            self._add(lines + newline or rest)
            rest = rest if newline else b""
        if rest:
            self._add(rest)
        self._waiting.put(b"")  # the end

    def _add(self, lines: bytes) -> None:
        with self._counting:
            if self._bytes + len(lines) > WAITING_BYTES:
                self.lost += lines.count(b"\n")
                return
            self._bytes += len(lines)
        self._waiting.put(lines)

    def give(self) -> None:
        """Write until `take` has ended."""
        while lines := self._waiting.get():
            passed = self._passed(lines)
            with self._counting:
                self._bytes -= len(lines)
                self.lost += 0 if passed else lines.count(b"\n")
                # said when what waited is out, and only where it can be read
                lost = self.lost if passed and not self._bytes else 0
                self.lost -= lost
            if lost:
                message = "%d lines of this log are missing here: nothing read them, or there was no room for them"
                log.warning(message, lost, extra=event("concern", part="output", problem=message % lost))

    def _passed(self, lines: bytes) -> bool:
        try:
            while lines:
                lines = lines[os.write(self._target, lines) :]
        except OSError:  # a full disk, or a reader that is gone
            return False
        return True


@contextmanager
def relayed() -> Iterator[None]:
    """Standard output and error of this process, and of those it starts, go through an Output meanwhile."""
    target = os.dup(1)
    source, sink = os.pipe()
    output = Output(source, target)
    for descriptor in (1, 2):
        os.dup2(sink, descriptor)
    os.close(sink)
    threads = [threading.Thread(target=each, daemon=True) for each in (output.take, output.give)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        for descriptor in (1, 2):
            os.dup2(target, descriptor)
        for thread in threads:  # a program that outlives this one would hold the pipe open
            thread.join(END_SECONDS)
