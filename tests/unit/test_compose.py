"""compose.yaml, as far as it can be judged without an engine."""

from __future__ import annotations

import re

import yaml

from common.settings import NAMES
from tests.appliance.drivers import ROOT
from tests.generated import EXCEPTIONS

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
    _, _, name = appliance["environment"]["LOCALSTACK_HOST"].strip("${}").partition(":-")
    assert name in COMPOSE["services"]


def test_it_gets_every_setting_and_translates_what_is_another_in_the_container() -> None:
    """Of the shell those of settings.env; of .env everything, so that the container can refuse a misspelt name."""
    appliance = COMPOSE["services"]["appliance"]
    assert appliance["env_file"] == ["settings.env", {"path": ".env", "required": False}]
    handed_on = {line for line in (ROOT / "settings.env").read_text().splitlines() if line[0] != "#"}
    file = (ROOT / "compose.yaml").read_text()
    by_interpolation = {name for name in NAMES if f"${{{name}:" in file}
    # no emulator is embedded where LocalStack is
    assert {*NAMES} - handed_on - by_interpolation == {"EMULATOR_HOST"}
    fixed = appliance["environment"]
    assert fixed.keys() <= by_interpolation
    inside = {port.rpartition(":")[2] for port in appliance["ports"]}
    assert inside == {fixed["HTTP_PORT"], fixed["DASHBOARD_PORT"]}
    assert {*re.findall(r"`(\w+)", EXCEPTIONS)} >= {*NAMES} - handed_on | fixed.keys()


def test_nothing_is_published_to_others_by_default() -> None:
    for service in COMPOSE["services"].values():
        assert all(re.match(r"(\$\{\w+:-)?127\.0\.0\.1\b", port) for port in service["ports"])


def test_the_log_is_on_a_volume() -> None:
    assert COMPOSE["services"]["appliance"]["volumes"][0] == "web-log:/data"
    assert "web-log" in COMPOSE["volumes"]


def test_the_containers_logs_are_bounded_by_either_way() -> None:
    script = (ROOT / "script" / "up").read_text()
    for service in COMPOSE["services"].values():
        logging = service["logging"]
        options = " ".join(f"--log-opt {name}={value}" for name, value in logging["options"].items())
        assert f"--log-driver {logging['driver']} {options}" in script
