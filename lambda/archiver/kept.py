r"""What is kept of the entries of a host's log: the client behind a proxy, and less than the line has. Pure.

It acts on the JSON of one entry, or of many, so a block and its lines are kept alike. Quotes and backslashes of a value
are escaped there, so no client can write a key. Lines that are rejected keep their bytes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

from archiver.event import count_lines
from archiver.fields import TABLE, TEXT, FormatError, names
from archiver.filing import Filed, Item
from archiver.format import Format, compiled
from archiver.privacy import ALL, BYTE, FOUR, GROUPS, NOT_SKIPPED, PATH, PORT, SIX, any_of, parameter, skipped

FORWARDED = "forwardedFor"
ADDRESSES_CACHED = 4096
ESCAPE = r"\u0001"  # no byte shows as more characters in JSON

Step = tuple[re.Pattern[bytes], Callable[[re.Match[bytes]], bytes]]

# no possessive group that could go back within itself: Python before 3.11.5 matches it wrongly (CPython's gh-106052)
_VALUE = r'[^"\\]*+(?:\\.[^"\\]*+)*'
_HOST = re.compile(rb'\{"host":"([^"]*+)"')
_SHORT = re.compile(rf" *+(?:({FOUR}){BYTE}{PORT}|\[?({SIX}){GROUPS}\]?{PORT}|(\[?::).*) *+".encode(), re.I | re.DOTALL)
_HOP = re.compile(rf"\[([0-9a-f:.]++)\]{PORT}|([0-9.]++){PORT}|([0-9a-f:.]++)".encode(), re.I)
_PATH = re.compile(PATH.encode(), re.I)
_NEWLINE = re.compile(b"\n")


def format_of(given: Mapping[str, str]) -> Format:
    """The format of ACCESS_LOG_FORMAT and FIELDS, with what TRUSTED_PROXIES (addresses and networks), ANONYMIZE_IP
    (anything: yes), DROP_QUERY and LOG_SKIP ask for. Raises FormatError."""
    wanted = names(given.get("FIELDS", ""))
    format_ = compiled(given.get("ACCESS_LOG_FORMAT") or "combined", wanted)
    proxies, dropped, skip = (names(given.get(name, "")) for name in ("TRUSTED_PROXIES", "DROP_QUERY", "LOG_SKIP"))
    anonymous = bool(given.get("ANONYMIZE_IP"))
    if not (proxies or dropped or skip or anonymous):
        return format_
    steps: list[Step] = []
    if proxies:
        there = {part.variable for part in (*format_.parts, *format_.tail)} | {*(format_.keys or {}).values()}
        variables = next(field.variables for field in TABLE if field.name == FORWARDED)
        if not there.intersection(variables) and (format_.line or format_.keys):
            raise FormatError(f"TRUSTED_PROXIES needs ${variables[0]}, which the format lacks; main has it")
        steps.append(_real_client(proxies, FORWARDED in wanted))
        format_ = compiled(given.get("ACCESS_LOG_FORMAT") or "combined", (*wanted, FORWARDED))
    own = [field.name for field in format_.fields if field.kind == TEXT and field not in TABLE]
    if anonymous:
        steps += [(_HOST, lambda match: b'{"host":"%b"' % _shortened(match[1], b"-")), _addresses([FORWARDED, *own])]
    if dropped:
        for name in own:
            if re.fullmatch("args|query_string|arg_.*", name):
                raise FormatError(f"the field {name} is of the query, which DROP_QUERY leaves out")
        steps.append(_queries(["path", "referer", *own], dropped))
    return replace(format_, kept=Kept(steps, _skipping(given["LOG_SKIP"]) if skip else None))


class Kept:
    """What is made of the entries of a format."""

    def __init__(self, steps: list[Step], skipped_lines: re.Pattern[bytes] | None) -> None:
        self._steps, self._skipped = steps, skipped_lines

    def filed(self, filed: Iterator[Filed]) -> Iterator[Filed]:
        """The same, with what is kept of each. A skipped line counts as archived: an item without text is its place."""
        for target, item in filed:
            if target.rejected:
                yield target, item
                continue
            for each in self._without_skipped(item):
                if each.text:
                    yield target, each._replace(text=self._changed(each.text))
                elif each.owner:
                    yield target, each

    def _changed(self, text: bytes) -> bytes:
        for expression, kept in self._steps:
            text = expression.sub(kept, text)
        return text

    def _without_skipped(self, item: Item) -> Iterator[Item]:
        spans = [match.span() for match in self._skipped.finditer(item.text)] if self._skipped else []
        if not spans:
            yield item
            return
        # where the lines are in the log
        ends = [0, *(found.end() for found in _NEWLINE.finditer(item.raw))] if item.raw else [0, item.end - item.start]
        at = line = 0
        for start, end in [*spans, (len(item.text),) * 2]:
            before = line + count_lines(item.text[at:start])
            after = before + count_lines(item.text[start:end])
            first, last = item.start + ends[line], item.start + ends[before]
            if first < last:
                raw = item.raw[ends[line] : ends[before]]
                text = item.text[at:start]
                yield item._replace(start=first, end=last, text=text, raw=raw, lines=before - line)
            if start < end:
                yield item._replace(start=last, end=item.start + ends[after], text=b"", raw=b"", lines=0)
            at, line = end, after


@lru_cache(ADDRESSES_CACHED)
def _address(hop: bytes) -> tuple[bytes, ipaddress.IPv4Address | ipaddress.IPv6Address] | None:
    """An address that may have a port: how it is written without, and what it is. None: it is none."""
    found = _HOP.fullmatch(hop)
    if found is None:
        return None
    text = found[found.lastindex or 0].lower()
    try:
        address = ipaddress.ip_address(text.decode())
    except ValueError:
        return None
    return text, getattr(address, "ipv4_mapped", None) or address


def _real_client(proxies: tuple[str, ...], shown: bool) -> Step:
    """As nginx does with real_ip_recursive: the last address that is no trusted proxy's. `shown`: the list stays."""
    networks = [ipaddress.ip_network(each, strict=False) for each in proxies]

    @lru_cache(ADDRESSES_CACHED)
    def trusted(hop: bytes) -> bool:
        found = _address(hop)
        return found is not None and any(found[1] in network for network in networks)

    def client(match: re.Match[bytes]) -> bytes:
        host, between, key, hops = match.groups()
        for hop in reversed((hops or b"").replace(b",", b" ").split()):
            found = _address(hop) if trusted(host) else None
            if found is None:
                break
            host = found[0]
        if not shown:
            return b'{"host":"%b"%b' % (host, between)
        return b'{"host":"%b"%b%b%b' % (host, between, key, b"null" if hops is None else b'"%b"' % hops)

    line = rf'\{{"host":"([^"]*+)"([^\n]*?)(,"{FORWARDED}":)(?:null|"({_VALUE})")'
    return re.compile(line.encode()), client


