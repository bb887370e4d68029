"""Keeps large objects out of MiniStack's memory while lines are appended to them, and while a part of them is read.

MiniStack reads an object as a whole to copy a part of it, and joins the parts in memory: an append would take twice
what the hour has. Here a copied part is a view of the object's file, and parts are joined in the file that the object
then has.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from ministack.services import s3

Answer: TypeAlias = tuple[int, dict[str, str], Any]


class Mapped(mmap.mmap):
    """A file's bytes, whose slices are no copies. `path`: of the file, if it is to be that of an object."""

    path = ""

    def __getitem__(self, at: Any) -> Any:
        return memoryview(self)[at]


class Empty(bytes):
    """Takes the place of `b""` where MiniStack joins parts."""

    def join(self, parts: Iterable[Any], /) -> Any:
        if not parts:
            return b""
        path = None
        try:
            with tempfile.NamedTemporaryFile(delete=False) as file:
                path = Path(file.name)
                file.writelines(parts)
                file.flush()
                joined = Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:  # no room: MiniStack keeps in memory what it cannot write
            if path:
                path.unlink()
            return b"".join(parts)
        joined.path = file.name
        return joined


def install() -> None:
    read, write = s3._read_body, s3._atomic_write

    def mapped(bucket: str, key: str, record: dict[str, Any]) -> Any:
        path = Path(s3._object_disk_path(bucket, key) or "")
        if record.get("body") is not None or not path.is_file() or not path.stat().st_size:
            return read(bucket, key, record)
        with path.open("rb") as file:
            return Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)

    def by_views(function: Callable[..., Answer]) -> Callable[..., Answer]:
        def wrapped(*arguments: Any) -> Answer:
            s3._read_body = mapped
            try:
                status, headers, body = function(*arguments)
                return status, headers, body if isinstance(body, bytes) else bytes(body)
            finally:
                s3._read_body = read

        return wrapped

    def atomic_write(path: str, data: Any, *, text: bool = False) -> None:
        if isinstance(data, Mapped) and data.path:
            Path(data.path).replace(path)
        else:
            write(path, data, text=text)

    s3._atomic_write = atomic_write
    s3._upload_part_copy, s3._get_object = by_views(s3._upload_part_copy), by_views(s3._get_object)
    code = s3._complete_multipart_upload.__code__
    constants = (Empty() if isinstance(each, bytes) and not each else each for each in code.co_consts)
    s3._complete_multipart_upload.__code__ = code.replace(co_consts=tuple(constants))
