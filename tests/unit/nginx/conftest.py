from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.nginx.web import Web


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """Starts nginx with these settings; every one is stopped after the test."""
    started: list[Web] = []

    def start(files: int | None = None, **settings: str) -> Web:
        started.append(Web(tmp_path / str(len(started)), files, **settings))
        return started[-1]

    yield start
    for one in started:
        one.stop()
