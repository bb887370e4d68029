"""compose.yaml, as far as it can be judged without an engine."""

from __future__ import annotations

import yaml

from common.settings import Settings
from tests.appliance.drivers import ROOT

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_localstack_is_the_last_version_without_an_account() -> None:
    assert COMPOSE["services"]["localstack"]["image"] == "localstack/localstack:4.14.0"


def test_both_ways_to_localstack_start_it_alike() -> None:
    environment = COMPOSE["services"]["localstack"]["environment"]
    script = (ROOT / "script" / "localstack").read_text()
    assert environment.keys() >= {"SERVICES", "KINESIS_PERSISTENCE"}
    assert all(f"{name}={value}" in script for name, value in environment.items())


def test_the_appliance_is_built_here_and_finds_localstack_by_its_name() -> None:
    appliance = COMPOSE["services"]["appliance"]
    assert appliance["build"] == "."
    assert appliance["environment"]["LOCALSTACK_HOST"] in COMPOSE["services"]


def test_its_settings_are_settings_and_their_defaults_the_same() -> None:
    for name, value in COMPOSE["services"]["appliance"]["environment"].items():
        field = Settings.model_fields[name.lower()]
        if value.startswith("${"):
            assert value == f"${{{name}:-{field.default}}}"


def test_nothing_is_published_to_others_by_default() -> None:
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_the_log_is_on_a_volume() -> None:
    assert COMPOSE["services"]["appliance"]["volumes"] == ["web-log:/data"]
    assert "web-log" in COMPOSE["volumes"]
