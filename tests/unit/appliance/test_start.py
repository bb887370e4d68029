from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from appliance import __main__ as start
from appliance import checks
from appliance.checks import StartError, check_dashboard, check_emulator, check_limits, check_log, check_nginx
from appliance.folder import lock, prepare
from appliance.run import for_programs
from common.emulator import read_key
from common.settings import Settings
from common.status import ApplianceStatus, Endpoint
from tests.appliance.drivers import folder
from tests.statuses import status_json

# Stopped while its own modules are still being imported
STOPPED = """
import os, runpy, sys

class Stop:
    def find_spec(self, name, *_):
        if name == "appliance.checks":
            os.kill(os.getpid(), int(sys.argv.pop()))

sys.meta_path.insert(0, Stop())
runpy.run_module("appliance", run_name="__main__")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_right_after_the_start_is_one(number: signal.Signals) -> None:
    """A container's first process gets no signal that it does not handle: `docker stop` would take its ten seconds."""
    command = [sys.executable, "-c", STOPPED, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("S3_BUCKET", "a-bucket")
    monkeypatch.setenv("HTTP_HOST", "127.0.0.1")
    return Settings()


def test_the_emulator_is_needed_only_when_nothing_else_is_there(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setenv("EMULATOR_PORT", str(listener.getsockname()[1]))
        assert start.endpoint_for(Settings()) == "embedded"
        listener.listen()
        assert start.endpoint_for(Settings()) == "endpoint"
    assert start.endpoint_for(Settings()) == "embedded"
    assert start.endpoint_for(settings.model_copy(update={"localstack_host": "localstack"})) == "endpoint"
    assert start.endpoint_for(settings.model_copy(update={"target": "aws"})) == "aws"


def test_several_logs_are_for_a_producer_without_the_appliance(settings: Settings) -> None:
    with pytest.raises(StartError, match="LOG_FILES is for a producer without the appliance"):
        check_nginx(settings.model_copy(update={"log_files": "shop=/srv/shop/access.log"}))


def test_two_appliances_do_not_share_a_folder(settings: Settings) -> None:
    held = lock(settings)
    try:
        with pytest.raises(StartError, match="already runs on DATA_DIR"):
            lock(settings)
    finally:
        os.close(held)
    os.close(lock(settings))


def test_a_file_system_without_locks_is_named_with_the_remedy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StartError, match="cannot be reserved: No locks available"):
        lock(settings)


def test_prepare_leaves_the_log_and_makes_the_rest_anew(settings: Settings) -> None:
    prepare(settings, "endpoint")
    settings.log_file.write_text("a line\n")
    (settings.status_dir / "producer.json").write_text("{}")
    prepare(settings, "endpoint")
    assert settings.log_file.read_text() == "a line\n"
    assert [path.name for path in settings.status_dir.iterdir()] == ["appliance.json"]
    assert "export S3_BUCKET=a-bucket\n" in (settings.run_dir / "environment").read_text()


def test_others_cannot_read_what_is_in_the_folder(settings: Settings) -> None:
    os.close(lock(settings))
    # root's emulator is another user
    assert mode(settings.data_dir) == (0o751 if os.geteuid() == 0 else 0o750)
    settings.log_file.parent.mkdir(mode=0o755)
    settings.log_file.touch(0o644)
    prepare(settings, "endpoint")
    assert [mode(settings.log_file.parent), mode(settings.data_dir / "emulator")] == [0o750] * 2
    assert mode(settings.run_dir / "environment") == 0o600


def test_a_folder_of_the_users_keeps_its_mode(settings: Settings) -> None:
    settings.data_dir.mkdir()
    settings.data_dir.chmod(0o711)
    os.close(lock(settings))
    assert mode(settings.data_dir) == 0o711


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "file" / "data"))
    with pytest.raises(StartError, match=r"cannot write to DATA_DIR .* -v web-log:/data$"):
        lock(Settings())

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StartError, match=r"Permission denied\. .* \(--user 12345:0\); .* chown -R 12345 /data$"):
        lock(Settings())


def test_a_port_in_use_is_said(settings: Settings) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken = settings.model_copy(update={"http_port": listener.getsockname()[1]})
        with pytest.raises(StartError, match=r"HTTP_PORT=.*another one: -e HTTP_PORT=8000"):
            check_nginx(taken)


@pytest.mark.parametrize("host", ["203.0.113.1", "a..b"])  # of another machine, as in a container its own is
def test_an_address_that_is_not_here_is_no_matter_of_the_port(settings: Settings, host: str) -> None:
    there = settings.model_copy(update={"http_host": host, "dashboard_host": host})
    for check, name in ((check_nginx, "HTTP_HOST"), (check_dashboard, "DASHBOARD_HOST")):
        with pytest.raises(StartError, match=rf"{name}={host} cannot be listened on: .* -e {name}=0\.0\.0\.0"):
            check(there)


def test_a_limit_that_is_too_low_is_said_unless_it_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, -1))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    check_limits()
    assert asked == [(1024, -1), (200, -1)]

    def refuse(_kind: int, _limits: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 100))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    with pytest.raises(StartError, match=r"the limit `nofile` is 100, .* --ulimit nofile=1024"):
        check_limits()


