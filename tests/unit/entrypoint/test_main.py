"""`python -m entrypoint`: its modes, exit statuses and signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from common import aws
from common.settings import Settings
from entrypoint import __main__ as program
from entrypoint import watch
from entrypoint.errors import AwayError
from entrypoint.provision import Clients, connect
from tests.unit.entrypoint.fakes import FakeClock

ROOT = Path(__file__).resolve().parents[3]
KINDS = ["bucket", "role", "stream", "function", "mapping"]


@pytest.fixture
def function_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small function instead of the real one, and no settings of the developer's."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    folder = tmp_path / "lambda"
    folder.mkdir()
    (folder / "index.py").write_text("def handler(event, context):\n    return {}\n")
    monkeypatch.setattr(program, "FUNCTION_FOLDER", folder)
    monkeypatch.setattr(program, "configure", lambda *_: None)
    return folder


@pytest.fixture
def endpoint(function_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An endpoint in this process, which both modes reach."""
    assert function_folder.is_dir()
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        clients = connect(Settings(target="aws"))
        monkeypatch.setattr(program, "connect", lambda _: clients)
        yield


@pytest.mark.usefixtures("endpoint")
def test_plan_once_plan(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert program.main(["--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == KINDS
    assert all(line.endswith(": would be created") for line in lines)

    assert program.main(["--once"]) == 0
    steps = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert [step.split()[0] for step in steps] == [*KINDS, "ready"]
    assert all(step.endswith(": created") for step in steps[:5])

    assert program.main(["--plan"]) == 0
    assert all(line.endswith(": unchanged") for line in capsys.readouterr().out.splitlines())


@pytest.mark.usefixtures("endpoint")
def test_once_leaves_the_daemon_s_status_alone(tmp_path: Path) -> None:
    assert program.main(["--once"]) == 0
    assert not (tmp_path / "data" / "run" / "status").exists()


def away(*_: object, **__: object) -> Iterator[None]:
    raise AwayError("it does not answer (Connection refused)")
    yield


@pytest.mark.usefixtures("function_folder")
def test_once_waits_for_its_time_out_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "provision", away)
    clock = FakeClock()
    assert program.once(Settings(localstack_host="127.0.0.1:9"), b"", clock, timeout=20) == 1
    assert 15 < clock.seconds <= 20
    assert caplog.records[-1].getMessage() == "gave up after 20 s (--timeout): it does not answer (Connection refused)"


@pytest.mark.usefixtures("function_folder")
def test_plan_of_an_endpoint_that_is_away(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "provision", away)
    monkeypatch.setenv("LOCALSTACK_HOST", "127.0.0.1:9")
    assert program.main(["--plan"]) == 1
    message = "cannot look at http://127.0.0.1:9: it does not answer (Connection refused). Start the endpoint, or "
    assert capsys.readouterr() == ("", f"{message}name another one with -e LOCALSTACK_HOST=…\n")


@pytest.mark.usefixtures("function_folder")
def test_an_endpoint_that_is_no_url_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "endpoint_url", lambda *_: "http://my host:4566")
    assert program.main(["--plan"]) == 1
    assert "Invalid endpoint: http://my host:4566. Check LOCALSTACK_HOST" in capsys.readouterr().err


@pytest.mark.usefixtures("function_folder")
def test_wrong_settings_end_it_with_a_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_SIZE", "many")
    assert program.main(["--once"]) == 2
    assert "BATCH_SIZE='many'" in capsys.readouterr().err


def test_a_function_folder_without_a_function(function_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (function_folder / "index.py").unlink()
    assert program.main(["--plan"]) == 2
    assert "has no index.py" in capsys.readouterr().err


def test_help_names_modes_settings_and_exit_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        program.main(["--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in ("--once", "--plan", "--timeout", "LOCALSTACK_HOST", "Exit status"):
        assert word in text


def test_the_real_function_is_where_the_program_looks_for_it() -> None:
    assert program.FUNCTION_FOLDER == ROOT / "lambda"
    assert program.FUNCTION_FOLDER.is_dir()


DAEMON = """
import os, sys
from pathlib import Path
from typing import Any
import entrypoint.__main__ as program
import entrypoint.provision
entrypoint.provision.READ_TIMEOUT = 600
program.FUNCTION_FOLDER = Path(sys.argv[1])
status = program.main([])
sys.stdout.flush()
os._exit(status)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_even_while_an_endpoint_hangs(function_folder: Path, number: signal.Signals) -> None:
    """The endpoint takes the connection and never answers; the read time-out is ten minutes."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        environment = os.environ | {"LOCALSTACK_HOST": f"127.0.0.1:{hung.getsockname()[1]}"}
        with subprocess.Popen(
            [sys.executable, "-c", DAEMON, str(function_folder)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                hung.settimeout(30)
                connection, _ = hung.accept()
                with connection:
                    process.send_signal(number)
                    assert process.wait(timeout=60) == 0
                assert process.stdout is not None
                assert b"Traceback" not in process.stdout.read()
            finally:
                process.kill()


def test_clients_have_short_time_outs_and_do_not_retry_by_themselves() -> None:
    clients: Clients = connect(Settings(localstack_host="127.0.0.1:9"))
    for client in (clients.s3, clients.iam, clients.kinesis, clients.lambda_):
        config: Any = client.meta.config
        assert config.read_timeout <= 5
        assert config.connect_timeout <= 5
        assert config.retries["total_max_attempts"] == 1
