"""What a producer knows of its bucket, for its next process: `large.json`.

The state of a large hourly object is true of the object with that ETag, whenever it was kept, and the condition of the
next write finds out when the object has another one. So a file that is old, or gone, costs requests and nothing else.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.archiver import HourlyObject, Ledger, LedgerError, State
from common.atomic import write_atomic

# For so many seconds an endpoint is not tried again: it may be replaced by one that honours less
TRUSTED = 86400.0


class Large:
    """`objects`: with their states; None for one that others write, too. `tried`: when, in Unix seconds, the endpoint
    was seen to honour the conditions of writes. Without a `path` nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self.objects: dict[HourlyObject, State | None] = {}
        self.tried = 0.0
        self._path = path
        self._where = ""
        self._kept = b""

    def load(self, where: str) -> None:
        """Take over what is kept of the bucket that `where` names, and its endpoint."""
        self.objects.clear()
        self.tried, self._where, self._kept = 0.0, where, b""
        with suppress(OSError, ValueError, KeyError, TypeError, LedgerError):
            text = self._path.read_bytes() if self._path else b"{}"
            kept: dict[str, Any] = json.loads(text)
            if kept["where"] == where:
                objects = {HourlyObject(*target): _state(*each) if each else None for target, each in kept["objects"]}
                self.tried, self._kept = float(kept["tried"]), text
                self.objects.update(objects)

    def save(self) -> None:
        """Keep it, unless it is kept; best effort."""
        objects = [
            (target, state and (state.etag, state.size, state.ledger.encode(state.size), state.side, state.lines))
            for target, state in self.objects.items()
        ]
        text = json.dumps({"where": self._where, "tried": self.tried, "objects": objects}).encode()
        if self._path is None or text == self._kept or not (objects or self.tried or self._kept):
            return
        self._kept = text
        with suppress(OSError):
            write_atomic(self._path, text, durable=False)


def _state(etag: str, size: int, text: str, side: str | None, lines: int | None) -> State:
    ledger, length = Ledger.decode(text)
    if length != size:
        raise LedgerError(f"the ledger of {length} bytes, not of {size}")
    return State(etag, size, ledger, side, ledgered=True, intact=True, lines=lines)
