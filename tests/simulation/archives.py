"""Old logs, and copies of those of the producer, that `appliance import` is given: again, under other names, packed or
not, longer than before, or cut short."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from tests.simulation.web import CLEAR, KNOWN, PACKERS, Web, cut


class Archives:
    """`grows`: an old log may become longer, or be cut short before it is imported. `copies`: of the producer's own
    logs, there may be some."""

    def __init__(self, folder: Path, web: Web, rng: random.Random, *, grows: bool, copies: bool) -> None:
        folder.mkdir()
        self._folder = folder
        self._web = web
        self._rng = rng
        self._grows = grows
        self._copies = copies
        self._old: list[list[bytes]] = []  # of each, the contents that it had, the shortest first
        self.copied: list[bytes] = []
        self._count = 0
        self.lines: Counter[bytes] = Counter()  # that must arrive

    def some(self) -> list[Path]:
        """What an import is given."""
        rng = self._rng
        if not self._old or rng.random() < 0.3:
            self._old.append([self._lines()])
        elif self._grows and rng.random() < 0.3:
            versions = rng.choice(self._old)
            if len(versions[0]) >= KNOWN:  # else the first one is not known by what is imported of the next
                versions.append(versions[-1] + self._lines())
        if self._copies and rng.random() < 0.5:
            self.copied += self._web.contents(rng)
        contents = [rng.choice(versions) for versions in self._old] + self.copied
        paths = [self.file(content) for content in rng.choices(contents, k=rng.randint(1, 3))]
        if self._grows and rng.random() < 0.1:  # if the whole is known, this is refused, and all that is given with it
            whole = rng.choice(self._old)[0]
            if len(whole) > KNOWN:
                paths.append(self.file(whole[: whole.index(b"\n", rng.randrange(KNOWN, len(whole))) + 1]))
        return paths + (self._web.paths(rng) if rng.random() < 0.2 else [])

    @property
    def whole(self) -> list[bytes]:
        """The old logs as they are at last."""
        return [versions[-1] for versions in self._old]

    def arrives(self, content: bytes) -> None:
        self.lines |= Counter(filter(None, cut(content)))

    @property
    def empty(self) -> int:
        """Lines that have nothing to be told apart by."""
        return sum(cut(content).count(b"") for content in self.whole + self.copied)

    def _lines(self) -> bytes:
        lines = [self._web.line() for _ in range(self._rng.choice([1, 3, 12, 40]))]
        while len(lines[0].raw) <= CLEAR:
            lines[0] = self._web.line()
        self._web.lines.update({line.raw: line for line in lines})
        return b"".join(line.raw + b"\n" for line in lines)

    def file(self, content: bytes) -> Path:
        self._count += 1
        ending, pack = self._rng.choice(PACKERS)
        path = self._folder / f"{self._rng.choice(['access.log', 'old', 'a b'])}.{self._count}{ending}"
        self._web.put(path, pack(content))
        return path
