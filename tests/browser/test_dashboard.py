"""The dashboard in a real browser, over a real appliance. What is on the page is compared with the API and with S3."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Response, Route, expect

from dashboard.app import MAX_WATCHERS
from tests.appliance.drivers import folder, no_poll_soon, ready, s3_client
from tests.browser.conftest import Open
from tests.browser.site import AXE, MEND, PHONE, Site, go, keep
from tests.checker import entries
from tests.emulator import Emulator
from tests.waiting import eventually

pytestmark = pytest.mark.browser

BUCKET = "my-bucket"
CLASSES = "#classes td:nth-child(2)"  # how many lines have a status of this class
# page and scripts, compressed
SIZE_BUDGET = 150_000
# runs before the page: the milliseconds until the graph is there
DRAWN = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("#pipeline .node")) return;
  globalThis.drawn = performance.now();
  observer.disconnect();
}).observe(document, {childList: true, subtree: true});
"""
# keeps what a screen reader is told
HEARD = """() => {
  globalThis.heard = [];
  const announcer = document.getElementById("announcer");
  new MutationObserver(() => heard.push(announcer.textContent)).observe(announcer, {childList: true, subtree: true});
}"""
SERIOUS = {"serious", "critical"}


def node(page: Page, name: str) -> Locator:
    return page.locator(f"#pipeline .node[data-id={name}]")


def fact(page: Page, name: str, label: str) -> Locator:
    """The value beside a label in a node."""
    row = node(page, name).locator(".facts > div", has=page.locator(f"dt:text-is('{label}')"))
    return row.locator("dd")


def loaded(page: Page) -> Page:
    """Wait until everything the page reads has come."""
    expect(page.locator("#connection")).to_have_attribute("data-state", "connected")
    expect(page.locator("#lines-body tr").first).to_be_visible()
    expect(page.locator("#tree .object").first).to_be_visible()
    expect(page.locator("#minutes-plot canvas")).to_be_visible()
    return page


def seen(page: Page, expression: str) -> None:
    """Wait until it is true of the page, whose policy lets Playwright evaluate it from outside alone."""
    eventually(lambda: page.evaluate(expression), within=15, why=expression)


def of_the_year(page: Page) -> Locator:
    """The folder that all lines are in, of whichever hours."""
    return page.locator("#tree > li").first.locator("summary").first


def count_in_s3(site: Site) -> int:
    s3 = s3_client(site.appliance)
    try:
        return len(entries(s3, BUCKET))
    finally:
        s3.close()


def test_the_graph_and_the_numbers_are_those_of_the_api_and_of_s3(site: Site, visit: Open) -> None:
    count = site.archived()
    assert count == count_in_s3(site)
    page = loaded(visit(site.url))
    names = page.locator("#pipeline .node h3").all_text_contents()
    assert names == ["nginx", "access.log", "Producer", "Kinesis stream", "Lambda", "S3 bucket"]
    assert page.locator("#pipeline .edge").count() == len(names) - 1
    state = site.state()
    for one in state["nodes"]:
        expect(node(page, one["id"]).locator(".state")).to_have_text("Working")
    expect(node(page, "stream").locator(".name")).to_have_text("web-log-stream")
    expect(node(page, "stream").locator(".shards li")).to_have_text([f"Shard 0: {count:,} records"])
    expect(page.locator("#behind-bucket-figure")).to_have_text("Nothing")
    expect(page.locator("#verdict-title")).to_have_text("Every line is archived")
    expect(page.locator("#verdict-line")).to_have_text(f"{count:,} written, {count:,} archived, 0 missing")
    for name, label in (("nginx", "requests"), ("log", "lines"), ("producer", "lines"), ("bucket", "lines")):
        expect(fact(page, name, label)).to_have_text(f"{count:,}")
    expect(page.locator("#behind-log-figure")).to_have_text("Nothing")
    # and the charts and the tree, which are read from the objects themselves
    charts = site.api("charts?minutes=60")
    assert sum(minute["2xx"] + minute["4xx"] for minute in charts["minutes"]) == count
    total = page.locator(CLASSES).all_text_contents()
    assert sum(int(each.replace(",", "")) for each in total) == count
    expect(of_the_year(page)).to_contain_text(f"{count:,} lines")
    keep(page, "desktop-light")


