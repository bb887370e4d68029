"""The files of a log (itself, its rotated siblings, and those of them that are compressed), and where lines begin."""

from __future__ import annotations

import difflib
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from journal.checkpoint import Fingerprint, Generation

# These hold what another file held as text before; reading them as lines would send their bytes as rejected ones
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip")
# How many names a message lists, at most
NAMED = 5
STEP = 64 * 1024  # bytes read at once, backwards: a line is far shorter, almost always

Key = tuple[int, int]


class NotAFileError(OSError):
    """The log is a device or a folder; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file as the directory listing showed it. `live`: the log itself, not a rotated one."""

    path: Path
    device: int
    inode: int
    size: int
    modified: float
    live: bool

    @property
    def key(self) -> Key:
        return self.device, self.inode

    @property
    def compressed(self) -> bool:
        return not self.live and self.path.name.endswith(COMPRESSED)

    def open(self) -> int:
        """A descriptor of this very file. Raises OSError; FileNotFoundError when its name is another file's by now."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) == self.key:
            return descriptor
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "renamed or deleted", str(self.path))


def files_of(log: Path) -> list[Found]:
    """The log and its rotated siblings, by name. A file with several names is there once. Raises OSError."""
    try:
        paths = sorted(log.parent.iterdir())
    except FileNotFoundError:
        return []
    found: dict[Key, Found] = {}
    for path in paths:  # the log sorts before its siblings, so that a link to it is not taken for a rotated one
        live = path == log
        if not live and not path.name.startswith((f"{log.name}.", f"{log.name}-")):
            continue
        try:
            status = path.stat()
        except OSError:  # renamed meanwhile, or a link to nowhere
            continue
        if stat.S_ISREG(status.st_mode):
            seen = Found(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime, live)
            found.setdefault(seen.key, seen)
        elif live:
            if stat.S_ISDIR(status.st_mode):
                raise NotAFileError(f"{path} is a folder: set LOG_FILE to the log in it, e.g. {path / 'access.log'}")
            raise NotAFileError(f"{path} is no plain file: let nginx write its access log to a file, not a device")
    return list(found.values())


def absence(log: Path) -> str:
    """Says of a log that is not there what lies in its place."""
    said = f"the log {log} is not there"
    try:
        names = [path.name for path in log.parent.iterdir()]
    except OSError as error:
        return f"{said}, nor can its folder be read ({error.strerror}): set LOG_FILE to the log of the web server"
    if set("*?[") & set(log.name):
        said += " (LOG_FILE names one file; it is no pattern)"
    near = ", ".join(difflib.get_close_matches(log.name, names, NAMED, cutoff=0))
    return f"{said}; its folder holds {near or 'nothing'}. Set LOG_FILE to the log of the web server, or start that one"


def begins(descriptor: int, generation: Generation) -> bool:
    """Whether the file starts as the generation's does. Raises OSError."""
    return Fingerprint.of(os.pread(descriptor, generation.head.length, 0)) == generation.head


def begins_copy(descriptor: int, generation: Generation) -> bool:
    """Whether the file starts as the generation's does, as far as it goes: as a copy, perhaps a shorter one."""
    data = os.pread(descriptor, generation.head.length, 0)
    return Fingerprint.of(data) in [generation.head, *generation.starts]


def continues(descriptor: int, generation: Generation) -> bool:
    """Whether the file starts as the generation's does and has the bytes before its offset. Raises OSError."""
    tail, position = generation.tail, generation.position
    return (
        begins(descriptor, generation)
        and os.fstat(descriptor).st_size >= position
        and (not tail.length or Fingerprint.of(os.pread(descriptor, tail.length, position - tail.length)) == tail)
    )


def line_start(descriptor: int, position: int) -> int:
    """Where the line begins that reaches up to `position`: behind the last newline before it, or 0. Raises OSError."""
    while position > 0:
        step = min(STEP, position)
        newline = os.pread(descriptor, step, position - step).rfind(b"\n")
        if newline >= 0:
            return position - step + newline + 1
        position -= step
    return 0
