"""The embedded emulator's access key, and the user it runs as."""

from __future__ import annotations

import configparser
import ctypes
import os
import secrets
import signal
from pathlib import Path

from common.atomic import write_atomic

# the image's user; where the appliance runs natively as root, the emulator and its functions become this one, too
USER = 10001
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # prctl.h
PROFILE = "default"
# how the AWS SDKs call the two in their shared credentials file and, in capitals, in the environment
NAMES = ("aws_access_key_id", "aws_secret_access_key")


def read_key(file: Path) -> dict[str, str]:
    """The key in an AWS shared credentials file, by the names of the environment; empty when none can be read."""
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text())
        return {name.upper(): parser[PROFILE][name] for name in NAMES}
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError):
        return {}


def make_key(file: Path) -> None:
    """Make the key unless it is there; only the file's owner may read it. Raises OSError."""
    if read_key(file):
        return
    # no 12 digits: MiniStack would take those for an account
    values = ("AKIA" + secrets.token_hex(14).upper(), secrets.token_urlsafe(30))
    lines = (f"{name} = {value}\n" for name, value in zip(NAMES, values, strict=True))
    write_atomic(file, "".join((f"[{PROFILE}]\n", *lines)).encode(), mode=0o600)


def become_unprivileged() -> None:
    """Natively as root, become USER; in any case, gain nothing from set-uid programs any more. Raises OSError."""
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(USER)
        os.setuid(USER)
        # appliance/supervise.py has asked for it; the kernel drops it with the user
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
