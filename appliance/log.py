"""One way of logging for every process: a line an event, in UTC, on standard output."""

from __future__ import annotations

import logging
import sys
import time


def configure(level: str = "INFO") -> None:
    """Send this process's log to standard output; the program's name is put before each line by `appliance/tagged`."""
    formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("apscheduler", "botocore", "boto3", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
