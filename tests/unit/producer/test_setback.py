"""A producer that cron starts each minute, on a machine that is set back or cloned."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from producer import setback
from producer.ship import ship_once
from tests.fake_kinesis import FakeClock, FakeKinesis, checkpoint_of, delivered, sink_of, source_of


class Machine:
    """With a volume of its own; `boot` is another one with each start."""

    starts = 0

    def __init__(self, volume: Path, stream: FakeKinesis, boot: Path) -> None:
        self.volume, self.stream, self._boot = volume, stream, boot
        self.restart()

    @property
    def log(self) -> Path:
        return self.volume / "access.log"

    def restart(self) -> None:
        Machine.starts += 1
        self.boot = f"boot {Machine.starts}\n"

    def write(self, data: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(data)

    def once(self) -> None:
        Machine.starts += 1
        self._boot.write_text(self.boot)
        file, clock = checkpoint_of(self.log), FakeClock()
        setback.look_back(file, once=True)
        ship_once(source_of(self.log, clock, seed=Machine.starts), file, sink_of(self.stream, clock))

    @property
    def arrived(self) -> list[bytes]:
        return sorted(delivered(self.stream.records).values())

    @property
    def names(self) -> list[str]:
        """The generations, as they were sent."""
        return list(dict.fromkeys(generation for generation, _ in delivered(self.stream.records)))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(setback, "BOOT_ID", boot)
    (tmp_path / "volume").mkdir()
    return Machine(tmp_path / "volume", FakeKinesis(), boot)


def test_a_start_each_minute_is_one_generation(machine: Machine) -> None:
    for _ in range(200):
        machine.write(b"a line\n")
        machine.once()
    assert len(machine.arrived) == 200
    assert len(machine.names) == 1
    checkpoint = checkpoint_of(machine.log).load()
    assert checkpoint
    assert [len(each.earlier) for each in checkpoint.generations] == [0]
    machine.restart()
    for _ in range(3):
        machine.write(b"a line\n")
        machine.once()
    assert (len(machine.arrived), len(machine.names)) == (203, 2)


def test_a_volume_that_is_set_back_to_a_snapshot(machine: Machine) -> None:
    machine.write(b"a\nhal")
    machine.once()
    data = {path: path.read_bytes() for path in machine.volume.iterdir()}
    machine.write(b"f\nb\n")
    machine.once()
    for path, content in data.items():
        path.write_bytes(content)  # the same inodes
    machine.restart()
    machine.write(b"F\nc\n")
    machine.once()
    assert machine.arrived == [b"a", b"b", b"c", b"halF", b"half"]


def test_a_machine_that_is_cloned(machine: Machine, tmp_path: Path) -> None:
    machine.write(b"a\n")
    machine.once()
    shutil.copytree(machine.volume, tmp_path / "other")
    other = Machine(tmp_path / "other", machine.stream, machine._boot)
    machine.write(b"b\n")
    other.write(b"c\n")
    for each in (machine, other, machine, other):
        each.once()
    assert machine.arrived == [b"a", b"b", b"c"]


def test_where_the_kernel_does_not_tell_its_start(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setback, "BOOT_ID", machine.volume / "nowhere")
    for _ in range(2):
        machine.write(b"a\n")
        machine.once()
    assert len(machine.names) == 1


def test_each_start_of_the_machine_has_an_id() -> None:
    assert len(setback.boot_id()) == 36
