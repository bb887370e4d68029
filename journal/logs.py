"""Which logs are shipped: one, or those of LOG_FILES, each with settings of its own, as if it were the only one."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from common.settings import Settings
from common.values import LOG_NAME
from journal.checkpoint import CheckpointError, CheckpointFile
from journal.files import rotated

# In a folder of logs: shop.access.log, shop-access.log, access.log; with more behind it, what rotation has made of one
_LOG = re.compile(r"((.*?)[._-]?access\.log)(?![A-Za-z])", re.DOTALL)


def logs_of(settings: Settings) -> list[Settings]:
    """The settings of each log that there is."""
    found, _ = _look(settings)
    return [settings.of_log(name, path) for name, path in found.items()] if settings.log_files else [settings]


def problems_of(settings: Settings) -> list[str]:
    """For the user: the logs that are not shipped, though they are named, or were begun before."""
    found, problems = _look(settings)
    return problems + _left(settings, found)


def _look(settings: Settings) -> tuple[dict[str, Path], list[str]]:
    found: dict[str, Path] = {}
    problems = []
    # what is named before what a folder would call otherwise
    for name, path in sorted(settings.named_logs, key=lambda one: not one[0]):
        try:
            logs = [(name, path)] if name else [*_in_folder(path)]
        except OSError as error:
            problems.append(f"{path} is no folder of logs that this user can list: {error.strerror}")
            continue
        if not logs:
            problems.append(f"{path} holds no log called NAME.access.log; name each, LOG_FILES=NAME={path}/FILE")
        for each, log in logs:
            if log in found.values():
                continue
            if problem := _conflict(settings, found, each, log):
                problems.append(f"{log} is not shipped: {problem}")
            else:
                found[each] = log
    return found, problems


def _in_folder(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and path of each log, by what is there of it. Raises OSError."""
    names = {match[1]: match[2] or "access" for path in folder.iterdir() if (match := _LOG.match(path.name))}
    for file, name in sorted(names.items()):
        if not any(other != file and rotated(other).fullmatch(file) for other in names):
            yield name, folder / file


def _conflict(settings: Settings, found: Mapping[str, Path], name: str, log: Path) -> str:
    """Why its lines, or those of another log, could go below the wrong name; empty: they cannot."""
    remedy = f"give it one of its own, LOG_FILES=NAME={log}"
    if not re.fullmatch(LOG_NAME, name):
        return f"{name!r} can be no log's name; {remedy}"
    if name in found:
        return f"{found[name]} has the name {name}, too; {remedy}"
    for other in found.values():
        called_alike = rotated(other.name).fullmatch(log.name) or rotated(log.name).fullmatch(other.name)
        if other.parent == log.parent and called_alike:
            return f"it and {other} are called as if rotation had made one of the other; call one of them otherwise"
        if settings.rotated_dirs and other.name == log.name:
            return f"in LOG_ROTATED_DIRS its files could not be told from those of {other}; call one of them otherwise"
    return ""


def _left(settings: Settings, names: Container[str]) -> list[str]:
    """What was not acknowledged of logs that LOG_FILES names no more."""
    found, folders = [], list[Path]()
    with suppress(OSError):  # the checkpoint's own reader says it
        folders = sorted((settings.data_dir / "log").glob("*/checkpoint.json"))
    for path in folders:
        with suppress(CheckpointError, OSError):
            checkpoint = CheckpointFile(path).load()
            if path.parent.name not in names and checkpoint and checkpoint.unread:
                found.append(
                    f"{checkpoint.unread} bytes of the log {path.parent.name} were not acknowledged, and LOG_FILES "
                    f"names it no more: name it again, or delete {path.parent} to leave them"
                )
    return found
