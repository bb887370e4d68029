"""Supervisord's event listener: counts the programs that end by themselves; when one cannot be kept running, the whole
appliance ends.

supervisord itself would go on with the rest and exit with 0. So the listener leaves the program's name in
DATA_DIR/run/fatal for `python -m appliance`, which logs it and exits with the container's status.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime

from supervisor import childutils

from common.log import configure
from common.settings import load_settings
from common.status import WatchdogStatus, write_status

KEPT = 10  # times, of each program


def main() -> None:
    settings = load_settings()
    # standard output belongs to the protocol with supervisord
    configure(settings.log_level, settings.log_format, "watchdog", tag=True, stream=sys.stderr)
    fatal = settings.run_dir / "fatal"
    ended: dict[str, list[datetime]] = {}
    while True:
        header, payload = childutils.listener.wait(sys.stdin, sys.stdout)
        facts = childutils.get_headers(payload)
        name = facts["processname"]
        if header["eventname"] == "PROCESS_STATE_FATAL":
            fatal.write_text(name)
            os.kill(os.getppid(), signal.SIGTERM)
        elif facts["expected"] == "0":
            ended[name] = [*ended.get(name, []), datetime.now(UTC)][-KEPT:]
            with suppress(OSError):  # the next one says it, too
                write_status(settings.status_dir, WatchdogStatus(ended=ended))
        childutils.listener.ok(sys.stdout)


if __name__ == "__main__":
    main()
