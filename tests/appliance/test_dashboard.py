"""The dashboard of a running appliance: what it says is compared with S3, with the checker and with the log."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.appliance.drivers import Appliance, Native, get, no_poll_soon, polled, ready, s3_client
from tests.chaos.faults import age
from tests.checker import entries, judge
from tests.emulator import Emulator
from tests.localstack_process import LocalStack, LocalStackImage
from tests.waiting import eventually

BUCKET = "my-bucket"
OURS = {"X-Requested-With": "dashboard"}


class Dashboard:
    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        status, _, body = self.ask(path)
        assert status == 200, body
        return json.loads(body)

    def metrics(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample of a scrape, read by the client library's parser."""
        status, headers, body = self.ask("/metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain; version=")
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }

    def events(self) -> Iterator[Any]:
        """The states that are sent, until the connection ends."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request("GET", "/api/events")
            answer = connection.getresponse()
            assert answer.status == 200
            assert answer.getheader("Content-Type", "").startswith("text/event-stream")
            while line := answer.readline():
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        finally:
            connection.close()


def node(state: Any, name: str) -> Any:
    return next(one for one in state["nodes"] if one["id"] == name)


def fact(state: Any, name: str, key: str) -> Any:
    return next((one["value"] for one in node(state, name)["facts"] if one["key"] == key), None)


def listening(dashboard: Dashboard) -> None:
    eventually(lambda: dashboard.ask("/healthz")[0] == 200, within=60, why="the dashboard answers")


def test_what_it_says_is_what_is_in_s3(appliance: Appliance) -> None:
    appliance.start(LOG_ROTATE_BYTES="20000")
    ready(appliance)
    dashboard = Dashboard(appliance.dashboard_port)
    listening(dashboard)
    sent: set[str] = set()
    latest: list[Any] = []
    done = threading.Event()

    def watch() -> None:
        for state in dashboard.events():
            latest.append(state)
            if done.is_set():
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    # under load: it is scraped while requests come in and the log is rotated
    before: dict[Any, float] = {}
    for number in range(400):
        path = f"/missing/{number}?secret=token" if number % 4 == 0 else f"/?n={number}"
        get(appliance.http_port, path, f"agent {number % 3}")
        sent.add(path)
        if number % 50 == 0:
            scraped = dashboard.metrics()
            assert not any(value for (_, labels), value in scraped.items() if ("what", "missing") in labels)
            counters = {
                key: value for key, value in scraped.items() if key[0].endswith(("_total", "_bucket", "_count"))
            }
            assert all(counters.get(key, 0) >= value for key, value in before.items())
            before = counters

    def seen_on_the_way() -> bool:
        # every poll ships all there is, so a look finds lines that wait only while requests go on
        path = f"/?more={len(sent)}"
        get(appliance.http_port, path, "agent")
        sent.add(path)
        assert any(state["behind"]["lines"] for state in latest)
        assert any((state["edges"][0]["lines_per_second"] or 0) > 0 for state in latest)
        return True

    eventually(seen_on_the_way, within=27, every=0.3)

    def archived() -> list[tuple[str, dict[str, Any]]]:
        found = entries(s3_client(appliance), BUCKET)
        assert len(found) >= len(sent)
        return found

    archive = eventually(archived, within=60)
    verdict = judge(sent, archive, lambda entry: entry["path"])
    assert verdict.exactly_once, verdict

    def agree() -> bool:
        scraped = {name: value for (name, labels), value in dashboard.metrics().items() if not labels}
        assert scraped["weblog_bucket_lines"] == verdict.archived
        assert scraped["weblog_producer_lines_total"] == verdict.archived
        assert scraped["weblog_function_written_lines_total"] == verdict.archived
        assert scraped["weblog_function_rejected_lines_total"] == 0
        assert scraped["weblog_function_lines_total"] == (
            verdict.archived + scraped["weblog_function_duplicate_lines_total"]
        )
        assert scraped["weblog_checkpoint_lag_lines"] == scraped["weblog_unarchived_bytes"] == 0
        assert scraped["weblog_log_rotations_total"] >= 1
        for name in ("producer_calls", "producer_ticks", "function_batches", "function_commits"):
            assert scraped[f"weblog_{name}_total"] > 0
        by_shard = dashboard.metrics()["weblog_producer_shard_records_total", (("shard", "shardId-000000000000"),)]
        assert by_shard == scraped["weblog_producer_records_total"]
        return True

    eventually(agree, within=30)
    # server-sent events bring what the API says, without being asked for
    eventually(lambda: fact(latest[-1], "bucket", "lines") == verdict.archived, within=10)
    eventually(lambda: latest[-1]["audit"]["verdict"] == "complete", within=10)
    done.set()
    watcher.join(10)
    state = dashboard.json("/api/state")
    assert {one["id"]: one["state"] for one in state["nodes"]} == dict.fromkeys(
        ("nginx", "log", "producer", "stream", "function", "bucket"), "ok"
    )
    assert state["endpoint"]["kind"] == "embedded"
    assert state["endpoint"]["reachable"]
    assert [shard["id"] for shard in node(state, "stream")["shards"]] == ["shardId-000000000000"]
    audit = state["audit"]
    assert audit["unit"] == "lines"
    assert audit["written"] == audit["archived"] == fact(state, "log", "lines")
    assert (audit["missing"], audit["pending"]) == (0, 0)

    sizes = {
        item["Key"]: item["Size"]
        for item in s3_client(appliance).list_objects_v2(Bucket=BUCKET, Prefix="2")["Contents"]
    }
    lines = Counter(key for key, _ in archive)
    leaves, folders = walk(dashboard)
    assert {one["key"]: (one["bytes"], one["lines"]) for one in leaves} == {
        key: (sizes[key], lines[key]) for key in sizes
    }
    assert all(folder["objects"] == sum(key.startswith(folder["key"]) for key in sizes) for folder in folders)
    assert all(
        folder["lines"] == sum(count for key, count in lines.items() if key.startswith(folder["key"]))
        for folder in folders
    )

    newest = dashboard.json("/api/lines?limit=500")["lines"]
    by_key = sorted(json.dumps([one.pop("key"), one]) for one in newest)
    assert by_key == sorted(json.dumps([key, entry]) for key, entry in archive)
    assert [one["time"] for one in newest] == sorted((one["time"] for one in newest), reverse=True)
    host = archive[0][1]["host"]  # in a container the requests come from the engine's address
    missing = dashboard.json(f"/api/lines?limit=500&status=4xx&path=MISSING&host={quote(host[:-1])}")["lines"]
    assert {one["status"] for one in missing} == {404}
    assert len(missing) == 100
    assert dashboard.json("/api/lines?limit=500&status=4xx&path=MISSING&host=nobody")["lines"] == []
    key = max(sizes)
    raw = dashboard.ask(f"/api/raw?key={key}&tail=400")[2]
    whole = s3_client(appliance).get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
    assert ("\n" + whole).endswith("\n" + raw)  # all of it, where a new hour has just begun
    assert 0 < len(raw) <= 400

    charts = dashboard.json("/api/charts?minutes=60")
    assert charts["complete"]
    assert charts["lines"] == verdict.archived
    expected = Counter(f"{entry['status'] // 100}xx" for _, entry in archive)
    assert {name: sum(minute[name] for minute in charts["minutes"]) for name in expected} == expected
    assert charts["paths"][0] == {"name": "/", "count": len(sent) - 100}
    assert "secret" not in json.dumps(charts)
    assert {(one["name"], one["count"]) for one in charts["agents"]} == set(
        Counter(entry["userAgent"] for _, entry in archive).most_common(10)
    )


def walk(dashboard: Dashboard, prefix: str = "") -> tuple[list[Any], list[Any]]:
    """Every object and every folder of the tree."""
    leaves, folders = [], []
    for one in dashboard.json(f"/api/tree?prefix={prefix}")["entries"]:
        if one["kind"] == "object":
            leaves.append(one)
            continue
        below = walk(dashboard, one["key"])
        leaves += below[0]
        folders += [one, *below[1]]
    return leaves, folders


@pytest.mark.emulator
def test_ship_now_does_not_wait_for_the_poll(native: Native) -> None:
    native.start(POLL_INTERVAL=no_poll_soon())
    polled(native)
    dashboard = Dashboard(native.dashboard_port)
    listening(dashboard)
    get(native.http_port, "/soon")
    behind = eventually(lambda: dashboard.json("/api/state")["behind"]["lines"], why="the line waits")
    assert behind == 1
    assert dashboard.ask("/api/ship-now", method="POST")[0] == 403
    status, _, body = dashboard.ask("/api/ship-now", method="POST", headers=OURS)
    assert status == 202
    request = json.loads(body)["id"]

    def shipped() -> bool:
        state = dashboard.json("/api/state")
        poll = state["poll"]
        assert (poll["shipping"], poll["answered"], poll["error"]) == (False, request, None)
        assert not any(state["behind"].values()), state["behind"]
        return any(one["path"] == "/soon" for one in dashboard.json("/api/lines")["lines"])

    eventually(shipped, within=20, why="the line is archived long before the poll")


@pytest.mark.emulator
def test_an_endpoint_that_is_down_is_shown_as_that(native: Native, emulator: Emulator) -> None:
    emulator.start()
    native.start(LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}")
    ready(native)
    dashboard = Dashboard(native.dashboard_port)
    listening(dashboard)
    get(native.http_port, "/before")
    eventually(lambda: fact(dashboard.json("/api/state"), "bucket", "objects"), within=30)
    emulator.stop(kill=True)
    get(native.http_port, "/during")

    def down() -> Any:
        state = dashboard.json("/api/state")
        assert not state["endpoint"]["reachable"]
        assert state["audit"]["verdict"] == "unknown"
        assert node(state, "stream")["state"] == node(state, "bucket")["state"] == "failing"
        return state if dashboard.ask("/readyz")[0] == 503 else None

    state = eventually(down, within=60)
    assert state["endpoint"]["kind"] == "endpoint"
    assert f"127.0.0.1:{emulator.port} does not answer" in state["endpoint"]["error"]
    assert "LOCALSTACK_HOST" in state["endpoint"]["error"]
    assert node(state, "nginx")["state"] == "ok"
    assert all(node(state, name)["error_at"] for name in ("stream", "bucket"))
    assert fact(state, "bucket", "objects") == 1  # what was seen last
    assert state["behind"]["lines"] == 1
    assert state["behind"]["since"]
    status, _, body = dashboard.ask("/api/tree")
    assert (status, "does not answer" in json.loads(body)["error"]) == (502, True)
    assert dashboard.ask("/healthz")[0] == 200
    status, _, body = dashboard.ask("/readyz")
    assert (status, json.loads(body)["ready"]) == (503, False)
    scraped = dashboard.metrics()
    assert scraped["weblog_up", (("part", "bucket"),)] == 0
    assert scraped["weblog_checkpoint_lag_lines", ()] == 1

    emulator.start()

    def up() -> bool:
        found = dashboard.json("/api/state")
        assert found["endpoint"]["reachable"]
        assert found["behind"]["lines"] == 0
        return {one["state"] for one in found["nodes"]} == {"ok"}

    eventually(up, within=60)
    eventually(lambda: dashboard.ask("/readyz")[0] == 200, within=30)


@pytest.mark.localstack
def test_it_shows_localstack_its_absence_and_its_return(
    native: Native, localstack_here: type[LocalStack] | type[LocalStackImage], tmp_path: Path
) -> None:
    """Nothing is set but LOCALSTACK_HOST, and how soon what LocalStack has forgotten is sent again."""
    own = localstack_here(tmp_path / "localstack")
    try:
        own.start()
        native.start(LOCALSTACK_HOST=f"127.0.0.1:{own.port}", REPAIR_INTERVAL="1", REPAIR_AFTER="2")
        ready(native, within=90)
        dashboard = Dashboard(native.dashboard_port)
        listening(dashboard)
        for number in range(5):
            get(native.http_port, f"/{number}")

        def archived(count: int) -> Any:
            state = dashboard.json("/api/state")
            assert {one["state"] for one in state["nodes"]} == {"ok"}, state["nodes"]
            assert state["audit"]["verdict"] == "complete"
            assert state["audit"]["archived"] == fact(state, "bucket", "lines") == count
            return state

        def paths() -> list[str]:
            return sorted(one["path"] for one in dashboard.json("/api/lines")["lines"])

        state = eventually(lambda: archived(5), within=60, every=0.5)
        # the function's own count is read from its log, which is looked at by itself
        eventually(lambda: fact(dashboard.json("/api/state"), "function", "lines") == 5, within=60, every=0.5)
        assert (state["endpoint"]["kind"], state["endpoint"]["reachable"]) == ("endpoint", True)
        # repair, which here waits for 2 s only, may have sent some again on a slow machine
        assert sum(shard["records"] for shard in node(state, "stream")["shards"]) >= 5
        leaves, _ = walk(dashboard)  # one, or two where a new hour has begun
        assert sum(leaf["lines"] for leaf in leaves) == 5
        assert paths() == [f"/{each}" for each in range(5)]
        own.stop(kill=True)

        def down() -> Any:
            state = dashboard.json("/api/state")
            assert not state["endpoint"]["reachable"]
            # each is looked at by itself
            assert {node(state, name)["state"] for name in ("stream", "function", "bucket")} == {"failing"}
            return state

        state = eventually(down, within=30)
        assert f"127.0.0.1:{own.port} does not answer" in state["endpoint"]["error"]
        get(native.http_port, "/5")

        own.start()  # empty: it has forgotten everything, and gets it again
        eventually(lambda: archived(6), within=120, every=0.5)
        get(native.http_port, "/6")
        state = eventually(lambda: archived(7), within=60, every=0.5)
        assert (state["endpoint"]["reachable"], state["endpoint"]["error"]) == (True, None)
        assert paths() == [f"/{each}" for each in range(7)]
        eventually(lambda: dashboard.ask("/readyz")[0] == 200, within=30)
    finally:
        own.stop(kill=True)


@pytest.mark.emulator
def test_it_costs_little_and_leaves_no_trace_in_the_log(native: Native) -> None:
    native.start()
    ready(native)
    dashboard = Dashboard(native.dashboard_port)
    listening(dashboard)
    for path in ("/", "/api/state", "/api/tree", "/api/lines", "/api/charts", "/metrics", "/healthz", "/readyz"):
        dashboard.ask(path)
    (pid,) = [each for each in native.pids("-m dashboard") if "tagged" not in command(each)]
    before, begun = cpu_seconds(pid), time.monotonic()
    eventually(lambda: time.monotonic() - begun > 15, within=20, every=1)
    idle = (cpu_seconds(pid) - before) / (time.monotonic() - begun)
    memory = int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
    print(f"dashboard: {memory:.0f} MiB resident, {idle:.2%} of one processor soon after its last visitor")
    assert memory < 150
    assert idle < 0.1
    assert (native.directory / "data" / "log" / "access.log").read_text() == ""

    def ends_at_once() -> bool:
        """Somebody who watches does not hold up the stop; hypercorn by itself gives 3 s. Then it is started again."""
        listening(dashboard)
        [pid] = [each for each in native.pids("-m dashboard") if "tagged" not in command(each)]
        assert age(pid) > 6, "supervisord counts it as started after 5 s"
        watcher = dashboard.events()
        next(watcher)
        os.kill(pid, signal.SIGTERM)
        begun = time.monotonic()
        eventually(lambda: not Path(f"/proc/{pid}").exists(), every=0.02)
        return time.monotonic() - begun < 2.5

    eventually(ends_at_once, every=1, why="on a busy machine it may need another try")
    listening(dashboard)
    assert native.stop() == 0


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
