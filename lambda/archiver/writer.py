"""The conditional write of an hourly object: a PUT, or a multipart upload that copies the old bytes inside S3."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from archiver.layout import HourlyObject
from archiver.stored import State

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef as _Part

CONTENT_TYPE = "application/x-ndjson"


class SideBySide(Protocol):
    """`map`, perhaps with several calls at the same time."""

    def __call__(
        self, call: Callable[[tuple[int, int, int]], _Part], each: Iterable[tuple[int, int, int]], /
    ) -> Iterable[_Part]: ...


class Writer:
    """Writes the objects of one bucket. Raises the errors of S3: 412 or 409 when the object is not as it was read; and
    OSError when an answer lacks the new ETag: a proxy's, or that to a write that did not end."""

    def __init__(self, s3: S3Client, bucket: str, max_copy: int, side_by_side: SideBySide) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._max_copy = max_copy
        self._side_by_side = side_by_side

    def put(self, target: HourlyObject, state: State, body: bytes | IO[bytes], metadata: dict[str, str]) -> str:
        """Write all of it. Returns the new ETag."""
        condition: Any = {"IfNoneMatch": "*"} if state.etag is None else {"IfMatch": state.etag}
        done = self._s3.put_object(
            Bucket=self._bucket,
            Key=target.key,
            Body=body,
            Metadata=metadata,
            ContentType=CONTENT_TYPE,
            **condition,
        )
        return self._etag(target, done)

    def multipart(self, target: HourlyObject, state: State, new: bytes, metadata: dict[str, str]) -> str:
        """Copy the old bytes inside S3, then `new` as the last part. Returns the new ETag."""
        bucket, key, etag = self._bucket, target.key, state.etag or ""
        upload = self._s3.create_multipart_upload(Bucket=bucket, Key=key, Metadata=metadata, ContentType=CONTENT_TYPE)[
            "UploadId"
        ]

        def copy(part: tuple[int, int, int]) -> _Part:
            number, start, end = part
            copied = self._s3.upload_part_copy(
                Bucket=bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                CopySource={"Bucket": bucket, "Key": key},
                CopySourceIfMatch=etag,
                CopySourceRange=f"bytes={start}-{end - 1}",
            )
            return {"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]}

        try:
            spans = enumerate(_spans(state.size, self._max_copy), 1)
            parts = list(self._side_by_side(copy, [(number, start, end) for number, (start, end) in spans]))
            number = len(parts) + 1
            sent = self._s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=new)
            parts.append({"PartNumber": number, "ETag": sent["ETag"]})
            done = self._s3.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, IfMatch=etag
            )
            return self._etag(target, done)
        except Exception:
            # best effort: an upload that stays costs storage until a lifecycle rule ends it
            with suppress(ClientError, BotoCoreError):
                self._s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
            raise

    def _etag(self, target: HourlyObject, done: Any) -> str:
        if not done.get("ETag"):
            raise OSError(f"s3://{self._bucket}/{target.key}: an answer without the new ETag")
        return str(done["ETag"])


def _spans(size: int, limit: int) -> Iterator[tuple[int, int]]:
    """[0, size) in the fewest spans of at most `limit`, all about equally long: none is too short for a part."""
    count = -(-size // limit)
    for index in range(count):
        yield size * index // count, size * (index + 1) // count
