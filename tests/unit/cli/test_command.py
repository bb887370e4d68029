"""The command's surface: arguments, exit codes, what is printed where, and what a user's mistake looks like."""

from __future__ import annotations

import argparse
import io
import json
import os
import pty
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.parsers import ResponseParserError

from appliance import health
from cli import __main__ as cli
from cli import screen, ship, status, tail
from cli.follow import Follower
from cli.screen import PROBLEM, CommandError
from common.clock import SystemClock
from common.delivery import FIREHOSE
from common.settings import Settings
from common.status import EntrypointStatus, ProducerStatus, RepairStatus
from tests.statuses import say

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 11, 23, 16, 5, tzinfo=UTC)


class Clock:
    """Sleeping moves it on and calls `then`."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.at = 0.0
        self._then = then

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self._then()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LOCALSTACK_HOST", "127.0.0.1:1")
    given = Settings()
    given.run_dir.mkdir()
    return given


# The whole command


@pytest.mark.parametrize(
    "command", [[], ["status"], ["ship-now"], ["tail"], ["audit"], ["verify"], ["logs"], ["health"]]
)
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    assert f"usage: {' '.join(['appliance', *command])} [" in capsys.readouterr().out


@contextmanager
def running(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """cli/bin/appliance, as the container has it on its PATH; killed when it is left."""
    with subprocess.Popen(
        [ROOT / "cli" / "bin" / "appliance", *arguments],
        env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)} | options.pop("env", {}),
        stderr=subprocess.PIPE,
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_there_is_one_command_beside_the_aws_cli() -> None:
    assert sorted(path.name for path in (ROOT / "cli" / "bin").iterdir()) == ["appliance", "aws"]


@pytest.mark.parametrize("command", ["status", "ship-now", "tail", "verify"])
def test_the_help_has_examples_and_exit_codes(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    printed = capsys.readouterr().out
    assert f"\n  appliance {command}" in printed
    assert "Exit codes: 0 " in printed


@pytest.mark.parametrize("command", [[], ["audit"], ["verify"]])
def test_help_is_there_at_once(command: list[str]) -> None:
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "cli", *command, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    ).stderr
    for heavy in ("common.settings", "boto3", "botocore", "rich"):
        assert f" {heavy}\n" not in loaded


SECONDS = "use a number of seconds above 0 and up to 86400"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        ("", "required: COMMAND"),
        ("staus", "choose from 'status', 'ship-now',"),
        ("status --jsn", "usage: appliance status [-h] [--json]"),
        ("status --jsn", "unknown here: --jsn"),
        ("status --watch soon", f"--watch: soon: {SECONDS}"),
        ("status nginx", "unknown here: nginx"),
        ("ship", "choose from 'status', 'ship-now',"),
        ("ship-now --timeout 0", f"--timeout: 0: {SECONDS}"),
        ("ship-now --timeout -1", f"--timeout: -1: {SECONDS}"),
        ("ship-now --timeout 1min", f"--timeout: 1min: {SECONDS}"),
        ("tail -n -1", "-n/--lines: -1: use a whole number from 0 to 1000000"),
        ("tail -n many", "-n/--lines: many: use a whole number"),
        (f"tail -n {'9' * 30}", "use a whole number"),
        (f"tail -n {'9' * 5000}", "use a whole number"),
        ("tail -n 1 --since 1h", "--since: not allowed with argument -n/--lines"),
        ("tail --interval 0", f"--interval: 0: {SECONDS}"),
        ("tail --interval nan", f"--interval: nan: {SECONDS}"),
        ("tail --interval 1e999", SECONDS),
        ("tail --status teapot", "--status teapot: use 404, 1xx to 5xx, or several"),
        ("tail --status 6xx", "--status 6xx: use 404, 1xx to 5xx"),
        ("tail --status 4xx,", "--status 4xx,: use 404"),
        ("tail --status ''", "--status : use 404"),
        ("tail --since ''", "--since : use 90s, 10m"),
        ("tail --status 404 403", "unknown here: 403"),
        ("tail --since yesterday", "--since yesterday: use 90s, 10m, 2h, 1d, or a time such as 2026-11-23T16:05"),
        ("verify now", "unknown here: now"),
        ("audit --grace long", "--grace: long: use a number of seconds from 0 to REPAIR_AFTER"),
        ("audit --grace -1", "--grace: -1: use a number of seconds from 0 to REPAIR_AFTER"),
        ("audit --grace 301", "--grace is from 0 to REPAIR_AFTER (300)"),
        ("import", "required: FILE"),
        ("import /nowhere/old.log", "nothing was imported. /nowhere/old.log: No such file or directory"),
        ("import /tmp", "nothing was imported. /tmp: it is no file"),
        ("repair-ledger", "required: KEY"),
        ("repair-ledger access.log", "give a key such as 2020/04/18/01/web-access.log"),
        ("repair-ledger s3://my-bucket/2020/04/18/01/web-access.log", "give a key such as 2020/04/18/01/"),
        ("repair-ledger 2026/02/30/01/web-access.log", "give a key such as 2020/04/18/01/"),
        ("reprocess yesterday", "HOURS: yesterday: use a year, month, day or hour in UTC, such as 2026/11/30/09"),
        ("reprocess 2026/1", "HOURS: 2026/1: use a year, month, day or hour"),
        ("reprocess ''", "HOURS: : use a year, month, day or hour"),
        ("reprocess 2026/13", "HOURS: 2026/13: use a year, month, day or hour"),
        ("reprocess 2026/02/30", "HOURS: 2026/02/30: use a year, month, day or hour"),
        ("reprocess 2026/11/30/24", "HOURS: 2026/11/30/24: use a year, month, day or hour"),
        ("reprocess 0000", "HOURS: 0000: use a year, month, day or hour"),
        ("logs", "required: lambda"),
        ("logs nginx", "nginx: use lambda, the function's log; the other programs' lines are in the appliance's own"),
        ("logs lambda --minutes 0", "--minutes: 0: use a number of minutes above 0 and up to 5256000"),
        ("logs lambda --minutes inf", "--minutes: inf: use a number of minutes"),
        ("logs lambda --minutes 1h", "--minutes: 1h: use a number of minutes"),
        ("health --raedy", "unknown here: --raedy"),
    ],
)
def test_what_is_typed_wrong_has_its_answer(
    settings: Settings, capsys: pytest.CaptureFixture[str], typed: str, answer: str
) -> None:
    assert settings
    try:
        status = cli.main(shlex.split(typed))
    except SystemExit as ended:
        status = int(ended.code or 0)
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert answer in said.err


@pytest.mark.parametrize("command", ["status", "ship-now", "tail", "verify", "audit", "logs lambda", "health --json"])
def test_wrong_settings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> None:
    monkeypatch.setenv("SHARD_COUNT", "0")
    assert cli.main(command.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "-e SHARD_COUNT=1" in said.err


@pytest.mark.parametrize("command", ["status", "ship-now", "tail"])
def test_nothing_runs(settings: Settings, capsys: pytest.CaptureFixture[str], command: str) -> None:
    settings.run_dir.rmdir()
    assert cli.main([command]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("appliance: ")
    assert said.err.count("\n") == 1


def test_audit_of_a_data_dir_that_is_not_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(settings.data_dir / "misspelt"))
    assert cli.main(["audit"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"cannot tell: DATA_DIR {settings.data_dir}/misspelt is not there: name the appliance's own" in said.err


def test_import_makes_no_data_dir_that_was_not_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DATA_DIR", "")
    default = replace(Settings.model_fields["data_dir"], default=tmp_path / "data")
    monkeypatch.setitem(Settings.model_fields, "data_dir", default)
    (tmp_path / "old.log").write_bytes(b"a line\n")
    assert cli.main(["import", str(tmp_path / "old.log")]) == 2
    assert "DATA_DIR is not set" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["health", "health --json", "status", "audit --help", "verify"])
def test_a_reader_that_has_seen_enough(settings: Settings, command: str, unbuffered: str) -> None:
    assert settings
    reading, writing = os.pipe()
    os.close(reading)
    with running(*command.split(), env={"PYTHONUNBUFFERED": unbuffered}, stdout=writing) as process:
        os.close(writing)
        assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0


def shell(typed: str) -> subprocess.CompletedProcess[str]:
    command = f"exec {ROOT / 'cli' / 'bin' / 'appliance'} {typed}"
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["health", "status --json", "audit --help", "verify", "tail --help"])
def test_a_full_disk_behind_the_output(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, command: str, unbuffered: str
) -> None:
    assert settings
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = shell(f"{command} >/dev/full")
    assert (done.returncode, done.stderr) == (
        1,
        "appliance: the output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ("status >&-", 1, ""),
        ("tail --no-follow >&-", 1, "appliance: the bucket my-bucket: "),
        ("tail --no-follow 2>&-", 1, ""),
        ("tail --no-follow 2>/dev/full", 1, ""),
        ("tail -n few 2>/dev/full", 2, ""),
        ("audit --grace 301 --json 2>&-", 2, ""),
        ("ship-now >&- 2>&- <&-", 1, ""),
    ],
)
def test_a_stream_that_is_closed_or_full(settings: Settings, typed: str, status: int, said: str) -> None:
    assert settings
    done = shell(typed)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(said)
    assert bool(done.stderr) == bool(said)


def test_a_locale_that_lacks_a_letter(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = shell("verify")
    assert (done.returncode, done.stderr, done.stdout[:13]) == (1, "", "\\u2717 bucket")


def test_progress_that_is_read_no_more_ends_no_work() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    code = "from cli.screen import note, say; note('half'); say('all'); print('done')"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writing, check=False)
    os.close(writing)
    assert (done.returncode, done.stdout) == (0, b"done\n")


@pytest.mark.parametrize("command", ["verify", "logs lambda"])
def test_ctrl_c_while_the_endpoint_is_waited_for(settings: Settings, command: str) -> None:
    assert settings
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        endpoint = "{}:{}".format(*silent.getsockname())
        environment = {"LOCALSTACK_HOST": endpoint}
        with (
            running(*command.split(), env=environment, stdout=subprocess.PIPE) as process,
            silent.accept()[0] as connection,
        ):
            connection.settimeout(60)
            connection.recv(1)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=90) == (b"", b"")
    assert process.returncode == 130


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "run", interrupted)
    assert cli.main(["status"]) == 130


# The screen


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EndpointConnectionError(endpoint_url="http://u:h1dden@x/?q=h1dden"), "LOCALSTACK_HOST"),
        (NoCredentialsError(), "AWS_ACCESS_KEY_ID"),
        (ClientError({"Error": {"Code": "NoSuchBucket"}}, "ListObjectsV2"), "the bucket my-bucket is not there (yet)"),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2"), "s3:ListBucket"),
    ],
)
def test_what_fails_names_the_remedy(settings: Settings, error: Exception, expected: str) -> None:
    said = tail.explained(settings, error)
    assert expected in said
    assert "h1dden" not in said


def test_what_a_client_sends_does_not_command_the_terminal() -> None:
    assert screen.printable("a\x1b[2J\r\n\x9b안 é") == "a\\x1b[2J\\r\\n\\x9b안 é"


def test_no_colours_but_in_a_terminal() -> None:
    assert screen.console(io.StringIO()) is None

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    console = screen.console(stream)
    assert console
    console.print(screen.table([("part", "state", ""), ("nginx", "ok", "[bold]answers[/bold] :smile:")]))
    assert "[bold]answers[/bold] :smile:" in stream.getvalue()


@pytest.mark.parametrize(("variables", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], colored: bool) -> None:
    for name in ("NO_COLOR", "TERM", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    console = screen.console(stream)
    assert console
    console.print("red", style="red")
    assert ("\x1b[31m" in stream.getvalue()) is colored


# status

PRODUCER = {
    "state": "idle",
    "due": "2026-11-23T16:06:30.000Z",
    "last_tick": "2026-11-23T16:05:00.000Z",
    "next_poll": "2026-11-23T16:06:00.000Z",
    "lag_bytes": 120,
    "lag_lines": 2,
    "lag_since": "2026-11-23T15:55:00.000Z",
    "counters": {
        "started_at": "2026-11-23T14:05:00.000Z",
        "lines": 12345,
        "bytes": 999,
        "records": 12,
        "retries": {"ProvisionedThroughputExceededException": 3},
        "throttled": 3,
    },
}


def test_status_as_a_table_and_as_json(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    say(settings.status_dir, ProducerStatus, PRODUCER)
    say(settings.status_dir, EntrypointStatus, {"state": "ready", "endpoint": "http://e"})
    archive = {"checked_at": "2026-11-23T16:04:00+00:00", "archived": 5000, "pending": 1, "missing": 0, "error": None}
    say(settings.status_dir, RepairStatus, archive)
    report = status.gather(settings, Clock())
    facts = status.as_json(settings, report)
    assert not facts["ready"]  # nginx does not run here
    assert facts["behind"] == {"bytes": 120, "lines": 2, "since": "2026-11-23T15:55:00.000Z"}
    found = {part: (state, text) for part, state, text in status.rows(settings, report)}
    assert found["nginx"][0] == "failing"
    assert found["poll"] == ("idle", "every 60 s, the last 0 s ago; the next in 60 s")
    assert found["log"] == ("behind", "2 lines, 120 bytes not acknowledged, since 10 min ago")
    assert found["archive"] == ("ok", "5,000 bytes archived, 1 pending, 0 missing, 60 s ago")
    assert found["shipped"][1].startswith(
        "12,345 lines, 999 bytes in 12 records since 2 h ago; 3 sent again, 3 throttled"
    )
    for as_json in (False, True):
        options = argparse.Namespace(json=as_json, watch=None)
        status.show(settings, report, status.rows(settings, report), options)
    *plain, last = capsys.readouterr().out.splitlines()
    assert plain[0] == "s3://my-bucket/ at http://e"
    assert json.loads(last) == facts


@pytest.mark.parametrize("producer", [None, {}, {"state": "idle", "due": "2026-11-23T16:06:30Z", "lag_bytes": 0}])
def test_status_of_what_has_not_said_much(settings: Settings, producer: dict[str, Any] | None) -> None:
    if producer:
        say(settings.status_dir, ProducerStatus, producer)
    found = {part: (state, text) for part, state, text in status.rows(settings, status.gather(settings, Clock()))}
    assert found["log"][0] == ("ok" if producer else "unknown")
    compared = "the producer compares it every 60 s; `appliance audit` does it now"
    assert found["archive"] == ("unknown", compared)


def test_status_says_what_repair_complains_about(settings: Settings) -> None:
    say(settings.status_dir, RepairStatus, {"checked_at": "2026-11-23T16:04:00Z", "error": "no answer"})
    found = {part: state for part, state, _ in status.rows(settings, status.gather(settings, Clock()))}
    assert found["archive"] == "degraded"
    stale = {"checked_at": "2026-11-22T16:04:00Z", "due": "2026-11-22T16:08:00Z"}
    for facts in ({"checked_at": "2026-11-23T16:04:00Z", "missing": 3}, stale):
        say(settings.status_dir, RepairStatus, facts)
        assert ("archive", "degraded") in [row[:2] for row in status.rows(settings, status.gather(settings, Clock()))]


def test_status_shows_nothing_of_the_past_as_present(settings: Settings) -> None:
    say(settings.status_dir, ProducerStatus, PRODUCER | {"state": "shipping", "due": "2026-11-23T16:04:00Z"})
    (settings.status_dir / "repair.json").write_text("{")
    report = status.gather(settings, Clock())
    found = {part: (state, text) for part, state, text in status.rows(settings, report)}
    assert found["producer"] == ("failing", "a poll is overdue since 2026-11-23T16:04:00.000Z")
    assert found["poll"] == ("unknown", "every 60 s, the last 0 s ago")
    assert (found["log"][0], found["archive"][0]) == ("unknown", "degraded")
    facts = status.as_json(settings, report)
    assert facts["behind"] == {"bytes": None, "lines": None, "since": None}
    assert "repair.json is damaged" in facts["archive"]["error"]
    say(settings.status_dir, ProducerStatus, PRODUCER | {"state": "stopped", "due": "2026-11-23T16:04:00Z"})
    assert status.as_json(settings, status.gather(settings, Clock()))["poll"]["state"] == "stopped"


def test_status_says_that_a_log_is_in_another_format(settings: Settings) -> None:
    say(settings.status_dir, ProducerStatus, PRODUCER | {"formats": {"": "20 of the newest 20 lines"}})
    report = status.gather(settings, Clock())
    assert ("format", "degraded", "20 of the newest 20 lines") in status.rows(settings, report)
    assert status.as_json(settings, report)["format"] == {"error": "20 of the newest 20 lines"}
    say(settings.status_dir, ProducerStatus, PRODUCER)
    assert "format" not in [row[0] for row in status.rows(settings, status.gather(settings, Clock()))]


def test_status_of_firehose_promises_nothing(settings: Settings) -> None:
    given = settings.model_copy(update={"delivery": FIREHOSE})
    assert ("archive", "unknown") in [row[:2] for row in status.rows(given, status.gather(given, Clock()))]


@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize(
    ("state", "archive", "exit_code"),
    [
        ("ok", None, 0),
        ("ok", {"missing": 0}, 0),
        ("ok", {"missing": 12}, 1),
        ("ok", {"error": "no answer"}, 1),
        ("degraded", {"missing": 0}, 1),
        ("failing", {"missing": 0}, 1),
    ],
)
def test_status_has_an_exit_code(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    state: Any,
    archive: dict[str, Any] | None,
    exit_code: int,
    as_json: list[str],
) -> None:
    monkeypatch.setattr(status, "check", lambda *_: [health.Check("nginx", state, "answers")])
    say(settings.status_dir, ProducerStatus, PRODUCER)  # what is behind is no problem
    if archive:
        say(settings.status_dir, RepairStatus, {"checked_at": "2026-11-23T16:04:00Z"} | archive)
    assert cli.main(["status", *as_json]) == exit_code


def test_status_can_be_watched_until_ctrl_c(settings: Settings) -> None:
    assert settings
    process = subprocess.Popen(
        [ROOT / "cli" / "bin" / "appliance", "status", "--watch", "0.1", "--json"],
        env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    watched = [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=90)[1] == ""
    assert process.returncode == 0
    assert [json.loads(line)["ready"] for line in watched] == [False, False]


# ship-now


def producer(settings: Settings, **facts: Any) -> None:
    say(settings.status_dir, ProducerStatus, facts)


def counters(lines: int, started: str = "2026-11-23T14:05:00Z") -> dict[str, Any]:
    return {"started_at": started, "lines": lines, "records": lines, "bytes": 10 * lines}


def test_ship_now_says_what_was_shipped(settings: Settings) -> None:
    producer(settings, state="idle", counters=counters(5), lag_bytes=0)

    def answer() -> None:
        asked = settings.ship_request.read_text()
        producer(settings, state="idle", counters=counters(8), lag_bytes=7, ship_request=asked, error=None)
        settings.ship_request.unlink()

    found = ship.ship_now(settings, Clock(answer), 60)
    assert found == {"lines": 3, "records": 3, "bytes": 30, "behind_bytes": 7, "error": None, "seconds": 0.2}


def test_ship_now_of_a_producer_that_was_started_in_between(settings: Settings) -> None:
    producer(settings, counters=counters(5))

    def answer() -> None:
        producer(settings, counters=counters(2, "2026-11-23T14:09:00Z"), ship_request=settings.ship_request.read_text())

    assert ship.ship_now(settings, Clock(answer), 60)["lines"] == 2


def test_ship_now_without_an_answer(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    producer(settings, state="idle")
    with pytest.raises(CommandError, match="within 5 s"):
        ship.ship_now(settings, Clock(), 5)
    assert not settings.ship_request.exists()
    producer(settings, state="stopped")
    with pytest.raises(CommandError, match="no producer runs"):
        ship.ship_now(settings, Clock(), 5)
    (settings.status_dir / "producer.json").write_text('{"version": 2}')
    assert cli.main(["ship-now"]) == PROBLEM
    assert "producer.json has version 2" in capsys.readouterr().err


def test_ship_now_beside_another_one(settings: Settings) -> None:
    producer(settings, state="idle")
    steps: list[Callable[[], object]] = [
        lambda: settings.ship_request.write_text("other"),
        lambda: producer(settings, ship_request="other"),
    ]
    ship.ship_now(settings, Clock(lambda: steps.pop(0)()), 60)
    assert steps == []


def test_ship_now_waits_for_the_answer_to_an_earlier_request(settings: Settings) -> None:
    """That of the dashboard's button: its poll may have begun before this one was asked for."""
    producer(settings, state="idle")
    settings.ship_request.write_text("button")

    def answer() -> None:
        producer(settings, ship_request=settings.ship_request.read_text())

    def asked() -> None:
        assert settings.ship_request.read_text() not in ("", "button")
        answer()

    steps = [answer, lambda: settings.ship_request.unlink(), asked]
    ship.ship_now(settings, Clock(lambda: steps.pop(0)()), 60)
    assert steps == []


