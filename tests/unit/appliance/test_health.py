from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance import health
from cli.__main__ import main
from common.clock import SystemClock
from common.delivery import KINESIS
from common.settings import Settings
from common.status import EntrypointStatus, ProducerStatus, StatusError, Statuses, WatchdogStatus, read_all, read_status
from tests.statuses import say
from tests.waiting import free_port

NOW = datetime(2026, 11, 23, 10, 0, 30, tzinfo=UTC)
HEALTHY = Path(health.__file__).with_name("healthy")
POLLED = NOW - timedelta(seconds=30)
FRESH = ProducerStatus(last_tick=POLLED, due=NOW + timedelta(seconds=45))


def test_a_producer_in_time_is_ok() -> None:
    assert health.check_producer(FRESH, NOW, KINESIS).state == "ok"


def test_an_overdue_poll_is_failing_even_without_an_error() -> None:
    assert health.check_producer(replace(FRESH, due=NOW - timedelta(seconds=1)), NOW, KINESIS).state == "failing"


def test_a_producer_that_never_polled_is_failing() -> None:
    assert health.check_producer(None, NOW, KINESIS).state == "failing"


def test_an_error_of_the_pipeline_is_degraded_not_failing() -> None:
    seen = health.check_producer(replace(FRESH, error="stream web-log-stream is not there"), NOW, KINESIS)
    assert (seen.state, seen.reason) == ("degraded", "stream web-log-stream is not there")


def test_a_log_in_another_format_is_said_and_no_reason_to_take_the_server_away() -> None:
    seen = health.check_producer(replace(FRESH, formats={"": "20 of the newest 20 lines …"}), NOW, KINESIS)
    assert seen.state == "ok"
    assert seen.reason.endswith("; 20 of the newest 20 lines …")


@pytest.mark.parametrize(
    ("state", "error", "reason"),
    [
        ("waiting", None, "waiting for http://there:4566"),
        ("waiting", "it does not answer (timed out)", "waiting for http://there:4566: it does not answer (timed out)"),
        ("provisioning", None, "provisioning at http://there:4566"),
        ("failed", "bucket b: no", "failed at http://there:4566: bucket b: no"),
    ],
)
def test_an_endpoint_that_is_not_ready_is_named(state: Any, error: str | None, reason: str) -> None:
    status = EntrypointStatus(state=state, endpoint="http://there:4566", error=error)
    assert health.check_entrypoint(status, NOW) == health.Check("entrypoint", "degraded", reason)


@pytest.mark.parametrize(
    ("writes", "state", "reason"),
    [("it ignores If-Match", "degraded", "it ignores If-Match"), ("honoured", "ok", "provisioned at e")],
)
def test_an_endpoint_without_conditional_writes_is_not_ok(writes: str, state: str, reason: str) -> None:
    status = EntrypointStatus(state="ready", endpoint="e", conditional_writes=writes)
    found = health.check_entrypoint(status, NOW)
    assert (found.state, found.reason) == (state, reason)


@pytest.mark.parametrize(("count", "problems"), [(2, []), (3, ["emulator"]), (14, ["emulator"])])
def test_a_program_that_ends_again_and_again_is_not_ok_though_it_answers(count: int, problems: list[str]) -> None:
    times = [NOW - timedelta(seconds=20 * number) for number in range(count)]
    long_ago = [NOW - timedelta(hours=1)] * 5
    found = health.check_programs(WatchdogStatus(ended={"emulator": times, "producer": long_ago}), NOW)
    assert [(one.part, one.state) for one in found] == [(name, "degraded") for name in problems]
    assert health.check_programs(None, NOW) == []


class _Answer(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health-secret" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HTTP_HOST", "127.0.0.1")
    monkeypatch.setenv("HTTP_PORT", str(free_port()))
    one = Settings()
    one.run_dir.mkdir(parents=True)
    one.health_path.write_text("/health-secret")
    one.log_file.parent.mkdir()
    return one