def test_little_is_not_shown_as_nothing_nor_nearly_all_as_all(site: Site, visit: Open) -> None:
    look = (
        "import('/js/format.js').then((show) => [[0, 0.02, 3.14].map(show.rate), [0.003, 0.997, 1].map(show.percent)])"
    )
    assert visit(site.url).evaluate(look) == [["0", "0.02", "3.1"], ["0.3%", "99.7%", "100%"]]


def test_with_s3_the_graph_goes_straight_to_the_bucket(visit: Open) -> None:
    with folder() as directory:
        own = Site(directory)
        try:
            own.start(POLL_INTERVAL="1", DELIVERY="s3")
            page = visit(own.url)

            def flows() -> bool:
                own.request("/straight")
                return page.locator("#pipeline .edge[data-flowing]").count() == 3

            eventually(flows, within=20, every=0.2)
            count = own.archived()
            loaded(page)
            names = page.locator("#pipeline .node h3").all_text_contents()
            assert names == ["nginx", "access.log", "Producer", "S3 bucket"]
            assert page.locator("#pipeline .edge").count() == 3
            for one in own.state()["nodes"]:
                expect(node(page, one["id"]).locator(".state")).to_have_text("Working")
            expect(page.locator("#where")).to_contain_text("straight to S3")
            expect(page.locator("#behind-log-more")).to_have_text("Every line is in the bucket.")
            expect(page.locator("#behind-bucket-more")).to_have_text("The producer writes to the bucket itself.")
            expect(page.locator("#verdict-line")).to_have_text(f"{count} written, {count} archived, 0 missing")
            keep(page, "delivery-s3")
            page.locator("#language").select_option("ko")
            expect(page.locator("#where")).to_contain_text("S3에 직접")
        finally:
            own.appliance.stop()


def test_new_requests_come_in_by_themselves(site: Site, visit: Open) -> None:
    page = loaded(visit(site.url))
    before = site.archived()
    mark = f"/live-{secrets.token_hex(4)}"
    for _ in range(3):
        site.request(mark)
    expect(page.locator("#lines-body td.path", has_text=mark)).to_have_count(3)
    expect(page.locator("#verdict-line")).to_contain_text(f"{before + 3:,} archived")
    expect(of_the_year(page)).to_contain_text(f"{before + 3:,} lines")


def never_by_itself(route: Route) -> None:
    """The script, for which no archive is so quiet that it is looked at all the same."""
    script = route.fetch().text()
    assert "const QUIET = 30_000;" in script
    route.fulfill(
        body=script.replace("const QUIET = 30_000;", "const QUIET = Infinity;"), content_type="text/javascript"
    )


def first_cut_off() -> tuple[list[Route], Callable[[Route], None]]:
    """What was cut off, and what does that to the first request of a route."""
    cut: list[Route] = []

    def cut_one(route: Route) -> None:
        if cut:
            route.continue_()
        else:
            cut.append(route)
            route.abort("connectionreset")

    return cut, cut_one


@pytest.mark.parametrize("part", ["lines", "tree", "charts"])
def test_what_was_cut_off_is_asked_again_before_the_archive_grows(site: Site, visit: Open, part: str) -> None:
    page = loaded(visit(site.url, forgiving=True, before=lambda each: each.route("**/js/main.js", never_by_itself)))
    cut, cut_one = first_cut_off()
    page.route(f"**/api/{part}?*", cut_one)
    mark = f"/cut-{secrets.token_hex(4)}"
    site.request(mark)
    count = site.archived()

    def shown() -> bool:
        if part == "charts":
            return sum(int(each.replace(",", "")) for each in page.locator(CLASSES).all_text_contents()) == count
        if part == "tree":
            return f"{count:,} lines" in (of_the_year(page).text_content() or "")
        return page.locator("#lines-body td.path", has_text=mark).count() == 1

    eventually(shown, why="it is asked again")
    assert cut


def test_lines_flow_along_the_edges(site: Site, visit: Open) -> None:
    page = loaded(visit(site.url))
    calm = loaded(visit(site.url, reduced_motion="reduce"))

    def look() -> bool:
        site.request("/flow")
        return page.locator("#pipeline .edge[data-flowing]").count() == page.locator("#pipeline .edge").count()

    eventually(look, within=20, every=0.2)
    moving = "all => all.map(each => getComputedStyle(each).animationName)"
    assert "flow" in page.eval_on_selector_all("#pipeline .wire", moving)
    calm.wait_for_selector(".edge[data-flowing]")
    assert set(calm.eval_on_selector_all("#pipeline .wire", moving)) == {"none"}


