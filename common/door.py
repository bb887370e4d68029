"""Whether requests are taken: a link in DATA_DIR/run that nginx's configuration looks at with each request.

It leads to the folder `open`, or to `full` while there is no room for another line. The appliance turns it, the
producer reads it.
"""

from __future__ import annotations

import os
from pathlib import Path


def turn(run_dir: Path, word: str) -> None:
    """Let the link lead to `open` or `full`, at once for all of nginx's workers. Raises OSError."""
    (run_dir / word).mkdir(parents=True, exist_ok=True)
    fresh = run_dir / ".door"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(word)
    fresh.replace(run_dir / "door")


def is_full(run_dir: Path) -> bool:
    try:
        return os.readlink(run_dir / "door") == "full"  # noqa: PTH115 (Path.readlink makes a Path of it)
    except OSError:
        return False
