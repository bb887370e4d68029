"""`appliance import`: files old logs once, whatever they are called and however often they are given."""

from __future__ import annotations

import argparse
import json
import random
import signal
from contextlib import closing
from typing import Any

from cli.screen import OK, PROBLEM, UNUSABLE, CommandError, printable, progress, say
from cli.which import log_called
from common.clock import SystemClock
from common.settings import Settings, require_data_dir
from journal.checkpoint import CheckpointError
from journal.files import NotAFileError
from producer.imported import ImportingError
from producer.importing import Imported, prepare, send
from producer.sink import make_sink


def main(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status: 0 all is acknowledged, 1 not all, 2 a file cannot be read: nothing was sent."""
    if not settings.delivery.has_ledger:
        raise CommandError(
            f"{settings.delivery.title} keeps no ledger, so a second import would double every line: nothing is sent",
            UNUSABLE,
        )
    require_data_dir(settings)
    settings = log_called(settings, options.log)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    clock = SystemClock()
    tell = progress(clock, at_once=True)
    try:
        result = prepare(
            settings,
            options.files,
            lambda path: tell(f"reading {printable(str(path))}"),
            lambda: say("another import reads its files: this one waits until it has"),
        )
        with closing(make_sink(settings, clock, random.SystemRandom())) as sink:
            send(result, sink, sink.cut, clock, lambda now: tell(_progress(now)), settings.log_name)
    except (ImportingError, CheckpointError, NotAFileError) as error:
        raise CommandError(printable(str(error)), UNUSABLE) from None
    except OSError as error:
        raise CommandError(f"{printable(str(error))}; import the same files again to go on") from None
    except KeyboardInterrupt:
        say("interrupted; import the same files again to go on: nothing is doubled")
        raise
    _show(result, as_json=options.json)
    return PROBLEM if result.error or result.bytes < result.total else OK


def _progress(result: Imported) -> str:
    return f"{result.bytes:,} of {result.total:,} bytes are acknowledged, {result.lines:,} lines"


def _show(result: Imported, *, as_json: bool) -> None:
    if as_json:
        files: list[dict[str, Any]] = [
            {"path": str(old.found.path), "generation": old.generation and old.generation.id}
            | {"bytes": old.found.size, "acknowledged": old.sent, "skipped": old.skipped or None}
            for old in result.files
        ]
        counts = {name: getattr(result, name) for name in ("lines", "records", "bytes", "total", "error")}
        print(json.dumps({"files": files} | counts))
        return
    for old in result.files:
        name = printable(str(old.found.path))
        if old.skipped:
            print(f"{name}: skipped, {printable(old.skipped)}")
        elif old.left and not result.error:
            say(
                f"{name}: {old.left:,} bytes are left. Its last line has no newline, and the file may still be written "
                "to, or it has changed: import it again when it is complete"
            )
    print(f"{_progress(result)}; what was in S3 before is not added again")
    if result.error:
        say(f"{result.error}; import the same files again to go on")
