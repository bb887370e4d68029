"""nginx's configuration: rendered from the settings, accepted by the real nginx."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from appliance import site
from appliance.site import TEMPLATES, completed, in_hosts, listen, nameservers, render, upstream
from common.settings import Settings

NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
RESOLV = "# made by hand\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\n nameserver 2001:db8::1\nsearch example.net\n"


def test_log_format_is_the_combined_one_that_the_parser_reads() -> None:
    text = (TEMPLATES / "log_format.conf").read_text()
    form = "".join(line.strip().strip(";").strip("'") for line in text.splitlines() if line.strip().startswith("'"))
    # ngx_http_log_module, "combined"
    assert form == (
        '$remote_addr - $remote_user [$time_local] "$request" '
        '$status $body_bytes_sent "$http_referer" "$http_user_agent"@FIELDS@'
    )


def test_nameservers_of_resolv_conf() -> None:
    assert nameservers(RESOLV) == ["10.0.0.2", "[2001:db8::1]"]


def test_names_in_hosts() -> None:
    hosts = "127.0.0.1 localhost # app\n10.0.0.9\tapp.internal app\n"
    assert in_hosts("app", hosts)
    assert not in_hosts("10.0.0.9", hosts)
    assert not in_hosts("app", "127.0.0.1 localhost # app\n")


@pytest.mark.parametrize(
    ("url", "passed", "resolver"),
    [
        ("http://app:3000", "$application", "resolver 10.0.0.2 [2001:db8::1] valid=10s;"),
        ("http://10.1.2.3:3000/", "http://10.1.2.3:3000", ""),
        ("http://[2001:db8::7]:3000", "http://[2001:db8::7]:3000", ""),
        ("http://localhost:3000", "http://localhost:3000", ""),
    ],
)
def test_upstream_is_resolved_when_it_can_change(url: str, passed: str, resolver: str) -> None:
    found = upstream(Settings(upstream=url), RESOLV.replace("search", "#"), "127.0.0.1 localhost\n")
    assert (found["PROXY_PASS"], found["RESOLVER"]) == (passed, resolver)
    assert found["UPSTREAM"] == url.rstrip("/")


CLUSTER = "search web.svc.test svc.test\noptions attempts:1 ndots:5\n"


@pytest.mark.parametrize(
    ("name", "resolv_conf", "there", "whole"),
    [
        ("app", CLUSTER, {"app.web.svc.test", "app.svc.test", "app"}, "app.web.svc.test"),
        ("app.web", CLUSTER, {"app.web.svc.test"}, "app.web.svc.test"),
        ("app.example.org", CLUSTER, {"app.example.org"}, "app.example.org"),
        ("app", "search one.test\nsearch two.test.\n", {"app.one.test", "app.two.test"}, "app.two.test"),
        ("app", "domain one.test\noptions ndots:0\n", {"app.one.test", "app"}, "app"),
        ("app.example.org", "search one.test\n", {"app.example.org.one.test", "app.example.org"}, "app.example.org"),
        ("nowhere", CLUSTER, set(), "nowhere"),
        ("app.", CLUSTER, {"app.web.svc.test"}, "app."),
        ("app", "nameserver 10.0.0.2\n", {"app.web.svc.test"}, "app"),
    ],
)
def test_a_name_is_completed_as_the_system_does_it(
    monkeypatch: pytest.MonkeyPatch, name: str, resolv_conf: str, there: set[str], whole: str
) -> None:
    monkeypatch.setattr(site, "known", there.__contains__)
    assert completed(name, resolv_conf) == whole


@pytest.mark.parametrize("url", ["", "http://a..b", f"http://{'a' * 64}"])
def test_what_no_dns_can_know_is_not_completed(url: str) -> None:
    assert upstream(Settings(upstream=url), f"nameserver 10.0.0.2\n{CLUSTER}", "")["UPSTREAM"] == url


def test_a_dns_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def lookup(name: str, _port: None) -> None:
        asked.append(name)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert completed("app", CLUSTER) == "app"
    assert asked == ["app.web.svc.test."]


def test_listens_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PORT", "8000")
    assert listen(Settings(), ipv6=False) == "listen 8000 default_server;"
    assert listen(Settings(), ipv6=True) == "listen 8000 default_server; listen [::]:8000 default_server;"
    monkeypatch.setenv("HTTP_HOST", "::1")
    assert listen(Settings(), ipv6=True) == "listen [::1]:8000 default_server;"


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed; enable with: script/bootstrap")
@pytest.mark.parametrize("application", ["", "http://app:3000", "http://127.0.0.1:3000", "https://app"])
def test_nginx_accepts_what_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, application: str) -> None:
    data = tmp_path / "a folder"
    monkeypatch.setenv("DATA_DIR", str(data))
    monkeypatch.setenv("HTTP_PORT", "18080")
    if application:
        monkeypatch.setenv("UPSTREAM", application)
    settings = Settings()
    settings.log_file.parent.mkdir(parents=True)
    render(settings)
    rendered = "".join(path.read_text() for path in (data / "run" / "nginx").rglob("*") if path.is_file())
    assert not re.search(r"@[A-Z]", rendered)
    assert NGINX is not None
    checked = subprocess.run(
        [NGINX, "-t", "-e", "stderr", "-c", str(data / "run" / "nginx" / "nginx.conf")],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
