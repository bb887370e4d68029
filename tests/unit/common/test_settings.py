"""The settings: the original's names and defaults, and one message for all that is wrong with them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from common.delivery import DELIVERIES, KINESIS, Delivery
from common.settings import Settings, SettingsError, load_settings, require_data_dir
from tests.keys import KEY

# The names and defaults that were agreed on (the first eight are the original's of 2020).
DEFAULTS: dict[str, object] = {
    "LOCALSTACK_HOST": "",
    "S3_BUCKET": "my-bucket",
    "LAMBDA_ROLE": "lambda-ex",
    "KINESIS_DATA_STREAM": "web-log-stream",
    "LAMBDA_FUNCTION": "stream-transformation",
    "SHARD_COUNT": 1,
    "BATCH_SIZE": 100,
    "STARTING_POSITION": "TRIM_HORIZON",
    "POLL_INTERVAL": 60,
    "HTTP_PORT": 80,
    "UPSTREAM": "",
    "S3_PREFIX": "",
    "TARGET": "localstack",
    "DELIVERY": KINESIS,
    "FIREHOSE_STREAM": "web-log-delivery",
    "AWS_DEFAULT_REGION": "us-east-1",
    "EMULATOR_PORT": 4566,
    "DASHBOARD_PORT": 8080,
    "LOG_LEVEL": "INFO",
    "LOG_FORMAT": "human",
}

# Variable, bad value, and a word of the sentence that says what would be good.
BAD = [
    ("LOCALSTACK_HOST", "http://", "host"),
    ("LOCALSTACK_HOST", "my host", "host:port"),
    ("LOCALSTACK_HOST", "user:password@host", "host:port"),
    ("LOCALSTACK_HOST", "host:port", "host:port"),
    ("LOCALSTACK_HOST", "host:0", "host:port"),
    ("LOCALSTACK_HOST", "host:99999", "host:port"),
    ("LOCALSTACK_HOST", "ftp://host", "http"),
    ("LOCALSTACK_HOST", "http://host/path", "http"),
    ("LOCALSTACK_HOST", "fe80::1", "[brackets]"),
    ("LOCALSTACK_HOST", "[fe80::1%eth0]", "[brackets]"),
    ("LOCALSTACK_HOST", "[]", "host:port"),
    ("LOCALSTACK_HOST", "a..b", "letters, digits"),
    ("LOCALSTACK_HOST", '"localhost"', "letters, digits"),  # as `--env-file` leaves it
    ("LOCALSTACK_HOST", "local_stack:4566", "letters, digits"),
    ("LOCALSTACK_HOST", "hôte", "letters, digits"),
    ("S3_BUCKET", "My-Bucket", "lower-case"),
    ("S3_BUCKET", "ab", "3 to 63"),
    ("S3_BUCKET", "a..b", "dots"),
    ("S3_BUCKET", "192.168.0.1", "bucket name"),
    ("S3_PREFIX", "/logs/", "start with /"),
    ("S3_PREFIX", "logs", "ends with /"),
    ("S3_PREFIX", "*/", "none of *?$"),
    ("S3_PREFIX", "a/*b/", "none of *?$"),
    ("S3_PREFIX", "${aws:username}/", "none of *?$"),
    ("LAMBDA_ROLE", "a role", "role name"),
    ("KINESIS_DATA_STREAM", "a/stream", "stream name"),
    ("LAMBDA_FUNCTION", "a.function", "function name"),
    ("SHARD_COUNT", "0", "greater than or equal to 1"),
    ("SHARD_COUNT", "two", "valid integer"),
    ("BATCH_SIZE", "10001", "less than or equal to 10000"),
    ("STARTING_POSITION", "AT_TIMESTAMP", "TRIM_HORIZON"),
    ("POLL_INTERVAL", "0", "greater than or equal to"),
    ("HTTP_PORT", "65536", "less than or equal to 65535"),
    ("UPSTREAM", "app:3000", "http://app:3000"),
    ("UPSTREAM", "http://app; deny all", "http://app:3000"),
    ("DROP_QUERY", "0", "names of parameters"),
    ("DROP_QUERY", "false", "names of parameters"),
    ("DROP_QUERY", "all,token", "names of parameters"),
    ("DROP_QUERY", "ALL", "use all"),
    ("DROP_QUERY", "True", "use all"),
    ("DROP_QUERY", 'a"b', "names of parameters"),
    ("DROP_QUERY", "a" * 151, "150 characters"),
    ("LOG_SKIP", "health", "/health"),
    ("LOG_SKIP", "/*", "/health"),
    ("LOG_SKIP", "/a*b*", "one * each"),
    ("LOG_SKIP", "/a,agent:a**", "one * each"),
    ("LOG_SKIP", "agent:", "agent:kube-probe/"),
    ("LOG_SKIP", "/health /ready", "/health"),
    ("LOG_SKIP", "agent: ,/a", "agent:kube-probe/"),
    ("LOG_SKIP", '/a"b', "/health"),
    ("LOG_ROTATE_BYTES", "1", "greater than or equal to 1024"),
    ("LOG_FILES", "shop", "name=/path"),
    ("LOG_FILES", "shop=access.log", "name=/path"),
    ("LOG_FILES", "a=/a/access.log,=/b/access.log", "name=/path"),
    ("LOG_FILES", "2026=/a/access.log", "begins with a letter"),
    ("LOG_FILES", "a/b=/a/access.log", "letters, digits and ._-"),
    ("LOG_FILES", f"a{32 * 'b'}=/a/access.log", "32"),
    ("LOG_FILES", "rejected=/a/access.log", "rejected"),
    ("LOG_FILES", "ledger=/a/access.log", "ledger"),
    ("LOG_FILES", "reserve=/a/access.log", "reserve"),
    ("LOG_FILES", "athena=/a/access.log", "athena"),
    ("LOG_FILES", "checkpoint.json=/a/access.log", ".json"),
    ("LOG_FILES", "a=/a/access.log,a=/b/access.log", "once"),
    ("LOG_FILES", "a=/a/access.log,b=/a/access.log", "once"),
    ("TARGET", "azure", "'localstack' or 'aws'"),
    ("DELIVERY", "pigeon", "Input should be 'kinesis' or 'firehose'"),
    ("AWS_DEFAULT_REGION", "Seoul!", "region"),
    ("EMULATOR_PORT", "-1", "greater than or equal to 1"),
    ("LOG_LEVEL", "chatty", "'INFO'"),
]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_the_defaults_are_the_ones_agreed_on(name: str, default: object) -> None:
    assert getattr(load_settings(), name.lower()) == default


@pytest.mark.parametrize("delivery", DELIVERIES.values(), ids=str)
def test_a_delivery_is_chosen_by_its_name(monkeypatch: pytest.MonkeyPatch, delivery: Delivery) -> None:
    monkeypatch.setenv("DELIVERY", delivery.name)
    monkeypatch.setenv(delivery.stream_setting, "another")
    settings = load_settings()
    assert settings.delivery is delivery
    assert settings.stream == "another"


@pytest.mark.parametrize(("name", "value", "rule"), BAD)
def test_a_bad_value_is_named_with_its_rule_and_its_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    heading, line = str(caught.value).splitlines()
    assert heading == "The settings cannot be used:"
    assert line.startswith(f"  {name}={value.replace('user:password', '...')!r}: ")
    assert rule in line


@pytest.mark.parametrize("prefix", ["?/", "a?/", "a/?/b/"])
def test_a_question_mark_is_a_pattern_in_a_policy_too(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv("S3_PREFIX", prefix)
    with pytest.raises(SettingsError, match="none of"):
        load_settings()


def test_a_bad_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECORD_KEY", f"{KEY}0")
    with pytest.raises(SettingsError, match="RECORD_KEY='…': a key is what") as caught:
        load_settings()
    assert KEY not in str(caught.value)
    monkeypatch.setenv("RECORD_KEY", KEY)
    assert KEY not in repr(load_settings())


@pytest.mark.parametrize(("name", "value", "_rule"), BAD)
def test_the_remedy_it_gives_does_mend_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str, _rule: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    remedy = re.search(rf"Mend it with: -e {name}=(\S+)$", str(caught.value))
    assert remedy is not None
    monkeypatch.setenv(name, remedy.group(1))
    load_settings()


WITH_PASSWORD = [
    "http://admin:h1dden@host:4566",
    "admin:h1dden@host",
    "h1dden@host",
    "http://admin:h1/dden?h1dden#h1dden@host",
    "http://admin:h1dden@h1dden@host ",
    "http://admin:h1dden\n@host",
    "http://admin:h1dden@ho\u2100st",  # a host that urlsplit() refuses, and repeats
    "http://[admin:h1dden@host",
    "http://host?token=h1dden",
    "http://host/%3Fcode=h1dden",
]


@pytest.mark.parametrize("value", WITH_PASSWORD)
@pytest.mark.parametrize("name", ["UPSTREAM", "LOCALSTACK_HOST"])
def test_a_password_is_not_repeated(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "h1dden" not in str(caught.value)
    assert f"{name}='" in str(caught.value)
    assert f"Mend it with: -e {name}=" in str(caught.value)


def run(program: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *program.split()],
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize(
    "program", ["appliance", "entrypoint", "producer", "dashboard", "cli health", "cli verify", "cli status"]
)
def test_no_program_repeats_a_password(program: str) -> None:
    ended = run(program, UPSTREAM=WITH_PASSWORD[0], LOCALSTACK_HOST=WITH_PASSWORD[0])
    assert ended.returncode == 2
    assert "LOCALSTACK_HOST='http://...@host:4566'" in ended.stdout + ended.stderr
    assert "h1dden" not in ended.stdout + ended.stderr


def test_all_bad_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {name: value for name, value, _ in BAD}
    for name, value in bad.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    lines = str(caught.value).splitlines()[1:]
    assert sorted(line.split("=")[0].strip() for line in lines) == sorted(bad)
    assert all(f"Mend it with: -e {name}=" in str(caught.value) for name in bad)


@pytest.mark.parametrize("program", ["appliance", "entrypoint --once", "producer --once", "dashboard", "cli status"])
def test_every_program_refuses_a_misspelt_setting_and_one_that_kubernetes_made(program: str) -> None:
    wrong = {"POLL_INTERVALL": "5", "EMULATOR_PORT": "tcp://10.0.0.1:4566", "SHARD_COUNT": "two"}
    ended = run(program, **wrong)
    assert ended.returncode == 2
    said = ended.stdout + ended.stderr
    assert "POLL_INTERVALL: there is no such setting; is POLL_INTERVAL meant? Mend it with: -e POLL_INTERVAL=…" in said
    assert "EMULATOR_PORT='tcp://10.0.0.1:4566': Kubernetes sets it for a service called emulator" in said
    assert "Mend it with: -e SHARD_COUNT=1" in said


@pytest.mark.skipif(Path("/data").exists(), reason="/data is there already")
@pytest.mark.parametrize("program", ["appliance", "entrypoint --once", "producer --once"])
def test_no_program_makes_the_containers_folder_on_a_users_machine(program: str) -> None:
    ended = run(program)
    assert ended.returncode == 2
    assert 'Mend it with a folder for the state: DATA_DIR="$PWD/.data"' in ended.stdout + ended.stderr
    assert not Path("/data").exists()


def test_a_folder_that_was_named_need_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "/nowhere/data")
    require_data_dir(load_settings())


def test_aws_and_localstack_exclude_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARGET", "aws")
    monkeypatch.setenv("LOCALSTACK_HOST", "somewhere")
    with pytest.raises(SettingsError, match="TARGET=aws and LOCALSTACK_HOST exclude each other"):
        load_settings()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"HTTP_PORT": "8080"}, "HTTP_PORT and DASHBOARD_PORT are both 8080. Mend it with: -e DASHBOARD_PORT=8081"),
        ({"HTTP_PORT": "4566"}, "HTTP_PORT and EMULATOR_PORT are both 4566. Mend it with: -e EMULATOR_PORT=4567"),
        ({"EMULATOR_PORT": "8080"}, "DASHBOARD_PORT and EMULATOR_PORT are both 8080. Mend it with: -e EMULATOR_PORT="),
        ({"HTTP_PORT": "4565", "DASHBOARD_PORT": "4565"}, "HTTP_PORT and DASHBOARD_PORT are both 4565.*=4567"),
        ({"HTTP_PORT": "65535", "DASHBOARD_PORT": "65535", "EMULATOR_PORT": "8080"}, "are both 65535.*=8081"),
    ],
)
def test_two_programs_cannot_have_one_port(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], said: str) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        load_settings()


@pytest.mark.parametrize(
    "given", [{"LOCALSTACK_HOST": "localhost"}, {"TARGET": "aws"}, {"LOG_FILE": "/var/log/nginx/access.log"}]
)
def test_the_port_of_a_program_that_does_not_run_here_is_free(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    for name, value in {"HTTP_PORT": "4566", **given}.items():
        monkeypatch.setenv(name, value)
    assert load_settings().http_port == 4566


def test_the_log_is_below_the_data_unless_another_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "/somewhere")
    assert load_settings().log_file == Path("/somewhere/log/access.log")
    assert load_settings().owns_log
    monkeypatch.setenv("LOG_FILE", "/var/log/nginx/access.log")
    assert load_settings().log_file == Path("/var/log/nginx/access.log")
    assert not load_settings().owns_log


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`docker run -e S3_BUCKET=` and compose's `${S3_BUCKET}` pass an empty string."""
    for name in DEFAULTS:
        monkeypatch.setenv(name, "")
    assert vars(load_settings()) == vars(Settings())


