"""The files of a simulated appliance: real ones, each operation of the producer on them a step that may fail.

The producer's own code runs; only its `os` and its `Path` are these. Outside of `Disk.running` they do what the real
ones do. Inodes are handed out as ext4 does, the lowest free one first, so that they are used again; times of change
are the simulated clock's.
"""

from __future__ import annotations

import errno
import heapq
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PosixPath
from typing import IO, Any, Self

DEVICE = 7
# name → simulated inode, time of change, content or what it is a link to
Image = dict[str, tuple[int | None, float, bytes | Path]]
_running: Disk | None = None


class Disk:
    """`step` is called with the name of each operation, before it (`read`, `write`) and after one that changed
    something (`after`); what it raises happens there. `replaced` is told which file was just put in place, `moved`
    which one was renamed by the producer to what, or deleted (None).
    """

    def __init__(self, step: Callable[[str, str], None], replaced: Callable[[Path], None]) -> None:
        self.step = step
        self.replaced = replaced
        self.moved: Callable[[Path, Path | None], None] = lambda _path, _target: None
        self.now: Callable[[], float] = lambda: 0.0
        self._inodes: dict[int, int] = {}  # real → simulated
        self._modified: dict[int, float] = {}
        self._free: list[int] = []
        self._released: dict[int, int] = {}  # simulated → real
        self._made = 100
        self.durable: dict[int, int] = {}  # simulated inode → bytes that survive a power cut
        # What a power cut may put in the place of a replaced file, until the directory is durable; None: no file
        self.unsettled: list[tuple[Path, bytes | None]] = []
        self.synced = True  # the last file written is durable

    @contextmanager
    def running(self) -> Iterator[None]:
        """The producer runs here; what it has kept open keeps its inode."""
        global _running
        kept = _open_inodes() if self._released else set()
        for inode in [each for each, real in self._released.items() if real not in kept]:
            del self._released[inode]
            heapq.heappush(self._free, inode)
        _running = self
        try:
            yield
        finally:
            _running = None

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Somebody else's operations, in the middle of the producer's."""
        global _running
        before, _running = _running, None
        try:
            yield
        finally:
            _running = before

    def created(self, path: Path) -> None:
        """To be called for each new file of the log."""
        real = os.stat(path).st_ino  # noqa: PTH116
        if self._free:
            self._inodes[real] = heapq.heappop(self._free)
        else:
            self._made += 1
            self._inodes[real] = self._made
        self.durable[self._inodes[real]] = 0
        self._modified[real] = self.now()

    def touched(self, path: Path) -> None:
        self._modified[os.stat(path).st_ino] = self.now()  # noqa: PTH116

    def inode(self, path: Path) -> int:
        return self._inodes[os.stat(path).st_ino]  # noqa: PTH116

    def deleted(self, path: Path) -> None:
        """To be called before the file goes: its inode is free again as soon as nobody has it open."""
        self._released[self.inode(path)] = os.stat(path).st_ino  # noqa: PTH116

    def image(self, folder: Path) -> Image:
        """A snapshot of the files, each with its inode, if it has one here, and its time."""
        found: Image = {}
        for path in (each for each in sorted(folder.rglob("*")) if each.is_file()):
            real, name = path.lstat().st_ino, str(path.relative_to(folder))
            if path.is_symlink():
                found[name] = (None, 0.0, path.readlink())
            else:
                found[name] = (self._inodes.get(real), self._modified.get(real, 0.0), path.read_bytes())
        return found

    def put_back(self, folder: Path, image: Image, *, same_inodes: bool) -> None:
        for path in folder.rglob("*"):
            if not path.is_dir():
                path.unlink()
        used = {inode for inode, _, _ in image.values()}
        self._made = max([self._made, *(inode for inode in used if inode is not None)])
        self._free = [inode for inode in range(101, self._made + 1) if inode not in used]
        self._released.clear()
        self.unsettled.clear()
        self._inodes.clear()
        for name, (inode, modified, data) in image.items():
            path = folder / name
            if isinstance(data, Path):
                path.symlink_to(data)
                continue
            path.write_bytes(data)
            if inode is not None:
                if not same_inodes:
                    self._made += 1
                    inode = self._made
                real = path.stat().st_ino
                self._inodes[real], self._modified[real], self.durable[inode] = inode, modified, len(data)

    def seen(self, status: os.stat_result) -> os.stat_result:
        inode = self._inodes.get(status.st_ino, status.st_ino)
        modified = self._modified.get(status.st_ino, 0.0)
        ten = (status.st_mode, inode, DEVICE, 1, 0, 0, status.st_size, 0, 0, 0)
        return os.stat_result((*ten, 0.0, modified, 0.0))


def _open_inodes() -> set[int]:
    """Of the files that this process has open."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the listing is gone by now
            found.add(path.stat().st_ino)
    return found


