"""The image's container is killed, stopped, paused, removed, cut off, under requests: each is archived exactly once.

`script/chaos --container MODE --seed S` repeats a plan.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from common.delivery import KINESIS, S3, Delivery
from tests.appliance.drivers import engine
from tests.chaos.containers import Mode, run

SEED = 20200417


@pytest.mark.container
@pytest.mark.chaos
@pytest.mark.parametrize(
    ("mode", "delivery"), [("embedded", KINESIS), ("external", KINESIS), ("external", S3)], ids=str
)
def test_half_a_minute_of_broken_containers(
    mode: Mode, delivery: Delivery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if engine() is None:
        pytest.skip("no container engine answers; enable this test with: apt-get install podman, or start Docker")
    outcome = run(tmp_path, mode, SEED, 30, 100, delivery)
    with capsys.disabled():
        print(f"\n{outcome.table()}\n")
    assert outcome.clean, f"{outcome.table()}\nwhat the container printed is in {tmp_path}"
    assert outcome.confirmed >= outcome.enough
