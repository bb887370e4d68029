"""What stays of the entrypoint while nothing changes: `python -m entrypoint.lookout FD`, without botocore's 25 MiB.

It asks again what the last look asked, byte for byte. When an answer is another one, or is missing, the process becomes
`python -m entrypoint` again, which knows what that means. FD is a file with a Known. Importing little is the point.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

# Host, port, and the request in Latin-1, as JSON knows no bytes
Question: TypeAlias = tuple[str, int, str]
Known: TypeAlias = dict[str, Any]

TIMEOUT = 5.0
MOST = 1024 * 1024  # bytes of an answer that are read
# Differs between two answers that mean the same: the ids of requests, and how a mapping fares
VARYING = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|"LastProcessingResult": ?"[^"]*"')


def answers(questions: list[Question]) -> list[str]:
    """Status and body of each, without what varies; none at all if one is missing."""
    try:
        return [_answer(*each) for each in questions]
    except OSError:
        return []


def _answer(host: str, port: int, request: str) -> str:
    found = b""
    with socket.create_connection((host, port), TIMEOUT) as connection:
        connection.sendall(request.encode("latin-1"))
        while len(found) < MOST and (part := connection.recv(65536)):
            found += part
    head, _, body = found.decode("latin-1").partition("\r\n\r\n")
    return VARYING.sub("", head.partition("\r\n")[0] + body)


def stamp(path: Path | str) -> int:
    """When the file was last written, in nanoseconds; 0 without one."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def become(known: Known) -> NoReturn:
    """Go on as this module. `known`: `questions` and their `answers`; `every` and `stale_after` in seconds; the paths
    of the `status` and of the `key` that the producer signs with; and `lines`, which the entrypoint goes on with."""
    descriptor = os.memfd_create("known", 0)
    with open(descriptor, "w", closefd=False) as file:
        json.dump(known | {"stamp": stamp(known["key"])}, file)
    # without site-packages, as nothing there is needed
    _execute("-S", "-m", "entrypoint.lookout", str(descriptor))


def _execute(*words: str) -> NoReturn:
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 # no shell is wanted


def recall(descriptor: int) -> Known:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor) as file:
        known: Known = json.load(file)
    return known


def note(known: Known) -> None:
    """Renew the status that the entrypoint wrote. Raises OSError, ValueError."""
    now, path = time.time(), known["status"]
    with open(path) as file:
        status = json.load(file)
    for name, at in (("checked_at", now), ("due", now + known["stale_after"])):
        status[name] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    temporary = f"{path}.tmp"
    with open(temporary, "w") as file:
        json.dump(status, file)
    os.replace(temporary, path)


def same(known: Known) -> bool:
    """Whether all is as it was, and could be noted."""
    if stamp(known["key"]) != known["stamp"] or answers(known["questions"]) != known["answers"]:
        return False
    try:
        note(known)
    except (OSError, ValueError):
        return False
    return True


def main(descriptor: int) -> NoReturn:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    known = recall(os.dup(descriptor))
    while True:
        time.sleep(known["every"])
        if not same(known):
            _execute("-m", "entrypoint", "--resume", str(descriptor))


if __name__ == "__main__":
    main(int(sys.argv[1]))
