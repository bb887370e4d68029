"""`appliance COMMAND`, in the container or as `script/appliance COMMAND` outside of it."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from cli.parser import parsed
from cli.screen import OK, PROBLEM, UNUSABLE, CommandError, note, nowhere, say, to_nowhere

INTERRUPTED = 130  # as a shell says of what SIGINT ended


def run(options: argparse.Namespace) -> int:
    # each command's imports take time, so only the one that is run is imported
    match options.command:
        case "status":
            from cli.status import main as command
        case "ship-now":
            from cli.ship import main as command
        case "tail":
            from cli.tail import main as command
        case "verify":
            from cli.verify import main as command
        case "audit":
            from cli.audit import main as command
        case "import":
            from cli.importing import main as command
        case "formats":
            from cli.formats import main as command
        case "repair-ledger":
            from cli.repair_ledger import main as command
        case "reprocess":
            from cli.reprocess import main as command
        case "policy":
            from cli.policy import main as command
        case "logs":
            from cli.logs import main as command
        case _:
            from appliance.health import main as command
    from common.errors import unreadable
    from common.settings import SettingsError, load_settings
    from common.status import StatusError

    try:
        return command(load_settings(getattr(options, "file", None)), options)
    except SettingsError as error:
        note(str(error))
        return UNUSABLE
    except StatusError as error:
        say(str(error))
        return PROBLEM
    except PermissionError as error:  # DATA_DIR is another user's
        say(unreadable(error))
        return PROBLEM
    except CommandError as error:
        say(str(error))
        return error.status


def main(arguments: Sequence[str] | None = None) -> int:
    # a stream that is closed at the start is None to Python, and what is for it would go to the other one
    sys.stdout, sys.stderr = sys.stdout or nowhere(), sys.stderr or nowhere()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file may have any name, and a locale few letters
    try:
        try:
            return run(parsed(arguments))
        finally:
            print(end="", flush=True)  # here, and not when Python ends, so that a failure of it is handled below
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        to_nowhere(sys.stdout)
        return OK
    except OSError as error:
        to_nowhere(sys.stdout)
        say(f"{error}" if error.filename else f"the output cannot be written: {error.strerror}")
        return PROBLEM


if __name__ == "__main__":
    sys.exit(main())
