"""One way of logging for every process: a line an event, in UTC, on standard output.

A call names its event and gives its facts beside the sentence for people:

    log.info("shipped %d lines", lines, extra=event("shipped", lines=lines))

docs/events.md lists the events. LOG_FORMAT chooses how a line looks; whatever it is, it holds nothing that `redact`
knows as a secret.
"""

from __future__ import annotations

import json
import logging
import pkgutil
import re
import sys
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

from common.clock import iso

# Every event there is; docs/events.md says of each what it means and which facts it has
Event = Literal[
    "bucket_created_again",
    "concern",
    "deleted",
    "failed",
    "first_start",
    "missing",
    "provisioned",
    "refused",
    "repaired",
    "resolved",
    "retrying",
    "rotated",
    "settings_rejected",
    "shipped",
    "started",
    "stopped",
    "unreachable",
]
# What is logged without an event of ours: by a library, or by a program that only prints
OUTPUT = "output"
# sd-daemon(3): the priority that stands before each line
PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))

HIDDEN = "..."
# A rule a line, its parts between tabs: what stays before what is hidden, what is hidden, and what stays behind it.
# appliance/tagged.awk reads them too, so each means the same to both: in POSIX's words, without bounds such as {8}.
_RULES = (pkgutil.get_data("common", "hidden.ere") or b"").decode().splitlines()
_HIDE = [
    re.compile("(?P<before>{})(?:{})(?P<behind>{})".format(*rule.split("\t")), re.IGNORECASE | re.ASCII)
    for rule in _RULES
]


def event(name: Event, /, **facts: Any) -> dict[str, Any]:
    """The `extra` of a logging call: the event's name, the same in all processes, and its facts, which must be JSON."""
    return {"event": name, "facts": facts}


def redact(text: str) -> str:
    """`text` without what must be in no log: query strings, fragments and referrers, user and password of an address,
    values that are called a secret or look like one."""
    for pattern in _HIDE:
        text = pattern.sub(rf"\g<before>{HIDDEN}\g<behind>", text)
    return text


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {str(key): _redacted(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redacted(each) for each in value]
    return value


class HumanFormatter(logging.Formatter):
    """`2026-11-23T16:05:00Z INFO    shipped 12 lines`, and a traceback below it."""

    converter = staticmethod(time.gmtime)

    def __init__(self, tag: str) -> None:
        super().__init__(f"{tag and f'{tag} | '}%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, program, event, message, facts, and traceback where there is one."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": iso(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "program": self._program,
            "event": getattr(record, "event", OUTPUT),
            "message": redact(record.getMessage()),
        }
        if facts := getattr(record, "facts", None):
            line["facts"] = _redacted(facts)
        if record.exc_info and record.exc_info[0]:
            line["traceback"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False, default=str)


class SyslogFormatter(logging.Formatter):
    """`<6>shipped 12 lines`: the reader knows the time and, under systemd, the program; each line has a priority."""

    def __init__(self, tag: str) -> None:
        super().__init__()
        self._tag = tag and f"{tag}: "

    def format(self, record: logging.LogRecord) -> str:
        priority = next(number for level, number in PRIORITIES if record.levelno >= level)
        lines = redact(super().format(record)).splitlines() or [""]
        return "\n".join(f"<{priority}>{self._tag}{line}" for line in lines)


def handler_for(log_format: str, program: str, *, tag: bool) -> logging.Handler:
    """Writes to standard output as LOG_FORMAT says (human, json, syslog).

    `program` names the process in JSON. In the other formats `appliance/tagged` puts the name before each line; a
    process that runs without it says `tag`.
    """
    shown = program if tag else ""
    formatters = {"human": HumanFormatter(shown), "json": JsonFormatter(program), "syslog": SyslogFormatter(shown)}
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatters[log_format])
    return handler


def configure(level: str = "INFO", log_format: str = "human", program: str = "", *, tag: bool = False) -> None:
    """Send this process's log to standard output, as `handler_for` says."""
    logging.basicConfig(level=level, handlers=[handler_for(log_format, program, tag=tag)], force=True)
    for chatty in ("apscheduler", "botocore", "boto3", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    sys.excepthook = log_uncaught


def log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """What ends a process unforeseen is one event as well. Ctrl-C is no error."""
    if not issubclass(kind, KeyboardInterrupt):
        told = (kind, error, traceback)
        extra = event("failed", error=kind.__name__)
        logging.getLogger().critical("%s: %s", kind.__name__, error, exc_info=told, extra=extra)
