from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.appliance.drivers import folder
from tests.browser.site import DESKTOP, Site, Watch, chromium, go, unavailable

PATHS = ("/", "/", "/", "/missing", "/search?q=secret")

# ms that an element may take: the machine may be busy with other tests
PATIENCE = 90_000
expect.set_options(timeout=PATIENCE)

Open = Callable[..., Page]


# a module's, as tests of asyncio fail beside it: Playwright has an event loop running in this thread
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    with chromium() as one:
        yield one


@pytest.fixture(scope="module")
def site(browser: Browser) -> Iterator[Site]:
    """An appliance with some lines, which the tests share: they may add lines, and stop nothing."""
    assert browser
    with folder() as directory:
        one = Site(directory)
        try:
            one.start(POLL_INTERVAL="1")
            for path in PATHS:
                one.request(path, agent="first/1.0")
            one.archived()
            yield one
        finally:
            one.appliance.stop()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Open a page: visit(url, size=…, and what a Playwright context takes); `before` gets it while it is empty.

    Fails when the page did what it should not. `forgiving`: a test that breaks something expects requests to fail, and
    the console to say so.
    """
    opened: list[tuple[BrowserContext, Watch, bool]] = []

    def visit_page(
        url: str,
        *,
        size: tuple[int, int] = DESKTOP,
        forgiving: bool = False,
        before: Callable[[Page], object] | None = None,
        **options: Any,
    ) -> Page:
        options = {"locale": "en-US", "timezone_id": "Asia/Seoul", **options}
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        opened.append((context, Watch(page, url), forgiving))
        if before:
            before(page)
        go(page, url)
        return page

    yield visit_page
    problems = [
        problem
        for _, watch, forgiving in opened
        for problem in watch.problems
        if not (forgiving and problem.startswith(("console: Failed to load", "failed: ")))
    ]
    for context, _, _ in opened:
        context.close()
    assert problems == []
