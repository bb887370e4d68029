"""`python -m dashboard`: serve the dashboard and the metrics on DASHBOARD_HOST:DASHBOARD_PORT until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from collections.abc import Sequence

from hypercorn.asyncio import serve
from hypercorn.config import Config

from appliance.clock import SystemClock
from appliance.log import configure, event
from appliance.settings import Settings, SettingsError, load_settings
from dashboard.app import Dashboard
from dashboard.collector import Collector

log = logging.getLogger("dashboard")

STOPPED = 0
CANNOT_LISTEN = 1
UNUSABLE = 2

# After a stop, connections have this long for what they are at; `docker stop` gives the whole container 10 s
GRACE_SECONDS = 0.5


def configuration(settings: Settings) -> Config:
    config = Config()
    host = settings.dashboard_host or "0.0.0.0"  # noqa: S104 (empty means every address, as HTTP_HOST)
    config.bind = [f"[{host}]:{settings.dashboard_port}" if ":" in host else f"{host}:{settings.dashboard_port}"]
    config.graceful_timeout = GRACE_SECONDS
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError."""
    collector = Collector(settings, SystemClock())
    dashboard = Dashboard(collector)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, dashboard.ending.set)
    collector.start()
    log.info("dashboard on port %d", settings.dashboard_port, extra=event("started", port=settings.dashboard_port))
    await serve(dashboard.app(), configuration(settings), shutdown_trigger=dashboard.ending.wait)  # type: ignore[arg-type]
    collector.end()


def main(arguments: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(
        prog="python -m dashboard",
        description="Serve the dashboard, /metrics, /healthz and /readyz on DASHBOARD_PORT until SIGTERM. "
        "All settings are environment variables; README.md lists them.",
        epilog=f"Exit codes: {STOPPED} stopped by a signal, {CANNOT_LISTEN} the port cannot be listened on, "
        f"{UNUSABLE} the settings cannot be used.",
    ).parse_args(arguments)
    configure()
    try:
        settings = load_settings()
    except SettingsError as error:
        log.error("%s", error, extra=event("settings_rejected"))
        return UNUSABLE
    configure(settings.log_level, settings.log_format, "dashboard")
    logging.getLogger("hypercorn.error").setLevel(logging.WARNING)
    if not settings.dashboard_port:
        log.error("DASHBOARD_PORT=0 means that there is no dashboard", extra=event("settings_rejected"))
        return UNUSABLE
    try:
        asyncio.run(run(settings))
    except OSError as error:
        log.error(
            "DASHBOARD_PORT=%d cannot be listened on: %s. Mend it with another one: -e DASHBOARD_PORT=8081",
            *(settings.dashboard_port, error.strerror),
            extra=event("failed", error=str(error)),
        )
        return CANNOT_LISTEN
    log.info("stopped", extra=event("stopped"))
    return STOPPED


if __name__ == "__main__":
    status = main()
    # a look that waits for an endpoint must not keep the process
    logging.shutdown()
    os._exit(status)
