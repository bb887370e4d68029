"""Reads the bucket's ledgers, and notes what they hold beside what was acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from common.clock import Clock
from common.log import event
from common.settings import Settings
from journal.archived import Archived
from journal.ledgers import Archive, Ledgers, LedgersError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger(__name__)

# Ledgers that are not read by then are read in the next run
READ_SECONDS = 30.0
# Problems that are named at once
NAMED = 5


class Comparison:
    """`connect` makes a client for one run; `stop` is asked between the ledgers."""

    def __init__(
        self, settings: Settings, clock: Clock, connect: Callable[[], S3Client], stop: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._connect = connect
        self._stop = stop
        self._ledgers = Ledgers(settings.s3_bucket, settings.s3_prefix, settings.target)

    def run(self, archived: Archived) -> None:
        """Bring `archived` up to what the bucket's ledgers say. Raises LedgersError."""
        bucket, prefix = self._settings.s3_bucket, self._settings.s3_prefix
        deadline = self._clock.monotonic() + READ_SECONDS
        s3 = self._connect()
        try:
            created = self._ledgers.created(s3)
            known = (archived.bucket, archived.prefix) == (bucket, prefix) and created in (None, archived.created)
            if known and not archived.unarchived():
                return
            since = archived.horizon(self._clock.now().timestamp())
            read = self._ledgers.read(s3, since, lambda: self._stop() or self._clock.monotonic() >= deadline)
        finally:
            s3.close()
        self._take_over(archived, read, created)
        if read.problems:
            raise LedgersError("; ".join(read.problems[:NAMED]), passing=False)

    def _take_over(self, archived: Archived, read: Archive, created: datetime | None) -> None:
        bucket, prefix = self._settings.s3_bucket, self._settings.s3_prefix
        if archived.compared_with(bucket, prefix, created, read.oldest):
            log.warning(
                "bucket %s was created again: all lines still on disk that it lacks are sent again",
                bucket,
                extra=event("bucket_created_again", bucket=bucket),
            )
        archived.absorb(read.ranges)
