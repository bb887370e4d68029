"""The files of a log, wherever rotation has put them, which generation's they are, and where lines begin."""

from __future__ import annotations

import difflib
import errno
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from journal.checkpoint import FileId, Fingerprint, Generation
from journal.packed import MAGIC_BYTES, Packed, way_of

# Names of compressed files, for those that need not know for sure
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip")
# A text has next to none of these: of random bytes every ninth is one. So many bytes of it are looked at.
_CONTROL = bytes({*range(32), 127} - set(b"\t\n\r\x1b"))
SAMPLE = 4096
# What zstd, lz4, compress, zip and lzma begin with: they leave what is short, or cannot be packed, as it is
_PACKED = (b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"\x1f\x9d", b"PK\x03\x04", b"\x5d\0\0")
FEW, MOST = 8, 0.08
# A number, a date, a time: 1, 20261130, 2026-11-30_16:05, 30Nov2026
_MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DATE = rf"(?:\d|{_MONTH})(?:[\dTZ:_.+-]|{_MONTH})*"
# The time in the names of s6-log
_TAI64N = "@[0-9a-f]{24}"
NO_TEXT = "it is no text, nor compressed by gzip, bzip2, xz or, with Python 3.14, zstd"
# How many names a message lists, at most
NAMED = 5
STEP = 64 * 1024  # bytes read at once, backwards: a line is far shorter, almost always

OPEN_FILES = Path("/proc/self/fd")
Key = tuple[int, int]


class Content(Protocol):
    """The bytes of a log, wherever they are."""

    def pread(self, length: int, position: int) -> bytes: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Plain:
    descriptor: int

    def pread(self, length: int, position: int) -> bytes:
        return os.pread(self.descriptor, length, position)

    @property
    def size(self) -> int:
        return os.fstat(self.descriptor).st_size

    def close(self) -> None:
        os.close(self.descriptor)


class NotAFileError(OSError):
    """The log is a device or a folder; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file as the directory listing showed it. `live`: the log itself, not a rotated one.

    `stamp`: of a compressed file, what it looked like when it was listed; its `size` is then that of what it holds.
    `hinted`: its inode is one that a generation had, and its name is none of the log's: it may be any file by now.
    `dated`: its name ends with a number or a date, as those that rotation gives do; a packer's ending may follow.
    """

    path: Path
    device: int
    inode: int
    size: int
    modified: float
    live: bool
    stamp: str = ""
    hinted: bool = False
    dated: bool = False

    @property
    def key(self) -> Key:
        return self.device, self.inode

    @property
    def compressed(self) -> bool:
        return not self.live and self.path.name.endswith(COMPRESSED)

    @property
    def nameless(self) -> bool:
        """Found by a descriptor only."""
        return self.path.parent == OPEN_FILES

    def age(self, now: float) -> float:
        """Seconds since the last write. A time to come, which a clock that was set back leaves behind, says nothing:
        taken for one in the past, a file is no writer's for ever."""
        return abs(now - self.modified)

    @property
    def look(self) -> str:
        return f"{self.size}-{self.modified}"

    @contextmanager
    def content(self) -> Iterator[Content]:
        """What the file holds, unpacked. The log itself is what it is. Raises OSError, BrokenError as it is read."""
        with closing(Plain(self.open())) as plain:
            way = None if self.live else way_of(plain.pread(MAGIC_BYTES, 0))
            if way is None:
                yield plain
            else:
                with closing(Packed(plain.descriptor, way)) as packed:
                    yield packed

    def measured(self, content: Content) -> Found:
        """The same file with the size of what it holds."""
        return replace(self, size=content.size, stamp=self.look) if isinstance(content, Packed) else self

    def remembered(self, file: FileId) -> Found | None:
        """The same with what was found out about it when it was a compressed file of this look."""
        return replace(self, size=file.size, stamp=file.stamp) if file.stamp == self.look else None

    def file(self, *, copy: bool = False) -> FileId:
        return FileId(self.device, self.inode, copy, self.stamp, self.size if self.stamp else 0)

    def open(self) -> int:
        """A descriptor of this very file. Raises OSError; FileNotFoundError when its name is another file's by now."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) == self.key:
            return descriptor
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "renamed or deleted", str(self.path))


def rotated(name: str) -> re.Pattern[str]:
    """The names that rotation gives to the files of a log, and copies of them; not those of another log beside it."""
    return re.compile(rf"{re.escape(name)}[.-].+|(?:{_dated(name)})(?:\..+)?", re.DOTALL)


def dated(name: str) -> re.Pattern[str]:
    """Those of them that end with a number or a date: `access.log.errors` has none, `access.log.1.errors` has more."""
    return re.compile(_dated(name), re.DOTALL)


def _dated(name: str) -> str:
    """logrotate's numbers and dates, before the extension, too; cronolog's dates; s6-log's `@<time>.s` beside
    `current`."""
    stem, _, extension = name.rpartition(".")
    log, stem, extension = re.escape(name), re.escape(stem), re.escape(extension)
    numbered = rf"{stem}(?:\.\d+|[._-](?=(?:\D*\d){{6}}){_DATE})\.{extension}" if stem else log
    saved = rf"{_TAI64N}\.[su]" if name == "current" else log
    return rf"{log}[._-]?{_DATE}|{_DATE}[._-]?{log}|{numbered}|{saved}"


def files_of(log: Path, generations: Collection[Generation] = (), folders: Iterable[Path] = ()) -> list[Found]:
    """The log and what rotation has made of it, each file once. Raises OSError.

    They are in the log's folder, in `folders`, and where a file of the `generations` was last seen: by their names, or
    as one of those files, whatever its name.
    """
    known = {file.key for generation in generations for file in generation.files}
    seen_in = [log.parent / Path(each.name).parent for each in generations]
    found: dict[Key, Found] = {}
    named, numbered = rotated(log.name).fullmatch, dated(log.name).fullmatch
    for folder in dict.fromkeys([log.parent, *folders, *seen_in]):
        for seen in _files_in(folder, log):
            # cronolog's 2026/11/29/access.log
            same_name = folder != log.parent and seen.path.name == log.name
            hinted = not (seen.live or same_name or named(seen.path.name))
            if hinted and seen.key not in known:
                continue
            # a link to the log is the log
            if seen.live or seen.key not in found or found[seen.key].hinted:
                name = seen.path.stem if seen.compressed else seen.path.name
                found[seen.key] = replace(seen, hinted=hinted, dated=numbered(name) is not None)
    return list(found.values())


def strays(log: Path, generations: Collection[Generation], folders: Iterable[Path]) -> list[Found]:
    """All other files beside those, and in the folders beside the log: one of them may be a log that was moved.

    Raises OSError. Those that are new are none of the log's: other logs lie there, too.
    """
    ours = files_of(log, generations, folders)
    around = [path for path in log.parent.iterdir() if path.is_dir()]
    found: dict[Key, Found] = {}
    for folder in dict.fromkeys([log.parent, *folders, *(seen.path.parent for seen in ours), *around]):
        with suppress(PermissionError):
            found |= {seen.key: seen for seen in _files_in(folder, log)}
    for seen in ours:
        found.pop(seen.key, None)
    return list(found.values())


def _files_in(folder: Path, log: Path) -> Iterator[Found]:
    """The plain files of a folder, by name. The log is found as what it is a link to."""
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return
    for path in paths:
        live = path == log
        try:
            status = path.stat()
        except OSError:  # renamed meanwhile, or a link to nowhere
            continue
        if stat.S_ISREG(status.st_mode):
            real = path.resolve() if live and path.is_symlink() else path
            yield Found(real, status.st_dev, status.st_ino, status.st_size, status.st_mtime, live)
        elif live and stat.S_ISDIR(status.st_mode):
            raise NotAFileError(f"{path} is a folder: set LOG_FILE to the log in it, e.g. {path / 'access.log'}")
        elif live:
            raise NotAFileError(f"{path} is no plain file: let nginx write its access log to a file, not a device")


def log_at(path: Path) -> Found:
    """The file with the size of what it holds. Raises OSError, also for what is no log."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no file")
    seen = Found(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime, live=False)
    with seen.content() as content:
        seen = seen.measured(content)
        if seen.size and not is_text(content):
            raise OSError(NO_TEXT)
    return seen


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
    remedy = "Set LOG_FILE, or LOG_FILES, to the log of the web server, or start that one"
    return f"{said}; its folder holds {near or 'nothing'}. {remedy}"


