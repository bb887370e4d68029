"""Starts the appliance: `python -m appliance`, the container's first process.

Checks the settings, prepares DATA_DIR, decides whether the embedded emulator is needed, renders nginx's configuration,
then runs supervisord until it is told to stop. Exit status: 0 stopped, 1 a program could not be kept running, 2 the
settings or the machine do not allow a start.
"""

from __future__ import annotations

import argparse
import logging
import sys

from appliance.checks import StartError, check_dashboard, check_nginx
from appliance.environment import for_programs
from appliance.folder import announce, lock, prepare
from appliance.run import run
from common.aws import answers
from common.log import configure, event
from common.settings import Settings, SettingsError, load_settings

log = logging.getLogger("appliance")


def needs_emulator(settings: Settings) -> bool:
    """Whether the embedded emulator has to serve: nothing was named, and nothing answers where one would be."""
    return (
        settings.target != "aws" and not settings.localstack_host and not answers("127.0.0.1", settings.emulator_port)
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m appliance",
        description="Run nginx, entrypoint, producer and, when it is needed, the embedded emulator. "
        "Everything is set by environment variables; docs/settings.md lists them.",
    )
    parser.parse_args(arguments)
    try:
        settings = load_settings()
        configure(settings.log_level, settings.log_format, "appliance", tag=True)
        emulator = needs_emulator(settings)
        check_nginx(settings)
        check_dashboard(settings)
        lock(settings)
        prepare(settings)
        announce(settings, emulator)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)  # LOG_FORMAT is one of them
        return 2
    except StartError as error:
        log.error("%s", error, extra=event("failed", part="appliance"))
        return 2
    where = settings.localstack_host or f"127.0.0.1:{settings.emulator_port}"
    kind = "AWS" if settings.target == "aws" else "embedded emulator" if emulator else "endpoint"
    log.info(
        "%s",
        f"nginx on port {settings.http_port}, {kind} {where if kind != 'AWS' else ''}".rstrip(),
        extra=event("started", http_port=settings.http_port, endpoint=None if kind == "AWS" else where),
    )
    return run(settings, for_programs(settings, emulator))


if __name__ == "__main__":
    sys.exit(main())
