"""What the value of a setting may be: shapes that more than one has, or that take more than a pattern."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias
from urllib.parse import urlsplit

from common.delivery import Delivery, delivery_of
from common.typed import Field

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 1918, RFC 4193 and the loopback; the address pools of Docker
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "127.0.0.0/8", "::1/128")
NAMED_NETWORKS = {"private": PRIVATE, "docker": ("172.16.0.0/12", "192.168.0.0/16", "fc00::/7")}
# The shortest prefix by version of IP: what is wider, alone or together, is a good part of the internet
SHORTEST_PREFIX = {4: 8, 6: 16}
# botocore takes no other one, neither with quotes nor with an underscore
HOST_NAME = r"(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*\.?"


def matches(pattern: str, rule: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(rule)
        return value

    return check


def _taken_by(read: Callable[[str], object]) -> Callable[[str], str]:
    def check(value: str) -> str:
        read(value)
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
        host = parts.hostname or ""
        known = ipaddress.IPv6Address(host) if ":" in host else re.fullmatch(HOST_NAME, host)
        usable = bool(known) and parts.port != 0 and parts.scheme in ("", "http", "https")
    except ValueError:
        usable = False
    if value and (not usable or re.search(r"[\s?#@]|%(?!25)", value) or parts.path.strip("/")):
        raise ValueError(
            "use host, host:port or http(s)://host:port; an IPv6 address stands in [brackets], any other host has "
            "letters, digits, hyphens and dots alone"
        )
    return value


def log_files(value: str) -> list[tuple[str, Path]]:
    """Name and path of each log; a folder of logs has no name. Raises ValueError."""
    found = []
    for item in filter(None, value.split(",")):
        name, path = ("", item) if item.startswith("/") else item.partition("=")[::2]
        if not path.startswith("/") or (path != item and not re.fullmatch(LOG_NAME, name)):
            raise ValueError(
                f"{item!r} is neither name=/path nor a folder, or no such name: it begins with a letter, has up to 32 "
                "letters, digits and ._-, does not end as a file of the producer's does (.json, .lock, .log), and is "
                "not rejected, ledger, reserve or athena"
            )
        found.append((name, Path(path)))
    names = [name for name, _ in found if name]
    if len(set(names)) < len(names) or len({path for _, path in found}) < len(found):
        raise ValueError("each name, and each path, stands in it once")
    return found


def parts(value: str) -> list[str]:
    """What stands between the commas."""
    return [part for each in value.split(",") if (part := each.strip())]


def networks(value: str) -> list[Network]:
    """The networks of TRUSTED_PROXIES, none of them twice. Raises ValueError."""
    given: list[Any] = []
    for part in parts(value):
        try:
            given += map(ipaddress.ip_network, NAMED_NETWORKS.get(part, (part,)))
        except ValueError:
            raise ValueError("use addresses, networks such as 203.0.113.0/24, docker or private") from None
    found: list[Network] = []
    for version in SHORTEST_PREFIX:
        found += ipaddress.collapse_addresses(each for each in given if each.version == version)
    for whole in found:
        if whole.prefixlen < SHORTEST_PREFIX[whole.version] and str(whole) not in PRIVATE:
            raise ValueError(f"any client in {whole} could name an address as its own; name your proxies alone")
    return found


# Stands before the hours in the keys of one of several logs, and names a folder beside the checkpoint's. What is below
# athena/, as a rule results of queries, a bucket made by Terraform deletes after 30 days
LOG_NAME = r"(?!(?:rejected|ledger|reserve|athena)$|.*\.(?:json|lock|log)$)[A-Za-z][A-Za-z0-9._-]{0,31}"
LogFiles = Annotated[str, _taken_by(log_files)]
Upstream = Annotated[str, _upstream]
Endpoint = Annotated[str, _localstack]
Proxies = Annotated[str, _taken_by(networks)]
_PARAMETER = r" *(?!(?i:all|true|false|yes|no|on|off)\b)[A-Za-z_][A-Za-z0-9_.-]* *"
_SHOWN = r"!#-)+\--\[\]-~"  # printable, without comma, quote, backslash and `*`
# One `*`: with each more, a long path costs nginx many times as much
_SKIP = rf" *(?:/(?!\*)[{_SHOWN}]*(?:\*[{_SHOWN}]*)?|agent: *[{_SHOWN}][{_SHOWN} ]*(?:\*[{_SHOWN} ]*)?) *"
# nginx's expressions for them have to fit 4 KiB
Dropped = Annotated[
    str,
    matches(
        rf"(?!.{{151}})(1|all|({_PARAMETER}(,{_PARAMETER})*)?)",
        "use all, or names of parameters, such as token,code; in 150 characters",
    ),
]
Skipped = Annotated[
    str,
    matches(
        rf"(?!.{{801}})({_SKIP}(,{_SKIP})*)?",
        "use paths and agent:…, such as /health,agent:kube-probe/, with one * each; in 800 characters",
    ),
]
# The time from which on the function takes no unsigned place, and 32 random bytes
KEY_FORM = r"\d{8}T\d{6}Z-[0-9a-f]{64}"
Address = Annotated[str, matches(r"[0-9A-Za-z.:-]*", "an address is an IPv4 or IPv6 address or a host name")]
Port = Annotated[int, Field(ge=1, le=65535)]
Role = Annotated[str, matches(r"[\w+=,.@-]{1,64}", "a role name has 1 to 64 letters, digits and +=,.@-_")]
File = Annotated[Path, Path.absolute]
if TYPE_CHECKING:
    Way = Delivery
else:
    Way = Annotated[Any, delivery_of]  # from its name
