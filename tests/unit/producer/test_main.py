"""`python -m producer` as a process: exit codes, the lock, and a stop that keeps its time."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from common.status import EntrypointStatus
from producer.__main__ import LOCKED, NO_LOG, NOT_ALL_SHIPPED, SHIPPED, UNUSABLE, main
from tests.keys import KEY
from tests.statuses import say
from tests.waiting import eventually

ROOT = Path(__file__).parents[3]


class Endpoint(BaseHTTPRequestHandler):
    """As much of Kinesis as answers PutRecords."""

    records: list[str]

    def do_POST(self) -> None:
        records = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Records"]
        self.records.extend(record["PartitionKey"] for record in records)
        entries = [{"ShardId": "shardId-000000000000", "SequenceNumber": "1"} for _ in records]
        body = json.dumps({"FailedRecordCount": 0, "Records": entries}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[str]]]:
    """Host and port of a stream, and the keys it has got."""
    records: list[str] = []
    handler = type("Handler", (Endpoint,), {"records": records})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_port}", records
        server.shutdown()
        thread.join()


class Process:
    def __init__(self, folder: Path, host: str) -> None:
        self.folder = folder
        self.log = folder / "log" / "access.log"
        self.log.parent.mkdir(parents=True)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        self.environment |= {"DATA_DIR": str(folder), "LOCALSTACK_HOST": host, "POLL_INTERVAL": "60"}
        (folder / "run").mkdir()
        # as the entrypoint leaves it
        (folder / "run" / "record.key").write_text(KEY)
        say(folder / "run" / "status", EntrypointStatus, {"state": "ready"})

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            [sys.executable, "-m", "producer", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def once(self) -> tuple[int, str]:
        with self.running("--once") as process:
            output, _ = process.communicate(timeout=90)
            return process.returncode, output

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads((self.folder / "run" / "status" / "producer.json").read_bytes())
        return status


def test_once_ships_what_is_there_and_never_rotates(tmp_path: Path, endpoint: tuple[str, list[str]]) -> None:
    host, keys = endpoint
    process = Process(tmp_path, host)
    process.environment["LOG_ROTATE_BYTES"] = "1024"
    process.log.write_bytes(b"x" * 2000 + b"\nb\n")
    code, output = process.once()
    assert code == SHIPPED
    assert output.count("shipped 2 lines") == 1
    assert len(keys) == 2
    assert sorted(path.name for path in process.log.parent.iterdir()) == [
        "access.log",
        "archived.json",
        "checkpoint.json",
        "checkpoint.json.lock",
    ]
    code, output = process.once()
    assert (code, output, len(keys)) == (SHIPPED, "", 2)


def test_once_after_each_start_of_the_machine_goes_on_as_a_new_generation(
    tmp_path: Path, endpoint: tuple[str, list[str]]
) -> None:
    """The log may have been set back meanwhile."""
    host, keys = endpoint
    process = Process(tmp_path, host)
    checkpoint = process.log.with_name("checkpoint.json")
    for line in (b"a\n", b"b\n", b"c\n", b"d\n"):
        with process.log.open("ab") as file:
            file.write(line)
        assert process.once()[0] == SHIPPED
        if line == b"b\n":
            checkpoint.write_text(json.dumps(json.loads(checkpoint.read_bytes()) | {"boot": "another"}))
    names = [key.split(":")[0] for key in keys]
    assert [names.index(name) for name in names] == [0, 0, 2, 2]


def compress(log: Path, target: Path) -> None:
    target.write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()


def test_a_log_of_the_host_is_only_read(tmp_path: Path, endpoint: tuple[str, list[str]]) -> None:
    """From cron, beside a logrotate that renames, compresses at once, or deletes: nothing is lost without a word."""
    host, keys = endpoint
    process = Process(tmp_path / "data", host)
    log = tmp_path / "nginx" / "access.log"
    log.parent.mkdir()
    process.environment |= {"LOG_FILE": str(log), "LOG_ROTATE_BYTES": "1024"}
    log.write_bytes(b"x" * 2000 + b"\nb\n")
    assert process.once()[0] == SHIPPED
    log.rename(log.with_name("access.log.1"))
    with log.with_name("access.log.1").open("ab") as rotated:
        rotated.write(b"c\n")
    log.write_bytes(b"d\n")
    assert process.once()[0] == SHIPPED
    assert len(keys) == 4
    compress(log.with_name("access.log.1"), log.with_name("access.log.2.gz"))  # with delaycompress: read long ago
    assert process.once() == (SHIPPED, "")
    with log.open("ab") as written:
        written.write(b"e\n")
    compress(log, log.with_name("access.log.1.gz"))  # without: its last line was never read
    log.write_bytes(b"f\n")
    assert process.once()[0] == SHIPPED
    assert len(keys) == 6
    log.unlink()
    log.write_bytes(b"g\n")
    code, output = process.once()
    assert code == NOT_ALL_SHIPPED
    assert "if anything was" in output
    assert sorted(path.name for path in log.parent.iterdir()) == ["access.log", "access.log.1.gz", "access.log.2.gz"]
    assert process.once() == (SHIPPED, "")


def test_once_says_that_most_lines_will_be_rejected(tmp_path: Path, endpoint: tuple[str, list[str]]) -> None:
    process = Process(tmp_path / "data", endpoint[0])
    log = tmp_path / "access.log"
    process.environment["LOG_FILE"] = str(log)
    log.write_bytes(20 * b'1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5\n')
    code, output = process.once()
    assert (code, output.count("rejected/: set ACCESS_LOG_FORMAT=common, or")) == (SHIPPED, 1)
    process.environment["ACCESS_LOG_FORMAT"] = "common"
    with log.open("a") as file:
        file.write('1.2.3.4 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 5\n')
    assert "rejected/" not in process.once()[1]


def test_once_without_a_log(tmp_path: Path) -> None:
    process = Process(tmp_path, "127.0.0.1:1")
    process.environment["LOG_FILE"] = str(process.log.with_name("acces.log"))
    process.log.touch()
    code, output = process.once()
    assert code == NO_LOG
    assert f"the log {process.log.with_name('acces.log')} is not there; its folder holds access.log" in output


def test_once_with_several_logs(tmp_path: Path, endpoint: tuple[str, list[str]]) -> None:
    """Each goes as far as it can; of the exit codes the worst counts."""
    host, keys = endpoint
    process = Process(tmp_path / "data", host)
    logs = {name: tmp_path / f"{name}.log" for name in ("shop", "blog")}
    process.environment |= {"LOG_FILES": ",".join(f"{name}={log}" for name, log in logs.items())}
    logs["shop"].write_bytes(b"a\nb\n")
    code, output = process.once()
    assert code == NO_LOG
    assert f"blog: the log {logs['blog']} is not there" in output
    assert "shop: shipped 2 lines" in output
    logs["blog"].write_bytes(b"a\n")
    (process.log.parent / "shop" / "checkpoint.json").write_bytes(b"{")
    code, output = process.once()
    assert code == UNUSABLE
    assert "shop: the checkpoint" in output
    assert "blog: shipped 1 lines" in output
    assert sorted(key.partition("/")[0] for key in keys) == ["blog", "shop", "shop"]
    process.environment["LOG_FILES"] = f"blog={logs['blog']}"
    assert process.once() == (SHIPPED, "")
    with socket.create_server(("127.0.0.1", 0)) as server:
        process.environment |= {"LOCALSTACK_HOST": f"127.0.0.1:{server.getsockname()[1]}"}
    with logs["blog"].open("ab") as log:
        log.write(b"c\n")
    process.environment["LOG_FILES"] = f"blog={logs['blog']},"
    with process.running("--once") as running:
        eventually(lambda: b'"size": 4' in (process.log.parent / "blog" / "checkpoint.json").read_bytes(), every=0.02)
        running.send_signal(signal.SIGTERM)
        output, _ = running.communicate(timeout=90)
    assert running.returncode == NOT_ALL_SHIPPED
    process.environment |= {"LOG_FILES": f"wiki={logs['blog']}", "LOCALSTACK_HOST": host}
    code, output = process.once()
    assert code == NOT_ALL_SHIPPED
    assert "2 bytes of the log blog were not acknowledged" in output


def test_once_that_cannot_ship_all(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = Process(tmp_path, f"127.0.0.1:{silent.getsockname()[1]}")
        process.log.write_bytes(b"a\n")
        with process.running("--once") as running:
            eventually(process.log.with_name("checkpoint.json").exists, every=0.02)
            silent.accept()[0].close()
            running.send_signal(signal.SIGTERM)
            silent.close()
            output, _ = running.communicate(timeout=90)
    assert running.returncode == NOT_ALL_SHIPPED
    assert "does not answer" in output


def test_once_with_a_damaged_checkpoint(tmp_path: Path) -> None:
    process = Process(tmp_path, "127.0.0.1:1")
    process.log.with_name("checkpoint.json").write_bytes(b"{")
    code, output = process.once()
    assert code == UNUSABLE
    assert "put back a good one" in output


def test_once_without_room_for_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LOCALSTACK_HOST", "127.0.0.1:1")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "access.log").write_bytes(b"a\n")
    monkeypatch.setattr("journal.checkpoint.write_atomic", full)
    assert main(["--once"]) == NOT_ALL_SHIPPED
    assert "the log or its checkpoint cannot be read or saved: [Errno 28] No space left" in capsys.readouterr().out


def test_bad_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("POLL_INTERVAL", "often")
    assert main(["--once"]) == UNUSABLE
    assert "-e POLL_INTERVAL=60" in capsys.readouterr().out


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    for code in (SHIPPED, NOT_ALL_SHIPPED, UNUSABLE, NO_LOG, LOCKED):
        assert f"\n  {code} " in text


def test_stop_ships_the_last_lines_and_two_exclude_each_other(tmp_path: Path, endpoint: tuple[str, list[str]]) -> None:
    host, keys = endpoint
    process = Process(tmp_path, host)
    process.log.write_bytes(b"a\n")
    with process.running() as running:
        eventually(lambda: len(keys) == 1, every=0.02, why="the first tick ships at once")
        eventually(lambda: process.status()["state"] == "idle", every=0.02)
        code, output = process.once()
        assert code == LOCKED
        assert "another producer" in output
        with process.log.open("ab") as file:
            file.write(b"b\n")
        running.terminate()
        output, _ = running.communicate(timeout=90)
    assert running.returncode == 0
    assert len(keys) == 2
    assert output.count("shipped 1 lines") == 2
    assert "stopped; everything is acknowledged" in output
    assert process.status()["state"] == "stopped"


def test_stop_does_not_wait_for_an_endpoint_that_hangs(tmp_path: Path) -> None:
    def took(folder: Path) -> float:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            process = Process(folder, f"127.0.0.1:{silent.getsockname()[1]}")
            process.log.write_bytes(b"a\n")
            with process.running() as running:
                connection, _ = silent.accept()
                start = time.monotonic()
                running.terminate()
                running.communicate(timeout=90)
            connection.close()
        assert running.returncode == 0
        return time.monotonic() - start

    tries = map(str, itertools.count())
    # all that `docker stop` gives; the read time-out is longer
    eventually(lambda: took(tmp_path / next(tries)) < 10, why="on a busy machine it may need another try")


@pytest.mark.parametrize("delivery", ["kinesis", "firehose", "s3"])
def test_a_poll_with_nothing_to_send_imports_no_client_and_no_scheduler(tmp_path: Path, delivery: str) -> None:
    """cron makes one each minute. Nor does it import the function's code."""
    (tmp_path / "access.log").touch()
    given = {"DELIVERY": delivery, "DATA_DIR": str(tmp_path / "data"), "LOG_FILE": str(tmp_path / "access.log")}
    code = "import sys; from producer.__main__ import main; assert main(['--once']) == 0; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | given, capture_output=True, text=True, timeout=90, check=True
    ).stdout
    assert not {"botocore", "apscheduler", "urllib3", "ssl", "archiver"} & set(loaded.split())
