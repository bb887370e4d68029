"""Other processes, as /proc shows them."""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
# When the open files of other users' processes cannot be seen, a file counts as released after so long without a write
UNSEEN_AFTER = 600.0


def held_open(device: int, inode: int) -> bool | None:
    """Whether another process has this file open; None when the open files of some cannot be seen."""
    unknown = False
    try:
        others = [each for each in PROC.iterdir() if each.name.isdigit() and int(each.name) != os.getpid()]
    except OSError:
        return None
    for process in others:
        try:
            for descriptor in (process / "fd").iterdir():
                with suppress(OSError):
                    status = descriptor.stat()
                    if (status.st_dev, status.st_ino) == (device, inode):
                        return True
        except PermissionError:
            unknown = True
        except OSError:  # it has ended meanwhile
            continue
    return None if unknown else False


def written_to(path: Path) -> bool | None:
    """Whether another process may still write to a file; None when that cannot be told. Raises OSError.

    The image's nginx hides its open files, as it has a capability. The kernel itself then tells the file's owner: it
    grants a read lease only while no process has the file open for writing (fcntl(2), F_SETLEASE).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        held = held_open(status.st_dev, status.st_ino)
        if held is None:
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # of a writer that comes now: SIGIO would end us
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            held = False
        return held
    except BlockingIOError:
        return True
    except OSError:
        return None  # another's file, or a file system without leases
    finally:
        os.close(descriptor)


def released(held: bool | None, age: float) -> bool:
    """Whether no process writes to a file any more: `held_open`'s answer, and the seconds since the last write."""
    return held is False or (held is None and age >= UNSEEN_AFTER)


def nginx_pid(pid_file: Path) -> int | None:
    """The process in `pid_file`, if it runs and is nginx: a stale file may name another one."""
    try:
        pid = int(pid_file.read_text())
        program = (PROC / str(pid) / "comm").read_text().strip()
    except (OSError, ValueError):
        return None
    return pid if program == "nginx" and pid > 0 else None
