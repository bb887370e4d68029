"""`appliance tail`: the archived lines, the last ones and then those that come."""

from __future__ import annotations

import argparse
import json
import re
import select
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cli.follow import Follower
from cli.screen import OK, CommandError, console, printable, say
from cli.which import log_called
from common.clock import Clock, SystemClock
from common.errors import AWS_ERRORS, explain
from common.formats import SEVEN
from common.settings import Settings
from journal.ledgers import connect

if TYPE_CHECKING:
    from rich.console import Console

# While the endpoint is away it is asked this often (seconds)
ASK_AGAIN = 5.0
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
STATUS_COLORS = {"2": "green", "3": "cyan", "4": "yellow", "5": "bold red"}


def since(text: str, now: datetime) -> datetime:
    """`10m`, `2h`, `1d`, or a time such as 2026-11-23T16:05 (UTC, unless it says otherwise). Raises CommandError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    try:
        if match:
            return now - timedelta(**{UNITS[match[2]]: float(match[1])})
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise CommandError(f"--since {text}: use 90s, 10m, 2h, 1d, or a time such as 2026-11-23T16:05", 2) from None


def statuses(text: str) -> re.Pattern[str]:
    """`404`, `4xx`, `4xx,500` as a pattern for a status. Raises CommandError."""
    parts = text.lower().split(",")
    if not all(re.fullmatch(r"[1-9]\d\d|[1-5]xx", part) for part in parts):
        raise CommandError(f"--status {text}: use 404, 1xx to 5xx, or several with commas between them, 4xx,500", 2)
    return re.compile("|".join(part.replace("x", r"\d") for part in parts))


@dataclass(frozen=True)
class Filter:
    """Which lines are shown. `moment`: those of requests at that time or later."""

    status: re.Pattern[str] | None = None
    path: str = ""
    host: str = ""
    moment: datetime | None = None

    def __call__(self, line: bytes) -> bool:
        entry = parsed(line)
        return (
            (self.moment is None or not self._is_before(entry.get("time"), self.moment.replace(microsecond=0)))
            and (self.status is None or bool(self.status.fullmatch(str(entry.get("status", "")))))
            and self.path in str(entry.get("path", ""))
            and self.host in str(entry.get("host", ""))
        )

    @staticmethod
    def _is_before(time: Any, moment: datetime) -> bool:
        try:
            return datetime.fromisoformat(time) < moment
        except (ValueError, TypeError):
            return False  # it has no time that could be compared


def parsed(line: bytes) -> dict[str, Any]:
    """The entry of a line; empty when it is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def cells(line: bytes) -> list[tuple[str, str]]:
    """The columns of an entry, or a rejected line's reason and bytes: pieces of text, each with its style."""
    entry = {name: "" if value is None else printable(str(value)) for name, value in parsed(line).items()}
    if "path" in entry and "status" in entry:
        time, status = entry.get("time", "").replace(".000Z", "Z"), entry["status"]
        method, host, path, agent = (entry.get(name) or "-" for name in ("method", "host", "path", "userAgent"))
        return [
            (f"{time:20}  ", "dim"),
            (f"{status:3}  ", STATUS_COLORS.get(status[:1], "")),
            (f"{method:4}  ", ""),
            (f"{host:15}  ", "blue"),
            (path, "bold"),
            (f"  {agent}", "dim"),
            *((f"  {printable(name)}={value}", "cyan") for name, value in entry.items() if name not in SEVEN and value),
        ]
    if "raw" in entry:
        return [(f"{entry.get('reason', '')}  {entry['raw']}", "")]
    return [(printable(line.decode("utf-8", "backslashreplace")), "")]


def plain(line: bytes) -> str:
    return "".join(text for text, _ in cells(line))


def colored(terminal: Console, line: bytes) -> None:
    """An entry on one line of a terminal, cut to its width."""
    from rich.text import Text

    terminal.print(Text.assemble(*cells(line)), no_wrap=True, overflow="ellipsis")


def ascii_json(line: bytes) -> bytes:
    """An entry for a terminal, as JSON that is nothing but printable ASCII; what is no JSON as printable text."""
    try:
        text = json.dumps(json.loads(line), separators=(",", ":")).replace("\x7f", "\\u007f")
    except ValueError:
        text = printable(line.decode("utf-8", "backslashreplace"))
    return text.encode()


def writer(as_json: bool) -> Callable[[Iterable[bytes]], None]:
    """What prints lines as the user wants them; a pipe gets JSON as the bytes of the object."""
    terminal = None if as_json else console(sys.stdout)
    encode = ascii_json if sys.stdout.isatty() else bytes

    def write(lines: Iterable[bytes]) -> None:
        for line in lines:
            if terminal:
                colored(terminal, line)
            else:
                sys.stdout.buffer.write((encode(line) if as_json else plain(line).encode()) + b"\n")
        sys.stdout.flush()

    return write


def wait(seconds: float) -> bool:
    """Wait, or less when standard output is closed at its other end: then True, as `tail -f` ends too."""
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)  # errors and hang-ups are reported unasked
    return bool(poller.poll(seconds * 1000))


def follow(
    settings: Settings,
    follower: Follower,
    write: Callable[[Iterable[bytes]], None],
    wanted: Filter,
    interval: float,
    clock: Clock,
    pause: Callable[[float], bool],
) -> None:
    """What comes, until `pause` says that it is enough. An endpoint that goes away is waited for."""
    trouble = False
    while not pause(ASK_AGAIN if trouble else interval):
        try:
            write(filter(wanted, follower.fresh(clock.now())))
        except AWS_ERRORS as error:
            if not trouble:
                say(f"{explained(settings, error)}. Waiting for it …")
            trouble = True
        else:
            if trouble:
                say("it answers again")
            trouble = False


def explained(settings: Settings, error: Exception) -> str:
    return str(explain(error, f"the bucket {settings.s3_bucket}", settings.target, setting="S3_BUCKET"))


def main(settings: Settings, options: argparse.Namespace) -> int:
    clock, settings = SystemClock(), log_called(settings, options.log)
    moment = None if options.since is None else since(options.since, clock.now())
    status = None if options.status is None else statuses(options.status)
    wanted = Filter(status, options.path or "", options.host or "", moment)
    write = writer(options.json)
    with closing(connect(settings)) as s3:
        where = s3, settings.s3_bucket, settings.s3_prefix
        follower = Follower(*where, delivery=settings.delivery, rejected=options.rejected, notice=say)
        try:
            if moment:
                write(filter(wanted, follower.since(moment, clock.now())))
            else:
                write(follower.newest(clock.now(), options.lines, wanted))
            if options.follow:
                follow(settings, follower, write, wanted, options.interval, clock, wait)
        except AWS_ERRORS as error:
            raise CommandError(explained(settings, error)) from None
        except KeyboardInterrupt:
            pass  # the way to end it
    return OK
