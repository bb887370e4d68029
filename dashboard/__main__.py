"""`python -m dashboard`: serve the dashboard and the metrics on DASHBOARD_HOST:DASHBOARD_PORT until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from common import web
from common.clock import SystemClock
from common.log import configure, event
from common.settings import Settings, SettingsError, load_settings
from common.unused import unused
from dashboard.app import Dashboard
from dashboard.collector import Collector

with unused("multiprocessing.synchronize"):  # for several processes
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

log = logging.getLogger("dashboard")

STOPPED = 0
UNUSABLE = 2

# After a stop, connections have this long for what they are at; `docker stop` gives the whole container 10 s
GRACE_SECONDS = 0.5
# A port that is taken may become free
LISTEN_AGAIN_SECONDS = 2.0


def listen(settings: Settings) -> socket.socket:
    """The socket that browsers connect to. Raises OSError."""
    listener = web.listen(settings.dashboard_host, settings.dashboard_port)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def listening(settings: Settings, ending: asyncio.Event, pause: float) -> socket.socket | None:
    """The socket as soon as there can be one, tried every `pause` seconds; None: `ending` came before.

    hypercorn would log two tracebacks and give up, and supervisord would start the process again and again.
    """
    said = ""
    while not ending.is_set():
        try:
            return listen(settings)
        except OSError as error:
            if said != (said := error.strerror or str(error)):
                log.error(
                    "DASHBOARD_PORT=%d cannot be listened on: %s. It is tried again every %g s; or mend it with "
                    "another one: -e DASHBOARD_PORT=8081",
                    *(settings.dashboard_port, said, pause),
                    extra=event("failed", part="port", error=said),
                )
        with suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), pause)
    return None


def configuration(listener: socket.socket) -> Config:
    """For hypercorn, to whom `listener` belongs from now on."""
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.backlog = web.BACKLOG
    config.graceful_timeout = GRACE_SECONDS
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    collector = Collector(settings, SystemClock())
    dashboard = Dashboard(collector)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, dashboard.ending.set)
    listener = await listening(settings, dashboard.ending, LISTEN_AGAIN_SECONDS)
    if listener is None:
        return
    collector.start()
    log.info("dashboard on port %d", settings.dashboard_port, extra=event("started", port=settings.dashboard_port))
    await serve(dashboard.app(), configuration(listener), shutdown_trigger=dashboard.ending.wait)  # type: ignore[arg-type]
    collector.end()


def main(arguments: Sequence[str] | None = None) -> int:
    argparse.ArgumentParser(
        prog="python -m dashboard",
        description="Serve the dashboard, /metrics, /healthz and /readyz on DASHBOARD_PORT until SIGTERM. "
        "All settings are environment variables; docs/settings.md lists them.",
        epilog="A port that cannot be listened on is waited for. "
        f"Exit codes: {STOPPED} stopped by a signal, {UNUSABLE} the settings cannot be used.",
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
    asyncio.run(run(settings))
    log.info("stopped", extra=event("stopped"))
    return STOPPED


if __name__ == "__main__":
    status = main()
    # a look that waits for an endpoint must not keep the process
    logging.shutdown()
    os._exit(status)
