"""The door closes before the disk or the logs' limit is full, and opens when there is room; health says so before."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance import health
from appliance.disk import MIB, OFTENEST, RAREST, Doorkeeper
from common import door
from common.settings import Settings
from common.status import ApplianceStatus, Endpoint, Statuses
from tests.statuses import made


class Machine:
    """A disk of 100 MiB; `free` of it, and the logs, are what a test says. `logs` are files without content."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.settings = Settings(data_dir=data, **({"log_disk_bytes": 200 * MIB} | settings))
        self.settings.log_file.parent.mkdir(parents=True)
        self.settings.run_dir.mkdir()
        self.free, self.total = 100 * MIB, 100 * MIB
        self.files, self.most = 4000, 4000
        self.endpoint: Endpoint = "endpoint"
        door.turn(self.settings.run_dir, "open")

    def statvfs(self, _path: object) -> SimpleNamespace:
        files = {"f_favail": self.files, "f_files": self.most}  # zero where a file system has no limit
        return SimpleNamespace(f_frsize=4096, f_blocks=self.total // 4096, f_bavail=self.free // 4096, **files)

    def write(self, name: str, size: int) -> None:
        path = self.settings.log_file.with_name(name)
        path.touch()
        os.truncate(path, size)

    def look(self) -> float:
        return Doorkeeper(self.settings, self.endpoint).look()

    @property
    def refuses(self) -> bool:
        return door.is_full(self.settings.run_dir)

    @property
    def said(self) -> str | None:
        status = made(ApplianceStatus, {"started_at": "2026-11-23T14:05:00Z", "endpoint": self.endpoint})
        check = health.check_disk(self.settings, Statuses(appliance=status))
        return check.reason if check.state == "degraded" else None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    one = Machine(tmp_path / "data")
    monkeypatch.setattr(os, "statvfs", one.statvfs)
    return one


def test_the_door_closes_before_the_disk_is_full(machine: Machine) -> None:
    assert machine.said is None
    machine.free = 24 * MIB
    machine.look()
    assert not machine.refuses
    assert machine.said, "it is said earlier"
    assert machine.said.startswith("24 MiB of 100 MiB are free; make room in ")
    machine.free = 12 * MIB
    machine.look()
    assert machine.refuses
    assert "so requests are refused with 503: 12 MiB of 100 MiB are free" in str(machine.said)
    machine.free = 18 * MIB
    machine.look()
    assert machine.refuses, "a door that opens at once would flap"
    machine.free = 30 * MIB
    machine.look()
    assert (machine.refuses, machine.said) == (False, None)


def test_all_logs_together_have_a_limit(machine: Machine) -> None:
    machine.total = machine.free = 1000 * MIB
    machine.write("access.log", 90 * MIB)
    machine.write("access.log.20200418T014218Z-0", 70 * MIB)
    machine.write("checkpoint.json", 500 * MIB)
    assert f"the logs take {160 * MIB} bytes, 80 % of {200 * MIB}" in str(machine.said)
    machine.look()
    assert not machine.refuses
    machine.write("access.log-1", 16 * MIB)
    machine.look()
    assert machine.refuses
    machine.write("access.log.20200418T014218Z-0", 0)
    machine.look()
    assert not machine.refuses


def test_the_embedded_emulator_has_half_of_the_disk_for_its_bucket(machine: Machine) -> None:
    machine.write("access.log", 45 * MIB)
    machine.look()
    assert (machine.refuses, machine.said) == (False, None)
    machine.endpoint = "embedded"
    machine.look()
    assert machine.refuses
    assert f"90 % of {50 * MIB}" in str(machine.said)


def test_files_may_run_out_before_bytes_do_which_a_line_does_not_need(machine: Machine) -> None:
    machine.files = 999
    machine.look()
    assert str(machine.said).startswith("999 more files can be made (inodes of 4000); make room in ")
    assert not machine.refuses
    machine.files = machine.most = 0
    assert machine.said is None


def test_it_looks_the_oftener_the_less_room_there_is(machine: Machine) -> None:
    machine.total = machine.free = 10_000 * MIB
    assert 0.3 < machine.look() < 0.4
    machine.settings = machine.settings.model_copy(update={"log_disk_bytes": 10_000 * MIB})
    assert machine.look() == RAREST
    machine.free = 83 * MIB
    assert 0.09 < machine.look() < 0.1
    machine.free = 32 * MIB + 1
    assert machine.look() == OFTENEST


def test_a_file_system_that_does_not_tell_is_taken_for_endless(machine: Machine) -> None:
    machine.total = machine.free = 0
    machine.look()
    assert (machine.refuses, machine.said) == (False, None)


def test_a_disk_that_cannot_be_looked_at_changes_nothing(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.settings.log_file.parent.rmdir()
    keeper = Doorkeeper(machine.settings, "endpoint")
    assert [keeper.look(), keeper.look()] == [RAREST] * 2
    assert len(caplog.records) == 1
    assert "is not there (yet)" in str(machine.said)


def test_what_is_new_is_logged_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    keeper = Doorkeeper(machine.settings, "endpoint")
    for free in (24, 24, 5, 4, 24, 50, 50):
        machine.free = free * MIB
        keeper.look()
    assert [(record.levelname, getattr(record, "event", None)) for record in caplog.records] == [
        ("WARNING", "concern"),
        ("ERROR", "concern"),
        ("INFO", "resolved"),
    ]


def test_health_says_what_a_user_has_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path / "other", log_full="answer")
    monkeypatch.setattr(os, "statvfs", machine.statvfs)
    machine.free = 0
    machine.look()
    assert "requests are answered without a line: 0 MiB of 100 MiB are free" in str(machine.said)
