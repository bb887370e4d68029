"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulator import Emulator


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a MiniStack that lives as long as the test session; share it by using random names."""
    emulator = Emulator(tmp_path_factory.mktemp("ministack"))
    try:
        emulator.start()
        yield emulator.url
    finally:
        emulator.stop()
