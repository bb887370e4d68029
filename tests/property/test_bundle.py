"""The zip depends on names and contents only: not on order, times, modes, umask, caches or who packs it."""

from __future__ import annotations

import hashlib
import io
import os
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrypoint.bundle import BundleError, bundle, code_sha256

NAMES = st.from_regex(r"[a-zé_]{1,8}(/[a-z_]{1,8}){0,2}\.(py|json|txt)", fullmatch=True).filter(
    lambda name: "tests/" not in f"/{name}"
)
FOLDERS = st.dictionaries(NAMES, st.binary(max_size=200), max_size=8).map(
    lambda files: files | {"index.py": b"x = 1\n"}
)


def write(folder: Path, files: dict[str, bytes], rng: random.Random) -> None:
    """The files, made in a random order, under a random umask, with random times and modes."""
    before = os.umask(rng.choice([0o000, 0o022, 0o077]))
    try:
        for name in rng.sample(sorted(files), len(files)):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
            path.chmod(rng.choice([0o600, 0o644, 0o755]))
            os.utime(path, (rng.randrange(2**31), rng.randrange(2**31)))
    finally:
        os.umask(before)


@settings(max_examples=60)
@given(files=FOLDERS, seed=st.integers())
def test_same_files_same_bytes(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], seed: int) -> None:
    rng = random.Random(seed)
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    write(one, files, rng)
    write(other, files, rng)
    for litter in (
        "__pycache__/index.cpython-311.pyc",
        "a/__pycache__/b.pyc",
        "tests/test_index.py",
        ".DS_Store",
        "old.pyc",
    ):
        path = other / litter
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(10))
    assert bundle(one) == bundle(other)


@settings(max_examples=60)
@given(files=FOLDERS, seed=st.integers())
def test_the_zip_holds_the_folder_and_any_user_may_read_it(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    write(folder, files, random.Random(seed))
    with zipfile.ZipFile(io.BytesIO(bundle(folder))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(files)
        assert {name: archive.read(name) for name in archive.namelist()} == files
        assert {entry.external_attr >> 16 for entry in archive.infolist()} == {0o100644}


@settings(max_examples=30)
@given(files=FOLDERS, seed=st.integers())
def test_any_change_shows(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], seed: int) -> None:
    rng = random.Random(seed)
    folder = tmp_path_factory.mktemp("folder")
    write(folder, files, rng)
    before = code_sha256(bundle(folder))
    name = rng.choice(sorted(files))
    (folder / name).chmod(0o644)
    (folder / name).write_bytes(files[name] + b"\n")
    assert code_sha256(bundle(folder)) != before


def test_every_python_makes_the_same_bytes(tmp_path: Path) -> None:
    """Pinned: a Python that packs differently would upload the same code as new at each start."""
    write(
        tmp_path,
        {"index.py": b"def handler(event, context):\n    return {}\n", "a/é.txt": b"\x00\xff"},
        random.Random(1),
    )
    assert hashlib.sha256(bundle(tmp_path)).hexdigest() == PINNED


def test_a_folder_that_is_not_the_functions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no index\.py"):
        bundle(tmp_path)
    with pytest.raises(BundleError, match=r"has no index\.py"):
        bundle(tmp_path / "missing")


PINNED = "03bbd0ddd019c87a1004e72ebe9fd1290447cbb62b0623f6faa82b275cf411a8"
