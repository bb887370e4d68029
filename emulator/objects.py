"""Keeps large objects out of MiniStack's memory while lines are appended to them, and while they are read; and answers
that an object is written only when it is on disk.

MiniStack reads an object as a whole to copy a part of it, joins the parts in memory, and answers with the object three
times in memory. Here a copied part is a view of the object's file, and an answer is sent a piece at a time, as fast as
the client takes it. What the file has already stays where it is: an append writes what is new behind it. Killed in
between, MiniStack finds a file that is longer than the object; what is beyond the object's length counts for nothing.

Where the disk has no room, MiniStack goes on in memory, and a restart would forget the lines that were acknowledged.
Here the object stays what it was, and the function has to try again.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from ministack.core.responses import StreamingResponse
from ministack.services import s3

from emulator.guard import Receive, Send

PIECE = 256 * 1024  # bytes that are sent at once

Answer: TypeAlias = tuple[int, dict[str, str], Any]

# MiniStack's own Firehose, which would not try again
FIREHOSE_HOST = "s3.localhost"


class Mapped(mmap.mmap):
    """A file's bytes, whose slices are no copies."""

    def __getitem__(self, at: Any) -> Any:
        return memoryview(self)[at]


class Joined:
    """The parts of an object, one behind the other."""

    def __init__(self, parts: Iterable[Any]) -> None:
        self.parts = list(parts)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)

    def __getitem__(self, at: Any) -> Any:
        return bytes(self)[at]

    def append_to(self, path: Path, standing: int) -> bool:
        """Write into the file what it lacks, unless that is among the first `standing` bytes. Raises OSError."""
        if not path.is_file() or not path.stat().st_size:
            return False
        new, at = list(self.parts), 0
        with path.open("r+b", buffering=0) as file, Mapped(file.fileno(), 0, access=mmap.ACCESS_READ) as there:
            while new and there[at : at + len(new[0])] == new[0]:
                at += len(new.pop(0))
            if at < standing:
                return False
            file.seek(at)
            try:
                for part in new:
                    left = memoryview(part)
                    while left:
                        left = left[file.write(left) :]
            except OSError:
                file.seek(at)
                raise
            finally:
                file.truncate()
        return True


class Empty(bytes):
    """Takes the place of `b""` where MiniStack joins parts."""

    def join(self, parts: Iterable[Any], /) -> Any:
        return Joined(parts) if parts else b""


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
        if record.get("body") is not None or not path.is_file():
            return read(bucket, key, record)
        # no more than the object: what a killed append left behind it is cut off by the next one
        length = min(record["size"], path.stat().st_size)
        with path.open("rb") as file:
            return Mapped(file.fileno(), length, access=mmap.ACCESS_READ) if length else b""

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

    standing = 0

    def atomic_write(path: str, data: Any, *, text: bool = False) -> None:
        if not isinstance(data, Joined):
            write(path, data, text=text)
        elif not data.append_to(Path(path), standing):
            write(path, bytes(data))

    def on_disk(function: Callable[..., Answer]) -> Callable[..., Answer]:
        def wrapped(bucket: str, key: str, *arguments: Any) -> Answer:
            nonlocal standing
            objects = (s3._buckets.get(bucket) or {"objects": {}})["objects"]
            before = objects.get(key)
            standing = before["size"] if before else 0
            answer = function(bucket, key, *arguments)
            record = objects.get(key)
            # MiniStack lets go of the bytes that are on disk
            if record is before or record["body"] is None or arguments[-1].get("host") == FIREHOSE_HOST:
                return answer
            del objects[key]
            if before:
                objects[key] = before
            s3._completed_multipart_uploads.pop(s3._qp(arguments[1], "uploadId"), None)  # it would be answered again
            refused: Answer = s3._error(
                "InsufficientStorage", "no room on the emulator's disk: remove old objects, or make it larger", 507
            )
            return refused

        return wrapped

    code = s3._complete_multipart_upload.__code__
    constants = (Empty() if isinstance(each, bytes) and not each else each for each in code.co_consts)
    s3._complete_multipart_upload.__code__ = code.replace(co_consts=tuple(constants))
    s3._atomic_write = atomic_write
    s3._put_object, s3._complete_multipart_upload = on_disk(s3._put_object), on_disk(s3._complete_multipart_upload)
    s3._upload_part_copy, s3._get_object = by_views(s3._upload_part_copy), by_views(s3._get_object)
