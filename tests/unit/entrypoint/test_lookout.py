"""The watch's small form: it takes over once nothing changes, and gives back as soon as something does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from common.settings import Settings
from common.status import EntrypointStatus, read_status, write_status
from entrypoint import lookout
from entrypoint.lookout import Known, Question
from entrypoint.provision import connect
from entrypoint.quiet import recorded, until_quiet
from entrypoint.watch import LOOK_EVERY, LOOK_QUIETLY_EVERY, Watch
from tests.unit.entrypoint.fakes import EPOCH, FakeClock
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[3]


class Endpoint:
    """Answers each request with `body`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.body = "all is there"
        self.asked: list[tuple[str, str, bytes]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                endpoint.asked.append((self.command, self.path, sent))
                body = endpoint.body.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_HEAD = answer  # noqa: N815 - as the base class calls them

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def question(self) -> Question:
        return "127.0.0.1", self.port, "GET /there HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.server.shutdown()
    made.server.server_close()


def known(endpoint: Endpoint, folder: Path, **other: Any) -> Known:
    write_status(folder, EntrypointStatus(state="ready", resources={"bucket": "created"}, due=EPOCH))
    found: Known = {
        "questions": [endpoint.question],
        "answers": lookout.answers([endpoint.question]),
        "lines": {"bucket": "bucket x: created"},
        "every": 0.05,
        "stale_after": 300.0,
        "status": str(folder / "entrypoint.json"),
        "key": str(folder / "record.key"),
        "stamp": 0,
    }
    return found | other


def test_it_renews_the_status_while_nothing_changes(endpoint: Endpoint, tmp_path: Path) -> None:
    one = known(endpoint, tmp_path)
    assert lookout.same(one)
    status = read_status(tmp_path, EntrypointStatus)
    assert status is not None
    assert status.checked_at is not None
    assert status.due is not None
    assert (status.due - status.checked_at).total_seconds() == 300
    assert status.resources == {"bucket": "created"}


@pytest.mark.parametrize("changed", ["answer", "endpoint", "key", "status"])
def test_it_sees_what_changes(endpoint: Endpoint, tmp_path: Path, changed: str) -> None:
    one = known(endpoint, tmp_path)
    if changed == "answer":
        endpoint.body = "NoSuchBucket"
    elif changed == "endpoint":
        endpoint.server.server_close()
    elif changed == "key":
        Path(one["key"]).write_text("another")
    else:
        Path(one["status"]).unlink()
    assert not lookout.same(one)


def test_what_varies_without_a_meaning_is_no_change(endpoint: Endpoint, tmp_path: Path) -> None:
    one = '{{"UUID": "f481e437-923e-4bd2-be86-0b9593b5a46{}", "LastProcessingResult": "{}", "State": "Enabled"}}'
    endpoint.body = one.format("f", "No records processed")
    before = known(endpoint, tmp_path)
    endpoint.body = one.format("0", "100 records processed")
    assert lookout.same(before)
    endpoint.body = endpoint.body.replace("Enabled", "Disabled")
    assert not lookout.same(before)


@pytest.mark.parametrize("changes", [False, True])
def test_the_process_goes_on_as_the_other_one(endpoint: Endpoint, tmp_path: Path, changes: bool) -> None:
    """From `become` to a signal's end, or over a changed answer to `python -m entrypoint --resume`."""
    (tmp_path / "given.json").write_text(json.dumps(known(endpoint, tmp_path)))
    code = "import json, sys; from entrypoint import lookout; lookout.become(json.load(open(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(tmp_path / "given.json")]
    environment = os.environ | {"DATA_DIR": str(tmp_path), "LOCALSTACK_HOST": f"127.0.0.1:{endpoint.port}"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as process:
        line = Path(f"/proc/{process.pid}/cmdline")
        try:
            eventually(lambda: len(endpoint.asked) > 3, why="it asks again and again")
            assert "entrypoint.lookout" in line.read_text()
            if changes:
                endpoint.body = "NoSuchBucket"
                eventually(lambda: "--resume" in line.read_text())
                eventually(lambda: endpoint.asked[-1][1] != "/there", why="the watch asks")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


class Quiet(FakeClock):
    """Ends the test that waits too long."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        assert self.seconds < 10 * LOOK_EVERY


def test_it_takes_over_after_two_looks_with_the_same_answers(endpoint: Endpoint, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, localstack_host=f"127.0.0.1:{endpoint.port}")
    asked: list[Question] = []
    clients = recorded(connect(settings), asked)

    class Looks(Watch):
        rounds = 0

        def round(self) -> float:
            self.rounds += 1
            with suppress(Exception):  # the answer means nothing to botocore
                clients.kinesis.describe_stream_summary(StreamName="s")
            self.quiet = self.rounds > 2
            endpoint.body = "others" if self.rounds > 3 else "all is there"
            return LOOK_EVERY

    watch = Looks(settings, b"zip", Quiet())
    watch.lines["bucket"] = "bucket x: created"
    found = until_quiet(watch, asked)
    assert watch.rounds == 6, "3 is the first quiet one; the answer changed after it; before 5 and 6 it was the same"
    assert [each[2].partition("\r\n")[0] for each in found["questions"]] == ["POST / HTTP/1.1"]
    assert endpoint.asked[-1] == ("POST", "/", b'{"StreamName": "s"}')
    assert found["answers"] == lookout.answers(found["questions"])
    assert (found["lines"], found["every"]) == ({"bucket": "bucket x: created"}, LOOK_QUIETLY_EVERY)
    assert found["key"] == str(settings.shared_key)


def test_nobody_takes_over_what_is_asked_over_tls() -> None:
    asked: list[Question] = []
    clients = recorded(connect(Settings(localstack_host="https://127.0.0.1:9")), asked)
    with pytest.raises(Exception, match="127"):
        clients.kinesis.describe_stream_summary(StreamName="s")
    assert asked == []
