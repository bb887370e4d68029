"""Where the log's files are: in its folder and those that rotation moves them to, or nowhere but open."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from journal.checkpoint import Generation
from journal.files import OPEN_FILES, Found, Key, NotAFileError, files_of, strays


class SourceError(Exception):
    """The log cannot be read at all; the message says what to do."""


class Whereabouts:
    """`folders`: where rotated logs lie, besides the log's own folder. What is kept open here is found although it was
    moved to another folder, or deleted. `others`: logs that are shipped below other names; they are none of this one's,
    whatever they hold."""

    def __init__(self, log: Path, folders: Sequence[Path]) -> None:
        self.log = log
        self.others: Collection[Path] = ()
        self._folders = folders
        self._kept: dict[Key, int] = {}
        self._known: Collection[Generation] = ()

    def __del__(self) -> None:
        self.keep([])

    def find(self, generations: Collection[Generation]) -> dict[Key, Found]:
        """The rotated files, least recently written first, then the log itself. Raises SourceError."""
        self._known = generations
        found = self._list()
        if any(file.key not in found for generation in generations for file in generation.files):
            # a listing that runs during a rename may miss a file
            found = self._list() | found
        return dict(sorted(found.items(), key=lambda item: (item[1].live, item[1].modified, item[1].path.name)))

    def of(self, key: Key) -> Found | None:
        """The file as it is called now."""
        return self._list().get(key)

    def strays(self) -> list[Found]:
        return [seen for seen in strays(self.log, self._known, self._folders) if seen.path not in self.others]

    def kept(self) -> dict[Key, Found]:
        """What is kept open, wherever it is. Another file with its content comes first: it may be the log, restored."""
        found = {}
        for key, descriptor in self._kept.items():
            status = os.fstat(descriptor)
            path = OPEN_FILES / str(descriptor)
            found[key] = Found(path, *key, status.st_size, status.st_mtime, live=False)
        return found

    def name(self, seen: Found) -> str | None:
        """The file's path, below the log's folder if it is; None when it has none any more."""
        if seen.nameless:
            return None
        return str(seen.path.relative_to(self.log.parent) if seen.path.is_relative_to(self.log.parent) else seen.path)

    def keep(self, files: Iterable[Found]) -> None:
        """Keep these open until the next call, and no others."""
        kept: dict[Key, int] = {}
        for seen in files:
            try:
                kept[seen.key] = self._kept.pop(seen.key) if seen.key in self._kept else seen.open()
            except OSError:  # gone since it was found
                continue
        for descriptor in self._kept.values():
            os.close(descriptor)
        self._kept = kept

    def _list(self) -> dict[Key, Found]:
        try:
            files = files_of(self.log, self._known, self._folders)
            found = {seen.key: seen for seen in files if seen.path not in self.others}
        except NotAFileError as error:
            raise SourceError(str(error)) from error
        except PermissionError as error:
            raise SourceError(f"{error.filename} cannot be read: allow this user to list it") from error
        return found