def test_objects_are_browsed_and_shown_raw(site: Site, visit: Open) -> None:
    site.archived()
    page = loaded(visit(site.url))
    folders = page.locator("#tree summary .entry-name").all_text_contents()
    year, month, day, hour = folders[:4]
    assert [len(part) for part in (year, month, day, hour)] == [5, 3, 3, 3]
    page.locator("#tree .object button").first.click()
    key = f"{year}{month}{day}{hour}web-access.log"
    expect(page.locator("#raw-key")).to_have_text(key)
    expect(page.locator("#view-raw")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#tree .object button").first).to_have_attribute("aria-current", "true")
    expect(page.locator("#raw")).to_contain_text('"userAgent"')
    shown = page.locator("#raw").text_content() or ""
    s3 = s3_client(site.appliance)
    stored = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
    s3.close()
    assert stored.endswith(shown)
    # a folder closes, and stays closed while the archive grows
    first = page.locator("#tree > li details").first
    page.locator("#tree > li summary").first.click()
    site.request("/while-closed")
    site.archived()
    page.wait_for_timeout(1500)
    assert not first.evaluate("each => each.open")


def test_lines_are_filtered(site: Site, visit: Open) -> None:
    mark = f"/filter-{secrets.token_hex(4)}"
    site.request(mark)
    site.request("/")
    site.archived()
    page = loaded(visit(site.url))
    rows = page.locator("#lines-body tr")
    page.get_by_label("Path", exact=True).fill(mark)
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("404")
    page.get_by_label("Status", exact=True).fill("2xx")
    expect(page.locator("#lines-empty")).to_have_text("No line matches the filter.")
    page.get_by_role("button", name="Clear").click()
    expect(rows.nth(1)).to_be_visible()
    page.get_by_label("Status", exact=True).fill("404")
    expect(page.locator("#lines-body .status", has_text="200")).to_have_count(0)
    expect(rows.first).to_be_visible()
    page.get_by_label("Host", exact=True).fill("10.9.8.7")
    expect(rows).to_have_count(0)


def with_fields(route: Route) -> None:
    """The answer for lines with FIELDS, of which the oldest has none."""
    answer = route.fetch()
    said = answer.json()
    *lines, oldest = said["lines"]
    fields = {"bytes": 5, "requestTime": 0.25, "referer": None, "key": "k", "<b>x</b>": "<i>\u202e</i>"}
    route.fulfill(response=answer, json=said | {"lines": [*(line | fields for line in lines), oldest]})


def test_fields_are_columns_behind_the_seven(site: Site, visit: Open) -> None:
    page = loaded(visit(site.url, before=lambda each: each.route("**/api/lines?*", with_fields)))
    expect(page.locator("#lines-head .field")).to_have_text(["bytes", "requestTime", "referer", "<b>x</b>"])
    rows = page.locator("#lines-body tr")
    expect(rows.first.locator(".field")).to_have_text(["5", "0.25", "–", r"<i>\u202e</i>"])
    expect(rows.last.locator(".field")).to_have_text(["–", "–", "–", "–"])


def test_what_stands_in_the_log_is_only_text(site: Site, visit: Open) -> None:
    mark = secrets.token_hex(4)
    site.request(f"/<img/src=x/onerror=alert(1)>{mark}", agent=f"<script>alert('{mark}')</script>")
    site.archived()
    page = loaded(visit(site.url))
    row = page.locator("#lines-body tr", has_text=mark).first
    expect(row.locator(".agent")).to_have_text(f"<script>alert('{mark}')</script>")
    expect(row.locator(".path")).to_have_text(f"/<img/src=x/onerror=alert(1)>{mark}")
    expect(page.locator("#paths")).to_contain_text(f"/<img/src=x/onerror=alert(1)>{mark}")
    expect(page.locator("#agents")).to_contain_text(f"<script>alert('{mark}')</script>")
    page.get_by_role("button", name="Raw").click()
    expect(page.locator("#raw")).to_contain_text(f"<script>alert('{mark}')</script>")
    assert page.locator("main img, main script").count() == 0
    # raw bytes opened as a page of their own are text as well; Chromium asks for an icon then, and there is none
    alone = visit(f"{site.url}api/raw?key={page.locator('#raw-key').text_content()}", forgiving=True)
    expect(alone.locator("body")).to_contain_text(f"<script>alert('{mark}')</script>")
    assert alone.locator("script, img").count() == 0


def test_what_is_not_seen_is_shown(site: Site, visit: Open) -> None:
    """A mark that turns the text around could make a line look like another one."""
    mark = secrets.token_hex(4)
    sent, shown = f"{mark}\u202egnp.exe\u2066\u200b\ufeff", f"{mark}\\u202egnp.exe\\u2066\\u200b\\ufeff"
    # a header's bytes; http.client writes them as Latin-1
    site.request(f"/{mark}", agent=sent.encode().decode("latin-1"))
    site.archived()
    page = loaded(visit(site.url))
    cell = page.locator("#lines-body tr", has_text=mark).first.locator(".agent")
    expect(cell).to_have_text(shown)
    expect(cell).to_have_attribute("title", shown)
    expect(page.locator("#agents")).to_contain_text(shown)
    page.get_by_role("button", name="Raw").click()
    expect(page.locator("#raw")).to_contain_text(shown)
    # it is another way to write the same JSON
    agents = [json.loads(line)["userAgent"] for line in (page.locator("#raw").text_content() or "").splitlines()]
    assert sent in agents
    assert not re.search("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]", page.locator("body").inner_text())


HIDE = """hidden => {
  Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
  document.dispatchEvent(new Event("visibilitychange"));
}"""


def free_places(site: Site) -> int:
    """How many more may watch."""
    taken: list[http.client.HTTPConnection] = []
    try:
        while True:
            taken.append(http.client.HTTPConnection("127.0.0.1", site.port, timeout=60))
            taken[-1].request("GET", "/api/events")
            answer = taken[-1].getresponse()
            if answer.status == 503:
                return len(taken) - 1
            answer.readline()  # it is counted as soon as it gets something
    finally:
        for each in taken:
            each.close()


def test_a_page_that_nobody_looks_at_does_not_watch(site: Site, visit: Open) -> None:
    page = loaded(visit(site.url))
    eventually(lambda: free_places(site) == MAX_WATCHERS - 1, within=20, why="only this page watches")
    page.evaluate(HIDE, True)
    eventually(lambda: free_places(site) == MAX_WATCHERS, within=20, why="nobody watches")
    expect(page.locator("#connection")).to_have_attribute("data-state", "connecting")
    mark = f"/hidden-{secrets.token_hex(4)}"
    site.request(mark)
    count = site.archived()
    page.evaluate(HIDE, False)
    expect(page.locator("#connection")).to_have_attribute("data-state", "connected")
    expect(page.locator("#verdict-line")).to_contain_text(f"{count:,} archived")
    expect(page.locator("#lines-body td.path", has_text=mark)).to_have_count(1)
    eventually(lambda: free_places(site) == MAX_WATCHERS - 1)
    # who only looks away for a moment stays connected
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)
    page.evaluate("fetch('healthz')")  # comes after what the page has asked for by then
    assert f"{site.url}healthz" in asked
    assert f"{site.url}api/events" not in asked


