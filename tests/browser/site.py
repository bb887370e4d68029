"""The dashboard of a running appliance, and a browser that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, sync_playwright

from tests.appliance.drivers import ROOT, Native, get, polled
from tests.waiting import eventually, free_port

CHROMIUM = "/usr/bin/chromium"
AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
MEND = "run it by script/test --all, or once: script/bootstrap browser"
# where screenshots of the tests are kept, for people and CI to look at
ARTEFACTS = Path(os.environ.get("ARTEFACTS", ROOT / ".artefacts")) / "browser"
# Chromium breaks off all requests when a network interface of the machine comes or goes, and tests that run beside
# these start containers, each of which has one
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
LOADS = 5
DESKTOP = (1360, 900)
PHONE = (360, 780)


class Site:
    """An appliance with its dashboard, both on free ports."""

    def __init__(self, directory: Path) -> None:
        self.appliance = Native(directory)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self._requests = 0

    def start(self, **settings: str) -> None:
        """Start it and wait until every part is ok, the dashboard included."""
        self.appliance.start(DASHBOARD_PORT=str(self.port), DASHBOARD_HOST="127.0.0.1", **settings)
        polled(self.appliance)
        eventually(lambda: self.state()["nodes"][-1]["state"] == "ok", within=30, why="the dashboard sees the bucket")

    def request(self, path: str, agent: str = "test") -> None:
        get(self.appliance.http_port, path, agent=agent)
        self._requests += 1

    def api(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}api/{path}", timeout=60) as answer:
            return json.load(answer)

    def state(self) -> Any:
        return self.api("state")

    def archived(self, within: float = 30) -> int:
        """Wait until every line that is written is archived; how many there are."""

        def look() -> int:
            state = self.state()
            audit = state["audit"]
            assert audit, state
            assert audit["verdict"] == "complete", state
            # what the dashboard last saw may be older than the newest lines
            assert audit["written"] >= self._requests, state
            assert not state["behind"]["bytes"], state
            assert audit["written"] == state["nodes"][0]["facts"][1]["value"], state
            count = audit["archived"]
            assert isinstance(count, int)
            return count

        return eventually(look, within=within, every=0.3)


def unavailable() -> str | None:
    """Why no browser can be had here, with the remedy; None when one can."""
    if not shutil.which(CHROMIUM):
        return f"Chromium is not at {CHROMIUM}; {MEND}"
    return None


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    # its sandbox wants an ordinary user
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def go(page: Page, url: str) -> None:
    """Open it; once more when Chromium broke off what it was loading, see NETWORK_CHANGED."""
    broken_off: list[Request] = []

    def note(request: Request) -> None:
        if request.failure == NETWORK_CHANGED:
            broken_off.append(request)

    page.on("requestfailed", note)
    try:
        for _ in range(LOADS):
            broken_off.clear()
            try:
                page.goto(url)
            except Error as error:  # it was the page itself
                if NETWORK_CHANGED not in error.message:
                    raise
                continue
            if not broken_off:
                return
    finally:
        page.remove_listener("requestfailed", note)


class Watch:
    """What a page did that it should not: errors on the console, failed requests, requests to other hosts."""

    def __init__(self, page: Page, url: str) -> None:
        self.problems: list[str] = []
        self._host = urlsplit(url).netloc
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        page.on("request", self._request)
        page.on("requestfailed", self._failed)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and NETWORK_CHANGED not in message.text:
            self.problems.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != self._host:
            self.problems.append(f"another host: {request.url}")

    def _failed(self, request: Request) -> None:
        # what a reload or the end of a page breaks off has not failed
        if request.failure not in ("net::ERR_ABORTED", NETWORK_CHANGED):
            self.problems.append(f"failed: {request.url}: {request.failure}")


def keep(page: Page, name: str) -> None:
    """A screenshot of the whole page, as an artefact."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=True)
