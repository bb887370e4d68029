"""S3 in memory, as far as the archive uses it, with the conditions of real S3 and with faults on demand.

Faults are given for the nth call (from 0), or for every call from the nth on until `faults` is emptied:

- `DOWN`: the call does not arrive.
- `LOST`: the call does what it shall; its answer is lost.
- `SLOW_DOWN`: S3 refuses it with 503.
- a function: it is run just before the call, e.g. another writer that wins the race.
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

DOWN, LOST, SLOW_DOWN = "down", "lost", "slow down"
Fault = str | Callable[[], None]


@dataclass
class Stored:
    body: bytes
    etag: str
    metadata: dict[str, str]


@dataclass
class Upload:
    key: str
    metadata: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class FakeS3:
    """One bucket, `bucket`; the limits in bytes are S3's unless a test makes them small.

    `titled`: names of metadata come back as Ledger, as from an endpoint, or through a proxy, that is written in Go.
    """

    titled = False

    def __init__(
        self, *, min_part: int = 5 * 1024**2, max_copy: int = 5 * 1024**3, max_metadata: int = 2048, bucket: str = "b"
    ) -> None:
        self.bucket = bucket
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.calls: list[tuple[str, str]] = []
        self.faults: dict[int, Fault] = {}
        self.fault_from_now_on: tuple[int, Fault] | None = None
        self._min_part, self._max_copy, self._max_metadata = min_part, max_copy, max_metadata
        self._made = 0
        self._one_at_a_time = threading.RLock()

    def head_object(self, **request: Any) -> dict[str, Any]:
        return self._call("head_object", request, lambda: self._describe(self._existing(request["Key"], "404")))

    def get_object(self, **request: Any) -> dict[str, Any]:
        def get() -> dict[str, Any]:
            stored = self._existing(request["Key"], "NoSuchKey")
            self._check(request.get("IfMatch"), stored)
            body, given = stored.body, {}
            if "Range" in request:
                start, end = self._span(request["Range"], len(body), clamped=True)
                body, given = body[start:end], {"ContentRange": f"bytes {start}-{end - 1}/{len(body)}"}
            return {**self._describe(stored), **given, "ContentLength": len(body), "Body": io.BytesIO(body)}

        return self._call("get_object", request, get)

    def put_object(self, **request: Any) -> dict[str, Any]:
        def put() -> dict[str, Any]:
            self._precondition(request)
            body = request["Body"] if isinstance(request["Body"], bytes) else request["Body"].read()
            return self._store(request["Key"], body, hashlib.md5(body).hexdigest(), request.get("Metadata", {}))

        return self._call("put_object", request, put)

    def delete_object(self, **request: Any) -> dict[str, Any]:
        def delete() -> dict[str, Any]:
            self.objects.pop(request["Key"], None)
            return {}

        return self._call("delete_object", request, delete)

    def create_multipart_upload(self, **request: Any) -> dict[str, Any]:
        def create() -> dict[str, Any]:
            self._measure(request["Metadata"])
            self._made += 1
            self.uploads[f"upload-{self._made}"] = Upload(request["Key"], dict(request["Metadata"]))
            return {"UploadId": f"upload-{self._made}"}

        return self._call("create_multipart_upload", request, create)

    def upload_part(self, **request: Any) -> dict[str, Any]:
        def upload() -> dict[str, Any]:
            body = bytes(request["Body"])
            self._upload(request).parts[request["PartNumber"]] = body
            return {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}

        return self._call("upload_part", request, upload)

    def upload_part_copy(self, **request: Any) -> dict[str, Any]:
        def copy() -> dict[str, Any]:
            stored = self._existing(request["CopySource"]["Key"], "NoSuchKey")
            self._check(request["CopySourceIfMatch"], stored)
            start, end = self._span(request["CopySourceRange"], len(stored.body))
            if end - start > self._max_copy:
                self._refuse(400, "InvalidRequest", "UploadPartCopy")
            body = stored.body[start:end]
            self._upload(request).parts[request["PartNumber"]] = body
            return {"CopyPartResult": {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}}

        return self._call("upload_part_copy", request, copy)

    def complete_multipart_upload(self, **request: Any) -> dict[str, Any]:
        def complete() -> dict[str, Any]:
            upload = self._upload(request)
            self._precondition(request)
            named = request["MultipartUpload"]["Parts"]
            bodies = [upload.parts[part["PartNumber"]] for part in named]
            for part, body in zip(named, bodies, strict=True):
                if part["ETag"] != f'"{hashlib.md5(body).hexdigest()}"':
                    self._refuse(400, "InvalidPart", "CompleteMultipartUpload")
            if any(len(body) < self._min_part for body in bodies[:-1]):
                self._refuse(400, "EntityTooSmall", "CompleteMultipartUpload")
            del self.uploads[request["UploadId"]]
            digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
            return self._store(request["Key"], b"".join(bodies), f"{digest}-{len(bodies)}", upload.metadata)

        return self._call("complete_multipart_upload", request, complete)

    def abort_multipart_upload(self, **request: Any) -> dict[str, Any]:
        def abort() -> dict[str, Any]:
            self._upload(request)
            del self.uploads[request["UploadId"]]
            return {}

        return self._call("abort_multipart_upload", request, abort)

    def _call(self, name: str, request: dict[str, Any], act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        number = len(self.calls)
        self.calls.append((name, request["Key"]))
        fault = self.faults.pop(number, None)
        if fault is None and self.fault_from_now_on and number >= self.fault_from_now_on[0]:
            fault = self.fault_from_now_on[1]
        if fault == DOWN:
            raise EndpointConnectionError(endpoint_url="http://fake")
        if fault == SLOW_DOWN:
            self._refuse(503, "SlowDown", name)
        if callable(fault):
            fault()
        if request["Bucket"] != self.bucket:
            self._refuse(404, "404" if name == "head_object" else "NoSuchBucket", name)
        with self._one_at_a_time:
            answer = act()
        if fault == LOST:
            raise ReadTimeoutError(endpoint_url="http://fake")
        return answer

    def _store(self, key: str, body: bytes, digest: str, metadata: dict[str, str]) -> dict[str, Any]:
        self._measure(metadata)
        self.objects[key] = Stored(body, f'"{digest}"', dict(metadata))
        return {"ETag": f'"{digest}"'}

    def _measure(self, metadata: dict[str, str]) -> None:
        if sum(len(name) + len(value.encode("ascii")) for name, value in metadata.items()) > self._max_metadata:
            self._refuse(400, "MetadataTooLarge", "PutObject")

    def _existing(self, key: str, code: str) -> Stored:
        if key not in self.objects:
            self._refuse(404, code, "HeadObject" if code == "404" else "GetObject")
        return self.objects[key]

    def _upload(self, request: dict[str, Any]) -> Upload:
        upload = self.uploads.get(request["UploadId"])
        if upload is None or upload.key != request["Key"]:
            self._refuse(404, "NoSuchUpload", "UploadPart")
        return upload

    def _precondition(self, request: dict[str, Any]) -> None:
        stored = self.objects.get(request["Key"])
        if request.get("IfNoneMatch") == "*" and stored is not None:
            self._refuse(412, "PreconditionFailed", "PutObject")
        if "IfMatch" in request:
            self._check(request["IfMatch"], self._existing(request["Key"], "NoSuchKey"))

    def _check(self, etag: str | None, stored: Stored) -> None:
        if etag is not None and etag != stored.etag:
            self._refuse(412, "PreconditionFailed", "GetObject")

    def _span(self, text: str, size: int, *, clamped: bool = False) -> tuple[int, int]:
        """`clamped`: the last byte may be beyond the size, or not be named, as with GetObject."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", text)
        assert match, text
        start, last = int(match[1]), int(match[2] or size - 1)
        last = min(last, size - 1) if clamped else last
        if not start <= last < size:
            self._refuse(416, "InvalidRange", "GetObject")
        return start, last + 1

    def _describe(self, stored: Stored) -> dict[str, Any]:
        metadata = {name.title() if self.titled else name: value for name, value in stored.metadata.items()}
        return {"ETag": stored.etag, "ContentLength": len(stored.body), "Metadata": metadata}

    @staticmethod
    def _refuse(status: int, code: str, operation: str) -> NoReturn:
        raise ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)  # type: ignore[typeddict-item]
