"""Which requests nginx writes a line of, and what it leaves out of it: maps before the log format.

An expression that costs nginx too much counts as none that fits. Then the default holds, which shows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import common.formats  # noqa: F401 - it says where the code is
from common.settings import Settings
from common.values import parts

# isort: split
from archiver.privacy import (
    ALL,
    BYTE,
    CODED,
    FOUR,
    GROUPS,
    NOT_SKIPPED,
    PATH,
    PORT,
    SIX,
    any_of,
    parameter,
    skipped,
)

HOPS = 8  # addresses of an X-Forwarded-For that are logged; of a longer one, none
TIMES = 8  # how often the parameters of DROP_QUERY may occur; a query that has more of them is dropped whole
ADDRESS, ADDRESS_LIST = "remote_addr", "http_x_forwarded_for"
ANYTHING = r"[^\n]*"
QUERIES = {"request": "", "http_referer": "-"}  # what is logged if there is none
Rules = Iterable[tuple[str, str]]  # pattern and value of a map


def log_format(text: str, settings: Settings) -> str:
    """nginx's configuration `text` with `$kept_…` for the variables that are seen to, after the maps that make them."""
    maps: dict[str, str] = {}
    if settings.anonymize_ip:
        maps = {ADDRESS: _map(ADDRESS, "-", [("unix:", "unix:"), *_address(ADDRESS)]), ADDRESS_LIST: _address_list()}
    if settings.drop_query:
        maps |= {name: _map(name, other, _query(name, settings.drop_query)) for name, other in QUERIES.items()}
    used = {name: lines for name, lines in maps.items() if re.search(rf"\${name}\b", text)}
    text = re.sub(r"\$(\w+)", lambda match: f"$kept_{match[1]}" if match[1] in used else match[0], text)
    return "".join(used.values()) + text


def skip(settings: Settings) -> str:
    r"""The rules of a map from `$logged $status $request\n$http_user_agent`, for what has no line."""
    paths, agents = skipped(settings.log_skip)
    if not settings.upstream:
        paths.append("/healthz")  # the probes of a load balancer in front
    rules = [rf"{any_of(paths, ANYTHING)} HTTP/\d\.\d\n"] if paths else []
    rules += [rf"[^\n]*+\n{any_of(agents, ANYTHING)}"] if agents else []
    return _lines((rf"~^1 [1-3]\d\d (?:GET|HEAD) {NOT_SKIPPED}{rule}", "0") for rule in rules)


def _map(name: str, otherwise: str, rules: Rules) -> str:
    return f"map ${name} $kept_{name} {{\n{_lines([('default', otherwise), *rules])}}}\n"


def _lines(rules: Rules) -> str:
    return "".join(f'    "{key}" "{value}";\n' for key, value in rules)


def _address(name: str, before: str = "") -> Rules:
    """For an address, perhaps in brackets or with a port: all but its last octet, or the first 48 bits."""
    four, six = f"{name}_four", f"{name}_six"
    yield rf"~*^ *+(?<{four}>{FOUR}){BYTE}{PORT} *+\z", f"{before}${{{four}}}0"
    yield rf"~*^ *+\[?(?<{six}>{SIX}){GROUPS}\]?{PORT} *+\z", f"{before}${six}::"
    yield r"~^ *+\[?::", f"{before}::"


def _address_list() -> str:
    names = [f"hop_{number}" for number in range(1, HOPS + 1)]
    split = ""
    for name in reversed(names):
        split = f"(?:,(?<{name}>[^,]*+){split})?"
    split = split.replace("(?:,", "(?:", 1)
    maps = []
    for name in names:
        before = "" if name == names[0] else ", "
        maps.append(_map(name, f"{before}unknown", [("", ""), *_address(name, before)]))
    whole = "".join(f"$kept_{name}" for name in names)
    return "".join(maps) + _map(ADDRESS_LIST, "-", [("", "-"), (rf"~^{split}\z", whole)])


def _query(name: str, dropped: str) -> Rules:
    """For a request line or a link: the same without its query, or without the values of these parameters."""
    version = r" HTTP/\d++\.\d++\z"
    own = name[0]  # short, as nginx takes 4 KiB at most
    yield "", QUERIES[name]
    if name == "request":
        yield r"~^[\x00-\x1f\x7f-\xff]", "$request"  # no request line, but TLS, say
    if dropped not in ALL:
        # p: a parameter up to its value. u: what has none. v: a value
        define = f"(?<{own}_p>{parameter(parts(dropped))})(?<{own}_u>(?:[^?&;%]++|(?!(?&{own}_p))[?&;%])*+)"
        define += f"(?<{own}_v>(?:[^& ]++|(?!{version}) )*+)"
        define = f"(?<{own}_c>{CODED})" + define.replace(CODED, f"(?&{own}_c)")
        kept = [f"{own}_{number}" for number in range(TIMES)]
        named = ""
        for each in reversed(kept):
            named = f"(?:(?<{each}>(?&{own}_u)(?&{own}_p))(?&{own}_v){named})?"
        whole = f"(?<{own}_path>{PATH}){named}(?<{own}_rest>(?&{own}_u))"
        found = "".join(f"${each}" for each in (f"{own}_path", *kept, f"{own}_rest"))
        yield rf"~*(?s)(?(DEFINE){define})^{whole}\z", found
    yield rf"~*(?s)^(?<{own}_before>{PATH}).*?(?<{own}_behind>{version})?\z", f"${own}_before${own}_behind"
