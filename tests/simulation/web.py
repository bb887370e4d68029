"""The web server and its logrotate, or none where the appliance rotates: what is written, and so what must arrive.

The truth is the bytes: each file's content is remembered, and at the end cut into lines. What was destroyed (emptied
or deleted) before it was in the stream may have arrived or not; all that was in the stream by then, or is on disk at
the end, must arrive.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from tests.fake_kinesis import FakeClock
from tests.simulation.disk import Disk, Image
from tests.simulation.faults import Faults

MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
ZONES = [timezone(timedelta(minutes=minutes)) for minutes in (0, 0, 0, 540, -210, 345, -720, 840)]
# What nginx writes of a request, and what the entry has of it: method, path, httpVersion
REQUESTS: list[tuple[bytes, str, str, str]] = [
    (b"GET / HTTP/1.1", "GET", "/", "HTTP/1.1"),
    (b"POST /form?a=1 HTTP/2.0", "POST", "/form?a=1", "HTTP/2.0"),
    (rb"GET /caf\xC3\xA9 HTTP/1.1", "GET", "/café", "HTTP/1.1"),
    (rb"GET /\xFF\x22 HTTP/1.1", "GET", r'/\xFF"', "HTTP/1.1"),
    (b"GET /a b HTTP/1.0", "GET", "/a b", "HTTP/1.0"),
    (b"GET /old", "GET", "/old", ""),
    (rb"\x16\x03\x01\x02", "", "\x16\x03\x01\x02", ""),
    (b"", "", "", ""),
]
# A line is not cut within its first bytes: a file that holds no more than these cannot be told from others
CLEAR = 18
# What rotation may make of a file, and what the new one is called
PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".gz", lambda data: gzip.compress(data, mtime=0)),
    (".bz2", bz2.compress),
    (".xz", lzma.compress),
    ("", bytes),
]
# What s6-log calls the log, and what it has closed and not named yet
S6, PREVIOUS = "current", "previous"
# By so much of its beginning a copy is known before it is complete: WINDOW_BYTES of the simulation
KNOWN = 100


class Line(NamedTuple):
    """What a line is to become: `text` with `hour` as YYYY/MM/DD/HH; or rejected, `hour` None: its generation's."""

    raw: bytes
    hour: str | None
    text: bytes | None


@dataclass
class LogFile:
    """One file of the log and all that is in it. `copied`: so may be others.

    `since`, `until`: the part whose lines are to arrive from it. An edited file has it behind what was sent, a backup
    of one before that.
    """

    path: Path
    content: bytearray = field(default_factory=bytearray)
    packed: bool = False
    copied: bool = False
    since: int = 0
    until: int | None = None

    @property
    def lines(self) -> list[bytes]:
        return cut(bytes(self.content[self.since : self.until]))

    def at(self, path: Path) -> LogFile:
        """The same in a file of its own."""
        return replace(self, path=path, content=self.content[:])


class Snapshot(NamedTuple):
    """The files, and what is known of them. `rotated`: by their names below the log's folder."""

    image: Image
    rotated: dict[str, LogFile]
    live: LogFile
    may: Counter[bytes]
    must: Counter[bytes]


