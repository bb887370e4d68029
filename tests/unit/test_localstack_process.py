"""What the tests do where LocalStack cannot be had, and how they would run its image."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import localstack_process as module
from tests.localstack_process import ROOT, SCRIPT, LocalStackImage, unavailable


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def by_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_LOCALSTACK_IMAGE", raising=False)


def test_where_it_cannot_be_had_the_reason_and_the_command_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SCRIPT", program(tmp_path / "s", "echo first >&2; echo needs Python 3.13 >&2; exit 3"))
    assert unavailable() == "needs Python 3.13 (see all of it with: script/localstack install)"
    monkeypatch.setattr(module, "SCRIPT", program(tmp_path / "s", "exit 0"))
    assert unavailable() is None


def test_the_image_is_started_and_removed_by_compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = tmp_path / "said"
    program(tmp_path / "docker", f'echo "$@" >> {said}')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("TEST_LOCALSTACK_IMAGE", "1")
    monkeypatch.setattr(module, "healthy", lambda port: port == 4566)
    assert unavailable() is None
    server = LocalStackImage(tmp_path)
    server.stop()
    for kill in (False, True):
        server.start()
        server.stop(kill=kill)
    compose = f"compose --file {ROOT / 'compose.yaml'} --project-name web-log-test"
    assert said.read_text().splitlines() == [
        f"{compose} up --detach localstack",
        f"{compose} stop localstack",
        f"{compose} rm --force --volumes localstack",
        f"{compose} up --detach localstack",
        f"{compose} kill localstack",
        f"{compose} rm --force --volumes localstack",
    ]


def test_without_docker_there_is_another_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TEST_LOCALSTACK_IMAGE", "1")
    assert unavailable() == "no Docker here; without it: script/test -m localstack"


def test_process_image_and_lock_are_one_version_with_the_same_services() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["localstack"]
    assert compose["image"].endswith(f":{module.VERSION}")
    assert f"localstack-core=={module.VERSION} " in (ROOT / "locks" / "localstack.txt").read_text()
    services = re.search(r"SERVICES=(\S+)", SCRIPT.read_text())
    assert services
    assert services[1] == compose["environment"]["SERVICES"]


def test_the_script_hands_on_what_the_environment_says_of_downloads_and_nothing_else(tmp_path: Path) -> None:
    """Behind a private certificate authority or a proxy npm fails without it."""
    for folder in ("script", "locks", ".localstack/venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "script" / "localstack", tmp_path / "script")
    (tmp_path / "locks" / "localstack.txt").write_text("")
    (tmp_path / ".localstack" / "installed").write_text(hashlib.sha256(b"").hexdigest() + "\n")
    program(tmp_path / ".localstack" / "venv" / "bin" / "python", "env")
    kept = {
        "NODE_EXTRA_CA_CERTS": "/ca.pem",
        "SSL_CERT_FILE": "/a b.pem",
        "https_proxy": "http://p:1",
        "PIP_CERT": "/c",
    }
    left = {"AWS_PROFILE": "mine", "AWS_CA_BUNDLE": "/x", "LOCALSTACK_AUTH_TOKEN": "t", "PYTHONHOME": "/none"}
    ran = subprocess.run(
        [tmp_path / "script" / "localstack", "run", "4567", tmp_path / "folder"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **kept, **left},
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    seen = dict(line.split("=", 1) for line in ran.stdout.splitlines())
    assert {name: seen.get(name) for name in kept} == kept
    assert not left.keys() & seen.keys()
    assert seen["GATEWAY_LISTEN"] == "127.0.0.1:4567"
