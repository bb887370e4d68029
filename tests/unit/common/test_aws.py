"""The client factory: where each service is, which credentials are used, how long a call may take."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError

from common import aws
from common.emulator import make_key, read_key
from common.settings import Settings

# A loopback address nothing else uses, so that well-known port numbers are free on it.
LONELY = "127.0.93.17"


@pytest.fixture(autouse=True)
def no_aws_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy") or name.lower() in ("localstack_host", "target"):
            monkeypatch.delenv(name)


@pytest.fixture
def listening() -> Iterator[Any]:
    """Listen on a port of the lonely address."""
    sockets: list[socket.socket] = []

    def listen(port: int) -> None:
        sockets.append(socket.create_server((LONELY, port)))

    yield listen
    for each in sockets:
        each.close()


@pytest.fixture
def client() -> Iterator[Any]:
    clients: list[Any] = []

    def make(settings: Settings, service: Any, **options: Any) -> Any:
        clients.append(aws.client(settings, service, **options))
        return clients[-1]

    yield make
    for each in clients:
        each.close()


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (f"{LONELY}:1234", f"http://{LONELY}:1234"),
        (LONELY, f"http://{LONELY}:4566"),
        (f"http://{LONELY}", f"http://{LONELY}:4566"),
        (f"http://{LONELY}:80/", f"http://{LONELY}:80"),
        ("https://localstack.example", "https://localstack.example"),
        ("https://localstack.example:4566", "https://localstack.example:4566"),
        ("localstack:4566", "http://localstack:4566"),
        ("[::1]:4566", "http://[::1]:4566"),
        ("http://[fe80::1]:4566", "http://[fe80::1]:4566"),
        ("LocalStack:4566", "http://localstack:4566"),
    ],
)
def test_every_way_to_give_an_endpoint(given: str, url: str) -> None:
    for service in ("s3", "kinesis", "iam", "lambda"):
        assert aws.endpoint_url(Settings(localstack_host=given), service) == url


def test_an_ipv6_address_without_a_port_keeps_its_brackets() -> None:
    assert aws.endpoint_url(Settings(localstack_host="[::1]"), "logs") == "http://[::1]:4566"


def test_without_a_host_it_is_the_emulator_of_this_machine() -> None:
    assert aws.endpoint_url(Settings(emulator_port=4599), "s3") == "http://127.0.0.1:4599"


def test_old_ports_are_taken_when_only_they_answer(listening: Any) -> None:
    settings = Settings(localstack_host=LONELY)
    listening(aws.LEGACY_PORTS["s3"])
    listening(aws.LEGACY_PORTS["kinesis"])
    assert aws.endpoint_url(settings, "s3") == f"http://{LONELY}:4572"
    assert aws.endpoint_url(settings, "kinesis") == f"http://{LONELY}:4568"
    # this one does not answer (yet), and the next had no port of its own
    assert aws.endpoint_url(settings, "iam") == f"http://{LONELY}:4566"
    assert aws.endpoint_url(settings, "sts") == f"http://{LONELY}:4566"


def test_the_edge_port_wins_over_the_old_ones(listening: Any) -> None:
    listening(aws.EDGE_PORT)
    listening(aws.LEGACY_PORTS["s3"])
    assert aws.endpoint_url(Settings(localstack_host=LONELY), "s3") == f"http://{LONELY}:4566"


def test_it_looks_again_each_time(listening: Any) -> None:
    settings = Settings(localstack_host=LONELY)
    assert aws.endpoint_url(settings, "s3") == f"http://{LONELY}:4566"
    listening(aws.LEGACY_PORTS["s3"])
    assert aws.endpoint_url(settings, "s3") == f"http://{LONELY}:4572"


def test_a_port_that_was_given_is_not_second_guessed(listening: Any) -> None:
    listening(aws.LEGACY_PORTS["s3"])
    assert aws.endpoint_url(Settings(localstack_host=f"{LONELY}:4566"), "s3") == f"http://{LONELY}:4566"


def test_the_old_ports_are_the_ones_of_2020() -> None:
    assert aws.LEGACY_PORTS == {"s3": 4572, "kinesis": 4568, "iam": 4593, "lambda": 4574, "firehose": 4573}


def test_answers(listening: Any) -> None:
    assert not aws.answers(LONELY, 4566)
    listening(4566)
    assert aws.answers(LONELY, 4566)
    assert not aws.answers("no-such-host.invalid", 4566)


def test_an_emulator_client(client: Any) -> None:
    s3 = client(Settings(localstack_host=f"{LONELY}:4566"), "s3")
    assert s3.meta.endpoint_url == f"http://{LONELY}:4566"
    assert s3.meta.region_name == "us-east-1"
    config: Any = s3.meta.config
    assert config.s3["addressing_style"] == "path"
    assert (config.connect_timeout, config.read_timeout) == (aws.CONNECT_TIMEOUT, aws.READ_TIMEOUT)
    credentials = s3._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("test", "test", None)


def test_no_checksum_is_sent_that_s3_does_not_ask_for(client: Any) -> None:
    """One of a part is refused as the upload has none; and it comes in chunks, which some endpoints store."""
    sent: dict[str, str] = {}

    def heard(request: Any, **_: Any) -> None:
        sent.update({name.lower(): str(value) for name, value in request.headers.items()})
        raise InterruptedError

    s3 = client(Settings(localstack_host=f"{LONELY}:1"), "s3")
    s3.meta.events.register("before-send.s3", heard)
    for call, options in ((s3.put_object, {}), (s3.upload_part, {"UploadId": "an id", "PartNumber": 1})):
        with suppress(InterruptedError):
            call(Bucket="some-bucket", Key="a key", Body=b"a line", **options)
        assert sent["content-length"] == "6"
        assert not {name for name in sent if "checksum" in name or "trailer" in name}


def test_own_credentials_for_an_emulator_that_wants_some(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "000000000042")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    credentials = client(Settings(localstack_host="h:1"), "s3")._request_signer._credentials
    # an empty variable is what compose makes of one that is not set
    assert (credentials.access_key, credentials.secret_key) == ("000000000042", "test")


def test_the_embedded_emulator_gets_its_own_key_whatever_the_users_is(
    client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "123456789012")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    (tmp_path / "run").mkdir()
    make_key(tmp_path / "run" / "credentials")
    key = read_key(tmp_path / "run" / "credentials")
    credentials = client(Settings(), "kinesis")._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key) == tuple(key.values())
    assert not credentials.token
    assert aws.environment(Settings()).items() >= {**key, "AWS_SESSION_TOKEN": ""}.items()
    elsewhere = client(Settings(localstack_host="h:1"), "kinesis")._request_signer._credentials
    assert elsewhere.access_key == "123456789012"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any, botocore would ask the network for an instance's role."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")


@pytest.mark.usefixtures("credentials")
def test_an_emulator_is_not_looked_for_behind_a_proxy(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    emulated = client(Settings(localstack_host="h:1"), "kinesis")
    assert emulated._endpoint.http_session._proxy_config.proxy_url_for("http://h:1") is None
    real = client(Settings(target="aws"), "kinesis")
    proxy = real._endpoint.http_session._proxy_config.proxy_url_for("https://kinesis.us-east-1.amazonaws.com")
    assert proxy == "http://proxy.example:3128"


@pytest.mark.usefixtures("credentials")
def test_on_aws_botocore_knows_the_way(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(target="aws", aws_default_region="ap-northeast-2")
    assert aws.endpoint_url(settings, "kinesis") is None
    kinesis = client(settings, "kinesis")
    assert kinesis.meta.endpoint_url == "https://kinesis.ap-northeast-2.amazonaws.com"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://objects:2")
    assert client(settings, "kinesis").meta.endpoint_url == "http://elsewhere:1"
    s3 = client(settings, "s3")
    assert s3.meta.endpoint_url == "http://objects:2"
    assert s3.meta.config.s3["addressing_style"] == "path"


def test_options_go_over_the_defaults(client: Any) -> None:
    config: Any = client(Settings(), "s3", read_timeout=1.5, retries={"total_max_attempts": 1}).meta.config
    assert config.read_timeout == 1.5
    assert config.connect_timeout == aws.CONNECT_TIMEOUT
    assert config.retries["total_max_attempts"] == 1


def test_the_environment_for_other_programs_points_to_the_same_place(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(localstack_host="[::1]:4566", aws_default_region="eu-west-1")
    for name, value in aws.environment(settings).items():
        monkeypatch.setenv(name, value)
    for service in ("s3", "kinesis", "lambda", "iam", "firehose", "sts", "logs"):
        theirs: Any = boto3.session.Session().client(service)
        assert theirs.meta.endpoint_url == "http://[::1]:4566"
        assert theirs.meta.region_name == "eu-west-1"
        theirs.close()


def test_the_environment_for_other_programs_on_aws_holds_no_credentials() -> None:
    assert aws.environment(Settings(target="aws")) == {**os.environ, "AWS_DEFAULT_REGION": "us-east-1"}


def test_an_emulator_has_nothing_to_do_with_the_users_profiles_files_and_endpoints(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "config"
    broken.write_text("[default\n")
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(broken))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(broken))
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://elsewhere:1")
    settings = Settings(localstack_host="h:1")
    for service in ("s3", "kinesis", "lambda", "iam", "firehose", "logs"):
        assert client(settings, service).meta.endpoint_url == "http://h:1"
    other = aws.environment(settings)
    ran = subprocess.run(
        [sys.executable, "-c", "import boto3; print(boto3.client('s3').meta.endpoint_url)"],
        env=other,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == "http://h:1\n", ran.stderr


def test_aws_takes_the_users_profile(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "credentials"
    files.write_text("[work]\naws_access_key_id = AKIAWORK\naws_secret_access_key = s\n")
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(files))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    aws._session.cache_clear()
    assert client(Settings(target="aws"), "kinesis")._request_signer._credentials.access_key == "AKIAWORK"
    aws._session.cache_clear()


def test_a_credentials_file_that_is_there_at_last_or_renewed_is_taken(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "credentials"
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(files))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    aws._session.cache_clear()
    signed: list[str] = []

    def heard(request: Any, **_: Any) -> None:
        signed.append(str(request.headers["Authorization"]).partition("Credential=")[2].partition("/")[0])
        raise InterruptedError

    kinesis = client(Settings(target="aws"), "kinesis", retries={"total_max_attempts": 1})
    kinesis.meta.events.register("before-send", heard)
    with pytest.raises(NoCredentialsError):
        kinesis.list_streams()
    for number, key in enumerate(("AKIAOLD", "AKIANEW", "AKIANEW")):
        files.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\n")
        os.utime(files, (number, number))
        with suppress(InterruptedError):
            kinesis.list_streams()
    aws._session.cache_clear()
    assert signed == ["AKIAOLD", "AKIANEW", "AKIANEW"]


def test_two_regions_are_two_sessions(client: Any) -> None:
    for region in ("us-east-1", "eu-west-1", "us-east-1"):
        assert client(Settings(aws_default_region=region), "s3").meta.region_name == region


def test_the_clients_of_a_process_share_what_is_costly() -> None:
    """Each session of its own would parse the service models again: 100 ms a client, at every start."""
    script = (
        "import sys\n"
        "from common import aws\n"
        "from common.settings import Settings\n"
        "from botocore import loaders\n"
        "made = []\n"
        "original = loaders.Loader.__init__\n"
        "def counted(self, *args, **kwargs):\n"
        "    made.append(self)\n"
        "    original(self, *args, **kwargs)\n"
        "loaders.Loader.__init__ = counted\n"
        "for service in ('s3', 'iam', 'kinesis', 'lambda', 's3'):\n"
        "    aws.client(Settings(localstack_host='h:1'), service)\n"
        "print(len(made))\n"
    )
    root = Path(__file__).resolve().parents[3]
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout == "1\n"