@lru_cache(ADDRESSES_CACHED)
def _shortened(address: bytes, otherwise: bytes) -> bytes:
    """`otherwise`: for what is no address. `unix:` is none of a client's."""
    match = _SHORT.fullmatch(address)
    if match is None:
        return address if address == b"unix:" else otherwise
    return match[1] + b"0" if match[1] else (match[2] or b"") + b"::"


def _addresses(fields: list[str]) -> Step:
    """For lists of addresses. What is none in forwardedFor becomes `unknown`; another field may hold anything."""

    def kept(match: re.Match[bytes]) -> bytes:
        hops = match[2].split(b",")
        if match[1] == b',"%b":"' % FORWARDED.encode() or all(_address(hop.strip()) for hop in hops):
            return match[1] + b", ".join(_shortened(hop, b"unknown") for hop in hops)
        return match[0]

    return re.compile(rf'(,"(?:{"|".join(fields)})":")({_VALUE})'.encode()), kept


def _queries(fields: list[str], dropped: tuple[str, ...]) -> Step:
    parameters = re.compile(rf"({parameter(dropped, len(ESCAPE))})[^&]*+".encode(), re.I)
    named = {*dropped}.isdisjoint(ALL)

    def kept(match: re.Match[bytes]) -> bytes:
        before = _PATH.match(match[2])
        end = before.end() if before else 0
        return match[1] + match[2][:end] + (parameters.sub(rb"\1", match[2][end:]) if named else b"")

    return re.compile(rf'(,"(?:{"|".join(fields)})":")(?=[^"\\?%]*+[^"])({_VALUE})'.encode()), kept


def _skipping(setting: str) -> re.Pattern[bytes]:
    """For lines that follow one another, and all are to be skipped: GET and HEAD, never a status of 400 or above."""
    paths, agents = (any_of(each, r'(?:[^"\\]|\\.)*') if each else "(?!)" for each in skipped(setting))
    answered = r'","httpVersion":"HTTP/\d\.\d","status":[1-3]\d\d,"userAgent":"'
    line = r'\{"host":"[^"]*+","time":"[^"]*+","method":"(?:GET|HEAD)","path":"' + NOT_SKIPPED
    line += rf"(?:{paths}{answered}|{_VALUE}{answered}{agents})[^\n]*+\n"
    return re.compile(rf"{line}(?:{line})*".encode())  # it begins with a literal, which is searched for quickly
