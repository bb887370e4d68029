"""`python -m producer`: ship the access log into the stream, at each poll or once."""

from __future__ import annotations

import argparse
import fcntl
import logging
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from common.clock import SystemClock
from common.log import Event, configure, event
from common.settings import Settings, SettingsError, load_settings, require_data_dir
from journal.checkpoint import CheckpointError
from producer.logs import Log, Logs, log_shipped, wrong_format
from producer.put import ClosableSink, Put, Sink
from producer.record import Record
from producer.setback import look_back
from producer.ship import ship_once, why
from producer.sink import cut_of, make_sink
from producer.whereabouts import SourceError

log = logging.getLogger("producer")

SHIPPED = 0
NOT_ALL_SHIPPED = 1
UNUSABLE = 2
# sysexits.h, EX_NOINPUT: "an input file did not exist"
NO_LOG = 66
# sysexits.h, EX_TEMPFAIL: "the user is invited to try again later"
LOCKED = 75
# Of several logs the worst counts
WORST_FIRST = (UNUSABLE, NOT_ALL_SHIPPED, NO_LOG, SHIPPED)

HELP = f"""\
Ships the complete lines of LOG_FILE (else DATA_DIR/log/access.log) or of LOG_FILES, and of their rotated siblings, to
KINESIS_DATA_STREAM or, with DELIVERY=firehose, to FIREHOSE_STREAM. Checkpoints are in DATA_DIR. Logs of others are only
read.
All settings are environment variables; docs/settings.md lists them.

Exit codes:
  {SHIPPED}   stopped by a signal; with --once: everything that was there is acknowledged
  {NOT_ALL_SHIPPED}   --once: not everything could be shipped, or lines were lost; the log says why. Run it again.
  {UNUSABLE}   the settings or the checkpoint cannot be used; the log says what mends it
  {NO_LOG}  --once: there is no LOG_FILE; what was left of its rotated siblings is acknowledged
  {LOCKED}  another producer holds the lock beside the checkpoint
"""


class LockedError(Exception):
    """Another producer is at work on the same checkpoint."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m producer", epilog=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--once", action="store_true", help="ship what is there and exit (for cron); never rotates")
    options = parser.parse_args(arguments)
    configure()
    try:
        settings = load_settings()
        configure(settings.log_level, settings.log_format, "producer")
        require_data_dir(settings)
        with locked(settings.checkpoint_file):
            if options.once:
                return once(settings)
            # here, not above: cron starts the other way each minute, and this one imports as much again
            from producer.schedule import serve

            return serve(settings)
    except SettingsError as error:
        log.error("%s", error, extra=event("settings_rejected", error=str(error)))
        return UNUSABLE
    except LockedError as error:
        log.error("%s", error, extra=event("failed", part="lock", error=str(error)))
        return LOCKED
    except OSError as error:
        log.error("cannot start: %s", error, extra=event("failed", part="start", error=str(error)))
        return NOT_ALL_SHIPPED


class _Later:
    """A sink that is made with the first batch: that of DELIVERY=s3 imports the function's code."""

    def __init__(self, make: Callable[[], ClosableSink]) -> None:
        self._make = make
        self._made: ClosableSink | None = None

    def put(self, batch: Sequence[Record]) -> Put:
        self._made = self._made or self._make()
        return self._made.put(batch)

    def close(self) -> None:
        if self._made:
            self._made.close()


def once(settings: Settings) -> int:
    """Ship what is there. SIGTERM and SIGINT end it after the batch at hand."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clock, rng = SystemClock(), random.SystemRandom()
    logs, problems = Logs(settings, clock, rng).look()
    for problem in problems:
        log.error("%s", problem, extra=event("concern", part="logs", problem=problem))
    codes = {NOT_ALL_SHIPPED} if problems else {SHIPPED}
    with closing(_Later(lambda: make_sink(settings, clock, rng, stop=stop.is_set, pause=stop.wait))) as sink:
        for each in logs:
            code, refused = _ship(each, settings, sink, stop.is_set)
            codes.add(code)
            if refused:  # the others are looked at: the stream would not take theirs now, either
                stop.set()
    return next(code for code in WORST_FIRST if code in codes)


def _ship(each: Log, settings: Settings, sink: Sink, stop: Callable[[], bool]) -> tuple[int, bool]:
    """The exit code of one log, and whether the stream has refused lines of it."""
    delivery = settings.delivery
    try:
        if delivery.has_ledger:
            look_back(each.checkpoint_file, once=True)
        report = ship_once(each.source, each.checkpoint_file, sink, cut=cut_of(delivery), stop=stop)
    except (CheckpointError, SourceError, OSError) as error:
        part = "checkpoint" if isinstance(error, CheckpointError) else "log"
        log.error("%s%s", each.told, why(error), extra=event("failed", part=part, error=why(error)))
        return UNUSABLE if isinstance(error, CheckpointError) else NOT_ALL_SHIPPED, False
    if report.records:
        log_shipped(each, report)
    stopped = "stopped with lines left; the next run sends them" if report.stopped else None
    complaints: list[tuple[Event, str]] = [
        *(("concern", problem) for problem in report.problems),
        *(("refused", message) for message in (report.error, stopped) if message),
    ]
    code = NOT_ALL_SHIPPED if complaints else SHIPPED
    if report.absent and not each.found:
        complaints.append(("concern", report.absent))
        code = code or NO_LOG
    if report.records and (wrong := wrong_format(each, settings)):
        complaints.append(("concern", wrong))
    for name, message in complaints:
        log.error("%s%s", each.told, message, extra=event(name, part="tick", error=message))
    return code, report.error is not None


@contextmanager
def locked(checkpoint: Path) -> Iterator[None]:
    """Hold the lock beside the checkpoint; the kernel drops it with the process. Raises LockedError, OSError."""
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    path = checkpoint.with_name(f"{checkpoint.name}.lock")
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"another producer holds {path}: stop it, or let it do the work") from None
        except OSError as error:
            remedy = f"{path} cannot be locked ({error.strerror}); mend it with a DATA_DIR on this machine's own disk"
            raise LockedError(remedy) from None
        yield


if __name__ == "__main__":
    sys.exit(main())
