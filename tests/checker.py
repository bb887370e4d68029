"""The one judge: what was requested against what is archived. Lost, doubled and misfiled are found nowhere else.

It knows nothing of the pipeline but the customer's contract: objects `YYYY/MM/DD/HH/web-access.log` of JSON lines.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ResponseStreamingError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = re.compile(r"(?P<year>\d{4})/(?P<month>\d\d)/(?P<day>\d\d)/(?P<hour>\d\d)/web-access\.log")
NAMES = ["host", "time", "method", "path", "httpVersion", "status", "userAgent"]


@dataclass
class Verdict:
    """Identities (of whatever the requests were told apart by) that are not in the archive exactly once."""

    requested: int
    archived: int
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    misfiled: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def exactly_once(self) -> bool:
        return not (self.lost or self.doubled or self.misfiled or self.unknown)


def body_of(s3: S3Client, bucket: str, key: str) -> bytes:
    """The object. Raises AssertionError while it cannot be read as a whole.

    MiniStack, killed inside an append, has the new bytes with the old length, and breaks such an answer off. The next
    append mends that, and one comes: the lines were not acknowledged.
    """
    try:
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ResponseStreamingError as error:
        raise AssertionError(f"{key} cannot be read as a whole: {error}") from error


def entries(s3: S3Client, bucket: str, prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every entry of every hourly object, with its key. Raises AssertionError for a line that breaks the contract."""
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            key = item["Key"]
            if not KEY.fullmatch(key.removeprefix(prefix)):
                continue
            body = body_of(s3, bucket, key)
            assert body.endswith(b"\n"), f"{key} does not end with a newline"
            for line in body.decode().removesuffix("\n").split("\n"):
                entry = json.loads(line)
                assert list(entry) == NAMES, f"{key}: {line}"
                found.append((key, entry))
    return found


def judge(
    requested: Iterable[str],
    archive: list[tuple[str, dict[str, Any]]],
    identity: Callable[[dict[str, Any]], str | None],
) -> Verdict:
    """Compare identities requested with those archived. `identity` gives an entry's, or None for an entry of others."""
    wanted = set(requested)
    seen: Counter[str] = Counter()
    misfiled = []
    for key, entry in archive:
        one = identity(entry)
        if one is None:
            continue
        seen[one] += 1
        hour = entry["time"][:13].replace("-", "/").replace("T", "/")
        if f"{hour}/web-access.log" not in key:
            misfiled.append(one)
    return Verdict(
        requested=len(wanted),
        archived=sum(seen.values()),
        lost=sorted(wanted - seen.keys()),
        doubled=sorted(one for one, count in seen.items() if count > 1),
        misfiled=sorted(misfiled),
        unknown=sorted(seen.keys() - wanted),
    )
