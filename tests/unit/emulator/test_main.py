from __future__ import annotations

from emulator.__main__ import environment

GIVEN = {
    "DATA_DIR": "/data",
    "EMULATOR_HOST": "127.0.0.1",
    "EMULATOR_PORT": "4566",
    "EMULATOR_LOG_LEVEL": "WARNING",
    "PATH": "/usr/bin",
}
SECRETS = {
    "AWS_ACCESS_KEY_ID": "h1dden",
    "AWS_SECRET_ACCESS_KEY": "h1dden",
    "AWS_SESSION_TOKEN": "h1dden",
    "AWS_SHARED_CREDENTIALS_FILE": "/h1dden",
    "GITHUB_TOKEN": "h1dden",
    "HTTPS_PROXY": "http://user:h1dden@proxy",
    "UPSTREAM": "http://h1dden",
    "HOME": "/h1dden",
}


def test_of_the_users_environment_ministack_and_the_functions_see_nothing() -> None:
    kept = environment(GIVEN | SECRETS)
    assert "h1dden" not in str(kept)
    assert kept == environment(GIVEN | {"HOME": "/root"})
    assert kept["PATH"] == "/usr/bin"


def test_ministack_cannot_be_told_to_open_more_than_its_one_port() -> None:
    opening = {"USE_SSL": "1", "SFTP_ENABLED": "1", "IOT_MTLS_ENABLED": "1", "SERVICES": "rds,transfer", "AUTH": "1"}
    assert environment(GIVEN | opening) == environment(GIVEN)
    assert environment(GIVEN)["SFTP_ENABLED"] == environment(GIVEN)["IOT_MTLS_ENABLED"] == "0"
    assert environment(GIVEN)["BIND_HOST"] == "127.0.0.1"
