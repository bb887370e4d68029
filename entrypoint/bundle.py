"""The function's zip: the same folder gives the same bytes, wherever, whenever and by whichever Python it is made."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

# The earliest time a zip can carry; and rw-r--r-- of a regular file, since Lambda reads as another user.
TIMESTAMP = (1980, 1, 1, 0, 0, 0)
MODE = 0o100644
UNIX = 3
LEFT_OUT_FOLDERS = {"__pycache__", "tests"}
LEFT_OUT_SUFFIXES = {".pyc", ".pyo"}


class BundleError(Exception):
    """The folder is not the function's; the message is for the user."""


def bundle(folder: Path) -> bytes:
    """Zip every file below `folder`, without caches, tests and hidden files. Raises BundleError without index.py.

    Stored, not deflated: two builds of zlib may compress the same input to different bytes, and then every start
    would look like new code. The folder has some ten kilobytes.
    """
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and _belongs(path.relative_to(folder))
    }
    if "index.py" not in files:
        raise BundleError(f"{folder} has no index.py: it is not the function's folder")
    return zipped(dict(sorted(files.items())))


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip of these files in this order, with fixed times and modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, TIMESTAMP)
            entry.create_system = UNIX
            entry.external_attr = MODE << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def code_sha256(code: bytes) -> str:
    """The hash of a zip in the form Lambda's CodeSha256 has: base64 of SHA-256."""
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


def _belongs(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and not LEFT_OUT_FOLDERS.intersection(path.parts) and path.suffix not in LEFT_OUT_SUFFIXES
