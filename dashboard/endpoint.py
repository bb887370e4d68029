"""AWS, or what stands for it: clients that answer soon or fail, and errors that say what to do."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from common.aws import Service, client, endpoint_url
from common.errors import AWS_ERRORS, explain
from common.settings import Settings
from dashboard.periodic import LookError

# A look is repeated soon, so no call may keep it for long
TIMEOUTS: dict[str, Any] = {"connect_timeout": 1.0, "read_timeout": 3.0, "retries": {"total_max_attempts": 1}}


def connecting(settings: Settings, service: Service) -> Callable[[], Any]:
    """What makes a client when it is first called, and gives the same one after that."""
    return functools.cache(lambda: client(settings, service, **TIMEOUTS))


class NoAnswerError(LookError):
    """The endpoint does not answer."""

    unanswered = True


class GoneError(LookError):
    """The endpoint answers, but what was asked for is not there."""


def where(settings: Settings) -> str:
    """What people call the endpoint."""
    return endpoint_url(settings, "s3") or "AWS"


@contextmanager
def explaining(what: str, settings: Settings) -> Iterator[None]:
    """Turn the errors of a call about `what` into a LookError with its remedy."""
    try:
        yield
    except AWS_ERRORS as error:
        found = explain(error, what, settings.target)
        kinds: dict[str, type[LookError]] = {"unreachable": NoAnswerError, "missing": GoneError}
        raise kinds.get(found.kind, LookError)(str(found)) from error