class Web:
    def __init__(
        self,
        name: str,
        log: Path,
        disk: Disk,
        clock: FakeClock,
        rng: random.Random,
        sent: Callable[[bytes], bool],
        say: Callable[[str], None],
        apart: random.Random,
        *,
        rotates: bool,
        linked: bool,
    ) -> None:
        """`linked`: the log is a link to a file with a date, as cronolog makes it. `apart`: another `rng`. A log called
        `current` is s6-log's."""
        self.name = name
        self._rotates = rotates
        self._linked = linked
        self._apart = apart
        self.log = self.home = log  # `home`: the file, where it is a link
        self._s6 = log.name == S6
        self.away = log.with_name("old")
        self.away.mkdir()
        self.disk = disk
        self.clock = clock
        self.rng = rng
        self.faults = Faults()
        self._sent = sent
        self._say = say
        self.lines: dict[bytes, Line] = {}
        self.may: Counter[bytes] = Counter()
        self.must: Counter[bytes] = Counter()
        self.rotated: list[LogFile] = []
        self.count = 0
        self._rest = b""  # of a line that is not written to its end
        self._copy: Path | None = None
        self._copied: int | None = None  # bytes, once the copy is complete
        self._packing: tuple[LogFile, Path, bytes, bytes] | None = None
        self._copying: tuple[Path, bytes] | None = None
        self._descriptor = -1
        self.still = False  # no file gets another name
        self._live = LogFile(log)
        if linked:
            self.home = self._dated()
        self.reopen()

    # What is written

    def line(self) -> Line:
        rng, faults = self.rng, self.faults
        self.count += 1
        mark = f"{self.name}-{self.count}"
        late = rng.choice([1, 60, 3600, 7200]) * rng.random() if rng.random() < faults.late_line else 0
        moment = self.clock.now().replace(microsecond=0) - timedelta(seconds=int(late))
        hour = f"{moment:%Y/%m/%d/%H}"
        local = moment.astimezone(rng.choice(ZONES))
        written = f"{local:%d}/{MONTHS[local.month - 1]}/{local:%Y:%H:%M:%S %z}"
        if rng.random() < faults.unparsable:
            raw = rng.choice(
                [
                    (b"%s junk." % mark.encode(), None),
                    (b"\xff %s \x80\x1b \\xFF" % mark.encode(), None),
                    (b"\x1f\x8b %s." % mark.encode(), None),
                    (f"{mark} [{written}] cut".encode(), hour),
                    (f"{mark} [99/{written[3:]}] ".encode() + b"x" * 400, None),
                    (b"", None),
                ]
            )
            return Line(raw[0], raw[1], None)
        request, method, path, version = rng.choice(REQUESTS)
        if rng.random() < faults.long_line:
            length = rng.choice([200, 500, 900, 2500])
            more = b"l" * length if rng.random() < 0.3 else rng.randbytes(length // 2).hex().encode()
            request, method, path, version = b"GET /%s HTTP/1.1" % more, "GET", f"/{more.decode()}", "HTTP/1.1"
        host = ".".join(str(rng.randrange(100, 250)) for _ in range(4))
        agent, status = f"sim/{mark}", rng.choice([200, 301, 404, 500])
        raw_line = b'%s - - [%s] "%s" %d %d "-" "%s"' % (
            *(host.encode(), written.encode(), request, status),
            *(rng.randrange(10_000), agent.encode()),
        )
        entry = {
            "host": host,
            "time": f"{moment:%Y-%m-%dT%H:%M:%S}.000Z",
            "method": method,
            "path": path,
            "httpVersion": version,
            "status": status,
            "userAgent": agent,
        }
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        return Line(raw_line, hour, text)

    def write(self, count: int) -> None:
        if self._rest:
            self._append(self._rest)
            self._rest = b""
        for _ in range(count):
            line = self.line()
            self.lines[line.raw] = line
            data = line.raw + b"\n"
            if len(line.raw) > CLEAR and self.rng.random() < self.faults.partial_line:
                cut = self.rng.choice([self.rng.randint(CLEAR, len(line.raw)), len(line.raw)])
                self._append(data[:cut])
                self._rest = data[cut:]
                break
            self._append(data)

    def _append(self, data: bytes) -> None:
        os.write(self._descriptor, data)
        self._live.content += data
        self.disk.touched(self._live.path)

    # What happens to the files

    def act(self, *, gently: bool = False) -> None:
        """One turn of nginx or logrotate; `gently`: nothing is emptied, and nothing said to be complete grows."""
        rng, faults = self.rng, self.faults
        with self.disk.aside():
            if self.still:
                self.write(rng.randint(0, 2))
                return
            if gently:
                if self._live.path == self.home and self._copy is None and rng.random() < self._rename_chance:
                    self.rename()
                elif self._copied is None or self._live.content.endswith(b"\n"):
                    self.write(rng.choice([1, 2, 3, 12]))
                return
            self.finish_previous()
            if rng.random() < faults.packed:
                self.pack()
            if rng.random() < faults.copied:
                self.copy()
            if rng.random() < faults.strange:
                self.strange()
            if self._apart.random() < faults.copied_live:
                self.copy_live()
            if self._apart.random() < faults.inode_taken:
                self.take_inode()
            if self._rotates and rng.random() < faults.deleted:
                self.delete(early=False)
            if rng.random() < faults.deleted_too_early:
                self.delete(early=True)
            if self._live.path != self.home:
                self.write(rng.randint(0, 2))
                self.reopen()
            elif self._copy:
                if self._copied is None or self._live.content.endswith(b"\n"):
                    self.write(rng.randint(0, 3))
                self.end_copy(at_once=rng.random() < 0.5)
            elif rng.random() < self._rename_chance:
                self.rename()
                if rng.random() >= faults.late_reopen:
                    self.reopen()
            elif self._rotates and rng.random() < faults.copytruncated and self._live.content:
                self.begin_copy()
                if rng.random() < 0.5:
                    self.end_copy(at_once=True)
            elif rng.random() < faults.restored:
                self.restore()
            elif rng.random() < faults.truncated:
                self.truncate(rng.random() < faults.regrown)
            else:
                count = rng.choice([1, 2, 3, 3, 5, 12])
                self._say(f"{self.name} writes {count} lines")
                self.write(count)

    @property
    def _rename_chance(self) -> float:
        return self.faults.renamed if self._rotates else 0.0

    def moved(self, path: Path, target: Path | None) -> None:
        """The appliance has renamed the log, or deleted a rotated one: all of it must be safe by then."""
        file = next((each for each in [*self.rotated, self._live] if each.path == path), None)
        if file is None:
            return
        if target is None:
            self._say(f"{self.name} has deleted {path.name}")
            self.rotated.remove(file)
            self.must.update(file.lines)
        else:
            self._say(f"{self.name} has renamed {path.name} to {target.name}")
            file.path = target
            self.rotated.append(file)

    @property
    def quiet(self) -> bool:
        """Whether nothing is half done, and all that is written is in the stream."""
        busy = self._copy or self._packing or self._copying or self._rest or self._live.path != self.home
        return not busy and all(
            (not file.content or file.content.endswith(b"\n")) and all(map(self._sent, file.lines))
            for file in [*self.rotated, self._live]
        )

    def snapshot(self) -> Snapshot:
        with self.disk.aside():
            files = {str(file.path.relative_to(self.log.parent)): file.at(file.path) for file in self.rotated}
            return Snapshot(
                *(self.disk.image(self.log.parent), files, self._live.at(self.home), self.may.copy(), self.must.copy())
            )

    def set_back(self, to: Snapshot, *, same_inodes: bool) -> None:
        """All files are as they were; what was written since is only where it was sent to."""
        with self.disk.aside():
            if self._live.path != self.home:
                self.reopen()
            written = self.expected() + self.may
            os.close(self._descriptor)
            self.disk.put_back(self.log.parent, to.image, same_inodes=same_inodes)
            self._linked = self.log.is_symlink()
            self.home = self.log.with_name(str(self.log.readlink())) if self._linked else self.log
            self._descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND)
            self._copy = self._copied = self._packing = self._copying = None
            self._rest = b""
            self.rotated = [file.at(self.log.parent / name) for name, file in to.rotated.items()]
            for file in self.rotated:  # a packed one has more bytes in it
                self._written_back(file)
            self._live = to.live.at(self.home)
            self.may, self.must = to.may.copy(), to.must.copy()
            since = written - self.expected() - self.may
            for line, count in since.items():
                (self.must if line and line in self.lines and self._sent(line) else self.may)[line] += count

    def signalled(self) -> None:
        """By SIGUSR1."""
        with self.disk.aside():
            if self._live.path != self.home and self.rng.random() >= self.faults.late_reopen:
                self.reopen()

    def _new_name(self, packed: str = "") -> Path:
        self.count += 1
        if self._s6:  # also what its processor has packed
            return self.log.with_name(f"@4000000{self.count:017x}.{'su'[self.count % 2]}")
        name, number, date = self.log.name, self.count, 20_200_000 + self.count
        names = [
            *(f"{name}.{number}", f"{name}-{number}", f"access.{number}.log"),
            *(f"{name}.{number}", f"access_{date}.log", f"{date}-access.log"),
        ]
        return self._placed(self.log.with_name(names[number % len(names)] + packed))

    def _dated(self) -> Path:
        self.count += 1
        return self.log.with_name(f"access-{20_200_000 + self.count}.log")

    def _placed(self, path: Path) -> Path:
        """In the folder that rotation may move logs to, or beside the log."""
        return self.away / path.name if self._apart.random() < self.faults.moved_away else path

    def _move(self, file: LogFile, target: Path) -> None:
        file.path.rename(target)
        file.path = target

    def rename(self) -> None:
        """As logrotate: the older ones go up by one, nginx goes on writing to its file under the new name."""
        if self._linked:
            self.home = self._dated()
            self._say(f"{self.name} goes on in {self.home.name}")
            self.rotated.append(self._live)
            return
        if self._s6:
            self.finish_previous()
            self._say(f"{self.name} renames {S6} to {PREVIOUS}")
            self._move(self._live, self.log.with_name(PREVIOUS))
            self.rotated.append(self._live)
            return
        numbered = self._placed(self.log.with_name(f"{self.log.name}.1"))
        for number, file in enumerate(reversed([*self.rotated, self._live])):
            if self.rng.random() < 0.3 or file is self._live:
                self._say(f"{self.name} renames {file.path.name}")
                self._move(file, self._new_name() if number else self._free(numbered))
        self.rotated.append(self._live)

    def finish_previous(self) -> None:
        """As s6-log does after a rotation."""
        for file in self.rotated:
            if file.path.name == PREVIOUS and file is not self._live:
                self._move(file, self._new_name())

    def _free(self, wanted: Path) -> Path:
        return self._new_name() if wanted.exists() else wanted

    def reopen(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._say(f"{self.name} reopens its log")
        self._descriptor = os.open(self.home, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._live = LogFile(self.home)
        self.disk.created(self.home)
        if self._linked:
            self.log.unlink(missing_ok=True)
            self.log.symlink_to(self.home.name)

    def close(self) -> None:
        os.close(self._descriptor)

    def held(self, _device: int, inode: int) -> bool:
        """Whether nginx has this file open, or a program that copies or packs into it."""
        with self.disk.aside():
            copying = self._copy if self._copied is None else None
            others = [each for each in (copying, *(self._copying or ())[:1], *(self._packing or ())[1:2]) if each]
            return inode in [self.disk.inode(path) for path in (self._live.path, *others)]

    def begin_copy(self) -> None:
        """copytruncate: the copy is there, perhaps not all of it, and the log is not emptied yet."""
        self._copy = self._new_name()
        self._say(f"{self.name} begins to copy to {self._copy.name}")
        data = bytes(self._live.content)
        self._copy.write_bytes(data[: self.rng.randint(1, len(data))])
        self.disk.created(self._copy)

    def end_copy(self, *, at_once: bool) -> None:
        """The copy is complete, then the log is emptied; what was written in between is in neither."""
        assert self._copy
        if self._copied is None:
            self._say(f"{self.name} has copied to {self._copy.name}")
            content = bytes(self._live.content)
            self._copied = len(content)
            self._copy.write_bytes(content)
            self.disk.touched(self._copy)
            self.disk.durable[self.disk.inode(self._copy)] = len(content)
            if not at_once:
                return
        self._say(f"{self.name} empties its log, {len(self._live.content) - self._copied} bytes more than the copy has")
        copy = self._live.at(self._copy)
        del copy.content[self._copied :]
        self.rotated.append(copy)
        self._destroy(self._live, since=self._copied if copy.content.endswith(b"\n") else self._copied + 1)
        self._copy = self._copied = None
        self._empty()

    def pack(self) -> None:
        """logrotate's compress, or renamecopy, in two parts: first half a file, later all of it in place of the plain
        one."""
        if self._packing:
            file, path, content, data = self._packing
            self._packing = None
            if any(file is each for each in self.rotated):
                file.content = bytearray(content)
                self._say(f"{self.name} has packed {file.path.name}")
                path.write_bytes(data)
                self.disk.touched(path)
                self.disk.deleted(file.path)
                file.path.unlink()
                file.path, file.packed = path, data != content
            else:
                self._remove(path)
            return
        plain = [file for file in self.rotated if file is not self._live and not file.packed]
        if plain:
            file = self.rng.choice(plain)
            otherwise = self._apart.random() < self.faults.packed_otherwise
            ending, pack = self._apart.choice(PACKERS[1:]) if otherwise else PACKERS[0]
            path = self._new_name(ending)
            content = bytes(file.content)
            data = pack(content)
            self._say(f"{self.name} packs {file.path.name} to {path.name}")
            self.put(path, data[: len(data) // 2 if ending else min(len(data), KNOWN)])
            self._packing = file, path, content, data
            self._written_back(file)

    def copy(self) -> None:
        """Of what is rotated, by gunzip, cp or an editor; in two parts, of which the first is long enough to tell."""
        if self._copying:
            path, data = self._copying
            self._copying = None
            path.write_bytes(data)
            self.disk.touched(path)
            return
        whole = [file for file in self.rotated if file is not self._live]
        if whole:
            file = self.rng.choice(whole)
            path, data = self._new_name(), bytes(file.content)
            self._say(f"{self.name} copies {file.path.name} to {path.name}")
            self.put(path, data[: self.rng.randint(min(len(data), KNOWN), len(data))])
            self._copying = path, data
            self._written_back(file)

    def copy_live(self) -> None:
        """logrotate's copy: the log goes on.

        One that is shorter than it is known by, and is put back beside a copy, may be a new one.
        """
        content = bytes(self._live.content)
        if len(content) >= KNOWN and content.endswith(b"\n") and self._copy is None:
            path = self._new_name()
            self._say(f"{self.name} copies its log to {path.name}")
            self.put(path, content)
            self._written_back(self._live)

    def join(self, sent: Callable[[LogFile], int | None]) -> None:
        """`cat` of rotated logs into another one. `sent`: up to where a file is sent, if that is certain."""
        with self.disk.aside():
            plain = [each for each in self.rotated if each is not self._live and not each.packed and each.until is None]
            long = [each for each in plain if len(each.content) >= 2 * KNOWN and each.content.endswith(b"\n")]
            whole = [each for each in long if sent(each) == len(each.content)]
            if len(whole) < 2 or self.disk.unsettled:
                return
            files = self._apart.sample(whole, self._apart.randint(2, len(whole)))
            path, data = self._new_name(), b"".join(bytes(each.content) for each in files)
            self._say(f"{self.name} puts {', '.join(each.path.name for each in files)} together as {path.name}")
            self.put(path, gzip.compress(data) if self._apart.random() < 0.5 else data)
            for each in files:
                self._written_back(each)

    def restore(self) -> None:
        self._say(f"{self.name} puts its log back from a copy")
        half = bytes(self._live.content).rpartition(b"\n")[2]
        if half and half not in self.lines:  # all that is left of a line, if the copy is emptied before it is read
            self.may[half] += 1
        copy = self._new_name(".restored")
        self.put(copy, bytes(self._live.content))
        self.disk.durable[self.disk.inode(copy)] = len(self._live.content)
        self.disk.deleted(self.home)
        copy.rename(self.home)
        os.close(self._descriptor)
        self._descriptor = os.open(self.home, os.O_WRONLY | os.O_APPEND)

    def edit(self, sent: Callable[[LogFile], int | None]) -> LogFile | None:
        """With an editor or `sed -i`. `sent`: up to where a file is sent, if that is certain. The edited file, if what
        was sent is known again.

        What was sent stays archived as it was. Where the last KNOWN bytes of it, half of them whole lines, still stand
        in a file that has kept half of it, what comes behind them is to arrive; else all of the file.
        """
        with self.disk.aside():
            busy = self._copy or self._rest or self._live.path != self.home
            others = [] if self._packing is None else [self._packing[0]]
            files = [each for each in self.rotated if each is not self._live] + [self._live] * (not busy)
            # a part of a log is none where its name has neither number nor date: no backup is edited
            files = [each for each in files if each.path.suffix != ".bak" and each not in others]
            plain = [each for each in files if not each.packed and each.until is None]
            whole = [each for each in plain if each.content.endswith(b"\n") and each.path.name != PREVIOUS]
            if not whole:
                return None
            file = self._apart.choice(whole)
            content, at = bytes(file.content), sent(file)
            known = (
                at if at is not None and KNOWN <= at <= len(content) and whole_half(content[at - KNOWN : at]) else None
            )
            how = self._apart.choice([self._touch, self._change_all, self._change_some, self._cut_end])
            if how == self._touch or (how == self._change_some and known is None):
                self._touch(file)
            elif how == self._change_all:
                self._change_all(file)
            elif how == self._change_some and known is not None:
                self._change_some(file, known)
                return file
            elif at is not None and at >= KNOWN:
                self._cut_end(file, at)
        return None

    def _touch(self, file: LogFile) -> None:
        self._rewrite(file, bytes(file.content), backup=len(file.content) >= KNOWN)

    def _change_all(self, file: LogFile) -> None:
        before = file.at(file.path)
        file.since, file.copied = 0, False
        backup = self._rewrite(file, b"".join(map(self._other, cut(bytes(file.content)))))
        self._keep(before, backup)

    def _change_some(self, file: LogFile, at: int) -> None:
        """`at`: up to where it is sent."""
        content, before = bytes(file.content), file.at(file.path)
        window = content.rfind(b"\n", 0, at - KNOWN) + 1
        start = self._changed(content[:window])
        # of the same length it would not be known to be another
        if 2 * (len(start) + at - window) < at or len(start) == window:
            start = content[:window]
        file.since, before.until = len(start) + at - window, at
        keeps = file.copied or start == content[:window]
        rest = content[at:] if keeps else self._changed(content[at:])
        backup = self._rewrite(file, start + content[window:at] + rest)
        self._keep(before, backup)

    def _keep(self, before: LogFile, backup: Path | None) -> None:
        """A backup that has one of the log's names is one of its files."""
        if backup and backup.suffix == ".bak" and not backup.name.startswith("@"):
            self.rotated.append(before.at(backup))
        else:
            self._destroy(before)

    def _cut_end(self, file: LogFile, at: int) -> None:
        """Lines that were not sent, and are in no other file."""
        lines = bytes(file.content[at:]).splitlines(keepends=True)
        if lines and not file.copied:
            left = at + len(b"".join(lines[: self._apart.randrange(len(lines))]))
            self._say(f"{self.name} cuts {file.path.name} to {left} of {len(file.content)} bytes")
            os.truncate(file.path, left)
            self.disk.touched(file.path)
            inode = self.disk.inode(file.path)
            self.disk.durable[inode] = min(left, self.disk.durable[inode])
            del file.content[left:]

    def _changed(self, content: bytes) -> bytes:
        ways: list[Callable[[bytes], bytes]] = [
            *[lambda line: line + b"\n"] * 3,
            *(self._other, lambda _: b"", lambda line: line + b"\n" + self._other(line)),
        ]
        return b"".join(self._apart.choice(ways)(line) for line in cut(content))

    def _other(self, _line: bytes) -> bytes:
        """Another line in its place."""
        while len((line := self.line()).raw) <= CLEAR:
            pass
        self.lines[line.raw] = line
        return line.raw + b"\n"

    def _rewrite(self, file: LogFile, content: bytes, *, backup: bool = True) -> Path | None:
        """As editors do: in a new file or the old one; with a backup, which is a copy or the old file, or without."""
        path = file.path
        ending = self._apart.choice(["", "~", ".bak"]) if backup else ""
        other = self._free(path.with_name(path.name + ending)) if ending else None
        backed = f", backup {other.name}" if other else ""
        self._say(f"{self.name} edits {path.name}, {len(content)} of {len(file.content)} bytes{backed}")
        if self._apart.random() < 0.5:
            if other:
                self.put(other, bytes(file.content))
            path.write_bytes(content)
            self.disk.touched(path)
        else:
            made = path.with_name("sedEdited")
            self.put(made, content)
            if other:
                path.rename(other)
                self.disk.durable[self.disk.inode(other)] = 10**9
            else:
                self.disk.deleted(path)
            made.rename(path)
        self.disk.durable[self.disk.inode(path)] = len(content)
        file.content, file.copied = bytearray(content), file.copied or bool(other)
        if file is self._live:
            os.close(self._descriptor)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        return other

    def contents(self, rng: random.Random) -> list[bytes]:
        """What one of its files holds now, in whole lines."""
        files = [each for each in [*self.rotated, self._live] if each.path.name != PREVIOUS]
        if not files:
            return []
        file = rng.choice(files)
        self._written_back(file)
        content = bytes(file.content)
        return [content[: content.rfind(b"\n") + 1]] if b"\n" in content else []

    def paths(self, rng: random.Random) -> list[Path]:
        """One of its files that has one of the log's names."""
        files = [each.path for each in [*self.rotated, self._live] if each.path.name != PREVIOUS]
        return rng.sample(files, min(1, len(files)))

    def has(self, content: bytes) -> bool:
        """Whether one of its files begins so."""
        files = [each for each in [*self.rotated, self._live] if each.path.name != PREVIOUS]
        return any(file.content.startswith(content) for file in files)

    @property
    def busy(self) -> bool:
        unnamed = any(each.path.name == PREVIOUS for each in self.rotated)
        return bool(unnamed or self._copy or self._packing or self._copying)

    def strange(self) -> None:
        path = self._new_name(self.rng.choice([".gpg", ".br", ""]))
        self._say(f"{self.name}: {path.name} appears, which is no log")
        self.put(path, self.rng.randbytes(3000))

    def take_inode(self) -> None:
        self.count += 1
        path = self.log.with_name(self._apart.choice(["checkpoint.json.%d", "#%d#", "%d.txt"]) % self.count)
        self._say(f"{self.name}: {path.name} appears, a text that is no log")
        self.put(path, b"no line of the log\n" * self._apart.randint(1, 30))

    def _written_back(self, file: LogFile) -> None:
        """A power cut takes nothing of a file that another one was made of: that would be another story."""
        file.copied = True
        inode = self.disk.inode(file.path)
        self.disk.durable[inode] = max(len(file.content), self.disk.durable[inode])

    def put(self, path: Path, data: bytes) -> None:
        """A file that no program loses."""
        path.write_bytes(data)
        self.disk.created(path)
        self.disk.durable[self.disk.inode(path)] = 10**9

    def _remove(self, path: Path) -> None:
        self.disk.deleted(path)
        path.unlink()

    def truncate(self, regrow: bool) -> None:
        size = len(self._live.content)
        self._say(f"{self.name} empties its log{', which grows at once' if regrow else ''}")
        self._destroy(self._live)
        self._empty()
        while regrow and len(self._live.content) <= size:
            self.write(3)

    def _empty(self) -> None:
        os.truncate(self.log, 0)
        self.disk.touched(self.log)
        self.disk.durable[self.disk.inode(self.log)] = 0
        self._live = LogFile(self.home)

    def delete(self, *, early: bool) -> None:
        """logrotate throws a file away: one that is all in the stream, unless it is `early`."""
        found = [file for file in self.rotated if file is not self._live]
        if not early:
            found = [file for file in found if all(map(self._sent, file.lines))]
        if found:
            file = self.rng.choice(found)
            shredded = self._apart.random() < self.faults.shredded
            does = "shreds" if shredded else "deletes"
            self._say(f"{self.name} {does} {file.path.name}{', too early' if early else ''}")
            if shredded:
                file.path.write_bytes(self._apart.randbytes(3000))
                self.disk.touched(file.path)
            else:
                self.disk.deleted(file.path)
                file.path.unlink()
            self.rotated.remove(file)
            self._destroy(file)

    def power_cut(self) -> None:
        """What was written last may be gone; it was not sent, as what is sent is made durable first."""
        self._rest = b""
        if self._copy:
            self.disk.deleted(self._copy)
            self._copy.unlink()
            self._copy = self._copied = None
        files = self.rotated if self._live in self.rotated else [*self.rotated, self._live]
        for file in files:
            durable = self.disk.durable[self.disk.inode(file.path)]
            left = self.rng.randint(min(durable, len(file.content)), len(file.content))
            line = file.content.rfind(b"\n", 0, left) + 1
            left = max(durable, line) if left - line < CLEAR else left
            if left < len(file.content):
                self._say(f"{self.name}: {file.path.name} has {left} of {len(file.content)} bytes")
                os.truncate(file.path, left)
                del file.content[left:]
        for path, before in reversed(self.disk.unsettled):
            if self.rng.random() < self.faults.rename_undone:
                self._say(f"{self.name}: {path.name} is as before")
                if before is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(before)
        self.disk.unsettled.clear()
        if self._live.path != self.home:
            self.reopen()

    def _destroy(self, file: LogFile, since: int = 0) -> None:
        """The lines of the file are gone that have a byte behind `since`."""
        position = file.since
        for line in file.lines:
            position += len(line) + 1
            if position > since:
                # Only of what stands in the log once can it be told; the rest may have arrived
                if line and line in self.lines and self._sent(line):
                    self.must[line] += 1
                else:
                    self.may[line] += 1

    # The end

    def settle(self) -> None:
        """nginx finishes its line and writes to access.log, logrotate finishes its work."""
        with self.disk.aside():
            if self._copy:
                self.end_copy(at_once=True)
            if self._packing:
                self.pack()
            if self._copying:
                self.copy()
            if self._live.path != self.home:
                self.reopen()
            self.finish_previous()
            if self._rest:
                self.write(0)
            if self._live.content and not self._live.content.endswith(b"\n"):
                self._append(b"\n")

    def expected(self) -> Counter[bytes]:
        """Every line that must arrive, as often as it must."""
        found = Counter(self.must)
        for file in [*self.rotated, self._live]:
            found.update(file.lines)
        self.may[b""] += found.pop(b"", 0)  # a file of an empty line only may pass for a copy of one that starts so
        return found


def cut(content: bytes) -> list[bytes]:
    """The lines, also a last one without an end."""
    lines = content.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def whole_half(window: bytes) -> bool:
    """Whether half of it is whole lines."""
    return 0 <= window.find(b"\n") < KNOWN // 2


def started(rng: random.Random) -> datetime:
    """Some minutes before the end of an hour."""
    day = datetime(2020, 4, 18, tzinfo=UTC) + timedelta(days=rng.randrange(700), hours=rng.randrange(24))
    return day + timedelta(minutes=60) - timedelta(seconds=rng.randint(5, 900))
