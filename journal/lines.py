"""Where lines begin in an open log, read backwards in small steps."""

from __future__ import annotations

import os

STEP = 64 * 1024  # bytes read at once: a line is far shorter, almost always


def line_start(descriptor: int, position: int) -> int:
    """Where the line begins that reaches up to `position`: behind the last newline before it, or 0. Raises OSError."""
    while position > 0:
        step = min(STEP, position)
        newline = os.pread(descriptor, step, position - step).rfind(b"\n")
        if newline >= 0:
            return position - step + newline + 1
        position -= step
    return 0