def test_of_too_many_objects_it_says_which_are_known(site: Site, visit: Open) -> None:
    page = visit(site.url, before=lambda each: each.route("**/api/tree?*", too_many))
    expect(page.locator("#tree-note")).to_have_text(
        "There are more objects than the newest 20,000, which lines, charts and numbers come from. "
        "Folders are not counted."
    )
    expect(page.locator("#tree .object").first).to_be_visible()
    page.get_by_label("Language").select_option("ko")
    expect(page.locator("#tree-note")).to_contain_text("최근 객체 20,000개")


def too_many(route: Route) -> None:
    """The answer for a bucket that is larger than what is listed."""
    answer = route.fetch()
    route.fulfill(response=answer, json=answer.json() | {"newest": 20_000})


def test_charts_have_tables(site: Site, visit: Open) -> None:
    count = site.archived()
    page = loaded(visit(site.url))
    page.get_by_text("Show as a table").click()
    cells = page.locator("#minutes-table tbody td:nth-child(2)")
    expect(cells.first).to_be_visible()
    assert sum(int(each.replace(",", "")) for each in cells.all_text_contents()) == count
    assert "/" in page.locator("#paths tbody .label").all_text_contents()
    # queries may hold secrets
    assert "secret" not in page.locator("#paths").inner_text()
    page.get_by_label("Period").select_option("15")
    expect(page.locator("#minutes-table tbody tr")).to_have_count(len(site.api("charts?minutes=15")["minutes"]))


