"""What the ledgers of a bucket say is archived, read from the outside.

Every hourly object carries the ranges of the log it holds, in its user metadata `ledger` or, when that is too long for
S3, in a side object that the metadata names. The text form is the function's (`lambda/`, which nothing here imports);
`tests/golden/lambda_ledger.json` is the contract between the two:

    1;<length>;<generation>=<gap>-<size>,<gap>-<size>;<generation>=…      numbers in hexadecimal
    1;<length>;@<SHA-256 of the side object whose first line is the text above>

An owner that begins with `~` is a record that could not be read; it says nothing about the log.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from common.aws import S3Client, client
from common.errors import AWS_ERRORS, explain, status_of
from common.settings import Settings
from journal import hourly
from journal.hourly import REJECTED, YEAR, Object
from journal.ranges import Ranges

METADATA_KEY = "ledger"
# Looking is cheap to repeat, so no call may keep its caller for long
TIMEOUTS: dict[str, Any] = {
    "connect_timeout": 2.0,
    "read_timeout": 5.0,
    "retries": {"mode": "standard", "total_max_attempts": 2},
}
# How often an object is read again because it changed between two reads of it and its side object
ROUNDS = 5

_RANGES = r"[0-9a-f]+-[0-9a-f]+(?:,[0-9a-f]+-[0-9a-f]+)*"
_TEXT = re.compile(rf"1;[0-9a-f]+((?:;~?[0-9a-f]+={_RANGES})*)")
_REFERENCE = re.compile(r"1;[0-9a-f]+;@([0-9a-f]{64})")

Pairs = dict[str, list[tuple[int, int]]]


class LedgersError(Exception):
    """The ledgers cannot be read; the message names the remedy. `passing`: a little time may mend it."""

    def __init__(self, message: str, *, passing: bool) -> None:
        super().__init__(message)
        self.passing = passing


@dataclass(frozen=True, slots=True)
class Archive:
    """What was found in a bucket. `ranges`: by generation. `oldest`: when the hourly object that was not written to for
    longest was written. `problems`: objects whose ledger cannot be read, so that `ranges` may lack what they hold; each
    with its remedy."""

    ranges: dict[str, Ranges]
    oldest: datetime | None
    problems: list[str]


class _Known(NamedTuple):
    """What was read of an object, and the version it was listed as then; None: to be read again in any case."""

    version: tuple[str, datetime] | None
    pairs: Pairs
    problem: str | None = None


def decode(text: str) -> Pairs:
    """The ranges of each generation in a ledger's text. Raises ValueError for what is no ledger."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:80]!r} is no ledger this version can read")
    found: Pairs = {}
    for field in match[1].split(";")[1:]:
        owner, _, steps = field.partition("=")
        if owner in found:
            raise ValueError(f"{owner} stands twice in the ledger")
        found[owner] = []
        at = 0
        for step in steps.split(","):
            gap, _, size = step.partition("-")
            start = at + int(gap, 16)
            at = start + int(size, 16)
            if start == at:
                raise ValueError(f"an empty range of {owner} stands in the ledger")
            found[owner].append((start, at))
    return {owner: pairs for owner, pairs in found.items() if not owner.startswith("~")}


def connect(settings: Settings) -> S3Client:
    return client(settings, "s3", **TIMEOUTS)


