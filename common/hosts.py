"""Which Host headers name this machine: a defence against DNS rebinding."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit


def known_host(host: str, name: str) -> bool:
    """Whether a Host header names this machine in a way that no other site's page can. `name`: what it listens as."""
    with suppress(ValueError):
        given = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
        if given.endswith(".localhost") or (given and given in ("localhost", name.lower())):
            return True
        ipaddress.ip_address(given)
        return True
    return False
