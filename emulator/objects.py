"""Keeps large objects out of MiniStack's memory while lines are appended to them, and while they are read.

MiniStack reads an object as a whole to copy a part of it, joins the parts in memory, and answers with the object three
times in memory. Here a copied part is a view of the object's file, parts are joined in the file that the object then
has, and an answer is sent a piece at a time, as fast as the client takes it.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from ministack.core.responses import StreamingResponse
from ministack.services import s3

from emulator.guard import Receive, Send

PIECE = 256 * 1024  # bytes that are sent at once

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


def streamed(body: memoryview) -> StreamingResponse:
    """The body of an answer, of which no more than PIECE bytes are in memory; the headers have its length."""

    async def run(send: Send, _receive: Receive) -> None:
        for at in range(0, len(body), PIECE):
            await send({"type": "http.response.body", "body": bytes(body[at : at + PIECE]), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return StreamingResponse(run)


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
                if isinstance(body, bytes):
                    return status, headers, body
                return status, headers, bytes(body) if len(body) <= PIECE else streamed(memoryview(body))
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
