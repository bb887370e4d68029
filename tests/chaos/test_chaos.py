"""Continuous requests against the real appliance while everything breaks: each is archived exactly once.

A failing run prints its seed and keeps its folder; `script/chaos --seed S` repeats the plan.
"""

from __future__ import annotations

import random
import shutil
from itertools import islice
from pathlib import Path

import pytest

from common.delivery import KINESIS, S3, Delivery
from tests.chaos.faults import ALL_LOST, PIPELINE_ONLY, STREAM_LOST, WEIGHTS, Step, in_time, proxy_steps, steps, weights
from tests.chaos.proxy import Kind
from tests.chaos.run import Outcome, chaos

SEED = 20200417


def run(
    directory: Path,
    seconds: float,
    rate: float,
    capsys: pytest.CaptureFixture[str],
    losses: dict[str, float] | None = None,
    delivery: Delivery = KINESIS,
    least: int = 0,
) -> Outcome:
    if shutil.which("nginx", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("nginx is not installed; enable this test with: apt-get install nginx")
    outcome = chaos(directory, SEED, seconds, rate, losses, delivery, least)
    with capsys.disabled():
        print(f"\n{outcome.table()}\n")
    assert outcome.clean, f"{outcome.table()}\nlogs and data are in {directory}"
    return outcome


@pytest.mark.chaos
def test_five_minutes_of_chaos_lose_and_double_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run(tmp_path, 300, 190, capsys, STREAM_LOST, least=100)
    assert outcome.confirmed >= outcome.enough
    assert set(WEIGHTS) - {"disk full"} <= set(outcome.counts), "a kind of fault has never happened"


@pytest.mark.chaos
def test_an_emulator_restarted_empty_gets_all_that_is_on_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = STREAM_LOST | ALL_LOST
    outcome = run(tmp_path, 60, 120, capsys, losses, least=len(weights(KINESIS, losses)))
    assert outcome.counts.keys() >= ALL_LOST.keys()


@pytest.mark.emulator
@pytest.mark.parametrize("delivery", [KINESIS, S3], ids=str)
def test_half_a_minute_of_chaos_loses_and_doubles_nothing(
    delivery: Delivery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(tmp_path, 30, 100, capsys, delivery=delivery, least=8)
    assert outcome.confirmed >= outcome.enough


def test_a_seed_is_a_plan() -> None:
    def plan(seed: int) -> list[object]:
        return [*islice(steps(random.Random(seed), WEIGHTS), 50), *islice(proxy_steps(random.Random(seed)), 50)]

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)


def test_a_slow_machine_takes_longer_and_does_no_less() -> None:
    plan = [Step(0.0, f"fault {number}", 0.0) for number in range(9)]
    assert list(in_time(iter(plan), 0, least=3)) == plan[:3]
    assert list(in_time(iter(plan), 60, least=3)) == plan


@pytest.mark.parametrize("delivery", [KINESIS, S3], ids=str)
def test_a_plan_has_every_kind_of_fault_early(delivery: Delivery) -> None:
    """All that can happen with this delivery: what waits for a request that never comes keeps others from coming."""
    left_out = set(PIPELINE_ONLY if delivery.is_direct else ())
    drawn = weights(delivery, {})
    planned = [step.fault for step in islice(steps(random.Random(SEED), drawn), len(drawn))]
    assert sorted(planned) == sorted(WEIGHTS.keys() - left_out)
    requests = [fault for _, fault in islice(proxy_steps(random.Random(SEED), delivery), 100)]
    assert {fault.kind for fault in requests} == set(Kind) - left_out
    assert {fault.service for fault in requests} == {"", "s3", delivery.service}
