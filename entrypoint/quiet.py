"""When nothing is left to do: what entrypoint/lookout.py has to ask, and what it has to be answered."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from common.status import EntrypointStatus
from entrypoint.lookout import Known, Question
from entrypoint.lookout import answers as answered
from entrypoint.provision import Clients
from entrypoint.watch import LOOK_QUIETLY_EVERY, STALE_AFTER, Watch


def recorded(clients: Clients, asked: list[Question]) -> Clients:
    """The clients, whose requests are added to `asked` from now on, but for encrypted ones."""

    def keep(request: Any, **_: Any) -> None:
        parts, body = urlsplit(request.url), request.body or b""
        if parts.scheme != "http" or not isinstance(body, (bytes, str)):
            return  # no look sends a file
        headers = {"Host": parts.netloc, **request.headers, "Connection": "close"}
        texts = {name: each.decode("latin-1") if isinstance(each, bytes) else each for name, each in headers.items()}
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        head = f"{request.method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {each}\r\n" for name, each in texts.items())
        text = body if isinstance(body, str) else body.decode("latin-1")
        asked.append((parts.hostname or "", parts.port or 80, f"{head}\r\n{text}"))

    for each in vars(clients).values():
        each.meta.events.register("before-send", keep)
    return clients


def until_quiet(watch: Watch, asked: list[Question]) -> Known:
    """Look again and again, until two looks that found nothing to do got the same answers.

    Each look comes behind the answers that it stands for: what changes after them, the process that goes on sees.
    """
    questions: list[Question] = []
    before: list[str] = []
    while True:
        answers = answered(questions)
        pause = watch.round()
        if watch.quiet and answers and answers == before:
            return {
                "questions": questions,
                "answers": answers,
                "lines": watch.lines,
                "every": LOOK_QUIETLY_EVERY,
                "stale_after": STALE_AFTER.total_seconds(),
                "status": str(watch.settings.status_dir / f"{EntrypointStatus.process}.json"),
                "key": str(watch.settings.shared_key),
            }
        questions, before = ([*asked], answers) if watch.quiet else ([], [])
        asked.clear()
        watch.clock.sleep(pause)
