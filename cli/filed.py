"""What becomes of a log's lines: filed by the function's own code, here as there; and what an hourly object has."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from botocore.exceptions import ClientError

from common.archiver import HourlyObject, Item, Record, file_runs
from common.aws import S3Client
from common.errors import status_of
from common.formats import Format
from journal.files import Found

CHUNK = 512 * 1024
# Options of a client that appends: S3 may copy for long
WRITING: dict[str, Any] = {"read_timeout": 60.0}


def digests(s3: S3Client, bucket: str, key: str, **condition: Any) -> Generator[bytes, None, None]:
    """A digest of each line of the object, which may be far larger than the memory. Raises the errors of S3.

    Read by Range: MiniStack, killed inside an append, has more bytes than the object is long, and breaks off the answer
    to a plain read.
    """
    try:
        answer = s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-", **condition)
    except ClientError as error:
        if status_of(error) != 416:  # it is empty
            raise
        return
    rest = b""
    with closing(answer["Body"]) as body:
        while chunk := body.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(digest, lines)
    if rest:
        yield digest(rest)


def digest(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=12).digest()


def filed(
    log: Found, generation: str, start: int, end: int, prefix: str, format_: Format
) -> Iterator[tuple[HourlyObject, Item]]:
    """Runs of the lines at [start, end) of the file, each with its object. Raises OSError."""
    with log.content() as content:
        while start < end:
            lines = content.pread(min(CHUNK, end - start), start)
            if not lines:
                return
            while not lines.endswith(b"\n") and (more := content.pread(CHUNK, start + len(lines))):
                lines += more[: more.find(b"\n") + 1] or more
            yield from file_runs(Record(lines, generation, start, None, 0.0, None), prefix, format_)
            start += len(lines)