def measured(route: Route) -> None:
    """The answer for lines with the fields bytes and requestTime."""
    answer = route.fetch()
    said = answer.json()
    none, some = {"bytes": None, "seconds": None}, {"bytes": 1500, "seconds": [0.01, 0.25, 2.0]}
    minutes = [minute | none for minute in said["minutes"][:-1]] + [said["minutes"][-1] | some]
    route.fulfill(response=answer, json=said | some | {"minutes": minutes})


def test_bytes_and_request_times_have_charts_where_lines_have_them(site: Site, visit: Open) -> None:
    page = loaded(visit(site.url))
    for name in ("bytes", "seconds"):
        expect(page.locator(f"#{name}-chart")).to_be_hidden()
    page = loaded(visit(site.url, before=lambda each: each.route("**/api/charts?*", measured)))
    for name, legend in (("bytes", ["1.5 kB"]), ("seconds", ["50%10 ms", "95%250 ms", "99%2,000 ms"])):
        expect(page.locator(f"#{name}-plot canvas")).to_be_visible()
        expect(page.locator(f"#{name}-legend li")).to_have_text(legend)
    page.get_by_text("Show as a table").click()
    expect(page.locator("#minutes-table th[scope=col]").last).to_have_text("Request time 99%")
    expect(page.locator("#minutes-table tbody tr").first.locator("td").last).to_have_text("2,000 ms")
    expect(page.locator("#minutes-table tbody tr").last.locator("td").last).to_have_text("–")


def test_without_the_chart_library_there_are_tables(site: Site, visit: Open) -> None:
    def missing(page: Page) -> None:
        page.route("**/vendor/**", lambda route: route.fulfill(status=404))

    page = visit(site.url, forgiving=True, before=missing)
    expect(page.locator("#minutes-table tbody tr").first).to_be_visible()
    expect(page.locator("#traffic-note")).to_contain_text("chart library")
    expect(page.locator("#paths tbody tr").first).to_be_visible()


@pytest.mark.parametrize("file", ["uPlot.iife.min.js", "uPlot.min.css"])
def test_a_chart_library_that_was_cut_off_is_asked_again(site: Site, visit: Open, file: str) -> None:
    cut, cut_one = first_cut_off()
    page = visit(site.url, forgiving=True, before=lambda each: each.route(f"**/vendor/{file}", cut_one))
    expect(page.locator("#minutes-plot canvas")).to_be_visible()
    assert (len(cut), page.locator("#traffic-note").text_content()) == (1, "")
    assert page.locator("head [src^=vendor], head [href^=vendor]").count() == 2
    assert page.evaluate("[...document.styleSheets].some((one) => one.href?.includes('uPlot') && one.cssRules.length)")


def test_without_javascript_it_says_where_else_to_look(site: Site, visit: Open) -> None:
    page = visit(site.url, forgiving=True, java_script_enabled=False)
    notice = page.locator("noscript p")
    for address in ("/metrics", "/healthz", "/readyz"):
        expect(notice).to_contain_text(address)
    expect(notice).to_contain_text("appliance status")


def test_themes(site: Site, visit: Open) -> None:
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light, dark = "rgb(244, 246, 249)", "rgb(13, 17, 23)"
    page = loaded(visit(site.url, color_scheme="dark"))
    assert page.evaluate(ground) == dark
    keep(page, "desktop-dark")
    page.get_by_label("Theme").select_option("light")
    assert page.evaluate(ground) == light
    go(page, page.url)
    assert page.evaluate(ground) == light
    page.get_by_label("Theme").select_option("auto")
    assert page.evaluate(ground) == dark


