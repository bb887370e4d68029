"""The files a host gets: cron's line, the unit, the settings and the script that installs them."""

from __future__ import annotations

import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from common.settings import Settings
from producer.__main__ import UNUSABLE
from tests.appliance.drivers import ROOT

HOST = ROOT / "host"
CRON = (HOST / "web-log-producer.cron").read_text()
SETTINGS = (HOST / "web-log-producer.default").read_text()


def unit() -> RawConfigParser:
    # systemd allows a key several times; the last one is enough here
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(HOST / "web-log-producer.service")
    return parser


def test_cron_reads_its_file() -> None:
    """What cron(8) and crontab(5) ask of a file in cron.d: fields, a user, no %, a newline at the end."""
    assert CRON.endswith("\n")
    (job,) = (line for line in CRON.splitlines() if re.match(r"[\d*]", line))
    minute, *others, user, command = job.split(maxsplit=6)
    assert (minute, others, user) == ("*", ["*"] * 4, "web-log-producer")
    assert "%" not in command
    assert "--once" in command
    assert "logger --prio-prefix --tag web-log-producer" in command


def test_cron_and_unit_run_the_same_program_with_the_same_settings() -> None:
    service = unit()["Service"]
    assert f"{service['ExecStart']} --once" in CRON
    assert f". {service['EnvironmentFile']};" in CRON
    assert service["RestartPreventExitStatus"] == str(UNUSABLE)


def test_the_settings_file_is_read_alike_by_shell_and_systemd_and_is_valid() -> None:
    lines = [line for line in SETTINGS.splitlines() if re.match(r"#?[A-Z]", line)]
    given = dict(line.removeprefix("#").split("=", 1) for line in lines)
    assert all(re.fullmatch(r"[\w./-]+", value) for value in given.values())
    assert {name.lower() for name in given} <= set(Settings.model_fields)
    settings = Settings(**{name.lower(): value for name, value in given.items()})
    assert settings.target == "aws"
    assert settings.log_format == "syslog"
    assert not settings.owns_log, "the host's logrotate rotates, not the producer"


def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; enable this test with: apt-get install systemd")
    # it looks whether the program is there, which it is on the host only
    text = re.sub("ExecStart=.*", "ExecStart=/bin/true", (HOST / "web-log-producer.service").read_text())
    (tmp_path / "web-log-producer.service").write_text(text)
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "web-log-producer.service")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_processes_of_others_can_be_seen() -> None:
    """A rotated log counts as complete when nobody has it open; who is hidden would count as nobody."""
    assert "ProtectProc" not in unit()["Service"]
    assert "PrivatePIDs" not in unit()["Service"]


@pytest.mark.parametrize(
    ("lines", "status", "said"),
    [
        ("# a secret\n\nAWS_SECRET_ACCESS_KEY=h1dden/+=\nAWS_ACCESS_KEY_ID=a", 1, "Mend it with: script/bundle"),
        ("AWS_SECRET_ACCESS_KEY=h1dden h1dden", 2, "'AWS_SECRET_ACCESS_KEY' is no setting, or has such a value"),
    ],
)
def test_install_takes_secrets_from_standard_input(lines: str, status: int, said: str) -> None:
    done = subprocess.run(
        [HOST / "install", "--set", "-"], input=lines, capture_output=True, text=True, timeout=90, check=False
    )
    assert (done.returncode, said in done.stderr) == (status, True)
    assert "h1dden" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--help"], 0, "--schedule systemd"),
        (["--fast"], 2, "there is no option --fast"),
        (["--schedule", "at"], 2, "no schedule is called 'at'"),
        (["--schedule"], 2, "lacks its value"),
        (["--set"], 2, "lacks its value"),
        (["--set", "s3_bucket=x"], 2, "is no setting"),
        (["--set", "S3_BUCKET=$(reboot)"], 2, "is no setting"),
        (["--set", "S3_BUCKET=a b"], 2, "is no setting"),
        (["--set", "S3_BUCKET=x\nY=z"], 2, "is no setting"),
        (["--set", "ACCESS_LOG_FORMAT=$a '"], 2, "a log_format in one string"),
        (["--set", 'ACCESS_LOG_FORMAT=$a \\"'], 2, 'and " for \\"'),
        (["--set", "ACCESS_LOG_FORMAT=$a\nY=z"], 2, "on more than one line"),
        (["--set", "ACCESS_LOG_FORMAT=$a | $b"], 1, "Mend it with: script/bundle"),
        (["--set", "ACCESS_LOG_FORMAT=$a\t$b\\t$c"], 1, "Mend it with: script/bundle"),
        (["--set", "AWS_SECRET_ACCESS_KEY=h1dden"], 2, "--set - <file, with a line AWS_SECRET_ACCESS_KEY=VALUE"),
        (["--set", "AWS_SESSION_TOKEN=h1dden"], 2, "AWS_SESSION_TOKEN is a secret"),
        (["--set", "RECORD_KEY=h1dden"], 2, "RECORD_KEY is a secret"),
        (["--set", "LOCALSTACK_HOST=admin:h1dden $"], 2, "'LOCALSTACK_HOST' is no setting"),
        # in the project's own folder there is no wheel beside it
        ([], 1, "Mend it with: script/bundle"),
    ],
)
def test_install_refuses_what_it_cannot_use_and_says_what_mends_it(
    arguments: list[str], status: int, said: str
) -> None:
    done = subprocess.run([HOST / "install", *arguments], capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "h1dden" not in done.stderr
    assert status == 0 or "Mend it with: " in done.stderr
