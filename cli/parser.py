"""The arguments of every command, and what `--help` says of them; docs/cli.md is made of it.

It imports nothing of the commands, so that `--help` is there at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

N = TypeVar("N", int, float)

EPILOG = """\
Settings are the appliance's own environment variables. Colours and tables are for terminals, and NO_COLOR=1 turns the
colours off; --json is for scripts.

Examples:
  appliance ship-now && appliance tail -n 3 --no-follow
  appliance audit    is every byte of the log in the bucket?

Exit codes of every command:
  0    no problem was found
  1    a problem was found, or the command failed; the message says what mends it
  2    wrong arguments or settings; audit: it cannot tell
  130  ended by Ctrl-C; tail and status --watch end with 0
"""

STATUS = """\
The row `log` compares access.log with what was acknowledged at the last poll. The row `archive` compares that with the
ledgers in the bucket, every REPAIR_INTERVAL seconds. A row `format` is there while most of the newest lines are
rejected. Being behind is no problem. With LOG_FILES each log has such rows; in --json it has `behind`, `format` and
`archive` below `logs` and its name.

Examples:
  appliance status --watch 5
  appliance status --json | jq .behind

Exit codes: 0 no part is degraded or failing, 1 a part is, or nothing runs, 2 wrong settings.
"""

SHIP = """\
The producer polls now instead of at the next full minute (POLL_INTERVAL); its schedule stays. The command returns when
the lines are acknowledged. They are in the bucket a moment later, with DELIVERY=s3 at once.

Examples:
  appliance ship-now
  appliance ship-now --json --timeout 300    for a long backlog

Exit codes: 0 all that was in the log is acknowledged, 1 not all, or no answer, 2 wrong settings.
"""

TAIL = """\
Reads the bucket only, so a line appears once it is archived. Shows the last lines of the last 24 hours (with
DELIVERY=firehose: of this hour and the last), then follows the objects of the same hours, and waits for an endpoint
that goes away. An object that was rewritten is shown from its beginning. A terminal gets control characters as escapes;
--json in a pipe or file has the bytes of the object.

Examples:
  appliance tail -n 100 --no-follow         the last 100 lines
  appliance tail --since 2h --status 5xx    server errors since two hours ago
  appliance tail --path /login --json | jq .userAgent

Exit codes: 0 ended by Ctrl-C or shown, 1 the endpoint does not answer at the start, 2 wrong arguments or settings.
"""

VERIFY = """\
It takes up to one POLL_INTERVAL, and with DELIVERY=firehose also the time for which Firehose buffers. The first step
that fails is the last. --json prints `step`, `ok`, `detail` and `seconds`; `detail` says what was seen, or what is
wrong and what mends it.

Examples:
  appliance verify --json | jq -r 'select(.ok | not) | .step'

Exit codes: 0 every step passed, 1 one failed, 2 wrong settings.
"""

AUDIT = """\
The columns, in bytes:
  written       complete lines on disk
  acknowledged  confirmed by the stream, or with DELIVERY=s3 by the bucket (log/checkpoint.json)
  archived      in an hourly object, by the ledgers in the bucket; or seen in one before, and not in the bucket now
  missing       acknowledged more than REPAIR_AFTER seconds ago, and in no ledger
  pending       the rest: not acknowledged yet, or only lately

The producer sends missing lines again every REPAIR_INTERVAL seconds, as long as the log is on disk; --repair asks for
that at once. A rotated log that "may be deleted" is needed for nothing; the appliance deletes those it has rotated.

--deep reads the hourly objects, and finds lines that are archived otherwise than the log on disk has them: forged under
its ranges, edited, or taken out of an object. It says nothing of logs that are gone; and lines that an earlier version
filed in another form count as found otherwise.

With LOG_FILES each log is audited; --json has its object below `logs` and its name, or `error`: why it cannot tell.

Exit codes: 0 nothing is missing, 1 something is, or is archived otherwise, 2 cannot tell. With DELIVERY=firehose it is
always 2: there are no ledgers, so only what is acknowledged can be known.
"""

IMPORT = """\
Plain files and what gzip, bzip2 or xz has packed, in the format that ACCESS_LOG_FORMAT names. The command returns when
the lines are acknowledged. A file is known by its content: the same again, renamed or packed, adds nothing, so after
an interruption, or a loss, import the same files again. A file that has grown is gone on with, as long as
log/imported.json is there. One that begins like an imported one and goes on otherwise is refused. What the producer
sends, or has sent, is skipped. --json counts bytes as they are unpacked.

Examples:
  appliance import old/access.log.*
  appliance import --json access-2019.log.xz | jq .lines

Exit codes: 0 all is acknowledged or was skipped, 1 not all, 2 a file cannot be imported, or wrong settings: nothing is
sent. With DELIVERY=firehose it is always 2: without ledgers, a second import would double every line.
"""

FORMATS = """\
Reads the newest 1,000 lines of FILE, and tries each named format and the present ACCESS_LOG_FORMAT. FILE may be packed
by gzip, bzip2 or xz. --json has how many lines the setting rejects, and each format (`by_format`).

Examples:
  appliance formats /var/log/nginx/access.log

Exit codes: 0 ACCESS_LOG_FORMAT reads most of the lines, 1 it does not, 2 FILE cannot be read, or wrong settings.
"""

REPAIR_LEDGER = """\
Nothing is appended to an object whose ledger cannot be read, as that could double lines. This makes the ledger
again: it covers the lines of the logs on disk that are in the object, as often as they are there, and what was seen
archived of logs that are gone (log/archived.json). No line of the object changes.

