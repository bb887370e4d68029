"""The arguments of every command; docs/cli.md is made of it.

It imports nothing of the commands, so that `--help` is there at once.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NoReturn, TypeVar

from cli import manual
from cli.screen import UNUSABLE, note

N = TypeVar("N", int, float)

MOST_LINES = 1_000_000
MOST_SECONDS = 86_400.0
MOST_MINUTES = 5_256_000.0  # ten years


class _Help(argparse.RawDescriptionHelpFormatter):
    """The same words with each version of Python."""

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class _Parser(argparse.ArgumentParser):
    """Ends with 2 when the arguments are wrong, also where that cannot be said: Python 3.11.2 fails at it."""

    def error(self, message: str) -> NoReturn:
        note(f"{self.format_usage()}{self.prog}: error: {message}")
        sys.exit(UNUSABLE)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Ends the process with 2, and the usage of the command that was meant, when they are wrong."""
    options, unknown = parser().parse_known_args(arguments)
    if unknown:
        options.wrong(f"unknown here: {' '.join(unknown)}")
    return options


def parser() -> argparse.ArgumentParser:
    made = _Parser(
        prog="appliance",
        description="Look at the running appliance, and follow what it archives.",
        epilog=manual.EPILOG,
        formatter_class=_Help,
    )
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, short: str, epilog: str, json: str) -> argparse.ArgumentParser:
        described = f"{short[0].upper()}{short[1:]}."
        one = commands.add_parser(name, help=short, description=described, epilog=epilog, formatter_class=_Help)
        one.set_defaults(wrong=one.error)
        one.add_argument("--json", action="store_true", help=f"print JSON: {json}")
        return one

    status = command(
        "status",
        "show every part's state, and what is behind",
        manual.STATUS,
        "one object; with --watch one a line",
    )
    status.add_argument(
        "--watch", type=seconds, nargs="?", const=2.0, metavar="SECONDS", help="again and again, every 2 s by default"
    )

    ship = command("ship-now", "have the producer poll at once", manual.SHIP, "one object")
    ship.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="how long to wait (default: %(default)g)"
    )

    tail = command("tail", "follow the archived lines as they come", manual.TAIL, "the lines as they are in the object")
    start = tail.add_mutually_exclusive_group()
    start.add_argument(
        "-n", "--lines", type=count, default=10, metavar="N", help="how many old lines to show (default: %(default)s)"
    )
    start.add_argument("--since", metavar="WHEN", help="show old lines since: 90s, 10m, 2h, 1d, 2026-11-23T16:05 (UTC)")
    of_log(tail)
    tail.add_argument("--no-follow", dest="follow", action="store_false", help="end after the old lines")
    tail.add_argument("--status", metavar="WHICH", help="only these, such as 404, 4xx, or 4xx,500")
    tail.add_argument("--path", metavar="TEXT", help="only paths that contain this")
    tail.add_argument("--host", metavar="TEXT", help="only client addresses that contain this")
    tail.add_argument("--rejected", action="store_true", help="the lines that could not be parsed, and why")
    tail.add_argument(
        "--interval", type=seconds, default=1.0, metavar="SECONDS", help="between two looks (default: %(default)g)"
    )

    command("verify", "send requests and follow them to S3, step by step", manual.VERIFY, "one object a step")

    audit = command("audit", "say what of the log is archived, and what is missing", manual.AUDIT, "one object")
    audit.add_argument("--repair", action="store_true", help="send what is missing again now, then audit")
    audit.add_argument("--deep", action="store_true", help="also compare the archived lines with the logs'")
    audit.add_argument(
        "--grace",
        type=grace,
        metavar="SECONDS",
        help="take as missing after this time; limit and default: REPAIR_AFTER",
    )

    old = command("import", "archive old logs, each line once", manual.IMPORT, "one object")
    of_log(old)
    old.add_argument("files", type=Path, nargs="+", metavar="FILE", help="as the command itself can read it")

    formats = command("formats", "say which setting reads a log", manual.FORMATS, "one object")
    formats.add_argument("file", type=Path, metavar="FILE", help="as the command itself can read it")

    ledger = command("repair-ledger", "make the ledger of an hourly object again", manual.REPAIR_LEDGER, "one object")
    ledger.add_argument("key", metavar="KEY", help="the object's key, as the error says it")

    again = command("reprocess", "make entries of rejected lines that can be read now", manual.REPROCESS, "one object")
    again.add_argument("hours", type=hours, nargs="?", metavar="HOURS", help="UTC (default: all)")

    command("policy", "print the IAM policy that the producer needs", manual.POLICY, "the same on one line")

    logs = command("logs", "print the function's own log, oldest line first", manual.LOGS, "one object an entry")
    logs.add_argument("of", type=function, metavar="lambda", help="the function's log")
    logs.add_argument(
        "--minutes", type=minutes, default=60.0, help="how far back, up to ten years (default: %(default)g)"
    )

    health = command("health", "check each part, as HEALTHCHECK does", manual.HEALTH, "one list")
    health.add_argument("--ready", action="store_true", help="exit 0 only when every part is ok")
    return made


def of_log(command: argparse.ArgumentParser) -> None:
    command.add_argument("--log", metavar="NAME", default="", help="which of LOG_FILES")


def _number(kind: Callable[[str], N], most: float, allowed: str, *, zero: bool = True) -> Callable[[str], N]:
    """What reads a number from 0, or above it, to `most`."""

    def read(text: str) -> N:
        with suppress(ValueError):
            value = kind(text)
            if 0 <= value <= most and (value or zero):
                return value
        raise argparse.ArgumentTypeError(f"{text}: use {allowed}")

    return read


count = _number(int, MOST_LINES, f"a whole number from 0 to {MOST_LINES}")
grace = _number(float, MOST_SECONDS, "a number of seconds from 0 to REPAIR_AFTER")
seconds = _number(float, MOST_SECONDS, f"a number of seconds above 0 and up to {MOST_SECONDS:g}", zero=False)
up_to_ten_years = f"a number of minutes above 0 and up to {MOST_MINUTES:.0f}, which is ten years"
minutes = _number(float, MOST_MINUTES, up_to_ten_years, zero=False)


def hours(text: str) -> str:
    if are_hours(text):
        return text
    raise argparse.ArgumentTypeError(f"{text}: use a year, month, day or hour in UTC, such as 2026/11/30/09")


def are_hours(text: str) -> bool:
    """Whether it is YYYY, or YYYY/MM and so on up to the hour, of the calendar."""
    with suppress(ValueError):
        if re.fullmatch(r"\d{4}(/\d\d){0,3}", text, re.ASCII):
            return bool(datetime.strptime(text + "0001/01/01/00"[len(text) :], "%Y/%m/%d/%H"))
    return False


def function(text: str) -> str:
    if text == "lambda":
        return text
    raise argparse.ArgumentTypeError(
        f"{text}: use lambda, the function's log; the other programs' lines are in the appliance's own log, which "
        "`docker logs <id>` or the terminal of script/up shows"
    )
