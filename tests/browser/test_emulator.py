"""What a web page of another origin, open in the user's browser, can do to the embedded emulator: nothing."""

from __future__ import annotations

import base64
import html
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.appliance.drivers import client, s3_client
from tests.browser.site import Site, go
from tests.checker import entries

pytestmark = pytest.mark.browser

FUNCTIONS = "/2015-03-31/functions"


class Evil:
    """A web site, its pages those that were last set, and the function that it would like to run."""

    def __init__(self, marks: Path, target: str) -> None:
        self.page = ""
        self.target = target
        self.mark = marks / "executed"
        evil = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(evil.page.encode())

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def function(self, name: str) -> dict[str, object]:
        """The request that creates it."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("evil.py", f"def handler(event, context):\n    open({str(self.mark)!r}, 'w').close()\n")
        return {
            "FunctionName": name,
            "Runtime": "python3.13",
            "Role": "arn:aws:iam::000000000000:role/lambda-ex",
            "Handler": "evil.handler",
            "Code": {"ZipFile": base64.b64encode(packed.getvalue()).decode()},
        }

    def visited(self, browser: Browser, body: str, requests: int) -> None:
        """Open a page with this body, and wait until as many requests of it were answered, or not let through."""
        self.page = f"<!doctype html><title>evil</title>{body}"
        page: Page = browser.new_page()
        done: list[str] = []
        for event in ("requestfinished", "requestfailed"):
            page.on(event, lambda request: done.append(request.url))
        go(page, f"http://localhost:{self.server.server_port}/")
        for _ in range(900):
            if sum(url.startswith(self.target) for url in done) >= requests:
                break
            page.wait_for_timeout(100)
        assert sum(url.startswith(self.target) for url in done) >= requests, done
        page.close()

    def form(self, number: int, path: str, request: object) -> str:
        """A form of enctype text/plain, which sends `name=value`: JSON with one more field, whose value is '='."""
        name = json.dumps(request)[:-1] + (", " if request else "") + '"evil": "'
        return (
            f'<iframe name="f{number}"></iframe>'
            f'<form id="form{number}" target="f{number}" action="{self.target}{path}" method="post" '
            'enctype="text/plain">'
            f"<input name='{html.escape(name)}' value='\"}}'></form>"
        )


@pytest.fixture
def evil(site: Site) -> Iterator[Evil]:
    marks = site.appliance.directory / "marks"
    marks.mkdir(exist_ok=True)
    marks.chmod(0o777)  # the function would run as another user
    one = Evil(marks, site.appliance.emulator_url)
    yield one
    one.server.shutdown()
    one.server.server_close()


def state(site: Site) -> tuple[list[str], int]:
    """The functions there are, and the number of archived lines."""
    site.archived()
    lambda_, s3 = client(site.appliance, "lambda"), s3_client(site.appliance)
    names = [each["FunctionName"] for each in lambda_.list_functions()["Functions"]]
    count = len(entries(s3, "my-bucket"))
    lambda_.close()
    s3.close()
    return names, count


def test_scripts_cannot_create_or_invoke_a_function(site: Site, evil: Evil, browser: Browser) -> None:
    before = state(site)
    script = f"""
    const send = (path, body) => fetch({evil.target!r} + path, {{method: "POST", mode: "no-cors", body,
      headers: {{"Content-Type": "text/plain"}}}}).catch(() => 0);
    send({FUNCTIONS!r}, {json.dumps(json.dumps(evil.function("by-script")))})
      .then(() => new Promise((done) => setTimeout(done, 1500)))
      .then(() => send("{FUNCTIONS}/by-script/invocations", "{{}}"));"""
    evil.visited(browser, f"<script>{script}</script>", 2)
    assert not evil.mark.exists()
    assert state(site) == before


def test_a_form_cannot_erase_the_bucket(site: Site, evil: Evil, browser: Browser) -> None:
    before = state(site)
    forms = evil.form(1, "/_ministack/reset", {})
    evil.visited(browser, f"{forms}<script>form1.submit()</script>", 1)
    assert state(site) == before


def test_two_forms_cannot_run_code(site: Site, evil: Evil, browser: Browser) -> None:
    before = state(site)
    forms = evil.form(1, FUNCTIONS, evil.function("by-form")) + evil.form(2, f"{FUNCTIONS}/by-form/invocations", {})
    evil.visited(browser, f"{forms}<script>form1.submit(); setTimeout(() => form2.submit(), 2000)</script>", 2)
    assert not evil.mark.exists()
    assert state(site) == before


def test_a_page_cannot_open_a_websocket_or_read_what_a_user_may(site: Site, evil: Evil, browser: Browser) -> None:
    s3 = s3_client(site.appliance)
    key = s3.list_objects_v2(Bucket="my-bucket", Prefix="2")["Contents"][0]["Key"]
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "my-bucket", "Key": key})
    s3.close()
    evil.page = "<!doctype html><title>evil</title>"
    page = browser.new_page()
    go(page, f"http://localhost:{evil.server.server_port}/")
    # a presigned URL that leaked lets no page read
    assert page.evaluate("url => fetch(url).then(() => 'read', () => 'refused')", url) == "refused"
    opened = "url => new Promise(r => { const s = new WebSocket(url); s.onopen = () => r(1); s.onerror = () => r(0) })"
    assert page.evaluate(opened, evil.target.replace("http", "ws")) == 0
    page.close()