@pytest.fixture
def nginx(settings: Settings) -> Iterator[type[_Answer]]:
    class Answer(_Answer):
        """One class a test, so that its status is the test's own."""

    with http.server.HTTPServer((settings.http_host, settings.http_port), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Answer
        server.shutdown()
        thread.join()


def test_nginx_is_asked_where_clients_ask(settings: Settings, nginx: type[_Answer]) -> None:
    assert health.check_nginx(settings).state == "ok"
    nginx.status = 500
    assert health.check_nginx(settings).state == "failing"


def test_nginx_that_is_down_is_failing(settings: Settings) -> None:
    seen = health.check_nginx(settings)
    assert (seen.state, str(settings.http_port) in seen.reason) == ("failing", True)


def test_a_first_start_is_told_as_one(settings: Settings) -> None:
    settings.health_path.unlink()
    settings.log_file.parent.rmdir()
    found = {one.part: one for one in health.check(settings, Statuses(), NOW)}
    assert found["nginx"].reason == "is not started yet"
    assert found["producer"].reason == "has not polled yet"
    assert found["disk"].reason == f"{settings.log_file.parent} is not there (yet)"
    first = health.check_producer(ProducerStatus(state="shipping", due=NOW), NOW, KINESIS)
    assert first == health.Check("producer", "ok", "the first poll is under way")


@pytest.mark.usefixtures("nginx")
def test_exit_status(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health"]) == 1, "the producer has not polled yet"
    later = (SystemClock().now() + timedelta(days=365)).isoformat()
    say(settings.status_dir, ProducerStatus, {"last_tick": later, "due": later, "error": None})
    say(settings.status_dir, EntrypointStatus, {"state": "waiting", "endpoint": "http://there", "error": None})
    assert main(["health"]) == 0, "degraded is not unhealthy"
    assert main(["health", "--ready"]) == 1, "but it is not ready"
    say(settings.status_dir, EntrypointStatus, {"state": "ready", "endpoint": "http://there", "error": None})
    capsys.readouterr()
    assert main(["health", "--ready", "--json"]) == 0
    assert [one["state"] for one in json.loads(capsys.readouterr().out)] == ["ok", "ok", "ok", "ok"]


@pytest.mark.usefixtures("nginx")
def test_healthcheck_says_what_the_appliance_has_seen_a_moment_ago_and_else_looks_by_itself(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "appliance").write_text("#!/bin/sh\necho looks $*\nexit 7\n")
    (tmp_path / "appliance").chmod(0o755)
    given = {"DATA_DIR": str(settings.data_dir), "PATH": f"{tmp_path}:/usr/bin:/bin"}

    def asked() -> tuple[int, str]:
        ended = subprocess.run([HEALTHY], env=given, capture_output=True, text=True, timeout=90, check=False)
        return ended.returncode, ended.stdout + ended.stderr

    assert asked() == (7, "looks health\n"), "nothing is known yet"
    health.note(settings)
    code, said = asked()
    assert (code, said.splitlines()[:2]) == (1, ["nginx: ok: answers", "producer: failing: has not polled yet"])
    later = SystemClock().now() + timedelta(hours=1)
    say(settings.status_dir, ProducerStatus, {"last_tick": later.isoformat(), "due": later.isoformat()})
    health.note(settings)
    assert asked()[0] == 0
    monkeypatch.setattr(health, "COUNTS", -10)
    health.note(settings)
    assert asked() == (7, "looks health\n"), "too old"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"last_', r"is damaged \(the file: Invalid JSON.*: it is replaced soon; if it stays, restart the appliance"),
        ("{}", r"is damaged \(state: Field required\)"),
        ('{"state":"ready","due":"soon"}', r"is damaged \(due: "),
        ('{"version":2,"state":[]}', "has version 2, and this release reads 1: .*restart the appliance"),
        (None, "cannot be read: Is a directory: let this user read DATA_DIR"),
    ],
)
def test_a_status_that_cannot_be_used_says_why(settings: Settings, text: str | None, why: str) -> None:
    assert read_status(settings.status_dir, EntrypointStatus) is None
    settings.status_dir.mkdir()
    file = settings.status_dir / "entrypoint.json"
    file.write_text(text) if text else file.mkdir()
    with pytest.raises(StatusError, match=rf"entrypoint\.json {why}"):
        read_status(settings.status_dir, EntrypointStatus)
    found = {one.part: one for one in health.check(settings, read_all(settings.status_dir), NOW)}["entrypoint"]
    assert (found.state, str(file) in found.reason) == ("degraded", True)


def test_a_status_of_last_year_is_no_status_of_today() -> None:
    last_year = NOW.replace(year=2025)
    old = EntrypointStatus(state="ready", endpoint="http://there", checked_at=last_year, due=last_year)
    found = health.check_entrypoint(old, NOW)
    assert (found.state, found.reason[:42]) == ("degraded", "has not looked since 2025-11-23T10:00:30.0")