def test_a_port_that_is_not_allowed_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_host: str, _port: int) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checks, "listen", refuse)
    monkeypatch.setattr(checks, "_may_have_right", lambda: False)
    with pytest.raises(StartError, match=r"-e HTTP_PORT=8000 .*--sysctl net\.ipv4\.ip_unprivileged_port_start=0"):
        check_nginx(settings)
    monkeypatch.setattr(checks, "_may_have_right", lambda: True)
    check_nginx(settings)


def test_a_missing_nginx_is_said(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StartError, match="apt-get install nginx"):
        check_nginx(settings)


def test_settings_that_cannot_be_used_end_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHARD_COUNT", "many")
    assert start.main([]) == 2
    assert "-e SHARD_COUNT=1" in capsys.readouterr().err


def test_a_log_of_others_is_refused(settings: Settings) -> None:
    check_log(settings)
    with pytest.raises(StartError, match=r"LOG_FILE=/var/log/nginx/access\.log is for the producer on a host"):
        check_log(settings.model_copy(update={"log_file": Path("/var/log/nginx/access.log")}))


def test_a_dashboard_port_that_is_taken_is_said(settings: Settings) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        taken = settings.model_copy(update={"dashboard_port": port})
        with pytest.raises(
            StartError,
            match=rf"DASHBOARD_PORT={port} cannot .* -e DASHBOARD_PORT={port + 1}, .* DASHBOARD_PORT=0",
        ):
            check_dashboard(taken)
    check_dashboard(settings.model_copy(update={"dashboard_port": port}))


def test_without_a_dashboard_no_port_is_needed(settings: Settings) -> None:
    none = settings.model_copy(update={"dashboard_port": 0})
    check_dashboard(none)
    assert for_programs(none, "endpoint")["DASHBOARD_AUTOSTART"] == "false"
    assert for_programs(settings, "endpoint")["DASHBOARD_AUTOSTART"] == "true"


def test_what_wraps_the_programs_knows_how_to_treat_addresses(settings: Settings) -> None:
    assert for_programs(settings, "endpoint")["ANONYMIZE_IP"] == "false"
    assert for_programs(settings.model_copy(update={"anonymize_ip": True}), "endpoint")["ANONYMIZE_IP"] == "true"


def test_the_embedded_emulator_has_a_key_which_the_programs_find_and_nothing_of_the_users(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.setenv(name, "h1dden")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    prepare(settings, "embedded")
    key = read_key(settings.run_dir / "credentials")
    assert key
    assert key == read_key(settings.data_dir / "emulator" / "credentials")
    given = for_programs(settings, "embedded")
    assert "h1dden" not in given.values()
    assert given["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert for_programs(settings, "endpoint")["AWS_SECRET_ACCESS_KEY"] == "h1dden"
    prepare(settings, "endpoint")
    assert not read_key(settings.run_dir / "credentials")
    prepare(settings, "embedded")
    assert read_key(settings.run_dir / "credentials") == key


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_as_root_a_way_that_the_emulators_user_may_not_go_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with folder() as open_to_all:
        (open_to_all / "emulator").mkdir()
        monkeypatch.setattr("sys.executable", "/bin/sh")
        monkeypatch.setattr("appliance.checks.HOME", open_to_all)
        check_emulator(open_to_all)
        (open_to_all / "closed").mkdir(mode=0o700)
        with pytest.raises(StartError, match=rf"user 10001 may not enter {open_to_all}/closed\. Mend it by moving"):
            check_emulator(open_to_all / "closed" / "emulator")


@pytest.mark.parametrize("endpoint", get_args(Endpoint))
def test_the_dashboard_is_told_what_the_appliance_works_with(settings: Settings, endpoint: Endpoint) -> None:
    prepare(settings, endpoint)
    assert status_json(settings.status_dir, ApplianceStatus)["endpoint"] == endpoint
    assert for_programs(settings, endpoint)["EMULATOR_AUTOSTART"] == str(endpoint == "embedded").lower()


def test_the_start_says_where_the_dashboard_is(settings: Settings) -> None:
    assert start.dashboard(settings) == (
        ", dashboard on 127.0.0.1:8080 (a container's is opened by -e DASHBOARD_HOST=0.0.0.0 -p 127.0.0.1:8080:8080)"
    )
    assert start.dashboard(settings.model_copy(update={"dashboard_host": "0.0.0.0"})) == ", dashboard on 0.0.0.0:8080"
    assert start.dashboard(settings.model_copy(update={"dashboard_port": 0})) == ""


def test_an_installation_without_the_emulator_asks_for_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "emulator_python", lambda: None)
    with pytest.raises(StartError, match=r"no embedded emulator here.*-e LOCALSTACK_HOST="):
        check_emulator(Path("/"))


def test_the_emulator_runs_in_its_own_environment_where_it_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert checks.emulator_python() == Path(sys.executable), "the tests' own"
    (tmp_path / "emulator" / "bin").mkdir(parents=True)
    (tmp_path / "emulator" / "bin" / "python").touch()
    assert checks.emulator_python() == tmp_path / "emulator" / "bin" / "python"
