"""How the files of a log are named: the log, its rotated siblings, and those of them that are compressed."""

from __future__ import annotations

from pathlib import Path

# These hold what another file held as text before; reading them as lines would send their bytes as rejected ones
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip")


def is_rotated(path: Path, log: Path) -> bool:
    """Whether `path`, in the folder of `log`, is named as rotation names an older part of it."""
    return path.name.startswith((f"{log.name}.", f"{log.name}-"))


def is_compressed(path: Path) -> bool:
    return path.name.endswith(COMPRESSED)


def log_files(log: Path) -> tuple[list[Path], list[Path]]:
    """The log, which comes first, with its rotated siblings; and those that are compressed. Raises OSError.

    Both are empty when there is no folder. A file may be gone by the time it is opened.
    """
    try:
        paths = sorted(log.parent.iterdir())
    except FileNotFoundError:
        return [], []
    rotated = [path for path in paths if is_rotated(path, log)]
    live = [log] if log in paths else []
    return [*live, *(path for path in rotated if not is_compressed(path))], list(filter(is_compressed, rotated))
