"""What the tests of terraform/ share: what `script/bundle` makes, and the pipelines, applied all at once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.localstack_process import unavailable as no_localstack
from tests.terraform.deployments import KINDS, Deployment, Deployments
from tests.terraform.driver import ROOT, unavailable

# Deployment -> what to say of it at the end of the test run.
_said: dict[str, str] = {}


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Terraform and its AWS provider; or the test is skipped with the reason."""
    reason = unavailable(tmp_path_factory.mktemp("terraform"))
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what `script/bundle` builds."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [str(ROOT / "script" / "bundle"), "--out", str(folder)], check=True, capture_output=True, timeout=300
    )
    return folder


@pytest.fixture(scope="session")
def deployments(
    request: pytest.FixtureRequest, built: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployments]:
    """All deployments that the chosen tests need, begun together: each waits more than it computes."""
    request.getfixturevalue("terraform")
    wanted = {
        str(item.callspec.params["deployment"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and "deployment" in item.callspec.params
        and item.get_closest_marker("skip") is None
    }
    urls = {}
    if any(KINDS[name].emulator == "localstack" for name in wanted) and not no_localstack():
        urls["localstack"] = request.getfixturevalue("localstack")
    all_of_them = Deployments(
        sorted(wanted), tmp_path_factory.mktemp("deployments"), built / "stream-transformation.zip", urls
    )
    try:
        yield all_of_them
    finally:
        _said.update(all_of_them.summary())
        if hasattr(request.config, "workeroutput"):
            request.config.workeroutput["terraform"] = _said
        all_of_them.stop()


@pytest.fixture(scope="session", autouse=True)
def begun(request: pytest.FixtureRequest) -> None:
    """Applying begins with the first test of this folder, and goes on while others look at the text.

    With several workers of pytest-xdist, the tests of the text may run in another one: a worker applies only what its
    own tests ask for.
    """
    if hasattr(request.config, "workerinput"):
        return
    if any("deployment" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("deployments")


@pytest.fixture
def deployment(request: pytest.FixtureRequest, deployments: Deployments) -> Deployment:
    """The one that is named by the parameter, applied."""
    if KINDS[request.param].emulator == "localstack":
        request.getfixturevalue("localstack_here")
    return deployments.applied(request.param)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker of pytest-xdist has to say."""
    _said.update(getattr(node, "workeroutput", {}).get("terraform", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was applied where, and how long it took."""
    if _said:
        terminalreporter.section("terraform: what was applied")
        for name, text in sorted(_said.items()):
            terminalreporter.write_line(f"{name}: {text}")