def test_no_width_scrolls_sideways(site: Site, visit: Open) -> None:
    site.request("/" + "long-path/" * 60, agent="agent " * 60)
    site.archived()
    page = loaded(visit(site.url))
    for view in ("Table", "Raw"):
        page.get_by_role("button", name=view).click()
        for width in (320, 360, 768, 1100, 1161):
            page.set_viewport_size({"width": width, "height": 800})
            seen(page, f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")
    expect(page.locator("#raw")).to_contain_text("long-path")


def test_korean(site: Site, visit: Open) -> None:
    count = site.archived()
    page = loaded(visit(site.url, locale="ko-KR", size=PHONE))
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.locator("#pipeline-title")).to_have_text("파이프라인")
    expect(page.locator("#verdict-line")).to_have_text(f"기록 {count:,}, 저장 {count:,}, 누락 0")
    expect(page).to_have_title("액세스 로그 파이프라인")
    # no English sentence is left but names, numbers and what the user wrote
    words = page.eval_on_selector_all("[data-i18n]", "all => all.map(each => each.textContent)")
    assert [word for word in words if not re.search("[가-힣]", word)] == []
    keep(page, "phone-korean")
    page.get_by_label("언어").select_option("en")
    expect(page.locator("#pipeline-title")).to_have_text("Pipeline")
    go(page, page.url)
    expect(page.locator("#pipeline-title")).to_have_text("Pipeline")


def test_times_are_utc_and_tell_the_local_time(site: Site, visit: Open) -> None:
    page = loaded(visit(site.url))
    cell = page.locator("#lines-body time").first
    moment = cell.get_attribute("datetime") or ""
    expect(cell).to_have_text(moment[11:19])
    # the browser is in Seoul: nine hours ahead
    hour = (int(moment[11:13]) + 9) % 24
    title = cell.get_attribute("title") or ""
    assert re.search(rf"\b{(hour % 12) or 12}:{moment[14:16]}:{moment[17:19]}", title), (moment, title)


def test_keyboard_alone_is_enough(site: Site, visit: Open) -> None:
    site.archived()
    page = loaded(visit(site.url))
    active = "document.activeElement.id || document.activeElement.className"
    page.keyboard.press("Tab")
    assert page.evaluate(active) == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate(active) == "main"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate(active)
        reached.append(name)
        assert page.evaluate(
            "(() => { const e = document.activeElement; const s = getComputedStyle(e);"
            " return e === document.body || s.outlineStyle !== 'none'; })()"
        ), f"the focus on {name} cannot be seen"
        if name == "entry" and page.evaluate("document.activeElement.tagName") == "BUTTON":
            break
    assert "ship-now" in reached
    assert "period" in reached
    page.keyboard.press("Enter")
    expect(page.locator("#raw-view")).to_be_visible()
    expect(page.locator("#raw")).to_contain_text("host")
    # back to the folder above it, which closes and opens
    page.keyboard.press("Shift+Tab")
    folder = page.locator("#tree summary").nth(3)
    page.keyboard.press("Enter")
    assert not folder.evaluate("each => each.parentElement.open")
    page.keyboard.press("Enter")
    assert folder.evaluate("each => each.parentElement.open")


def test_ship_now_by_button(site: Site, visit: Open) -> None:
    page = loaded(visit(site.url))
    page.evaluate(HEARD)
    page.get_by_role("button", name="Ship now").click()
    expect(page.locator("#poll-more")).to_have_text("Shipped.")
    # and a screen reader is told, whatever else happens in the same moment
    seen(page, "heard.some(each => each.includes('Shipped.'))")


def test_axe_finds_nothing_serious(site: Site, visit: Open) -> None:
    if not AXE.is_file():
        pytest.skip(f"axe-core is not installed; {MEND}")
    page = loaded(visit(site.url, bypass_csp=True, reduced_motion="reduce"))
    page.add_script_tag(path=AXE)
    page.get_by_text("Show as a table").click()
    for view in ("Table", "Raw"):
        page.get_by_role("button", name=view).click()
        for scheme in ("light", "dark"):
            page.get_by_label("Theme").select_option(scheme)
            check_axe(page)


def check_axe(page: Page) -> None:
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        {"rule": each["id"], "nodes": [(one["html"], one["failureSummary"]) for one in each["nodes"][:5]]}
        for each in found["violations"]
        if each["impact"] in SERIOUS
    ]
    assert serious == [], json.dumps(serious, indent=1)


def test_it_is_small(site: Site, visit: Open) -> None:
    bodies: list[Response] = []

    def listen(page: Page) -> None:
        page.on("response", lambda response: bodies.append(response) if "/api/" not in response.url else None)

    page = loaded(visit(site.url, before=listen))
    sizes = {each.url: len(gzip.compress(each.body(), 6)) for each in bodies}
    assert len(sizes) > 10, sizes
    assert sum(sizes.values()) <= SIZE_BUDGET, sizes
    # until the state is drawn: under a second on a quiet machine
    page.add_init_script(DRAWN)
    times = []
    for _ in range(3):
        go(page, site.url)
        loaded(page)
        times.append(page.evaluate("drawn") / 1000)
    print(f"{sum(sizes.values())} bytes compressed in {len(sizes)} files; drawn after {min(times):.2f} s")


