"""Status files in tests: written and read as their JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from common.status import ProducerStatus, Status, write_status
from common.typed import read

S = TypeVar("S", bound=Status)
COUNTERS = {"started_at": "2026-11-23T14:05:00Z"}


def made(kind: type[S], facts: dict[str, Any]) -> S:
    """The status with that JSON; what it does not name is as by default."""
    status: S = read(kind, json.loads(json.dumps(facts)))
    return status


def say(directory: Path, kind: type[Status], facts: dict[str, Any]) -> None:
    write_status(directory, made(kind, facts))


def status_json(directory: Path, kind: type[Status] = ProducerStatus) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / f"{kind.process}.json").read_bytes())
    return found