def test_ship_now_when_the_answer_to_an_earlier_one_took_its_request_away(settings: Settings) -> None:
    producer(settings, state="idle")

    def take_away() -> None:
        settings.ship_request.unlink()
        producer(settings, ship_request="earlier")

    def answer() -> None:
        producer(settings, ship_request=settings.ship_request.read_text())

    steps = [take_away, lambda: None, answer]
    ship.ship_now(settings, Clock(lambda: steps.pop(0)()), 60)
    assert steps == []


@pytest.mark.parametrize(
    ("facts", "exit_code", "printed"),
    [
        ({"counters": counters(2), "lag_bytes": 0}, 0, "shipped 2 lines, 20 bytes in 2 records; 0 bytes are behind\n"),
        ({"counters": counters(0), "lag_bytes": 0}, 0, "nothing was to be shipped; 0 bytes are behind\n"),
        (
            {"counters": counters(0), "error": "refused"},
            1,
            "nothing was to be shipped; what is behind is not known\n",
        ),
        (
            {"counters": counters(0), "lag_bytes": 9, "error": "refused"},
            1,
            "nothing was to be shipped; 9 bytes are behind\n",
        ),
    ],
)
def test_ship_now_prints_and_ends(
    settings: Settings, capsys: pytest.CaptureFixture[str], facts: dict[str, Any], exit_code: int, printed: str
) -> None:
    producer(settings, counters=counters(0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if settings.ship_request.exists():
                producer(settings, **facts, ship_request=settings.ship_request.read_text())
            stop.wait(0.02)

    serving = threading.Thread(target=serve)
    serving.start()
    try:
        assert ship.main(settings, argparse.Namespace(timeout=100.0, json=False)) == exit_code
    finally:
        stop.set()
        serving.join()
    said = capsys.readouterr()
    assert said.out == printed
    assert said.err == ("appliance: refused\n" if exit_code else "")


# tail

ENTRY = {
    "host": "192.168.99.1",
    "time": "2026-11-23T16:04:59.000Z",
    "method": "GET",
    "path": "/a\x1b[2J",
    "httpVersion": "HTTP/1.1",
    "status": 404,
    "userAgent": "agent",
}
LINE = json.dumps(ENTRY).encode()


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (tail.Filter(), True),
        (tail.Filter(status=tail.statuses("404")), True),
        (tail.Filter(status=tail.statuses("4XX,500")), True),
        (tail.Filter(status=tail.statuses("5xx")), False),
        (tail.Filter(status=tail.statuses("200,301")), False),
        (tail.Filter(path="/a"), True),
        (tail.Filter(path="/b"), False),
        (tail.Filter(host="192.168."), True),
        (tail.Filter(host="10."), False),
        (tail.Filter(moment=NOW), False),
        (tail.Filter(moment=NOW - timedelta(seconds=1)), True),
        (tail.Filter(moment=NOW - timedelta(seconds=0.5)), True),
    ],
)
def test_filters(wanted: tail.Filter, shown: bool) -> None:
    assert wanted(LINE) is shown