def test_the_dashboard_itself_gone_and_back(visit: Open, site: Site) -> None:
    page = loaded(visit(site.url, forgiving=True))
    page.context.set_offline(True)
    page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
    expect(page.locator("#notices")).to_contain_text("Connection lost at")
    keep(page, "connection-lost")
    page.context.set_offline(False)
    expect(page.locator("#connection")).to_have_attribute("data-state", "connected")
    expect(page.locator("#notices .notice")).to_have_count(0)


@pytest.fixture
def by_firehose() -> Iterator[Site]:
    with folder() as directory:
        one = Site(directory)
        try:
            one.start(DELIVERY="firehose", POLL_INTERVAL="1")
            yield one
        finally:
            one.appliance.stop()


def test_firehose_shows_what_can_be_known(visit: Open, by_firehose: Site) -> None:
    for _ in range(3):
        by_firehose.request("/by-firehose")
    page = loaded(visit(by_firehose.url))
    expect(page.locator("#verdict-line")).to_contain_text("Firehose keeps no ledger")
    expect(page.locator("#behind-bucket-more")).to_have_text("Firehose does not tell.")
    expect(node(page, "stream").locator("h3")).to_have_text("Firehose stream")
    expect(page.locator("#lines-body td.path", has_text="/by-firehose")).to_have_count(3)
    expect(page.locator("#paths")).to_contain_text("/by-firehose")


def test_ship_now_and_the_emulator_killed_and_back(visit: Open, tmp_path_factory: pytest.TempPathFactory) -> None:
    """While no poll is due nothing moves but by the button; then what is behind is gone, and comes back."""
    emulator = Emulator(tmp_path_factory.mktemp("emulator"))
    site = Site(tmp_path_factory.mktemp("offline"))
    try:
        emulator.start()
        fast = {"REPAIR_INTERVAL": "1", "REPAIR_AFTER": "2"}
        site.start(LOCALSTACK_HOST=emulator.url, POLL_INTERVAL=no_poll_soon(), **fast)
        page = visit(site.url, forgiving=True)
        expect(page.locator("#tree-note")).to_contain_text("Nothing archived yet")
        expect(page.locator("#minutes-empty")).to_have_text("No requests archived in this period.")
        keep(page, "fresh")
        for _ in range(4):
            site.request("/waits")
        expect(page.locator("#behind-log-figure")).to_contain_text("4 lines")
        expect(page.locator("#behind-log-more")).to_contain_text("since")
        expect(page.locator("#poll-figure")).to_have_text(re.compile(r"^in \d+ min"))
        page.get_by_role("button", name="Ship now").click()
        expect(page.locator("#poll-more")).to_have_text("Shipped.")
        expect(page.locator("#verdict-line")).to_have_text("4 written, 4 archived, 0 missing")
        expect(page.locator("#behind-log-figure")).to_have_text("Nothing")
        expect(page.locator("#lines-body tr")).to_have_count(4)

        emulator.stop(kill=True)
        expect(page.locator("#notices .notice[data-kind=error]")).to_contain_text(emulator.url)
        expect(node(page, "bucket").locator(".state")).to_have_text("Failing")
        expect(node(page, "bucket").locator(".error")).to_be_visible()
        expect(node(page, "nginx").locator(".state")).to_have_text("Working")
        site.request("/meanwhile")
        expect(page.locator("#behind-log-figure")).to_contain_text("1 line")
        # what was read before is still there to be seen
        expect(page.locator("#lines-body tr")).to_have_count(4)
        keep(page, "emulator-killed")

        emulator.start()  # empty: it has forgotten everything, and gets it again
        ready(site.appliance)
        expect(page.locator("#notices .notice")).to_have_count(0)
        # before the stream is made again a poll is refused, and the next one is far
        expect(node(page, "stream").locator(".state")).to_have_text("Working")
        page.get_by_role("button", name="Ship now").click()
        expect(page.locator("#verdict-line")).to_have_text("5 written, 5 archived, 0 missing")
        expect(node(page, "bucket").locator(".state")).to_have_text("Working")
        expect(page.locator("#lines-body tr")).to_have_count(5)
    finally:
        site.appliance.stop()
        emulator.stop()
