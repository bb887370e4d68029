"""An append to a large object, by MiniStack's own code: what it holds, and what it makes."""

from __future__ import annotations

import asyncio
import errno
import random
import re
import tracemalloc
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
    """The folder of what is joined."""
    for name in ("_read_body", "_atomic_write", "_upload_part_copy", "_get_object"):  # they are put back
        monkeypatch.setattr(s3, name, getattr(s3, name))
    monkeypatch.setattr(s3._complete_multipart_upload, "__code__", s3._complete_multipart_upload.__code__)
    monkeypatch.setattr(s3, "S3_PERSIST", True)
    monkeypatch.setattr(s3, "DATA_DIR", str(tmp_path / "s3"))
    joined = tmp_path / "joined"
    joined.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(joined))
    objects.install()
    assert s3._create_bucket(BUCKET, b"", {})[0] == 200
    return joined


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
    assert not list(installed.iterdir()), "the joined file is the object's: a full disk has no room for both"


@pytest.mark.parametrize("fails", ["emulator.objects.Mapped", "tempfile.NamedTemporaryFile"])
def test_what_the_disk_has_no_room_for_is_joined_in_memory(
    installed: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fails, full)
    assert objects.Empty().join([b"some", memoryview(b" lines")]) == b"some lines"
    assert not list(installed.iterdir())


@pytest.mark.usefixtures("installed")
def test_an_upload_without_parts_is_refused_or_empty() -> None:
    upload = re.findall(r"<UploadId>(.*)</UploadId>", s3._create_multipart_upload(BUCKET, KEY, {})[2].decode())[0]
    text = b"<CompleteMultipartUpload></CompleteMultipartUpload>"
    assert s3._complete_multipart_upload(BUCKET, KEY, text, {"uploadId": upload}, {})[0] in (200, 400)