def begins(content: Content, generation: Generation) -> bool:
    """Whether the file starts as the generation's does. Raises OSError."""
    return Fingerprint.of(content.pread(generation.head.length, generation.hole)) == generation.head


def begins_copy(content: Content, generation: Generation) -> bool:
    """Whether the file starts as the generation's does, as far as it goes: as a copy, perhaps a shorter one."""
    data = content.pread(generation.head.length, generation.hole)
    return Fingerprint.of(data) in [generation.head, *generation.starts]


def may_be_copy(content: Content, generation: Generation) -> bool:
    """Whether the file can be a copy of the generation's, as far as the first bytes tell. Raises OSError."""
    return content.size < generation.hole + generation.head.length or begins(content, generation)


def continues(content: Content, generation: Generation) -> bool:
    """Whether the file starts as the generation's does and has the bytes before its offset. Raises OSError."""
    tail, position = generation.tail, generation.position
    return (
        begins(content, generation)
        and content.size >= position
        and (not tail.length or Fingerprint.of(content.pread(tail.length, position - tail.length)) == tail)
    )


def line_start(content: Content, position: int) -> int:
    """Where the line begins that reaches up to `position`: behind the last newline before it, or 0. Raises OSError."""
    while position > 0:
        step = min(STEP, position)
        newline = content.pread(step, position - step).rfind(b"\n")
        if newline >= 0:
            return position - step + newline + 1
        position -= step
    return 0


def hole(content: Content) -> int:
    """The NULs at its beginning: copytruncate leaves a hole where the writer does not append. Raises OSError."""
    position = 0
    while (block := content.pread(STEP, position)) and not (rest := block.lstrip(b"\0")):
        position += len(block)
    return position + len(block) - len(rest) if block else position


def is_text(content: Content) -> bool:
    """Whether these are lines: nothing encrypted, shredded, or compressed in a way that is not read. Raises OSError."""
    sample = content.pread(SAMPLE, hole(content))
    control = len(sample) - len(sample.translate(None, _CONTROL))
    return bool(sample) and not sample.startswith(_PACKED) and (control < FEW or control < MOST * len(sample))