class SimPath(PosixPath):
    """A path whose operations are steps."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        disk = _running
        if disk is None:
            return super().stat(follow_symlinks=follow_symlinks)
        disk.step("read", "stat")
        return disk.seen(super().stat(follow_symlinks=follow_symlinks))

    def iterdir(self) -> Generator[Self, None, None]:
        disk = _running
        if disk is not None:
            disk.step("list", "iterdir")
        found = list(super().iterdir())
        if disk is not None:
            disk.step("list", "iterdir")
        yield from found

    def read_bytes(self) -> bytes:
        disk = _running
        if disk is not None:
            disk.step("read", "read_bytes")
        with open(self, "rb") as file:  # noqa: PTH123
            return file.read()

    def open(self, mode: str = "r", *arguments: Any, **options: Any) -> IO[Any]:  # type: ignore[override]
        disk = _running
        if disk is None:
            return super().open(mode, *arguments, **options)
        disk.step("write", "open")
        disk.synced = False
        file = open(self, mode, *arguments, **options)  # noqa: PTH123, SIM115
        return _Writing(file, disk)  # type: ignore[return-value]

    def replace(self, target: Any) -> Self:
        disk = _running
        if disk is None:
            return super().replace(target)
        disk.step("write", "replace")
        try:
            before = Path(target).read_bytes()
        except FileNotFoundError:
            before = None
        disk.unsettled.append((Path(target), before))
        if not disk.synced:
            disk.unsettled.append((Path(target), b""))
        moved = super().replace(target)
        disk.replaced(Path(target))
        disk.step("after", "replace")
        return moved

    def rename(self, target: Any) -> Self:
        disk = _running
        if disk is None:
            return super().rename(target)
        disk.step("write", "rename")
        moved = super().rename(target)
        disk.moved(Path(self), Path(target))
        disk.step("after", "rename")
        return moved

    def unlink(self, missing_ok: bool = False) -> None:
        disk = _running
        if disk is None:
            super().unlink(missing_ok)
            return
        disk.step("unlink", "unlink")
        with suppress(KeyError, FileNotFoundError):  # not of the log, or gone already
            disk.deleted(self)
        super().unlink(missing_ok)
        disk.moved(Path(self), None)


class _Writing:
    """A file being written; a write that fails has written half."""

    def __init__(self, file: IO[Any], disk: Disk) -> None:
        self._file = file
        self._disk = disk

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        try:
            self._disk.step("write", "write")
        except BaseException:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)

    def flush(self) -> None:
        self._disk.step("write", "flush")
        self._file.flush()
        self._disk.step("after", "flush")

    def fileno(self) -> int:
        return self._file.fileno()


class SimOs:
    """The module `os` as the producer's modules see it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Path, flags: int) -> int:
        if _running is not None:
            _running.step("read", "open")
        return os.open(path, flags)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)  # also what a killed process leaves open is closed

    def fstat(self, descriptor: int) -> os.stat_result:
        if _running is None:
            return os.fstat(descriptor)
        _running.step("read", "fstat")
        return _running.seen(os.fstat(descriptor))

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        if _running is not None:
            _running.step("read", "pread")
        return os.pread(descriptor, length, offset)

    def fdatasync(self, descriptor: int) -> None:
        disk = _running
        if disk is not None:
            disk.step("write", "fdatasync")
            status = disk.seen(os.fstat(descriptor))
            disk.durable[status.st_ino] = status.st_size

    def fsync(self, descriptor: int) -> None:
        disk = _running
        if disk is None:
            return
        disk.step("write", "fsync")
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112
            disk.unsettled.clear()
        else:
            disk.synced = True
        disk.step("after", "fsync")


def full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def broken() -> OSError:
    return OSError(errno.EIO, "Input/output error")
