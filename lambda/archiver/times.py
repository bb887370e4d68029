"""The times that nginx writes, in UTC. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTH = {name: number for number, name in enumerate(MONTHS, 1)}
# variable -> how nginx writes it; the first one that a format has counts. The first two have a fixed width.
TIMES = {
    "time_local": rb"\d\d/(?:" + b"|".join(MONTHS) + rb")/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}",
    "time_iso8601": rb"\d\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d",
    "msec": rb"\d{1,12}\.\d{3}",
}
_BRACKETED = re.compile(rb"\[(" + TIMES["time_local"] + rb")\]")
# Seconds since 2001: `0.005` is how long a request took. A search is fast that begins with a digit, not with `(?<!\d)`;
# what is only looked ahead at may overlap.
_BARE = re.compile(
    rb"\d(?<!\d\d)(?=%b)"
    % b"|".join(
        b"(?P<%b>%b)(?!\\d)" % (name.encode(), shape.removeprefix(rb"\d"))
        for name, shape in (TIMES | {"msec": rb"\d\d{9}\.\d{3}"}).items()
    )
)
MOST_HOURS = 4  # are looked for in a line; a client may write times, too


def moment_of(variable: str, written: bytes) -> tuple[str, str] | None:
    """The value of one of TIMES as (hour, ISO time) in UTC; None when there is no such time.

    An hour is YYYY/MM/DD/HH, as everywhere.
    """
    if variable == "time_local":
        return in_utc(written)
    if variable == "time_iso8601":
        return in_utc(local(written))
    seconds, _, rest = written.partition(b".")
    try:
        moment = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return _hour(moment), f"{moment:%Y-%m-%dT%H:%M:%S}.{rest.decode()}Z"


def local(iso: bytes) -> bytes:
    """`2020-04-17T16:00:00+09:00` as nginx's $time_local has it; a month that there is not becomes no month."""
    month = MONTHS[(int(iso[5:7]) - 1) % 12] if 1 <= int(iso[5:7]) <= 12 else b"---"
    return b"%b/%b/%b:%b %b%b" % (iso[8:10], month, iso[:4], iso[11:19], iso[19:22], iso[23:])


@lru_cache(maxsize=1024)  # the lines of one second share their time
def in_utc(written: bytes) -> tuple[str, str] | None:
    """`17/Apr/2020:16:00:00 +0900` as (hour, ISO time) in UTC; None when there is no such time."""
    minutes = int(written[22:24]) * 60 + int(written[24:26])
    try:
        moment = datetime(
            int(written[7:11]),
            _MONTH[written[3:6]],
            int(written[:2]),
            int(written[12:14]),
            int(written[15:17]),
            int(written[18:20]),
            tzinfo=timezone(timedelta(minutes=minutes if written[21:22] == b"+" else -minutes)),
        ).astimezone(UTC)
    except (ValueError, OverflowError, KeyError):
        return None
    return _hour(moment), f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def readable_hour(line: bytes) -> str | None:
    """The UTC hour of the first valid `[time]` in the line, if there is any."""
    for match in _BRACKETED.finditer(line) if b"[" in line else ():  # the expression alone takes ten times as long
        moment = in_utc(match[1])
        if moment:
            return moment[0]
    return None


def hours_in(line: bytes) -> tuple[str, ...]:
    """The UTC hours of the valid times of any kind in the line, each once, MOST_HOURS at most."""
    hours: dict[str, None] = {}
    for match in _BARE.finditer(line):
        variable = match.lastgroup or ""
        if len(hours) < MOST_HOURS and (moment := moment_of(variable, line[match.start() : match.end(variable)])):
            hours[moment[0]] = None
    return tuple(hours)


def hour_of(seconds: float) -> str:
    """The UTC hour of a Unix time as YYYY/MM/DD/HH."""
    return _hour(datetime.fromtimestamp(seconds, UTC))


def _hour(moment: datetime) -> str:
    return f"{moment.year:04}/{moment:%m/%d/%H}"
