"""`python -m entrypoint`: provision and watch; `--once`: provision and exit; `--plan`: only say what would be done."""

from __future__ import annotations

import argparse
import logging
import os
import queue
import signal
import sys
import threading
from pathlib import Path

from common import aws
from common.clock import Clock, SystemClock
from common.errors import REACH
from common.log import configure, event
from common.settings import Settings, SettingsError, load_settings, require_data_dir
from entrypoint import lookout
from entrypoint.bundle import BundleError, bundle
from entrypoint.errors import AwayError, ProvisionError
from entrypoint.provision import connect, look_on_aws, provision
from entrypoint.quiet import recorded, until_quiet
from entrypoint.run import Run
from entrypoint.watch import PROVISION_WITHIN, Watch

log = logging.getLogger("entrypoint")

FUNCTION_FOLDER = Path(__file__).resolve().parent.parent / "lambda"
DEFAULT_TIMEOUT = 120.0


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 it could not be provisioned, 2 wrong settings or arguments."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        configure(settings.log_level, settings.log_format, "entrypoint")
        if not options.plan:
            require_data_dir(settings)
        code = bundle(FUNCTION_FOLDER)
    except (SettingsError, BundleError) as error:
        print(error, file=sys.stderr)
        return 2
    try:
        if options.plan:
            return plan(settings, code)
        if options.once:
            return once(settings, code, SystemClock(), options.timeout)
    except KeyboardInterrupt:
        return 130
    return daemon(settings, code, options.resume)


def plan(settings: Settings, code: bytes) -> int:
    """Print a line a resource; nothing is changed, nothing is waited for."""
    try:
        clients = connect(settings)
        if settings.target == "aws":
            for outcome in look_on_aws(clients, settings):
                print(f"{outcome} (TARGET=aws: terraform/ makes it)")
            return 0
        for outcome in provision(clients, settings, code, Run(SystemClock(), 0, apply=False)):
            details = f" ({'; '.join(outcome.details)})" if outcome.details else ""
            due = outcome.state if outcome.state == "unchanged" else f"would be {outcome.state}"
            print(f"{outcome.kind} {outcome.name}: {due}{details}")
    except ProvisionError as error:
        where = aws.endpoint_url(settings, "s3") or "AWS"
        remedy = f". {REACH[settings.target]}" if isinstance(error, AwayError) else ""
        print(f"cannot look at {where}: {error}{remedy}", file=sys.stderr)
        return 1
    return 0


def once(settings: Settings, code: bytes, clock: Clock, timeout: float) -> int:
    """Provision, waiting up to `timeout` seconds for an endpoint that does not answer yet."""
    run = Run(clock, timeout)
    watch = Watch(settings, code, clock, connect=connect, publish=False, within=min(timeout, PROVISION_WITHIN))
    while True:
        pause = watch.round()
        if watch.state == "ready":
            return 0
        if watch.state == "failed":
            return 1
        if pause >= run.left:
            facts = event("failed", part="provisioning", error=watch.error)
            log.error("gave up after %g s (--timeout): %s", timeout, watch.error, extra=facts)
            return 1
        clock.sleep(pause)


def daemon(settings: Settings, code: bytes, resume: int | None = None) -> int:
    """Watch until SIGTERM or SIGINT. `resume`: the descriptor that entrypoint/lookout.py has left.

    The watch has a thread of its own: one that resolves a name or waits for an answer sees no signal. The process then
    ends without waiting for it; whatever it was doing, the next start goes on from there.
    """
    asked: list[lookout.Question] = []
    watch = Watch(settings, code, SystemClock(), connect=lambda given: recorded(connect(given), asked))
    if resume is not None:
        watch.resume(lookout.recall(resume)["lines"])
    # of the queues, the one that a signal handler may put into
    ended: queue.SimpleQueue[int | lookout.Known] = queue.SimpleQueue()

    def work() -> None:
        try:
            ended.put(until_quiet(watch, asked))
        finally:
            ended.put(1)

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: ended.put(0))
    threading.Thread(target=work, name="watch", daemon=True).start()
    found = ended.get()
    return found if isinstance(found, int) else lookout.become(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m entrypoint",
        description="Makes what DELIVERY needs exist at LOCALSTACK_HOST, or in the embedded emulator, and keeps it so: "
        "waits for the endpoint as long as it takes, and provisions again what it forgot. With TARGET=aws it only "
        "looks whether all is there. Settings come from the environment; docs/settings.md lists them.",
        epilog="Exit status: 0 done, 1 not provisioned, 2 wrong settings.",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="provision and exit instead of watching")
    mode.add_argument("--resume", type=int, help=argparse.SUPPRESS)
    mode.add_argument("--plan", action="store_true", help="print what would be done, change nothing, and exit")
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT,
        metavar="SECONDS",
        help="with --once: how long to wait for the endpoint (default: %(default)g)",
    )
    return parser


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    # not sys.exit: an interpreter that shuts down next to a thread that logs may abort
    os._exit(status)