@pytest.mark.parametrize(
    "value",
    [
        *("host", "host:4566", "192.168.99.100", "http://host", "https://host:443", "http://host:4566/", "[::1]:4566"),
        *("HOST", "a-host.example.", "http://[::ffff:10.0.0.1]", "[fe80::1%25eth0]"),
    ],
)
def test_an_endpoint_may_be_given_in_every_usual_way(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("LOCALSTACK_HOST", value)
    assert load_settings().localstack_host == value


def test_each_of_several_logs_has_settings_as_if_it_were_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", "/data")
    monkeypatch.setenv("S3_PREFIX", "logs/")
    monkeypatch.setenv("LOG_FILES", "shop=/srv/a=b/access.log,/var/log/nginx")
    settings = load_settings()
    assert settings.named_logs == [("shop", Path("/srv/a=b/access.log")), ("", Path("/var/log/nginx"))]
    assert not settings.owns_log
    one = settings.of_log(*settings.named_logs[0])
    assert (one.log_name, one.log_file, one.s3_prefix) == ("shop", Path("/srv/a=b/access.log"), "logs/shop/")
    assert (one.checkpoint_file, one.archived_file) == (
        Path("/data/log/shop/checkpoint.json"),
        Path("/data/log/shop/archived.json"),
    )
    assert one.repair_request != settings.repair_request
    assert one.large_file != settings.large_file
    assert (one.status_dir, one.ship_request) == (settings.status_dir, settings.ship_request)
    assert settings.log_name == ""


def test_firehose_takes_no_name_with_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_FILES", "shop=/srv/shop/access.log")
    monkeypatch.setenv("DELIVERY", "firehose")
    with pytest.raises(SettingsError, match="LOG_FILES needs DELIVERY=kinesis or s3"):
        load_settings()


def test_settings_do_not_change_once_they_are_read() -> None:
    with pytest.raises(FrozenInstanceError):
        load_settings().batch_size = 7


def test_log_and_checkpoint_share_a_volume() -> None:
    settings = Settings(data_dir=Path("/somewhere"))
    assert settings.log_file.parent == settings.checkpoint_file.parent
    assert settings.log_file == Path("/somewhere/log/access.log")
    assert settings.status_dir.is_relative_to(settings.run_dir)
