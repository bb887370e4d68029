"""What the value of a setting may be: shapes that more than one has, or that take more than a pattern."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from common.delivery import Delivery, delivery_of
from common.typed import Field


def matches(pattern: str, rule: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(rule)
        return value

    return check


def _upstream(value: str) -> str:
    try:
        parts = urlsplit(value)
        whole = parts.path in ("", "/") and not parts.query and not parts.fragment and not parts.username
    except ValueError:  # its message repeats the value
        whole = False
    if value and not (whole and parts.scheme in ("http", "https") and re.fullmatch(r"[\w.:\[\]/-]+", value)):
        raise ValueError("an upstream is a URL without a path, such as http://app:3000")
    return value


def _localstack(value: str) -> str:
    try:
        parts = urlsplit(value if "://" in value else f"//{value}")
        usable = bool(parts.hostname) and parts.port != 0 and parts.scheme in ("", "http", "https")
    except ValueError:
        usable = False
    if value and (not usable or re.search(r"[\s?#@]", value) or parts.path.strip("/")):
        raise ValueError("use host, host:port or http(s)://host:port; an IPv6 address stands in [brackets]")
    return value


Upstream = Annotated[str, _upstream]
Endpoint = Annotated[str, _localstack]
Address = Annotated[str, matches(r"[0-9A-Za-z.:-]*", "an address is an IPv4 or IPv6 address or a host name")]
Port = Annotated[int, Field(ge=1, le=65535)]
Role = Annotated[str, matches(r"[\w+=,.@-]{1,64}", "a role name has 1 to 64 letters, digits and +=,.@-_")]
File = Annotated[Path, Path.absolute]
if TYPE_CHECKING:
    Way = Delivery
else:
    Way = Annotated[Any, delivery_of]  # from its name
