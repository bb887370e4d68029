r"""What is kept of an address and of a query. Pure.

The expressions mean the same to Python and to nginx (PCRE), with case ignored. So the appliance's nginx leaves out
before the disk what the function leaves out of a host's log, and doing it again changes nothing.

A query begins at the first `?`. A parameter is known by its name in any spelling (`Token`, `%74oken`, `token[a]`), as
often as it occurs, and also in an address within a value (`next=/a%3Ftoken%3D…`). Its value ends at the next `&` only:
to some applications a `;` belongs to it.
"""

from __future__ import annotations

import re

ALL = ("1", "all")  # values of DROP_QUERY that name no parameter
CODED = "%(?:25)*+"  # what a byte's code begins with, also where the `%` is a code itself
# Up to the query
PATH = r"[^?%]*+(?:%(?!(?:25)*+3f)[^?%]*+)*+"
MOST_IN_BRACKETS = 50  # a hostile name costs no more than that


def parameter(names: list[str]) -> str:
    """An expression for one of these parameters, from the character before it to the one before its value."""
    spelt = "|".join("".join(map(_spelt, name)) for name in names)
    equals = rf"(?:=|{CODED}3d)"
    brackets = rf"(?:(?:\[|{CODED}5b)(?:[^&;=%]|(?!{CODED}3d)%){{0,{MOST_IN_BRACKETS}}}+)?"
    return rf"(?:[?&;]|{CODED}(?:3f|26|3b))(?:\+|{CODED}20)*+(?:{spelt}){brackets}{equals}"


def _spelt(character: str) -> str:
    codes = {f"{ord(each):02x}" for each in (character.lower(), character.upper())}
    first = "".join(sorted(code[0] for code in codes))
    return rf"(?:{re.escape(character)}|{CODED}[{first}]{min(codes)[1]})"
