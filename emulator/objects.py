"""Keeps large objects out of MiniStack's memory while lines are appended to them.

MiniStack reads an object as a whole to copy a part of it, and joins the parts in memory: an append would take twice
what the hour has. Here a copied part is a view of the object's file, and parts are joined in a file.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ministack.services import s3


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
    read, copy, complete = s3._read_body, s3._upload_part_copy, s3._complete_multipart_upload

    def mapped(bucket: str, key: str, record: dict[str, Any]) -> Any:
        path = Path(s3._object_disk_path(bucket, key) or "")
        if record.get("body") is not None or not path.is_file() or not path.stat().st_size:
            return read(bucket, key, record)
        with path.open("rb") as file:
            return Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)

    def upload_part_copy(*arguments: Any) -> Any:
        s3._read_body = mapped
        try:
            return copy(*arguments)
        finally:
            s3._read_body = read

    s3._upload_part_copy = upload_part_copy
    code = complete.__code__
    constants = (Empty() if isinstance(each, bytes) and not each else each for each in code.co_consts)
    complete.__code__ = code.replace(co_consts=tuple(constants))
