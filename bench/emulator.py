"""An emulator of one's own with an empty bucket, for what is measured against S3 alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.appliance.drivers import s3_client
from tests.emulator import Emulator

BUCKET = "bench"


@contextmanager
def bucket() -> Iterator[str]:
    """The URL of an emulator that has BUCKET; it ends with the block."""
    with tempfile.TemporaryDirectory() as directory:
        emulator = Emulator(Path(directory))
        try:
            emulator.start()
            s3 = s3_client(emulator.url)
            s3.create_bucket(Bucket=BUCKET)
            s3.close()
            yield emulator.url
        finally:
            emulator.stop()
