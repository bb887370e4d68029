"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import functools
import logging
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator

import botocore.loaders
import botocore.session
import pytest
from hypothesis import settings

from tests.emulator import Emulator
from tests.localstack_process import LocalStack, LocalStackImage, by_image, unavailable

# A shell that starts the tests in the background lets SIGINT be ignored, also in all that they start: no Ctrl-C ends it
for interruption in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(interruption) == signal.SIG_IGN:
        signal.signal(interruption, signal.default_int_handler if interruption == signal.SIGINT else signal.SIG_DFL)

# How long an example takes says more of the machine than of the code
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def each_service_is_described_once() -> Iterator[None]:
    """A session reads them again, and each client of a test has its own: a tenth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.loaders.create_loader))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_test_waits_for_the_disk() -> Iterator[None]:
    """No power is cut here but in the simulation, which has a disk of its own; programs that tests start do wait."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync"):
            patch.setattr(os, name, lambda file: os.fstat(file) and None)  # refuses as they do what is not open
        yield


@pytest.fixture(autouse=True)
def no_log_outlives_its_test() -> Iterator[None]:
    """A handler that a program's `configure` has made would write into the captured output of a test that is over."""
    level = logging.root.level
    yield
    for handler in [each for each in logging.root.handlers if type(each) is logging.StreamHandler]:
        logging.root.removeHandler(handler)
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a MiniStack that lives as long as the test session; share it by using random names."""
    emulator = Emulator(tmp_path_factory.mktemp("ministack"))
    try:
        emulator.start()
        yield emulator.url
    finally:
        emulator.stop()


@pytest.fixture(scope="session")
def localstack_here() -> type[LocalStack] | type[LocalStackImage]:
    """LocalStack, installed; or the test is skipped with the reason."""
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    return LocalStackImage if by_image() else LocalStack


@pytest.fixture(scope="session")
def localstack(
    localstack_here: type[LocalStack] | type[LocalStackImage], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a LocalStack that lives as long as the test session; share it by using random names."""
    server = localstack_here(tmp_path_factory.mktemp("localstack"))
    try:
        server.start()
        yield server.url
    finally:
        server.stop(kill=True)


# The columns of the table below; "fake" is the tests' own, and moto runs in the test's process.
BACKENDS = ("fake", "moto", "ministack", "localstack")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The contract tests' result per backend, where LocalStack is one of them: what `script/test --all` ends with."""
    table: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for outcome in ("passed", "failed", "error", "skipped", "xfailed", "xpassed"):
        for report in terminalreporter.stats.get(outcome, []):
            path, _, test = report.nodeid.rpartition("::")
            name, _, parameters = test.partition("[")
            for backend in set(BACKENDS) & set(parameters.rstrip("]").split("-")):
                if path.startswith("tests/contract/"):
                    table[f"{path.rpartition('/')[2]}::{name}"][backend][outcome] += 1
    if not any("localstack" in row for row in table.values()):
        return
    terminalreporter.section("contract tests, by backend")
    width = max(map(len, table))
    cells = {
        row: [", ".join(f"{n} {outcome}" for outcome, n in found[backend].items()) or "–" for backend in BACKENDS]
        for row, found in sorted(table.items())
    }
    widths = [max(len(BACKENDS[at]), *(len(each[at]) for each in cells.values())) for at in range(len(BACKENDS))]
    for row, each in {"": list(BACKENDS), **cells}.items():
        padded = "  ".join(cell.ljust(size) for cell, size in zip(each, widths, strict=True))
        terminalreporter.write_line(f"{row.ljust(width)}  {padded}".rstrip())
