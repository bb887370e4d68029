from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from journal.checkpoint import (
    VERSION,
    Checkpoint,
    CheckpointError,
    CheckpointFile,
    FileId,
    Fingerprint,
    Generation,
    encode,
)
from producer.record import Record

GENERATION = "5e9a0000" + "0123456789abcdef"


def full() -> Checkpoint:
    return Checkpoint(
        [
            Generation(
                GENERATION,
                [FileId(1, 2), FileId(1, 3, copy=True)],
                Fingerprint.of(b"head"),
                offset=12,
                tail=Fingerprint.of(b"tail"),
                inside_line=False,
                closed=True,
                size=11,
                name="access.log.1",
            ),
            Generation(
                "5e9a0001" + "f" * 16,
                [FileId(1, 4)],
                Fingerprint.of(b"x"),
                inside_line=True,
                starts=[Fingerprint.of(b"x")],
            ),
        ],
        [Generation("5e9a0002" + "f" * 16, [], Fingerprint.of(b"y"))],
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    CheckpointFile(tmp_path / "checkpoint.json").save(full())
    assert CheckpointFile(tmp_path / "checkpoint.json").load() == full()


def test_a_checkpoint_of_a_version_that_forgot_what_had_ended_is_read(tmp_path: Path) -> None:
    tree = json.loads(encode(full()))
    del tree["ended"]
    for generation in tree["generations"]:
        del generation["starts"]
    (tmp_path / "checkpoint.json").write_text(json.dumps(tree))
    checkpoint = CheckpointFile(tmp_path / "checkpoint.json").load()
    assert checkpoint
    assert [each.id for each in checkpoint.generations] == [each.id for each in full().generations]
    assert checkpoint.ended == []


def test_nothing_saved_yet(tmp_path: Path) -> None:
    assert CheckpointFile(tmp_path / "checkpoint.json").load() is None


def test_the_same_again_costs_no_write(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    file = CheckpointFile(path)
    file.save(full())
    inode = path.stat().st_ino
    file.save(full())
    assert path.stat().st_ino == inode
    CheckpointFile(path).load()
    file.save(Checkpoint())
    assert CheckpointFile(path).load() == Checkpoint()


def broken(**changes: Any) -> bytes:
    tree = json.loads(encode(full()))
    tree["generations"][0] |= changes
    return json.dumps(tree).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"version": 1}',
        b'{"version": "1", "generations": []}',
        b'{"generations": []}',
        b'{"version": 1, "generations": [{}]}',
        b'{"version": 1, "generations": [], "boot": 1}',
        b'{"version": 1, "generations": {"a": 1}}',
        encode(full())[:-40],
        broken(offset=-1),
        broken(offset="12"),
        broken(offset=True),
        broken(offset=1),  # less than the bytes remembered before it
        broken(id="../x"),
        broken(files=None),
        broken(head={}),
        broken(id="5e9a0001" + "f" * 16),  # twice
        broken(id="5e9a0002" + "f" * 16),  # has a file, and has none
    ],
)
def test_a_damaged_checkpoint_is_an_error_with_a_remedy(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="put back a good one"):
        CheckpointFile(path).load()
    assert path.read_bytes() == data


def test_a_newer_version_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.json"
    path.write_bytes(json.dumps({"version": VERSION + 1, "generations": "whatever"}).encode())
    with pytest.raises(CheckpointError, match="start the newer program"):
        CheckpointFile(path).load()


def record(start: int, end: int, generation: str = GENERATION) -> Record:
    return Record(generation, start, end, "", b"", 1, b"window")


def test_the_offset_moves_over_the_acknowledged_prefix_of_each_generation() -> None:
    other = "5e9a0001" + "0" * 16
    checkpoint = Checkpoint([Generation(name, [], Fingerprint.of(b"x")) for name in (GENERATION, other)])
    checkpoint.acknowledge(
        [record(0, 2), record(2, 4), record(4, 6), record(0, 3, other), record(3, 5, other)],
        ["ack", None, "ack", "ack", "ack"],
    )
    assert [generation.offset for generation in checkpoint.generations] == [2, 5]
    assert checkpoint.generations[0].tail == Fingerprint.of(b"window")


@pytest.mark.parametrize("start", [1, 5])
def test_an_acknowledgement_that_does_not_fit_is_a_bug(start: int) -> None:
    checkpoint = Checkpoint([Generation(GENERATION, [], Fingerprint.of(b"x"), offset=3)])
    with pytest.raises(RuntimeError, match="acknowledged at 3"):
        checkpoint.acknowledge([record(start, 7)], ["ack"])
