"""README's pictures of the dashboard, from a real appliance: `python -m tests.browser.screenshots`.

Three hours of visits are laid into access.log, as nginx would have written them; the appliance ships them, and then
some more that come in while the pictures are taken.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.appliance.drivers import ROOT
from tests.browser.site import Site, chromium, unavailable
from tests.waiting import eventually

IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 300 * 1024
# in lines: of a log that is being rotated, the audit may be able to tell bytes only
BUSY = 20  # lines a second, more than the visitors make
VERDICT = re.compile(r"[\d,]+ written, [\d,]+ archived, 0 missing")
SIZE = (1360, 1640)
HISTORY = timedelta(hours=3)

# what is asked for, how it is answered, how often
VISITS = (
    ("GET /", 200, 30),
    ("GET /products", 200, 18),
    ("GET /products?page=2", 200, 9),
    ("GET /assets/site.css", 304, 12),
    ("GET /assets/site.js", 304, 10),
    ("GET /api/cart", 200, 9),
    ("POST /api/orders", 201, 4),
    ("GET /old-catalogue", 301, 3),
    ("GET /favicon.ico", 404, 3),
    ("GET /wp-login.php", 404, 2),
    ("GET /api/search?q=lamp", 200, 6),
    ("GET /api/search?q=desk", 503, 1),
)
AGENTS = (
    ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0 Safari/537.36", 9),
    ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Version/19.1 Mobile Safari/604.1", 6),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0", 3),
    ("kube-probe/1.34", 2),
    ("Googlebot/2.1 (+http://www.google.com/bot.html)", 1),
)


def history(now: datetime, dice: random.Random) -> str:
    """Lines of nginx's format, in the order of their time."""
    lines = []
    moment = now - HISTORY
    while moment < now:
        # a wave with a swell on top, so that the chart looks like a day and not like dice
        swell = 1 + 0.45 * ((moment.minute % 40) / 40) + (0.7 if moment.minute % 17 == 0 else 0)
        moment += timedelta(seconds=dice.expovariate(0.9 * swell))
        request, status, _ = dice.choices(VISITS, [often for *_, often in VISITS])[0]
        agent = dice.choices(AGENTS, [often for _, often in AGENTS])[0][0]
        host = f"203.0.113.{dice.randint(2, 250)}"
        lines.append(
            f'{host} - - [{moment:%d/%b/%Y:%H:%M:%S} +0000] "{request} HTTP/1.1" {status} '
            f'{dice.randint(200, 9000)} "-" "{agent}"\n'
        )
    return "".join(lines)


def visitors(site: Site, dice: random.Random, ended: threading.Event) -> None:
    """Requests until `ended`, with pauses in which all of them get archived."""
    while not ended.wait(dice.choice((0.1, 0.2, 0.3, 2.5))):
        site.request(dice.choice(("/", "/", "/", "/favicon.ico")), agent=dice.choice(AGENTS)[0])


def calm(page: Page) -> bool:
    """Whether lines flow, the history is through, and what is written is archived."""
    rates = [float(text.replace(",", "")) for text in page.locator(".rate").all_text_contents()]
    verdict = page.locator("#verdict-line").text_content() or ""
    archived = page.locator("#verdict").get_attribute("data-state") == "complete"
    return archived and all(0 < rate < BUSY for rate in rates) and VERDICT.fullmatch(verdict) is not None


def main() -> int:
    reason = unavailable()
    if reason:
        print(reason, file=sys.stderr)
        return 1
    dice = random.Random(7)
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory, chromium() as browser:
        site = Site(Path(directory))
        log = Path(directory) / "data" / "log" / "access.log"
        log.parent.mkdir(parents=True)
        log.write_text(history(datetime.now(UTC), dice))
        ended = threading.Event()
        traffic = threading.Thread(target=visitors, args=(site, dice, ended))
        try:
            site.start(POLL_INTERVAL="5")
            traffic.start()
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme=scheme, locale="en-US"
                )
                page = context.new_page()
                page.goto(site.url)
                expect(page.locator("#minutes-plot canvas")).to_be_visible(timeout=30_000)
                expect(page.locator("#lines-body tr").nth(50)).to_be_attached()
                expect(page.locator("#tree .object")).to_be_visible()
                eventually(lambda page=page: calm(page), within=90)  # type: ignore[misc]
                path = IMAGES / f"dashboard-{scheme}.png"
                page.screenshot(path=path)
                size = path.stat().st_size
                print(f"{path.relative_to(ROOT)}: {size} bytes")
                if size > MAX_BYTES:
                    print(f"larger than {MAX_BYTES} bytes", file=sys.stderr)
                    return 1
                context.close()
        finally:
            ended.set()
            if traffic.is_alive():
                traffic.join()
            site.appliance.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
