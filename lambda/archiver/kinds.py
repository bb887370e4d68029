"""What nginx's variables may hold. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from archiver.times import TIMES

# What the address is taken from: the first that a format has
ADDRESSES = ("remote_addr", "realip_remote_addr", "the_real_ip", "proxy_protocol_addr")
# What an address, a host name or `unix:` may hold
ADDRESS = rb"[0-9A-Za-z.:%_-]++"

PRINTABLE = frozenset(range(32, 127))
_WORD = PRINTABLE - set(b' "')
# What nginx alone decides on, and what it holds: a value with other characters makes no line of the format
_INTEGERS = "body_bytes_sent bytes_sent request_length connection connection_requests pid"
_LISTS = "addr status response_time connect_time header_time response_length bytes_sent bytes_received"
_OWN = (
    "hostname http2 http3 pipe proxy_alternative_upstream_name proxy_upstream_name request_id request_method "
    "scheme server_name ssl_cipher ssl_protocol ssl_session_reused upstream_cache_status"
)
_SENT = re.compile(
    r"(?:arg|cookie|http|sent_http|sent_trailer|ssl|trailer|upstream_http|upstream_cookie|upstream_trailer)_.*|args"
    r"|(?:document_|request_)?uri|query_string|remote_user|request|request_body|is_args"
)


class Kind(NamedTuple):
    """What a variable may hold. `shape`: a line's expression for it, None where its surroundings decide on it."""

    name: str
    holds: frozenset[int]
    shape: bytes | None = None


class Part(NamedTuple):
    """A variable, what stands before it, and what is known of its value. `quoted`: between raw quotes."""

    before: bytes
    variable: str
    kind: Kind
    quoted: bool = False


ANY, WORD, UNKNOWN = Kind("any", frozenset()), Kind("word", _WORD), Kind("unknown", _WORD)
INTEGER = Kind("integer", frozenset(b"0123456789-"), rb"(?:\d++|-)")
DECIMAL = Kind("decimal", frozenset(b"0123456789.-"), rb"(?:\d++(?:\.\d++)?|-)")
# A Unix socket's is empty; so is the host of a server without a name, when a client names none
PORT = Kind("port", INTEGER.holds, rb"(?:\d++|-|)")
# It has colons in brackets: those of an IPv6 address, or whatever a client has behind a `[` that nothing closes
HOST = Kind("host", _WORD - set(b"/"), rb'(?:\[[0-9A-Fa-f:.]++\]|[^\s":]*+)')
NUMBERS = (INTEGER, DECIMAL, PORT)
_ITEM = rb'[^\s",:][^\s",]*+'
# Behind the last ` : ` nothing stands where no server was found for a second try
LIST = Kind("list", _WORD - set(b","), rb"%b(?:(?:, | : )%b)*(?: : )?" % (_ITEM, _ITEM))
_JOINT = re.compile(b", | : ")
_ADDRESS = Kind("address", frozenset(byte for byte in _WORD if re.match(ADDRESS, bytes([byte]))), ADDRESS)
# A client may send spaces behind it, and it is empty behind `-`; a target before it must not take it in
PROTOCOL = Kind("protocol", _WORD, rb"(?:HTTP/\d++\.\d++ *|-|(?<![ \d] ))")
EMPTY_AT_TIMES = ("host", "http2", "http3", "remote_port", "server_name", "server_port")
_STATUS = Kind("status", frozenset(), rb"\d{3}")
_KINDS: dict[str, Kind] = {
    **dict.fromkeys((*ADDRESSES, "server_addr"), _ADDRESS),
    **dict.fromkeys(_INTEGERS.split(), INTEGER),
    **dict.fromkeys(("remote_port", "server_port"), PORT),
    **dict.fromkeys(("request_time", "connection_time", "gzip_ratio"), DECIMAL),
    **{f"upstream_{name}": LIST for name in _LISTS.split()},
    **dict.fromkeys(_OWN.split(), WORD),
    **{name: Kind("time", frozenset(), shape) for name, shape in TIMES.items()},
    "msec": Kind("time", frozenset(b"0123456789."), TIMES["msec"]),
    "host": HOST,
    "server_protocol": PROTOCOL,
    "status": _STATUS,
}


def kind_of(variable: str, after: bytes) -> Kind:
    """UNKNOWN for a variable that is set by the configuration. `after`: what stands behind it."""
    kind = _KINDS.get(variable) or (ANY if _SENT.fullmatch(variable) else UNKNOWN)
    if kind is _ADDRESS and kind.holds.intersection(after[:1]):  # it has colons of its own, so up to the last one
        return kind._replace(shape=ADDRESS.removesuffix(b"+"))
    return kind


def lists_of(parts: Sequence[Part]) -> tuple[str, ...]:
    """The lists of upstreams, if one stands before what the configuration may have from a client: with `: x` a client
    could go on with it."""
    for part, after in pairwise(parts):
        if part.kind is LIST and after.before == b" " and kind_of(after.variable, b"") is UNKNOWN:
            return tuple(part.variable for part in parts if part.kind is LIST)
    return ()


def alike(lists: Sequence[bytes]) -> bool:
    """Whether all are of the same upstreams. Where there is one only, ` : ` in it may be a client's."""
    joints = {(*_JOINT.findall(each),) for each in lists}
    return len(joints) == 1 and (len(lists) > 1 or b" : " not in joints.pop())
