"""An append to a large object, by MiniStack's own code: what it holds, and what it makes."""

from __future__ import annotations

import asyncio
import random
import re
import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ministack.services import s3

from emulator import objects
from emulator.guard import Message

MIB = 1024**2
BUCKET, KEY = "some-bucket", "2026/11/23/10/web-access.log"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The object's file."""
    monkeypatch.setattr(s3._complete_multipart_upload, "__code__", s3._complete_multipart_upload.__code__)
    replaced = ("_read_body", "_atomic_write", "_upload_part_copy", "_get_object", "_put_object")
    for name in (*replaced, "_complete_multipart_upload"):  # they are put back
        monkeypatch.setattr(s3, name, getattr(s3, name))
    monkeypatch.setattr(s3, "S3_PERSIST", True)
    monkeypatch.setattr(s3, "DATA_DIR", str(tmp_path / "s3"))
    objects.install()
    s3._buckets.pop(BUCKET, None)
    assert s3._create_bucket(BUCKET, b"", {})[0] == 200
    return Path(s3._object_disk_path(BUCKET, KEY) or "")


def append(old: int, more: bytes) -> tuple[int, dict[str, str], Any]:
    upload = re.findall(r"<UploadId>(.*)</UploadId>", s3._create_multipart_upload(BUCKET, KEY, {})[2].decode())[0]
    asked = {"uploadId": upload, "partNumber": "1"}
    source = {"x-amz-copy-source": f"{BUCKET}/{KEY}", "x-amz-copy-source-range": f"bytes=0-{old - 1}"}
    copied = re.findall(r"<ETag>(.*)</ETag>", s3._upload_part_copy(BUCKET, KEY, asked, source)[2].decode())[0]
    added = s3._upload_part(BUCKET, KEY, more, {**asked, "partNumber": "2"}, {})[1]["ETag"]
    parts = ((1, copied), (2, added))
    listed = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>" for number, etag in parts)
    text = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    answer: tuple[int, dict[str, str], Any] = s3._complete_multipart_upload(BUCKET, KEY, text, {"uploadId": upload}, {})
    return answer


def read(asked: str, length: int) -> list[bytes]:
    """The answer to a GET of this range, in the pieces that it is sent in."""
    status, headers, body = s3._get_object(BUCKET, KEY, {"range": asked} if asked else {})
    assert (status, headers["Content-Length"]) == (206 if asked else 200, str(length))
    if isinstance(body, bytes):
        return [body]
    pieces: list[bytes] = []
    more: list[bool] = []

    async def send(message: Message) -> None:
        pieces.append(message["body"])
        more.append(message["more_body"])

    async def receive() -> Message:
        raise AssertionError("the request has no body")

    asyncio.run(body.runner(send, receive))
    assert more == [True] * (len(more) - 1) + [False]
    return pieces


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("length", [0, 1, objects.PIECE, objects.PIECE + 1, 3 * objects.PIECE, 16 * MIB])
def test_an_answer_is_sent_in_pieces(length: int) -> None:
    """A copy of a large object for each client would end the emulator where memory is short."""
    content = random.Random(1).randbytes(length)
    s3._put_object(BUCKET, KEY, content, {})
    pieces = read("", length)
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= objects.PIECE
    if length > 1:
        assert b"".join(read("bytes=1-", length - 1)) == content[1:]


def test_an_append_to_a_large_object_holds_nothing_of_it(installed: Path) -> None:
    old, more = random.Random(1).randbytes(16 * MIB), b"a line\n" * 1000
    s3._put_object(BUCKET, KEY, old, {})
    tracemalloc.start()
    try:
        assert append(len(old), more)[0] == 200
        assert s3._get_object(BUCKET, KEY, {"range": f"bytes={len(old)}-"})[2] == more
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert append(len(old) + len(more), more)[0] == 200
    assert b"".join(read("", len(old) + 2 * len(more))) == old + more + more
    assert len(list(installed.parent.iterdir())) == 2, "the object and its metadata: a full disk has no room for two"


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can be longer: as on a disk that fills up while it is written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [0, 1000, 6 * MIB])
def test_what_the_disk_has_no_room_for_is_refused_and_the_object_stays(installed: Path, size: int) -> None:
    """MiniStack would answer that it is written, and forget it at a restart."""
    old, more = random.Random(1).randbytes(size), b"a line\n" * 1000
    if size:
        s3._put_object(BUCKET, KEY, old, {})

    def write() -> int:
        if size > MIB:
            return append(size, more)[0]
        status: int = s3._put_object(BUCKET, KEY, old + more, {})[0]
        return status

    with full_disk(size + 5000):
        assert write() == 507
        assert s3._get_object(BUCKET, KEY, {})[0] == (200 if size else 404)
    s3._buckets.clear()  # as a restart does
    s3._load_persisted_data()
    if size:
        assert b"".join(read("", size)) == old
    assert write() == 200
    assert b"".join(read("", size + len(more))) == installed.read_bytes() == old + more


def test_the_end_of_an_upload_that_was_refused_is_no_success_when_asked_again(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3._put_object(BUCKET, KEY, random.Random(1).randbytes(6 * MIB), {})
    real, calls = s3._complete_multipart_upload, list[Any]()

    def heard(*call: Any) -> Any:
        calls.append(call)
        return real(*call)

    monkeypatch.setattr(s3, "_complete_multipart_upload", heard)
    with full_disk(installed.stat().st_size):
        assert append(6 * MIB, b"a line\n")[0] == 507
    assert real(*calls[0])[0] == 404


def test_what_a_killed_append_left_behind_the_object_goes(installed: Path) -> None:
    old = random.Random(1).randbytes(6 * MIB)
    s3._put_object(BUCKET, KEY, old, {})
    installed.write_bytes(old + b"half of an append, longer than the next one")
    assert b"".join(read("", len(old))) == old
    assert append(len(old), b"a line\n")[0] == 200
    assert installed.read_bytes() == old + b"a line\n"


def test_other_bytes_replace_an_object(installed: Path) -> None:
    s3._put_object(BUCKET, KEY, b"another object", {})
    upload = re.findall(r"<UploadId>(.*)</UploadId>", s3._create_multipart_upload(BUCKET, KEY, {})[2].decode())[0]
    etag = s3._upload_part(BUCKET, KEY, b"new bytes", {"uploadId": upload, "partNumber": "1"}, {})[1]["ETag"]
    text = f"<C><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></C>".encode()
    assert s3._complete_multipart_upload(BUCKET, KEY, text, {"uploadId": upload}, {})[0] == 200
    assert s3._get_object(BUCKET, KEY, {})[2] == installed.read_bytes() == b"new bytes"


@pytest.mark.usefixtures("installed")
def test_an_upload_without_parts_is_refused_or_empty() -> None:
    upload = re.findall(r"<UploadId>(.*)</UploadId>", s3._create_multipart_upload(BUCKET, KEY, {})[2].decode())[0]
    text = b"<CompleteMultipartUpload></CompleteMultipartUpload>"
    assert s3._complete_multipart_upload(BUCKET, KEY, text, {"uploadId": upload}, {})[0] in (200, 400)
