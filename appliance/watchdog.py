"""Supervisord's event listener: when a program cannot be kept running, the whole appliance ends.

supervisord itself would go on with the rest and exit with 0. So the listener leaves the program's name in
DATA_DIR/run/fatal for `python -m appliance`, which logs it and exits with the container's status.
"""

from __future__ import annotations

import os
import signal
import sys

from supervisor import childutils

from common.log import configure
from common.settings import load_settings


def main() -> None:
    settings = load_settings()
    # standard output belongs to the protocol with supervisord
    configure(settings.log_level, settings.log_format, "watchdog", tag=True, stream=sys.stderr)
    fatal = settings.run_dir / "fatal"
    while True:
        _, payload = childutils.listener.wait(sys.stdin, sys.stdout)
        fatal.write_text(childutils.get_headers(payload)["processname"])
        os.kill(os.getppid(), signal.SIGTERM)
        childutils.listener.ok(sys.stdout)


if __name__ == "__main__":
    main()
