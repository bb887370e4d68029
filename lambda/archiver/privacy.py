r"""What is kept of an address and of a query, and which requests have no line. Pure.

The expressions mean the same to Python and to nginx (PCRE), with case ignored. So the appliance's nginx leaves out
before the disk (appliance/lines.py) what the function leaves out of a host's log (kept.py).

A query begins at the first `?`. A parameter is known by its name in any spelling (`Token`, `%74oken`, `token[a]`), as
often as it occurs, and also in an address within a value (`next=/a%3Ftoken%3D…`). Its value ends at the next `&` only:
to some applications a `;` belongs to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from archiver.fields import names

ALL = ("1", "all")  # values of DROP_QUERY that name no parameter
CODED = "%(?:25)*+"  # what a byte's code begins with, also where the `%` is a code itself
# Up to the query
PATH = r"[^?%]*+(?:%(?!(?:25)*+3f)[^?%]*+)*"
MOST_IN_BRACKETS = 50  # a hostile name costs no more than that
# An address: what is kept of it, then the rest
FOUR, BYTE = r"(?:::ffff:)?(?:[0-9]{1,3}\.){3}", "[0-9]{1,3}"
SIX, GROUPS = "[0-9a-f]{1,4}(?::[0-9a-f]{1,4}){0,2}", ":[0-9a-f:.]*+"
PORT = "(?::[0-9]++)?"
# Requests that LOG_SKIP never takes: `verify` waits for the lines of its own
NOT_SKIPPED = "(?!/verify-)"


def parameter(called: Iterable[str], a_byte: int = 1) -> str:
    """An expression for one of these parameters, from the character before it to the one before its value.

    `a_byte`: as how many characters a byte of the query may show.
    """
    spelt = "|".join("".join(map(_spelt, name)) for name in called)
    equals = rf"(?:=|{CODED}3d)"
    brackets = rf"(?:(?:\[|{CODED}5b)(?:[^&;=%]|(?!{CODED}3d)%){{0,{MOST_IN_BRACKETS * a_byte}}})?"
    return rf"(?:[?&;]|{CODED}(?:3f|26|3b))(?:\+|{CODED}20)*(?:{spelt}){brackets}{equals}"


def skipped(setting: str) -> tuple[list[str], list[str]]:
    """The paths and the beginnings of user agents in LOG_SKIP."""
    each = names(setting)
    agents = [one.removeprefix("agent:").strip() for one in each if one.startswith("agent:")]
    return [one for one in each if one.startswith("/")], agents


def any_of(texts: Iterable[str], anything: str) -> str:
    """An expression for one of these texts, in which `*` stands for `anything`."""
    spelt = ("".join(anything if each == "*" else f"\\x{ord(each):02x}" for each in text) for text in texts)
    return f"(?:{'|'.join(spelt)})"


def _spelt(character: str) -> str:
    codes = {f"{ord(each):02x}" for each in (character.lower(), character.upper())}
    first = "".join(sorted(code[0] for code in codes))
    return rf"(?:{re.escape(character)}|{CODED}[{first}]{min(codes)[1]})"
