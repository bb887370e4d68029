"""The embedded emulator: `python -m emulator`, which gives up what it must not have and becomes emulator/serve.py.

It changes from root to an ordinary user, and keeps of the environment what is named here: MiniStack hands all of its
own on to each function. A new process, because /proc shows the environment that a process began with.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from common.emulator import become_unprivileged

HOME = Path(__file__).resolve().parent.parent
KEPT = ("PATH", "PYTHONPATH", "LANG", "TZ", "PYTHONDONTWRITEBYTECODE", "AWS_DEFAULT_REGION")
MEMORY = ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_")


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What MiniStack and the functions see; `given`: that of `python -m appliance` (appliance/run.py)."""
    folder = Path(given["DATA_DIR"], "emulator")
    return {name: given[name] for name in KEPT + MEMORY if name in given} | {
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONUNBUFFERED": "1",
        "GATEWAY_PORT": given["EMULATOR_PORT"],
        "BIND_HOST": given["EMULATOR_HOST"],
        "LOG_LEVEL": given["EMULATOR_LOG_LEVEL"],
        "SERVICES": "s3,kinesis,lambda,iam,sts,logs,firehose",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder / "s3"),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder / "state"),
    }


def main() -> None:
    become_unprivileged()
    kept = environment(os.environ)
    # it may hold what was left by a kill
    shutil.rmtree(kept["TMPDIR"], ignore_errors=True)
    Path(kept["TMPDIR"]).mkdir(exist_ok=True)
    os.chdir(HOME)
    os.execve(sys.executable, [sys.executable, "-m", "emulator.serve"], kept)  # noqa: S606 # no shell is wanted


if __name__ == "__main__":
    main()
