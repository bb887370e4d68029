"""The Lambda function, with an entry point for each delivery.

`handler`: a batch of Kinesis records becomes lines of hourly objects in S3, each line exactly once.
`firehose_handler`: the transform of a delivery stream; Firehose delivers the entries that it answers.

Environment: S3_BUCKET (required), S3_PREFIX; AWS_ENDPOINT_URL or LOCALSTACK_HOSTNAME where S3 is not AWS's own.

A batch that fails raises and comes back whole; the ledgers keep what it had written from being written again.
(`batchItemFailures` is no alternative: some emulators ignore it and go on, which loses the records.)

Each invocation prints one JSON line with its event (`archived`, `transformed` or `failed`), its counts and the
milliseconds it took; warnings are JSON lines too.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from archiver.archive import Archive
from archiver.event import records
from archiver.filing import Item, file_runs
from archiver.firehose import Transform
from archiver.layout import HourlyObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Below this much remaining time no further object is begun: one append takes some tenths of a second, a slow one 2 s
TIME_MARGIN_MS = 5_000
# Lines are written once this many bytes wait, raw lines included, so that memory is bounded whatever the batch holds
FLUSH_BYTES = 64 * 1024 * 1024
CONNECT_TIMEOUT = 3
READ_TIMEOUT = 40  # S3 copies the largest part in some 25 s
COPIES = 8  # at the same time; botocore keeps 10 connections
EDGE_PORT = "4566"

Batch = dict[HourlyObject, list[Item]]


class Context(Protocol):
    """The part of Lambda's context object that is used."""

    def get_remaining_time_in_millis(self) -> int: ...


class ConfigurationError(Exception):
    """The function's environment lacks something."""


class OutOfTimeError(Exception):
    """The function stopped before its time-out; what it has written stays, the batch comes again."""


def handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Archive one batch. Returns and prints its counts; raises when not every line of it is archived.

    After a change of delivery the function may still be handed an event of the other kind.
    """
    _warn_as_json()
    if "deliveryStreamArn" in event:
        return _transform(event)
    return Run(archive(), os.environ.get("S3_PREFIX", ""), context).archive(event)


def firehose_handler(event: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Answer every record of a Firehose event: `{"records": [{"recordId", "result", "data", "metadata"}, ...]}`."""
    _warn_as_json()
    if "Records" in event:
        return handler(event, context)
    return _transform(event)


def _transform(event: Mapping[str, Any]) -> dict[str, Any]:
    transform = Transform(lambda target, items: archive().append(target, items), os.environ.get("S3_PREFIX", ""))
    with _reporting("transformed", transform.counts):
        return transform.answer(event)


@contextmanager
def _reporting(done: str, counts: dict[str, int]) -> Iterator[None]:
    """Print one line for what is done within: the event, the counts as they are in the end, and the milliseconds."""
    begun = time.monotonic()
    outcome: dict[str, Any] = {"event": done}
    try:
        yield
    except Exception as error:
        outcome = {"event": "failed", "error": f"{type(error).__name__}: {error}"}
        raise
    finally:
        print(json.dumps(outcome | counts | {"ms": round((time.monotonic() - begun) * 1000)}), flush=True)


class Run:
    """One invocation."""

    def __init__(self, archive: Archive, prefix: str, context: Context) -> None:
        self._archive = archive
        self._prefix = prefix
        self._context = context
        # objects: conditional writes; conflicts: those that lost a race
        names = ("records", "lines", "rejected", "written", "duplicates", "objects", "conflicts", "bytes")
        self.counts = dict.fromkeys(names, 0)

    def archive(self, event: Mapping[str, Any]) -> dict[str, int]:
        with _reporting("archived", self.counts):
            self._file(event)
        return self.counts

    def _file(self, event: Mapping[str, Any]) -> None:
        batch: Batch = {}
        waiting = 0
        for record in records(event):
            self.counts["records"] += 1
            for target, item in file_runs(record, self._prefix):
                self.counts["lines"] += item.lines
                self.counts["rejected"] += target.rejected * item.lines
                batch.setdefault(target, []).append(item)
                waiting += len(item.text) + len(item.raw)
                if waiting >= FLUSH_BYTES:
                    self._commit(batch)
                    batch, waiting = {}, 0
        self._commit(batch)

    def _commit(self, batch: Batch) -> None:
        """Append to one object after the other; the order makes a retry meet the same objects first.

        Foreign lines are in no ledger, so their objects come last: a failure elsewhere then does not repeat them.
        """
        for target in sorted(batch, key=lambda target: (_has_foreign(batch[target]), target)):
            # only after a first write: so each invocation gets further than the one before
            if self.counts["objects"] and self._context.get_remaining_time_in_millis() < TIME_MARGIN_MS:
                raise OutOfTimeError(f"{self.counts['objects']} objects written, the rest when the batch comes again")
            items = batch[target]
            written = self._archive.append(target, items)
            self.counts["written"] += written.lines
            self.counts["duplicates"] += sum(item.lines for item in items) - written.lines
            self.counts["objects"] += written.lines > 0
            self.counts["conflicts"] += written.conflicts
            self.counts["bytes"] += written.bytes


def _has_foreign(items: Iterable[Item]) -> bool:
    return any(item.owner is None for item in items)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"event": "concern", "level": record.levelname, "message": record.getMessage()})


@functools.cache
def _warn_as_json() -> None:
    """In Lambda, warnings look like the other lines; elsewhere the caller configures logging."""
    if "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        root = logging.getLogger()
        if not root.handlers:
            root.addHandler(logging.StreamHandler(sys.stdout))
        for each in root.handlers:
            each.setFormatter(_JsonFormatter())


@functools.cache
def archive() -> Archive:
    """The archive of this execution environment, made at its first batch and kept for the later ones."""
    bucket = os.environ.get("S3_BUCKET")
    if not bucket:
        raise ConfigurationError("S3_BUCKET is not set: give the function the name of the bucket in its environment")
    from concurrent.futures import ThreadPoolExecutor  # needed for the largest objects, and costs some milliseconds

    rng = random.Random()  # noqa: S311 (jitter, no secret)
    return Archive(client(), bucket, rng=rng, sleep=time.sleep, side_by_side=ThreadPoolExecutor(COPIES).map)


def client() -> S3Client:
    """An S3 client for the endpoint that the environment names."""
    import boto3
    from botocore.config import Config

    endpoint = endpoint_url(os.environ)
    config = Config(
        connect_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": 3},
        # a multipart upload with a checksum needs one for every copied part, too; older emulators support none
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        # an emulator has one name: a bucket in the host name would not resolve
        s3={"addressing_style": "path"} if endpoint else None,
    )
    return boto3.client("s3", endpoint_url=endpoint, config=config)


def endpoint_url(environment: Mapping[str, str]) -> str | None:
    """Where S3 answers: AWS_ENDPOINT_URL(_S3), else LocalStack's old LOCALSTACK_HOSTNAME, else None for AWS itself."""
    given = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    if given:
        return given
    host = environment.get("LOCALSTACK_HOSTNAME")
    return f"http://{host}:{environment.get('EDGE_PORT') or EDGE_PORT}" if host else None
