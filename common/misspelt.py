"""Variables of the environment that mean a setting and miss its name."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations

# One letter in six may be wrong, missing or too many, and no more than two of a name
LETTERS, MOST = 6, 2
# No other program's variables begin like that
PREFIXES = ("KINESIS_DATA_", "LOG_DISK_", "LOG_ROTATE", "POLL_", "REPAIR_", "S3_EXPIRE_")
# Other programs' own: a web server beside this one; and what is numbered, or too long to be near
OTHERS = re.compile(r"HTTPD?S?_PORT|.*\d|.{31,}", re.DOTALL)
# What Kubernetes sets in each pod for a service, and Docker for a link: EMULATOR_PORT=tcp://10.0.0.1:4566
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


def misspelt(environment: Mapping[str, str], settings: Collection[str]) -> list[str]:
    """A sentence for each variable that is none of `settings` (in capitals), and called nearly like one of them."""
    others = [name for name, value in environment.items() if value and not SERVICE_LINK.match(value)]
    index: dict[str, str] = {}
    for left_out in range(MOST + 1):
        for setting in settings:
            if left_out <= _tolerated(setting):
                for spelling in _spellings(setting, left_out):
                    index.setdefault(spelling, setting)
    return [
        f"{name}: there is no such setting; is {meant} meant? Mend it with: -e {meant}=…, or without {name}"
        for name in others
        if name not in settings and not OTHERS.fullmatch(name) and (meant := _near(name, settings, index))
    ]


def _near(name: str, settings: Iterable[str], index: Mapping[str, str]) -> str | None:
    for left_out in range(MOST + 1):
        for spelling in _spellings(name, left_out):
            setting = index.get(spelling)
            if setting and left_out <= _tolerated(setting):
                return setting
    for prefix in PREFIXES:
        if name.startswith(prefix):
            import difflib  # 2 MiB of each process

            family = [each for each in settings if each.startswith(prefix)]
            return difflib.get_close_matches(name, family, n=1, cutoff=0)[0]
    return None


def _letters(name: str) -> str:
    return name.replace("_", "").upper()


def _tolerated(setting: str) -> int:
    return min(MOST, len(_letters(setting)) // LETTERS)


def _spellings(name: str, left_out: int) -> Iterable[str]:
    """The letters of `name` without `left_out` of them. Names that are near each other have one in common."""
    letters = _letters(name)
    return map("".join, combinations(letters, max(0, len(letters) - left_out)))