@pytest.mark.parametrize("line", [b"no json", b"[1]", b'{"time": 5}', b'{"time": "never"}', b"\xff"])
def test_a_line_that_is_no_entry_is_shown_unless_something_is_asked_for(line: bytes) -> None:
    assert tail.Filter(moment=NOW)(line)
    assert not tail.Filter(status=tail.statuses("404"))(line)
    assert tail.plain(line)


def test_lines_as_columns() -> None:
    assert tail.plain(LINE) == "2026-11-23T16:04:59Z  404  GET   192.168.99.1     /a\\x1b[2J  agent"
    fields = {"bytes": 0, "referer": None, "\x1b": "\x1b"}
    assert tail.plain(json.dumps(json.loads(LINE) | fields).encode()).endswith(r"  agent  bytes=0  \x1b=\x1b")
    rejected = {"reason": "not in the combined format", "raw": "\x00bytes"}
    assert tail.plain(json.dumps(rejected).encode()) == "not in the combined format  \\x00bytes"
    half = {"status": None, "path": None, "raw": "x"}
    assert tail.plain(json.dumps(half).encode())


HOSTILE = [
    '{"path":"/안\x7f\x9b2J\u202e","status":200}'.encode(),
    b'{"path":"/a\\u001b"}',
    b"\xc2\x9bno \xff JSON\x1b",
]
WRITE = f"from cli.tail import writer; writer(True)({HOSTILE!r})"


