"""The commands where LOG_FILES names several logs: each log by its name."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from archiver.archive import Archive
from archiver.event import kinesis_record
from archiver.filing import file_record
from cli import __main__ as cli
from cli import audit, importing, repair_ledger, status, tail
from common.settings import Settings
from common.status import ProducerStatus, RepairStatus
from producer.logs import Logs
from producer.schedule import next_poll
from producer.tick import Producer
from tests.fake_bucket import FakeBucket
from tests.fake_kinesis import FakeClock, FakeKinesis, sink_of
from tests.lambda_events import combined, record
from tests.statuses import say

HOUR = "2020/04/18/01"


class World:
    """Two logs, shipped; `deliver` is the function."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.logs = {name: folder / f"{name}.log" for name in ("shop", "blog")}
        monkeypatch.setenv("DATA_DIR", str(folder / "data"))
        monkeypatch.setenv("LOCALSTACK_HOST", "127.0.0.1:1")
        monkeypatch.setenv("LOG_FILES", ",".join(f"{name}={log}" for name, log in self.logs.items()))
        self.settings = Settings()
        self.clock, self.stream, self.bucket = FakeClock(), FakeKinesis(), FakeBucket(bucket="my-bucket")
        self.bucket.page, self.bucket.now = 100, self.clock.now()
        self.archive = Archive(self.bucket.client, "my-bucket", rng=random.Random(1), sleep=lambda _: None)
        look = Logs(self.settings, self.clock, random.Random(1)).look
        self.producer = Producer(self.settings, look, None, self.clock, next_poll(60))
        for module in (audit, tail):
            monkeypatch.setattr(module, "connect", lambda _: self.bucket)
        monkeypatch.setattr(repair_ledger, "client", lambda *_, **__: self.bucket)
        monkeypatch.setattr(importing, "make_sink", lambda *_, **__: sink_of(self.stream, self.clock, key=lambda: ""))

    def write(self, name: str, path: str) -> None:
        with self.logs[name].open("ab") as log:
            log.write(combined(request=f"GET {path} HTTP/1.1".encode()) + b"\n")

    def ship(self) -> None:
        self.producer.tick(sink_of(self.stream, self.clock), lambda: False)

    def deliver(self) -> None:
        for stored in self.stream.records:
            for target, item in file_record(kinesis_record(record(stored.data, stored.key)), ""):
                self.archive.append(target, [item])
        self.stream.records.clear()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def test_status_has_rows_for_each(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write("shop", "/")
    world.logs["blog"].write_bytes(b"hello\n" * 20)
    world.ship()
    now = world.clock.now()
    archive = {"checked_at": now.isoformat(), "archived": 5, "pending": 1, "missing": 2}
    say(world.settings.status_dir / "shop", RepairStatus, archive)
    found = {part: state for part, state, _ in status.rows(world.settings, status.gather(world.settings, world.clock))}
    assert {part: state for part, state in found.items() if part.split()[0] in ("log", "archive", "format")} == {
        "log shop": "ok",
        "archive shop": "degraded",
        "log blog": "ok",
        "format blog": "degraded",
        "archive blog": "unknown",
    }
    cli.main(["status", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["behind"]["bytes"] == 0
    assert facts["logs"]["shop"]["archive"]["missing"] == 2
    assert facts["logs"]["blog"]["format"]["error"].startswith("blog: 20 of the newest")
    assert "archive" not in facts
    assert [each["part"] for each in facts["checks"]] == ["producer"]
    cli.main(["status"])
    assert capsys.readouterr().out.startswith("s3://my-bucket/ at 127.0.0.1:1\n")
    say(world.settings.status_dir, ProducerStatus, {"state": "idle"})
    cli.main(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["logs"]["shop"]["behind"]["bytes"] is None


def test_audit_tells_of_each_what_became_of_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.write("shop", "/same")
    world.ship()
    world.deliver()
    world.write("blog", "/same")
    world.ship()
    world.stream.records.clear()  # lost
    assert cli.main(["audit", "--grace", "0"]) == 1
    printed = capsys.readouterr().out
    assert printed.index("shop, s3://my-bucket/shop/") < printed.index("blog, s3://my-bucket/blog/")
    assert cli.main(["audit", "--json", "--grace", "0", "--deep"]) == 1
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["logs"]
    size = world.logs["shop"].stat().st_size
    missing = {name: (tree["totals"]["archived"], tree["totals"]["missing"]) for name, tree in found.items()}
    assert missing == {"shop": (size, 0), "blog": (0, size)}
    assert found["shop"]["deep"]["compared"] == 1
    (world.settings.data_dir / "log" / "shop" / "checkpoint.json").write_text("{")
    assert cli.main(["audit", "--json", "--grace", "0"]) == 2
    out, err = capsys.readouterr()
    assert "is damaged" in json.loads(out)["logs"]["shop"]["error"]
    assert json.loads(out)["logs"]["blog"]["totals"]["missing"] == size
    assert "shop: cannot tell: the checkpoint" in err


def test_audit_says_why_a_log_cannot_be_read_and_what_mends_it(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.logs["shop"].unlink(missing_ok=True)
    world.logs["shop"].mkdir()
    assert cli.main(["audit"]) == 2
    assert "is a folder: set LOG_FILE to the log in it" in (said := capsys.readouterr().err)
    assert "let this user read" not in said

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/var/log/nginx/shop.access.log")

    monkeypatch.setattr("cli.audit.audit", refused)
    assert cli.main(["audit"]) == 2
    assert "denied: '/var/log/nginx/shop.access.log': let this user read it" in capsys.readouterr().err


def test_a_log_that_is_a_device_is_told_with_what_mends_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.logs["shop"].symlink_to("/dev/null")
    remedy = "no plain file: let nginx write its access log to a file, not a device\n"
    assert cli.main(["audit"]) == 2
    assert remedy in capsys.readouterr().err
    assert cli.main(["import", "--log", "shop", __file__]) == 2
    assert capsys.readouterr().err.endswith(remedy)


def test_audit_says_what_is_left_of_a_log_that_is_not_named_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write("blog", "/")
    world.producer.tick(sink_of(world.stream, world.clock, stop=lambda: True), lambda: False)
    with world.logs["blog"].open("ab") as log:
        log.write(b"half")
    world.ship()
    monkeypatch.setenv("LOG_FILES", f"shop={world.logs['shop']}")
    assert cli.main(["audit"]) == 2
    assert "4 bytes of the log blog were not acknowledged" in capsys.readouterr().err


def test_audit_cannot_tell_of_logs_that_it_cannot_find(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world.write("shop", "/")
    world.ship()
    world.deliver()
    assert cli.main(["audit"]) == 0
    monkeypatch.setenv("LOG_FILES", f"shop={world.logs['shop']},{tmp_path}/nowhere")
    capsys.readouterr()
    assert cli.main(["audit", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["logs"]["shop"]["totals"]["archived"] > 0
    assert "nowhere is no folder of logs that this user can list" in err


def test_tail_shows_the_log_that_is_named(world: World, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    for name in world.logs:
        world.write(name, f"/{name}")
    world.ship()
    world.deliver()
    since = ["--no-follow", "--since", "2020-04-18T00:00", "--json"]
    assert cli.main(["tail", "--log", "blog", *since]) == 0
    assert [json.loads(line)["path"] for line in capsysbinary.readouterr().out.splitlines()] == ["/blog"]
    for arguments, said in (([], b"--log is missing"), (["--log", "wiki"], b"--log wiki")):
        assert cli.main(["tail", *arguments, *since]) == 2
        assert said + b": name one of LOG_FILES: shop, blog" in capsysbinary.readouterr().err


def test_import_files_below_the_log_that_is_named(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old.log"
    old.write_bytes(combined() + b"\n")
    (world.settings.data_dir / "log" / "shop").mkdir(parents=True)
    assert cli.main(["import", str(old)]) == 2
    assert cli.main(["import", "--log", "shop", str(old)]) == 0
    assert [stored.key.partition("/")[0] for stored in world.stream.records] == ["shop"]
    world.deliver()
    assert list(world.bucket.objects) == [f"shop/{HOUR}/web-access.log"]
    monkeypatch.setenv("LOG_FILES", "")
    assert cli.main(["import", "--log", "shop", str(old)]) == 2
    assert "there is none" in capsys.readouterr().err


def test_repair_ledger_finds_the_log_by_the_key(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for name in world.logs:
        world.write(name, "/same")
    world.ship()
    world.deliver()
    key = f"blog/{HOUR}/web-access.log"
    stored = world.bucket.objects[key]
    world.bucket.put_object(Bucket="my-bucket", Key=key, Body=stored.body, Metadata={"ledger": "nonsense"})
    assert cli.main(["repair-ledger", "--json", key]) == 0
    assert json.loads(capsys.readouterr().out)["matched"] == 1
    assert cli.main(["audit", "--grace", "0"]) == 0


def test_a_data_dir_of_another_user_is_told_of(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    world.write("shop", "/")
    world.ship()
    monkeypatch.setattr(Path, "exists", refused)
    monkeypatch.setattr(Path, "glob", refused)
    monkeypatch.setattr(Path, "read_bytes", refused)
    for command, code, file in (("audit", 2, "archived.json"), ("status", 1, "run")):
        assert cli.main([command]) == code
        assert f"{file}': let this user read it" in capsys.readouterr().err
