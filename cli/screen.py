"""What the user sees: tables and colours in a terminal, plain columns anywhere else, and one way of saying an error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from common.clock import Clock

OK = 0
PROBLEM = 1
UNUSABLE = 2

# Seconds between two lines that say how far a long command is
SAY_EVERY = 5.0
COLORS = {"ok": "green", "degraded": "yellow", "failing": "bold red"}


class CommandError(Exception):
    """The command cannot do what it was asked for; the message says what to do. `status`: the exit status."""

    def __init__(self, message: str, status: int = PROBLEM) -> None:
        super().__init__(message)
        self.status = status


def console(stream: TextIO) -> Console | None:
    """rich's console when `stream` is a terminal (rich itself heeds NO_COLOR), else None."""
    if not stream.isatty():
        return None
    from rich.console import Console

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def printable(text: str) -> str:
    """`text` on one line and without control characters: what a client sends must not command the terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def columns(rows: Sequence[Sequence[str]], words: int = sys.maxsize) -> list[str]:
    """Rows as aligned lines of plain text: the first `words` columns to the left, numbers after them to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at < words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def table(rows: Sequence[Sequence[str]]) -> Table:
    """The same for a terminal; the first row is the heading, the second column's words have their colour."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in rows[0]:
        made.add_column(title, overflow="fold")
    for name, state, *rest in rows[1:]:
        made.add_row(Text(name), Text(state, COLORS.get(state, "")), *map(Text, rest))
    return made


def note(message: str) -> None:
    """To the user, beside the output; where that cannot be written, the work goes on without."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        to_nowhere(sys.stderr)


def say(message: str) -> None:
    note(f"appliance: {message}")


def to_nowhere(stream: TextIO) -> None:
    """Whatever is still to be written there; else Python would fail at it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def nowhere() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


def progress(clock: Clock, *, at_once: bool = False) -> Callable[[str], None]:
    """What says beside the output how far the command is: every SAY_EVERY seconds at most, `at_once` or after these."""
    said = clock.monotonic() - (SAY_EVERY if at_once else 0)

    def tell(message: str) -> None:
        nonlocal said
        if clock.monotonic() - said >= SAY_EVERY:
            said = clock.monotonic()
            note(message)

    return tell
