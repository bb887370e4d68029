"""S3 that keeps of each hourly object only its length, its ETag and its metadata: for objects no memory could hold.

It knows the limits of multipart uploads and refuses what S3 would. Bytes that are read come out as spaces and newlines.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

MIB, GIB = 1024**2, 1024**3
# Amazon S3 User Guide, "Amazon S3 multipart upload limits"
MIN_PART, MAX_PART, MAX_PARTS, MAX_OBJECT = 5 * MIB, 5 * GIB, 10_000, 5 * 1024 * GIB


@dataclass
class Stored:
    size: int
    etag: str
    metadata: dict[str, str]


@dataclass
class Upload:
    metadata: dict[str, str]
    parts: dict[int, int] = field(default_factory=dict)


class Spaces(io.BytesIO):
    """A body whose bytes are received when they are read."""

    def __init__(self, s3: SizesS3, size: int) -> None:
        super().__init__()
        self._s3, self._size = s3, size

    def read(self, _size: int | None = -1, /) -> bytes:
        self._s3.received += self._size
        return b" " * (self._size - 1) + b"\n"


class SizesS3:
    """One bucket. `requests`, `sent`, `received` and `copied` (inside S3, not over the wire) count, in bytes."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.requests = self.sent = self.received = self.copied = 0
        self.small: dict[str, bytes] = {}  # what goes beside hourly objects, whole
        self._uploads: dict[str, Upload] = {}
        self._number = 0

    def head_object(self, **request: Any) -> dict[str, Any]:
        self.requests += 1
        stored = self.objects.get(request["Key"])
        if stored is None:
            raise _refused(404, "404", "HeadObject")
        return {"ETag": stored.etag, "ContentLength": stored.size, "Metadata": dict(stored.metadata)}

    def get_object(self, **request: Any) -> dict[str, Any]:
        self.requests += 1
        if "Range" not in request:
            if request["Key"] not in self.small:
                raise _refused(404, "NoSuchKey", "GetObject")
            return {"Body": io.BytesIO(self.small[request["Key"]])}
        stored = self.objects.get(request["Key"])
        if stored is None:
            raise _refused(404, "NoSuchKey", "GetObject")
        start, end = _span(request["Range"])
        end = min(end, stored.size)
        answer = {"ETag": stored.etag, "ContentLength": end - start, "Metadata": dict(stored.metadata)}
        return answer | {"ContentRange": f"bytes {start}-{end - 1}/{stored.size}", "Body": Spaces(self, end - start)}

    def put_object(self, **request: Any) -> dict[str, Any]:
        self.requests += 1
        self.sent += len(request["Body"])
        if "Metadata" not in request:
            self.small[request["Key"]] = request["Body"]
        return self._store(request, len(request["Body"]), request.get("Metadata", {}))

    def delete_object(self, **request: Any) -> dict[str, Any]:
        self.requests += 1
        self.objects.pop(request["Key"], None)
        self.small.pop(request["Key"], None)
        return {}

    def create_multipart_upload(self, **request: Any) -> dict[str, Any]:
        self.requests += 1
        self._number += 1
        self._uploads[str(self._number)] = Upload(request["Metadata"])
        return {"UploadId": str(self._number)}

    def upload_part(self, **request: Any) -> dict[str, Any]:
        self.requests += 1
        self.sent += len(request["Body"])
        self._uploads[request["UploadId"]].parts[request["PartNumber"]] = len(request["Body"])
        return {"ETag": str(request["PartNumber"])}

    def upload_part_copy(self, **request: Any) -> dict[str, Any]:
        self.requests += 1
        start, end = _span(request["CopySourceRange"])
        if end > self.objects[request["Key"]].size:
            raise _refused(416, "InvalidRange", "UploadPartCopy")
        self.copied += end - start
        self._uploads[request["UploadId"]].parts[request["PartNumber"]] = end - start
        return {"CopyPartResult": {"ETag": str(request["PartNumber"])}}

    def complete_multipart_upload(self, **request: Any) -> dict[str, Any]:
        self.requests += 1
        upload = self._uploads.pop(request["UploadId"])
        sizes = [upload.parts[part["PartNumber"]] for part in request["MultipartUpload"]["Parts"]]
        if any(size < MIN_PART for size in sizes[:-1]):
            raise _refused(400, "EntityTooSmall", "CompleteMultipartUpload")
        if max(sizes) > MAX_PART or len(sizes) > MAX_PARTS or sum(sizes) > MAX_OBJECT:
            raise _refused(400, "EntityTooLarge", "CompleteMultipartUpload")
        return self._store(request, sum(sizes), upload.metadata)

    def abort_multipart_upload(self, **request: Any) -> dict[str, Any]:
        self.requests += 1
        self._uploads.pop(request["UploadId"], None)
        return {}

    def _store(self, request: dict[str, Any], size: int, metadata: dict[str, str]) -> dict[str, Any]:
        stored = self.objects.get(request["Key"])
        if stored is None if "IfMatch" in request else stored is not None and request.get("IfNoneMatch") == "*":
            raise _refused(412, "PreconditionFailed", "PutObject")
        if stored is not None and request.get("IfMatch") not in (None, stored.etag):
            raise _refused(412, "PreconditionFailed", "PutObject")
        self._number += 1
        self.objects[request["Key"]] = Stored(size, f'"{self._number}"', dict(metadata))
        return {"ETag": f'"{self._number}"'}


def _span(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", text)
    assert match, text
    return int(match[1]), int(match[2]) + 1


def _refused(status: int, code: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)  # type: ignore[typeddict-item]