def test_json_in_a_terminal_is_the_same_in_printable_ascii() -> None:
    ours, theirs = pty.openpty()
    subprocess.run([sys.executable, "-c", WRITE], cwd=ROOT, stdout=theirs, check=True, timeout=90)
    os.close(theirs)
    with os.fdopen(ours, "rb") as terminal:
        shown = [terminal.readline().removesuffix(b"\r\n") for _ in HOSTILE]
    assert all(line.isascii() and line.decode().isprintable() for line in shown)
    assert [json.loads(line) for line in shown[:2]] == [json.loads(line) for line in HOSTILE[:2]]
    assert shown[2] == b"\\x9bno \\xff JSON\\x1b"


def test_json_in_a_pipe_is_what_the_object_holds() -> None:
    piped = subprocess.run([sys.executable, "-c", WRITE], cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=90)
    assert piped.stdout == b"".join(line + b"\n" for line in HOSTILE)


def test_lines_in_a_terminal_have_colours_and_one_row_each() -> None:
    from rich.console import Console

    stream = io.StringIO()
    terminal = Console(file=stream, width=60, force_terminal=True, color_system="standard", markup=False)
    tail.colored(terminal, LINE)
    tail.colored(terminal, b"no entry [red]at all[/red]")
    first, second = stream.getvalue().splitlines()
    assert "\x1b[33m404" in first
    assert first.count("\x1b[2J") == 0
    assert "…" in first
    assert second == "no entry [red]at all[/red]"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("1.5h", NOW - timedelta(minutes=90)),
        ("2d", NOW - timedelta(days=2)),
        ("2026-11-23T15:00", NOW - timedelta(minutes=65)),
        ("2026-11-23T15:00+09:00", datetime(2026, 11, 23, 6, tzinfo=UTC)),
    ],
)
def test_since(text: str, moment: datetime) -> None:
    assert tail.since(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "10", "h", "soon", "999999999999d", "2026-13-01", "0001-01-01T00:00+09:00"])
