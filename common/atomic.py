"""Files that are either the old or the new version after a crash, never something in between."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# Room that a file beside it takes on a full disk, by its name; many times as much as checkpoint and archived.json need
RESERVE = "reserve"
RESERVE_BYTES = 4 * 1024 * 1024


def write_atomic(path: Path, data: bytes, *, durable: bool = True, mode: int | None = None) -> None:
    """Replace `path` by `data`: temporary file, fsync, rename, fsync of the directory.

    `durable=False` leaves the two fsyncs out, for files that need not survive a power cut. `mode`: its permissions,
    else the umask's. On a full disk the reserve beside it is given up. Raises OSError (disk full, read-only); the old
    version then stands, and the temporary file is gone.
    """
    try:
        _replace(path, data, durable, mode)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        try:
            path.with_name(RESERVE).unlink()
        except FileNotFoundError:
            raise error from None
        _replace(path, data, durable, mode)


def keep_reserve(folder: Path) -> None:
    """Make the reserve for the files in `folder`, unless it is there. Raises OSError."""
    reserve = folder / RESERVE
    if reserve.exists() and reserve.stat().st_size == RESERVE_BYTES:
        return
    with reserve.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)
        except OSError:
            reserve.unlink()
            raise


def _replace(path: Path, data: bytes, durable: bool, mode: int | None) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        except OSError as error:
            if error.errno != errno.EINVAL:  # fsync(2): a file system, such as CIFS, that knows no such thing
                raise
        finally:
            os.close(directory)
