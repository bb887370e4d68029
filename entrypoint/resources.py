"""What the resources have in common; each kind has a module of its own: `bucket.py`, `role.py`, `stream.py`, …

Each `ensure_*` there looks, compares with what is wanted, and creates, updates or leaves it. All of them take any state
as their start (level-triggered), so a run that was cut off is mended by the next one. A run that only looks says in
the Outcome what it would have done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

from botocore.exceptions import ClientError

from common.errors import code_of, missing

T = TypeVar("T")
State = Literal["created", "updated", "unchanged", "missing", "unseen"]

DESCRIPTION = "Turns access log lines into JSON lines, each to go to its own hour in S3"
# Seconds in which IAM makes a new role and its permissions known to Lambda; on AWS it takes some ten.
ROLE_PROPAGATION = 30.0


@dataclass(frozen=True)
class Outcome:
    """What was (or, only looking, would be) done with one resource; on AWS, whether it is there.

    `details` are for the user; `arn` is empty where there is none or nothing was made; `since` is a stream's creation.
    """

    kind: str
    name: str
    state: State
    details: tuple[str, ...] = ()
    arn: str = ""
    since: datetime | None = None

    def __str__(self) -> str:
        more = f" ({'; '.join(self.details)})" if self.details else ""
        return f"{self.kind} {self.name}: {self.state}{more}"


def existing(look: Callable[[], T]) -> T | None:
    """What `look` answers, or None when the endpoint says that there is no such thing."""
    try:
        return look()
    except ClientError as error:
        if missing(error):
            return None
        raise


@contextmanager
def accepting(code: str) -> Iterator[None]:
    """Let pass an error that says that the thing is there: something else has made it a moment ago."""
    try:
        yield
    except ClientError as error:
        if code_of(error) != code:
            raise


def role_unknown(error: ClientError) -> bool:
    """IAM has taken the role or its permissions, but Lambda or Firehose does not see them yet."""
    message = str(error.response.get("Error", {}).get("Message", ""))
    return code_of(error) in ("InvalidParameterValueException", "InvalidArgumentException") and any(
        words in message for words in ("cannot be assumed", "does not have permissions", "assume role")
    )


def busy(error: ClientError) -> bool:
    """An earlier change of the same thing is still under way, or another one came in between."""
    return code_of(error) in (
        "ConcurrentModificationException",  # Firehose
        "OperationAborted",  # S3, where a bucket of this name was deleted a moment ago
        "ResourceConflictException",  # Lambda
        "ResourceInUseException",
    )


def made(create: Callable[[], object], look: Callable[[], object | None]) -> bool | None:
    """Whether the stream is there after `create`; None while an old one of its name is still being deleted."""
    try:
        create()
    except ClientError as error:
        if code_of(error) != "ResourceInUseException":
            raise
        # the old one is still being deleted: again; or another run was faster: good
        return None if look() is None else True
    return True