def test_since_that_is_no_time(text: str) -> None:
    with pytest.raises(CommandError, match="--since"):
        tail.since(text, NOW)


def test_following_waits_for_an_endpoint_that_is_away(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    rounds: list[list[bytes] | Exception] = [
        [b"one"],
        EndpointConnectionError(endpoint_url="http://x"),
        ClientError({"Error": {"Code": "SlowDown"}}, "GetObject"),
        ResponseParserError("half an answer"),
        [b"two"],
    ]
    shown: list[bytes] = []
    pauses: list[float] = []

    class Fake(Follower):
        def __init__(self) -> None:
            pass

        def fresh(self, now: datetime) -> Any:
            assert now
            given = rounds.pop(0)
            if isinstance(given, Exception):
                raise given
            return iter(given)

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return not rounds

    def write(lines: Iterable[bytes]) -> None:
        shown.extend(lines)

    tail.follow(settings, Fake(), write, tail.Filter(), 1.0, SystemClock(), pause)
    assert shown == [b"one", b"two"]
    assert pauses == [1.0, 1.0, *[tail.ASK_AGAIN] * 3, 1.0]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "does not answer" in said[0]
    assert said[1] == "appliance: it answers again"


def test_waiting_ends_when_nobody_reads_any_more(settings: Settings) -> None:
    assert settings
    script = "from cli.tail import wait; print(wait(0.01), flush=True); import sys; sys.exit(wait(600))"
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"False\n"
    process.stdout.close()
    assert process.wait(60) == 1
