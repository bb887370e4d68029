"""The names in the bucket, and how it is listed and read: the one reader of hourly objects.

`lambda/archiver/layout.py` has the same names in the function's zip; a test holds the two equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from common.aws import S3Client
from common.errors import code_of, status_of

NAME = "web-access.log"
REJECTED = "rejected/"
HOUR = r"\d{4}/\d\d/\d\d/\d\d"
YEAR = re.compile(r"\d{4}/")

_HOURLY = re.compile(rf"({HOUR})/(.+)")


class ChangedError(Exception):
    """The object was replaced or deleted since it was listed: the next listing has it as it is."""


class Object(NamedTuple):
    """An hourly object as it was listed. `hour`: YYYY/MM/DD/HH in UTC. Sorts by the hour."""

    hour: str
    modified: datetime
    key: str
    etag: str
    size: int
    rejected: bool = False

    @property
    def version(self) -> tuple[str, datetime]:
        """The ETag alone would not tell when the metadata of the same bytes is mended."""
        return self.etag, self.modified


def hour_of(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    return f"{moment.year:04}/{moment:%m/%d/%H}"


def object_key(prefix: str, hour: str, rejected: bool = False) -> str:
    return f"{prefix}{REJECTED if rejected else ''}{hour}/{NAME}"


def ledger_key(prefix: str, hour: str, digest: str, rejected: bool = False) -> str:
    """The side object with the ledger of an hourly object whose metadata cannot hold it."""
    return f"{prefix}ledger/{hour}/{'rejected' if rejected else 'entries'}-{digest}"


def metadata(head: Mapping[str, Any]) -> dict[str, str]:
    """The user metadata of an answer: names of headers, which a proxy, or another endpoint, writes as Ledger."""
    return {name.lower(): value for name, value in head["Metadata"].items()}


def pages(s3: S3Client, bucket: str, check: Callable[[], None] = lambda: None, **request: Any) -> Iterator[Any]:
    """The pages of a listing. `check` is called before each is asked for. Raises AWS_ERRORS."""
    while True:
        check()
        page = s3.list_objects_v2(Bucket=bucket, **request)
        yield page
        if not page.get("IsTruncated") or not page.get("NextContinuationToken"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def folders(found: Iterator[Any]) -> Iterator[str]:
    for page in found:
        yield from (one["Prefix"] for one in page.get("CommonPrefixes", []))


def objects(found: Iterator[Any], base: str, *, any_name: bool = False) -> Iterator[Object]:
    """Of the listed keys below `base`, which ends before the hour, those of hourly objects.

    `any_name`: Firehose names its objects itself.
    """
    for page in found:
        for item in page.get("Contents", []):
            match = _HOURLY.fullmatch(item["Key"], len(base))
            if match and (any_name or match[2] == NAME):
                rejected = base.endswith(REJECTED)
                yield Object(match[1], item["LastModified"], item["Key"], item["ETag"], item["Size"], rejected)


def read(s3: S3Client, bucket: str, key: str, start: int, end: int, etag: str | None = None) -> bytes:
    """The bytes [start, end) of an object, and of no other version than `etag`. Raises ChangedError, AWS_ERRORS."""
    if start >= end:
        return b""
    condition: Any = {"IfMatch": etag} if etag else {}
    try:
        answer = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{end - 1}", **condition)
    except ClientError as error:
        if etag and changed(error):
            raise ChangedError(key) from error
        raise
    with answer["Body"] as body:
        data = body.read()
    # an endpoint that ignores If-Match may answer with less, or with more
    if etag and (len(data) != end - start or answer["ETag"] != etag):
        raise ChangedError(key)
    return data


def changed(error: ClientError) -> bool:
    """Whether a call failed because its object was replaced or deleted since it was listed."""
    return status_of(error) in (404, 412, 416) and code_of(error) != "NoSuchBucket"
