from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.unit.entrypoint.fakes import Played


@pytest.fixture
def play() -> Iterator[Callable[[str], Played]]:
    """Clients for one test; in its end everything that was written down for them must have been asked."""
    played: list[Played] = []

    def begin(service: str) -> Played:
        played.append(Played(service))
        played[-1].stub.activate()
        return played[-1]

    yield begin
    for one in played:
        one.stub.assert_no_pending_responses()
        one.client.close()