Exit codes: 0 it has a ledger again, 1 it has a readable one, or it cannot be done, 2 wrong settings.
"""

LOGS = """\
--json prints `time` (UTC), `stream` (an instance of the function) and `message` (a text, or the object that the
function has logged; docs/events.md).

Examples:
  appliance logs lambda --json --minutes 10 | jq -c '.message | objects | select(.event == "failed")'

Exit codes: 0 printed, 1 there is none or the endpoint does not answer, 2 wrong arguments or settings.
"""

POLICY = """\
For the role or user of a producer on AWS. Bucket, prefix and stream are those of the settings. With DELIVERY=kinesis,
what it allows on the bucket is for repair; with DELIVERY=s3 it is all there is. With a key of your own, allow
kms:GenerateDataKey on it too, and for the bucket's key kms:Decrypt.

Examples:
  appliance policy > policy.json
  DELIVERY=s3 S3_BUCKET=example-web-log script/appliance policy

Exit codes: 0 printed, 2 wrong settings.
"""

HEALTH = """\
Exit codes: 0 no part is failing (with --ready: every part is ok), 1 otherwise, 2 wrong settings.
"""

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


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Ends the process with 2, and the usage of the command that was meant, when they are wrong."""
    options, unknown = parser().parse_known_args(arguments)
    if unknown:
        options.wrong(f"unknown here: {' '.join(unknown)}")
    return options


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="appliance",
        description="Look at the running appliance, and follow what it archives.",
        epilog=EPILOG,
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
        "show every part's state, what is behind, what was shipped",
        STATUS,
        "one object; with --watch one a line",
    )
    status.add_argument(
        "--watch", type=seconds, nargs="?", const=2.0, metavar="SECONDS", help="again and again, every 2 s by default"
    )

    ship = command("ship-now", "have the producer poll at once, and say what it shipped", SHIP, "one object")
    ship.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="SECONDS", help="how long to wait (default: %(default)g)"
    )

    tail = command("tail", "follow the archived lines as they come", TAIL, "the lines as they are in the object")
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

    command(
        "verify", "send requests and follow them from nginx to S3, a check mark a step", VERIFY, "one object a step"
    )

    audit = command(
        "audit", "say which bytes of the log are written, acknowledged, archived, missing", AUDIT, "one object"
    )
    audit.add_argument("--repair", action="store_true", help="send what is missing again now, then audit")
    audit.add_argument(
        "--deep", action="store_true", help="also compare the archived lines with those of the logs, one by one"
    )
    audit.add_argument(
        "--grace",
        type=grace,
        metavar="SECONDS",
        help="count as missing what was acknowledged this long ago; at most, and by default, REPAIR_AFTER",
    )

    old = command("import", "archive old logs once, however often they are given", IMPORT, "one object")
    of_log(old)
    old.add_argument("files", type=Path, nargs="+", metavar="FILE", help="as the command itself can read it")

    formats = command("formats", "say which format a log is in, and which setting reads it", FORMATS, "one object")
    formats.add_argument("file", type=Path, metavar="FILE", help="as the command itself can read it")

    ledger = command(
        "repair-ledger", "give an hourly object whose ledger is gone a new one", REPAIR_LEDGER, "one object"
    )
    ledger.add_argument("key", metavar="KEY", help="the object's key, as the error says it")

    command("policy", "print the IAM policy that the producer needs with this DELIVERY", POLICY, "the same on one line")

    logs = command("logs", "print the function's own log, oldest line first", LOGS, "one object an entry")
    logs.add_argument(
        "of", type=function, metavar="lambda", help="the other programs' lines are in the container's own log"
    )
    logs.add_argument(
        "--minutes", type=minutes, default=60.0, help="how far back, up to ten years (default: %(default)g)"
    )

    health = command("health", "check each part, as HEALTHCHECK does", HEALTH, "one list")
    health.add_argument("--ready", action="store_true", help="exit 0 only when every part is ok")
    return made


def of_log(command: argparse.ArgumentParser) -> None:
    command.add_argument("--log", metavar="NAME", default="", help="which of LOG_FILES")


def _within(text: str, kind: Callable[[str], N], most: float, allowed: str) -> N:
    with suppress(ValueError):
        value = kind(text)
        if 0 <= value <= most:
            return value
    raise argparse.ArgumentTypeError(f"{text}: use {allowed}")


def count(text: str) -> int:
    return _within(text, int, MOST_LINES, f"a whole number from 0 to {MOST_LINES}")


def grace(text: str) -> float:
    return _within(text, float, MOST_SECONDS, "a number of seconds from 0 to REPAIR_AFTER")


def seconds(text: str) -> float:
    return _above_0(text, MOST_SECONDS, f"a number of seconds above 0 and up to {MOST_SECONDS:g}")


def minutes(text: str) -> float:
    return _above_0(text, MOST_MINUTES, f"a number of minutes above 0 and up to {MOST_MINUTES:.0f}, which is ten years")


def _above_0(text: str, most: float, allowed: str) -> float:
    return _within(text, lambda text: float(text) or -1.0, most, allowed)


def function(text: str) -> str:
    if text == "lambda":
        return text
    raise argparse.ArgumentTypeError(
        f"{text}: use lambda, the function's log; the other programs' lines are in the appliance's own log, which "
        "`docker logs <id>` or the terminal of script/up shows"
    )
