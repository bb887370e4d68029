"""`appliance formats`: which format a log is in, and which setting reads it."""

from __future__ import annotations

import argparse
import json

from cli.screen import OK, PROBLEM, UNUSABLE, CommandError, printable
from common.formats import format_of
from common.settings import Settings
from journal.formats import look_at


def main(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status: 0 the present setting reads most lines, 1 it does not, 2 the file cannot be read."""
    name = printable(str(options.file))
    try:
        look = look_at(options.file, format_of(settings.access_log_format, settings.fields))
    except OSError as error:
        raise CommandError(f"{name}: {error.strerror or error}", UNUSABLE) from None
    if options.json:
        counts = {"lines": len(look.lines), "rejected": len(look.rejected), "by_format": look.by_format}
        found = {"path": str(options.file), **counts, "null": look.null, "first": look.first, "format": look.fitting}
        print(json.dumps(found | {"remedy": look.remedy if look.wrong else None}))
    else:
        print(f"{name}:", *look.told(), sep="\n  ")
    return PROBLEM if look.wrong else OK
