"""FakeS3 with what readers of a bucket need besides: listings, times of writing, and a bucket that is made anew."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from archiver.filing import Item
from archiver.layout import HourlyObject
from archiver.ledger import Ledger
from tests.fake_s3 import FakeS3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

START = datetime(2026, 11, 23, 10, 0, 0, tzinfo=UTC)


class FakeBucket(FakeS3):
    """`now` is the time of the next write; `page`: keys in one answer to a listing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.now = START
        self.created: datetime | None = START
        self.page = 2
        self.modified: dict[str, datetime] = {}
        self.closed = 0

    @property
    def client(self) -> S3Client:
        return cast("S3Client", self)

    def close(self) -> None:
        self.closed += 1

    def make_again(self, when: datetime) -> None:
        """The endpoint has forgotten everything, and the bucket is there again."""
        self.created = self.now = when
        self.objects.clear()
        self.modified.clear()

    def file(self, hour: str, *ranges: tuple[str, int, int], prefix: str = "", rejected: bool = False) -> str:
        """An hourly object that holds these ranges, and nobody cares what else; the key."""
        ledger = Ledger()
        for owner, start, end in ranges:
            ledger.add(owner, start, end)
        key = HourlyObject(prefix, hour, rejected).key
        body = b"x" * len(self.calls)
        self.put_object(Bucket=self.bucket, Key=key, Body=body, Metadata={"ledger": ledger.encode(len(body))})
        return key

    def asked(self, name: str) -> list[str]:
        return [key for call, key in self.calls if call == name]

    def list_buckets(self, **_request: Any) -> dict[str, Any]:
        def answer() -> dict[str, Any]:
            others = [{"Name": f"{self.bucket}-other", "CreationDate": datetime(2020, 1, 1, tzinfo=UTC)}]
            mine = [{"Name": self.bucket} | ({"CreationDate": self.created} if self.created else {})]
            return {"Buckets": others + mine}

        return self._call("list_buckets", {"Bucket": self.bucket, "Key": ""}, answer)

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        def answer() -> dict[str, Any]:
            prefix, delimiter = request["Prefix"], request.get("Delimiter")
            names: dict[str, bool] = {}
            for key in sorted(self.objects):
                if key.startswith(prefix):
                    head, cut, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
                    names[f"{prefix}{head}/" if cut else key] = bool(cut)
            rest = [name for name in names if name > request.get("ContinuationToken", "")]
            page = rest[: self.page]
            contents = [
                {
                    "Key": key,
                    "ETag": self.objects[key].etag,
                    "Size": len(self.objects[key].body),
                    "LastModified": self.modified[key],
                }
                for key in page
                if not names[key]
            ]
            found: dict[str, Any] = {"IsTruncated": len(rest) > len(page)}
            found |= {"Contents": contents} if contents else {}
            folders = [{"Prefix": name} for name in page if names[name]]
            found |= {"CommonPrefixes": folders} if folders else {}
            return found | ({"NextContinuationToken": page[-1]} if found["IsTruncated"] else {})

        return self._call("list_objects_v2", request | {"Key": request["Prefix"]}, answer)

    def _store(self, key: str, body: bytes, digest: str, metadata: dict[str, str]) -> dict[str, Any]:
        self.modified[key] = self.now
        return super()._store(key, body, digest, metadata)


def item(owner: str, start: int, end: int) -> Item:
    """A line, for an archive of the function's."""
    return Item(owner, start, end, b"%d\n" % start)