class Ledgers:
    """The ledgers of one bucket. Remembers what it has read: only objects that are new or changed are asked again."""

    def __init__(self, bucket: str, prefix: str, target: str = "localstack") -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._target = target
        self._known: dict[str, _Known] = {}

    def created(self, s3: S3Client) -> datetime | None:
        """When the bucket was created; None when these credentials may not know, or the endpoint does not say.

        Raises LedgersError when there is no answer.
        """
        try:
            listed = s3.list_buckets(Prefix=self._bucket).get("Buckets", [])
        except AWS_ERRORS as error:
            explained = self._explained(error)
            if isinstance(error, ClientError) and not explained.passing:
                return None
            raise explained from error
        return next((one.get("CreationDate") for one in listed if one.get("Name") == self._bucket), None)

    def read(self, s3: S3Client, since: datetime, expired: Callable[[], bool] = lambda: False) -> Archive:
        """What the objects written at or after `since` hold. Raises LedgersError.

        `expired` is asked before each call; when it says so the reading ends with an error, and the next one goes on
        with what is known by then.
        """

        def check() -> None:
            if expired():
                raise LedgersError(
                    f"the ledgers of s3://{self._bucket}/{self._prefix} could not all be read in time; the next look "
                    "goes on from there. If this stays so, give the log a bucket or an S3_PREFIX of its own",
                    passing=True,
                )

        try:
            listed = list(self._list(s3, check))
            recent = [one for one in listed if one.modified >= since]
            self._known = {one.key: self._known[one.key] for one in recent if one.key in self._known}
            for one in recent:
                known = self._known.get(one.key)
                if known is None or known.version != one.version:
                    check()
                    if found := self._look(s3, one):
                        self._known[one.key] = found
                    else:
                        self._known.pop(one.key, None)
        except AWS_ERRORS as error:
            raise self._explained(error) from error
        pairs: Pairs = {}
        for known in self._known.values():
            for generation, some in known.pairs.items():
                pairs.setdefault(generation, []).extend(some)
        return Archive(
            ranges={generation: Ranges(some) for generation, some in pairs.items()},
            oldest=min((one.modified for one in listed), default=None),
            problems=[known.problem for known in self._known.values() if known.problem],
        )

    def _list(self, s3: S3Client, check: Callable[[], None]) -> Iterator[Object]:
        """The hourly objects. Whatever else is in the bucket, side objects too, is not even listed, but for the top."""
        for base in (self._prefix, self._prefix + REJECTED):
            years = []
            for page in hourly.pages(s3, self._bucket, check, Prefix=base, Delimiter="/"):
                names = list(hourly.folders(iter([page])))
                years += [name for name in names if YEAR.fullmatch(name, len(base))]
                keys = [item["Key"] for item in page.get("Contents", [])]
                if max([*names, *keys], default="") > f"{base}:":
                    break  # the colon comes after the digits: no year follows
            for year in years:
                yield from hourly.objects(hourly.pages(s3, self._bucket, check, Prefix=year), base)

    def _look(self, s3: S3Client, one: Object) -> _Known | None:
        """What an object's ledger says; None when the object was deleted since it was listed."""
        for _ in range(ROUNDS):
            try:
                head = s3.head_object(Bucket=self._bucket, Key=one.key)
            except ClientError as error:
                if status_of(error) == 404:
                    return None
                raise
            text = hourly.metadata(head).get(METADATA_KEY)
            if text is None:  # not one of the function's
                return _Known(one.version, {})
            try:
                if reference := _REFERENCE.fullmatch(text):
                    text = self._side(s3, one, reference[1])
                if text is not None:
                    return _Known(one.version, decode(text))
            except ValueError as error:
                problem = (
                    f"the ledger of s3://{self._bucket}/{one.key} cannot be read ({error}), so it is not known what it "
                    f"holds: appliance repair-ledger {one.key} makes it again"
                )
                return _Known(one.version, {}, problem)
        problem = (
            f"s3://{self._bucket}/{one.key}: its side object below {self._prefix}ledger/ is gone: "
            f"appliance repair-ledger {one.key} makes its ledger again"
        )
        return _Known(None, {}, problem)

    def _side(self, s3: S3Client, one: Object, digest: str) -> str | None:
        """The text of a side object; None when it is gone, as it is once the object names another. ValueError."""
        key = hourly.ledger_key(self._prefix, one.hour, digest, one.rejected)
        try:
            content = s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if status_of(error) == 404:
                return None
            raise
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"the content of its side object {key} is not what the name says")
        return content.decode("ascii").partition("\n")[0]

    def _explained(self, error: Exception) -> LedgersError:
        found = explain(error, f"s3://{self._bucket}/{self._prefix}", self._target, setting="S3_BUCKET")
        # a bucket that is not there yet is being made
        return LedgersError(str(found), passing=found.passing or found.kind == "missing")
