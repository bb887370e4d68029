"""`appliance tail`: the archived lines, the last ones and then those that come."""

from __future__ import annotations

import argparse
import json
import re
import select
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cli.follow import Follower
from cli.screen import OK, CommandError, console, printable, say
from common.clock import Clock, SystemClock
from common.errors import AWS_ERRORS, explain
from common.settings import Settings
from journal.ledgers import connect

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
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
    if not all(re.fullmatch(r"[1-9](?:\d\d|xx)", part) for part in parts):
        raise CommandError(f"--status {text}: use 404, 4xx, or several with commas between them, 4xx,500", 2)
    return re.compile("|".join(part.replace("x", r"\d") for part in parts))


@dataclass(frozen=True)
class Filter:
    """Which lines are shown. `moment`: those of requests at that time or later."""

    status: re.Pattern[str] | None = None
    path: str | None = None
    host: str | None = None
    moment: datetime | None = None

    def __call__(self, line: bytes) -> bool:
        entry = parsed(line)
        if self.moment and isinstance(entry.get("time"), str):
            try:
                if datetime.fromisoformat(entry["time"]) < self.moment.replace(microsecond=0):
                    return False
            except (ValueError, TypeError):
                pass  # it has no time that could be compared
        if self.status and not self.status.fullmatch(str(entry.get("status", ""))):
            return False
        if self.path is not None and self.path not in str(entry.get("path", "")):
            return False
        return self.host is None or self.host in str(entry.get("host", ""))


def parsed(line: bytes) -> dict[str, Any]:
    """The entry of a line; empty when it is none."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def cells(line: bytes) -> list[str]:
    """time, status, method, host, path and agent of an entry; of a rejected line the reason and the bytes."""
    entry = {name: "" if value is None else printable(str(value)) for name, value in parsed(line).items()}
    if "path" in entry and "status" in entry:
        time = entry.get("time", "").replace(".000Z", "Z")
        names = ("method", "host", "path", "userAgent")
        return [time, entry["status"], *(entry.get(name, "") or "-" for name in names)]
    if "raw" in entry:
        return [entry.get("reason", ""), entry["raw"]]
    return [printable(line.decode("utf-8", "backslashreplace"))]


def plain(line: bytes) -> str:
    """An entry as columns of text."""
    shown = cells(line)
    if len(shown) < 6:
        return "  ".join(shown)
    time, status, method, host, path, agent = shown
    return f"{time:20}  {status:3}  {method:4}  {host:15}  {path}  {agent}"


def colored(terminal: Console, line: bytes) -> None:
    """An entry on one line of a terminal, cut to its width."""
    from rich.text import Text

    shown = cells(line)
    text = Text(plain(line))
    if len(shown) == 6:
        status = shown[1]
        text = Text().append(f"{shown[0]:20}  ", "dim")
        text.append(f"{status:3}  ", STATUS_COLORS.get(status[:1], "")).append(f"{shown[2]:4}  ")
        text.append(f"{shown[3]:15}  ", "blue").append(shown[4], "bold").append(f"  {shown[5]}", "dim")
    terminal.print(text, no_wrap=True, overflow="ellipsis")


def ascii_json(line: bytes) -> bytes:
    """An entry for a terminal, as JSON that is nothing but printable ASCII; what is no JSON as printable text."""
    try:
        text = json.dumps(json.loads(line), separators=(",", ":")).replace("\x7f", "\\u007f")
    except ValueError:
        text = printable(line.decode("utf-8", "backslashreplace"))
    return text.encode()


def writer(as_json: bool) -> Callable[[Iterable[bytes]], None]:
    """What prints lines as the user wants them."""
    terminal = None if as_json else console(sys.stdout)
    # a pipe gets the bytes of the object
    encode = ascii_json if sys.stdout.isatty() else bytes

    def write(lines: Iterable[bytes]) -> None:
        for line in lines:
            if as_json:
                sys.stdout.buffer.write(encode(line) + b"\n")
            elif terminal:
                colored(terminal, line)
            else:
                sys.stdout.buffer.write(plain(line).encode() + b"\n")
        sys.stdout.flush()

    return write


def wait(seconds: float) -> bool:
    """Wait, or less if nobody reads standard output any more: then True, as `tail -f` ends too."""
    poller = select.poll()
    poller.register(sys.stdout.fileno(), 0)  # errors and hang-ups are reported unasked
    return bool(poller.poll(seconds * 1000))


def show(
    follower: Follower,
    write: Callable[[Iterable[bytes]], None],
    options: argparse.Namespace,
    wanted: Filter,
    clock: Clock,
) -> None:
    """What is there already. Raises AWS_ERRORS."""
    if wanted.moment:
        write(filter(wanted, follower.since(wanted.moment, clock.now())))
    else:
        write(follower.newest(clock.now(), options.lines, wanted))


def follow(
    follower: Follower,
    write: Callable[[Iterable[bytes]], None],
    interval: float,
    wanted: Filter,
    clock: Clock,
    *,
    pause: Callable[[float], bool],
    settings: Settings,
) -> None:
    """What comes, until `pause` says that it is enough. An endpoint that goes away is waited for."""
    trouble = ""
    while not pause(ASK_AGAIN if trouble else interval):
        try:
            write(filter(wanted, follower.fresh(clock.now())))
        except AWS_ERRORS as error:
            problem = explained(settings, error)
            if not trouble:
                say(f"{problem}. Waiting for it …")
            trouble = problem
        else:
            if trouble:
                say("it answers again")
            trouble = ""


def explained(settings: Settings, error: Exception) -> str:
    return str(explain(error, f"the bucket {settings.s3_bucket}", settings.target, setting="S3_BUCKET"))


def main(settings: Settings, options: argparse.Namespace) -> int:
    clock = SystemClock()
    wanted = Filter(
        statuses(options.status) if options.status else None,
        options.path,
        options.host,
        since(options.since, clock.now()) if options.since else None,
    )
    s3: S3Client = connect(settings)
    follower = Follower(
        s3,
        settings.s3_bucket,
        settings.s3_prefix,
        delivery=settings.delivery,
        rejected=options.rejected,
        notice=say,
    )
    write = writer(options.json)

    try:
        show(follower, write, options, wanted, clock)
        if options.follow:
            follow(follower, write, options.interval, wanted, clock, pause=wait, settings=settings)
    except AWS_ERRORS as error:
        raise CommandError(explained(settings, error)) from None
    except KeyboardInterrupt:
        return OK  # the way to end it
    finally:
        s3.close()
    return OK
