"""One way of logging for every process: a line an event, in UTC, on standard output.

A call names its event and gives its facts beside the sentence for people:

    log.info("shipped %d lines", lines, extra=event("shipped", lines=lines))
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any


def event(name: str, **facts: Any) -> dict[str, Any]:
    """The `extra` of a logging call: the event's name, the same in all processes, and its facts, which must be JSON."""
    return {"event": name, "facts": facts}


def configure(level: str = "INFO") -> None:
    """Send this process's log to standard output; the program's name is put before each line by `appliance/tagged`."""
    formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("apscheduler", "botocore", "boto3", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
