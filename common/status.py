"""What each process last said of itself, as one small JSON file a process under DATA_DIR/run/status.

Written by the process, read by `health`, `verify` and `script/up`. Losing one costs nothing but the answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common.atomic import write_atomic


def write_status(directory: Path, process: str, facts: dict[str, Any]) -> None:
    """Replace the status of `process` (producer, entrypoint); facts must be JSON. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    write_atomic(directory / f"{process}.json", json.dumps(facts).encode(), durable=False)


def read_status(directory: Path, process: str) -> dict[str, Any] | None:
    """The last status of `process`, or None when it has not said anything yet (or the file is damaged)."""
    try:
        facts = json.loads((directory / f"{process}.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None
