"""`script/test --all -p tests.strict`: nothing is skipped in silence. A pytest plugin.

The run fails when a test was skipped, or failed as expected, that allowed_skips.toml does not name, or when a marker of
pyproject.toml had no test that passed. Used where all that the tests need is there: in .ci/run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ALLOWED = Path(__file__).with_name("allowed_skips.toml")


def unlisted(skipped: Iterable[tuple[str, str]], allowed: Mapping[str, str]) -> list[str]:
    """What is said of each skipped (test, reason) that `allowed`, by the beginning of its id, does not name."""
    return [f"{test}: {reason}" for test, reason in skipped if not test.startswith(tuple(allowed))]


class Strict:
    def __init__(self, markers: Iterable[str], allowed: Mapping[str, str]) -> None:
        self._markers = set(markers)
        self._allowed = allowed
        self._passed: set[str] = set()
        self._skipped: list[tuple[str, str]] = []
        self.problems: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            _, _, reason = report.longrepr if isinstance(report.longrepr, tuple) else ("", 0, "")
            self._skipped.append((report.nodeid, getattr(report, "wasxfail", None) or reason or "no reason given"))
        elif report.passed and report.when == "call":
            self._passed |= self._markers & set(report.keywords)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(session.config, "workerinput"):
            return
        self.problems = unlisted(self._skipped, self._allowed)
        self.problems += [f"no test of the marker {name} has passed" for name in sorted(self._markers - self._passed)]
        if self.problems and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.problems:
            terminalreporter.section(
                "skipped or failed as expected, and not named in tests/allowed_skips.toml", red=True
            )
            for problem in self.problems:
                terminalreporter.write_line(problem)


def pytest_configure(config: pytest.Config) -> None:
    project = tomllib.loads((config.rootpath / "pyproject.toml").read_text())
    markers = [line.partition(":")[0] for line in project["tool"]["pytest"]["ini_options"]["markers"]]
    config.pluginmanager.register(Strict(markers, tomllib.loads(ALLOWED.read_text())["allowed"]))
