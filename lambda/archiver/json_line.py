r"""A line that is a JSON object, as nginx writes it with `escape=json`. Pure.

Of a variable without a value nginx then writes nothing, and of several upstreams a list. Where the log_format has no
quotes around such a variable, the line is no JSON: `{"took":,"length":0, 512}`. What was meant is plain all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_NUMBER = rb"(?:[\d.]+|-)"
_NUMBERS = rb"%b(?:(?:, | : )%b)*(?: : )?" % (_NUMBER, _NUMBER)
# A string, so that nothing within it is looked at, or what stands bare behind a key: no number, one, or several. Also a
# string without an end, and behind a key only, which ends with a quote: so nothing is looked at again and again.
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"?'
_BARE = re.compile(rb'%b|(?:(?<=":)|(?<=" :)) ?((?:%b)?) ?(?=[,}])' % (_STRING, _NUMBERS))


def members(line: bytes, keys: Mapping[str, str] | None) -> dict[str, bytes] | None:
    """The texts and numbers of a JSON object, by variable; None for anything else, and where a key comes twice.

    `keys`: the variable of each key; None where a key is called like its variable.
    """
    if not line.startswith(b"{"):
        return None
    try:
        try:
            pairs = _pairs(line)
        except json.JSONDecodeError:
            pairs = _pairs(_BARE.sub(lambda match: match[0] if match[1] is None else b'"%b"' % match[1], line))
        found = {
            key if keys is None else keys.get(key, ""): value.encode("utf-8", "surrogateescape")
            for key, value in pairs
            if isinstance(value, str)
        }
    except (ValueError, TypeError, RecursionError):  # lone surrogates are a ValueError, too
        return None
    return found if len({key for key, _ in pairs}) == len(pairs) else None


def _pairs(line: bytes) -> list[tuple[str, object]]:
    """Raises ValueError."""
    text = line.decode("utf-8", "surrogateescape")
    found: list[tuple[str, object]] = json.loads(text, object_pairs_hook=list, parse_float=str, parse_int=str)
    return found
