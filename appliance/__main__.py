"""Starts the appliance: `python -m appliance`, the container's first process.

Checks the settings, prepares DATA_DIR, decides whether the embedded emulator is needed, renders nginx's configuration,
then runs supervisord until it is told to stop. Exit status: 0 stopped, 1 a program could not be kept running, 2 the
settings or the machine do not allow a start.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__":
    # supervisord takes over later; until then a container's first process would not even get what it does not handle
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit())

import argparse
import logging

from appliance.checks import (
    StartError,
    check_dashboard,
    check_emulator,
    check_limits,
    check_log,
    check_nginx,
    check_upstream,
)
from appliance.folder import lock, prepare
from appliance.output import relayed
from appliance.run import run
from common.aws import answers
from common.log import configure, event
from common.settings import Settings, SettingsError, load_settings, require_data_dir
from common.status import Endpoint

log = logging.getLogger("appliance")


def endpoint_for(settings: Settings) -> Endpoint:
    """`embedded`: nothing was named, and nothing answers where an emulator would be."""
    if settings.target == "aws":
        return "aws"
    there = settings.localstack_host or answers("127.0.0.1", settings.emulator_port)
    return "endpoint" if there else "embedded"


def dashboard(settings: Settings) -> str:
    """Where the dashboard is, for the line that tells of the start."""
    if not settings.dashboard_port:
        return ""
    where = f", dashboard on {settings.dashboard_host}:{settings.dashboard_port}"
    if settings.dashboard_host != "127.0.0.1":
        return where
    return f"{where} (a container's is opened by -e DASHBOARD_HOST=0.0.0.0 -p 127.0.0.1:8080:{settings.dashboard_port})"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m appliance",
        description="Run nginx, entrypoint, producer and, when it is needed, the embedded emulator. "
        "Everything is set by environment variables; docs/settings.md lists them.",
    )
    parser.parse_args(arguments)
    try:
        settings = load_settings()
        require_data_dir(settings)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)  # LOG_FORMAT is one of them
        return 2
    with relayed():
        return start(settings)


def start(settings: Settings) -> int:
    try:
        configure(settings.log_level, settings.log_format, "appliance", tag=True)
        endpoint = endpoint_for(settings)
        check_limits()
        check_log(settings)
        check_nginx(settings)
        check_upstream(settings)
        check_dashboard(settings)
        lock(settings)
        prepare(settings, endpoint)
        if endpoint == "embedded":
            check_emulator(settings.data_dir / "emulator")
    except StartError as error:
        log.error("%s", error, extra=event("failed", part="appliance"))
        return 2
    where = settings.localstack_host or f"127.0.0.1:{settings.emulator_port}"
    shown = {"aws": "AWS", "embedded": f"embedded emulator {where}", "endpoint": f"endpoint {where}"}[endpoint]
    facts = event("started", http_port=settings.http_port, endpoint=None if endpoint == "aws" else where)
    log.info("nginx on port %d, %s%s", settings.http_port, shown, dashboard(settings), extra=facts)
    if settings.upstream.startswith("https:") and not settings.upstream_verify:
        log.warning(
            "UPSTREAM_VERIFY=false: any machine that answers for %s is believed, and may read and change every request",
            settings.upstream,
            extra=event("concern", part="nginx", problem="unverified"),
        )
    return run(settings, endpoint)


if __name__ == "__main__":
    os.umask(0o027)  # the log and the bucket are for this user, and to be read by the group
    sys.exit(main())
