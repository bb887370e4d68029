"""What a person types wrong, and what other programs' variables are called."""

from __future__ import annotations

import subprocess
import sys

import pytest

from common.misspelt import misspelt
from common.settings import NAMES
from tests.appliance.drivers import ROOT

MEANT = {
    "POLL_INTERVALL": "POLL_INTERVAL",
    "POL_INTERVAL": "POLL_INTERVAL",
    "POLL_INTREVAL": "POLL_INTERVAL",
    "POLLINTERVAL": "POLL_INTERVAL",
    "poll_interval": "POLL_INTERVAL",
    "POLL_SECONDS": "POLL_INTERVAL",
    "LOCALSTACKHOST": "LOCALSTACK_HOST",
    "LOCAL_STACK_HOST": "LOCALSTACK_HOST",
    "LOCALSTACK_PORT": "LOCALSTACK_HOST",
    "TRAGET": "TARGET",
    "TARGETS": "TARGET",
    "DELIVRY": "DELIVERY",
    "UPSTRAEM": "UPSTREAM",
    "S3_BUCKETT": "S3_BUCKET",
    "HTTPPORT": "HTTP_PORT",
    "DASHBOARD_PROT": "DASHBOARD_PORT",
    "LOG_LEVLE": "LOG_LEVEL",
    "LOG_ROTATE_BYTES_MAX": "LOG_ROTATE_BYTES",
    "S3_EXPIRE_AFTER_DAYS": "S3_EXPIRE_DAYS",
    "RECORDKEY": "RECORD_KEY",
}
# of shells, proxies, CI, LocalStack, Kubernetes, Docker and web servers
OTHERS = """
HTTP_PROXY HTTPS_PROXY http_proxy NO_PROXY HTTP_USER_AGENT HTTPS_PORT HTTPD_PORT HTTP_PATH LOG_DIR LOG_PATH LOGNAME PORT
HOST HOSTNAME TARGET_OS TARGETOS TARGETARCH TARGETPLATFORM AWS_REGION AWS_DEFAULT_OUTPUT AWS_DEFAULT_PROFILE AWS_PROFILE
AWS_S3_BUCKET LOCALSTACK_AUTH_TOKEN LOCALSTACK_HOSTNAME LOCALSTACK_API_KEY LOCALSTACK_VOLUME_DIR KINESIS_PERSISTENCE
LAMBDA_TASK_ROOT LAMBDA_RUNTIME_EXECUTOR S3_ENDPOINT S3_REGION S3_BUCKET_2 DATA_SOURCE XDG_DATA_DIRS UPSTREAM_URL
DASHBOARD_URL DASHBOARD_SERVICE_HOST DASHBOARD_SERVICE_PORT DASHBOARD_PORT_80_TCP DASHBOARD_PORT_80_TCP_ADDR
EMULATOR_SERVICE_HOST EMULATOR_NAME EMULATOR_AUTOSTART EMULATOR_LOG_LEVEL DASHBOARD_AUTOSTART KUBERNETES_PORT
KUBERNETES_SERVICE_HOST POSTGRES_PORT BATCH_ID RECORD_ID ROLE PATH HOME LANG TERM PWD SHLVL MAIL USER
"""


@pytest.mark.parametrize(("name", "meant"), MEANT.items())
def test_the_setting_that_was_meant_is_named(name: str, meant: str) -> None:
    [said] = misspelt({name: "h1dden"}, NAMES)
    assert said == f"{name}: there is no such setting; is {meant} meant? Mend it with: -e {meant}=…, or without {name}"


@pytest.mark.parametrize("name", OTHERS.split())
def test_what_belongs_to_other_programs_is_left_alone(name: str) -> None:
    assert misspelt({name: "x"}, NAMES) == []


def test_the_settings_themselves_and_what_is_empty_or_a_link_of_kubernetes_are_no_mistakes() -> None:
    assert misspelt(dict.fromkeys(NAMES, "x"), NAMES) == []
    assert misspelt({"POLL_INTERVALL": "", "LOCALSTACK_PORT": "tcp://10.0.0.1:4566"}, NAMES) == []
    assert misspelt({"x" * 100_000: "x", "": "x", "_": "x"}, NAMES) == []


def test_no_setting_is_taken_for_another_when_a_letter_of_it_is_missing() -> None:
    for name in NAMES:
        for short in {name[:at] + name[at + 1 :] for at in range(len(name))} - set(NAMES):
            assert f"is {name} meant?" in misspelt({short: "x"}, NAMES)[0]


@pytest.mark.parametrize(("names", "status"), [("PATH\nPOLL_INTERVALL\n", 1), ("PATH\nPOLL_INTERVAL\n", 0), ("", 0)])
def test_script_up_asks_by_standard_input(names: str, status: int) -> None:
    command = [sys.executable, "-m", "common.settings"]
    ended = subprocess.run(command, input=names, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == status
    assert ("is POLL_INTERVAL meant?" in ended.stderr) is bool(status)
