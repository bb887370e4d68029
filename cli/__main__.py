"""`appliance COMMAND`, in the container or as `script/appliance COMMAND` outside of it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from cli.screen import OK, UNUSABLE, CommandError, say

INTERRUPTED = 130  # as a shell says of what SIGINT ended

EPILOG = """\
`appliance COMMAND --help` explains each; docs/cli.md has them all. Settings are the appliance's own environment
variables. --json, where there is one, prints JSON for scripts.

Examples:
  appliance status --watch              how everything is, again and again
  appliance ship-now && appliance tail -n 3 --no-follow
  appliance tail --status 4xx,5xx       the requests that went wrong, as they are archived
  appliance audit                       is every byte of the log in the bucket?

Exit codes of every command:
  0  done, and no problem was found
  1  a problem was found, or it could not be done; the message says what mends it
  2  wrong arguments or settings (audit: it cannot be told)
  130  ended by Ctrl-C, which for tail and --watch is the usual way and gives 0
"""

STATUS = """\
Examples:
  appliance status
  appliance status --watch 5
  appliance status --json | jq .behind

Exit codes: 0 no part is degraded or failing, 1 a part is degraded or failing (or nothing runs), 2 wrong settings.
"""

SHIP = """\
The poll that would come at the next full minute (POLL_INTERVAL) comes now; the schedule stays as it is.
Lines are then acknowledged by the stream; they are archived a moment later.

Examples:
  appliance ship-now
  appliance ship-now --json --timeout 300

Exit codes: 0 all that was in the log is acknowledged, 1 not all, or no answer, 2 wrong settings.
"""

TAIL = """\
Shows the last lines of the hourly objects (of the last 24 hours; with DELIVERY=firehose of this hour and the last),
then those that are added, to whichever hour. Ctrl-C ends it.

Examples:
  appliance tail                            the last 10 lines, and what comes
  appliance tail -n 100 --no-follow         the last 100, and end
  appliance tail --since 2h --status 5xx    server errors since two hours ago
  appliance tail --path /login --json       the JSON lines themselves, for jq
  appliance tail --rejected                 what could not be parsed, and why

Exit codes: 0 ended by Ctrl-C or shown, 1 the endpoint does not answer at the start, 2 wrong arguments or settings.
"""


def parser() -> argparse.ArgumentParser:
    def command(name: str, short: str, epilog: str | None = None) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=short,
            description=f"{short[0].upper()}{short[1:]}.",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=name not in DELEGATED,
        )

    made = argparse.ArgumentParser(
        prog="appliance",
        description="Look at the running appliance, and follow what it archives.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", metavar="COMMAND", required=True)
    status = command("status", "every part's state, what is behind, what was shipped", STATUS)
    status.add_argument("--json", action="store_true", help="one JSON object; with --watch one a line")
    status.add_argument(
        "--watch", type=positive, nargs="?", const=2.0, metavar="SECONDS", help="again and again, every 2 s by default"
    )
    ship = command("ship-now", "have the producer poll at once, and say what it shipped", SHIP)
    ship.add_argument("--json", action="store_true", help="one JSON object")
    ship.add_argument(
        "--timeout", type=positive, default=60.0, metavar="SECONDS", help="how long to wait (default: %(default)g)"
    )
    tail = command("tail", "follow the archived lines as they come", TAIL)
    start = tail.add_mutually_exclusive_group()
    start.add_argument(
        "-n", "--lines", type=count, default=10, metavar="N", help="how many old lines to show (default: %(default)s)"
    )
    start.add_argument("--since", metavar="WHEN", help="show old lines since: 90s, 10m, 2h, 1d, 2026-11-23T16:05 (UTC)")
    tail.add_argument("--no-follow", dest="follow", action="store_false", help="end after the old lines")
    tail.add_argument("--status", metavar="WHICH", help="only these, such as 404, 4xx, or 4xx,500")
    tail.add_argument("--path", metavar="TEXT", help="only paths with this in them")
    tail.add_argument("--host", metavar="TEXT", help="only client addresses with this in them")
    tail.add_argument("--rejected", action="store_true", help="the lines that could not be parsed")
    tail.add_argument("--json", action="store_true", help="the lines as they are in the object")
    tail.add_argument(
        "--interval", type=positive, default=1.0, metavar="SECONDS", help="between two looks (default: %(default)g)"
    )
    command("verify", "send requests and follow them from nginx to S3, a check mark a step")
    command("audit", "is every byte of the log in the bucket?")
    command("logs", "the function's own log")
    command("health", "what HEALTHCHECK asks, part by part")
    return made


def positive(text: str) -> float:
    """A number of seconds above 0, at most a day."""
    value = float(text)
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 86400 seconds")
    return value


def count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0")
    return value


# Each imports what it needs only when it is called: `--help` is there at once


def _verify(arguments: list[str]) -> int:
    from cli.verify import main

    return main(arguments)


def _audit(arguments: list[str]) -> int:
    from cli.audit import main

    return main(arguments)


def _logs(arguments: list[str]) -> int:
    from cli.logs import main

    return main(arguments)


def _health(arguments: list[str]) -> int:
    from appliance.health import main

    return main(arguments)


# commands with options and a --help of their own
DELEGATED: dict[str, Callable[[list[str]], int]] = {
    "verify": _verify,
    "audit": _audit,
    "logs": _logs,
    "health": _health,
}


def run(arguments: list[str]) -> int:
    if arguments and arguments[0] in DELEGATED:
        return DELEGATED[arguments[0]](arguments[1:])
    options = parser().parse_args(arguments)
    from common.settings import SettingsError, load_settings

    try:
        settings = load_settings()
        if options.command == "status":
            from cli import status

            return status.main(settings, options)
        if options.command == "ship-now":
            from cli import ship

            return ship.main(settings, options)
        from cli import tail

        return tail.main(settings, options)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    except CommandError as error:
        say(str(error))
        return error.status


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        try:
            return run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            print(end="", flush=True)  # here, and not when Python ends, so that a failure of it is handled below
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has seen enough; what Python still wants to flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


if __name__ == "__main__":
    sys.exit(main())
