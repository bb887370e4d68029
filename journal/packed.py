"""Compressed logs, read as the bytes they hold: gzip, bzip2, xz, and zstd where Python has it (3.14).

They are known by their first bytes, whatever they are called.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable
from typing import Any

# Read at once. What was read last is kept, as the bytes before an offset are asked for with those behind it.
STEP = 256 * 1024
KEPT = 64 * 1024
MAGIC_BYTES = 10
Way = Callable[[Any], Any]  # a compressed file -> one that reads what it holds


class BrokenError(OSError):
    """The file ends early, as while it is being written, or is damaged."""


def way_of(magic: bytes) -> Way | None:
    """How a file that begins so is read; None when it is not compressed, or in a way that is not read here."""
    if magic.startswith(b"\x1f\x8b\x08"):
        return lambda file: gzip.GzipFile(fileobj=file)
    if magic.startswith(b"BZh") and magic[4:] in (b"1AY&SY", b"\x17rE8P\x90"):  # a block, or the end of an empty one
        return bz2.BZ2File
    if magic.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        try:
            from compression import zstd  # type: ignore[import-not-found]
        except ImportError:
            return None
        way: Way = zstd.ZstdFile
        return way
    return None


class Packed:
    """Reads forward; for what lies further back than KEPT it begins anew."""

    def __init__(self, descriptor: int, way: Way) -> None:
        self._file = os.fdopen(descriptor, "rb", closefd=False)
        self._way = way
        self._size: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._file.seek(0)
        self._unpacked = self._way(self._file)
        self._kept = bytearray()
        self._start = 0  # where what is kept stands

    def close(self) -> None:
        self._file.close()

    def pread(self, length: int, position: int) -> bytes:
        """Like `os.pread`. Raises BrokenError."""
        if position < self._start:
            self._begin()
        while self._start + len(self._kept) < position + length and (block := self._read()):
            self._kept += block
            self._forget(position - KEPT)
        begin = position - self._start
        return bytes(self._kept[begin : begin + length])

    @property
    def size(self) -> int:
        """The bytes that it holds; the first time, all of it is read. Raises BrokenError."""
        while self._size is None:
            if block := self._read():
                self._kept += block
                self._forget(self._start + len(self._kept) - KEPT)
            else:
                self._size = self._start + len(self._kept)
        return self._size

    def _forget(self, before: int) -> None:
        if before > self._start:
            dropped = min(before - self._start, len(self._kept))
            del self._kept[:dropped]
            self._start += dropped

    def _read(self) -> bytes:
        try:
            block: bytes = self._unpacked.read(STEP)
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise BrokenError(f"it ends early or is damaged ({error})") from error
        return block
