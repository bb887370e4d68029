"""Keeps large objects out of MiniStack's memory while lines are appended to them, and while a part of them is read.

MiniStack reads an object as a whole to copy a part of it, and joins the parts in memory: an append would take twice
what the hour has. Here a copied part is a view of the object's file, and parts are joined in a file.
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
    """A file's bytes, whose slices are no copies."""

    def __getitem__(self, at: Any) -> Any:
        return memoryview(self)[at]


class Empty(bytes):
    """Takes the place of `b""` where MiniStack joins parts."""

    def join(self, parts: Iterable[Any], /) -> Any:
        with tempfile.TemporaryFile() as file:
            file.writelines(parts)
            file.flush()
            return Mapped(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""


def install() -> None:
    read = s3._read_body

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

    s3._upload_part_copy, s3._get_object = by_views(s3._upload_part_copy), by_views(s3._get_object)
    code = s3._complete_multipart_upload.__code__
    constants = (Empty() if isinstance(each, bytes) and not each else each for each in code.co_consts)
    s3._complete_multipart_upload.__code__ = code.replace(co_consts=tuple(constants))
