"""The first seconds: calm, quick when they are used, and no end for what is stopped in them."""

from __future__ import annotations

import random
import re
import time

import pytest

from tests.appliance.drivers import Appliance, Native, get, no_poll_soon, ready
from tests.appliance.test_pipeline import Traffic
from tests.waiting import eventually

SEED = 20200417
# Seconds after the start at which it is ended; together they are every 0.2 s of the first four
MOMENTS = [number / 5 for number in range(1, 21)]


def answers(appliance: Appliance) -> bool:
    return get(appliance.http_port, "/") == 200


def test_the_first_request_is_archived_without_a_poll_or_a_complaint(appliance: Appliance) -> None:
    appliance.start(POLL_INTERVAL=no_poll_soon())
    eventually(lambda: answers(appliance), every=0.05)
    traffic = Traffic(appliance)
    traffic.send(1)
    ready(appliance)
    traffic.arrived(within=20)
    assert re.findall(r"^.*\b(?:WARNING|ERROR|CRITICAL)\b.*$", appliance.output(), re.MULTILINE) == []


@pytest.mark.emulator
@pytest.mark.parametrize("clean", [True, False], ids=["stopped", "killed"])
def test_whenever_it_is_ended_in_its_first_seconds_it_is_ready_again(native: Native, clean: bool) -> None:
    for moment in random.Random(SEED).sample(MOMENTS, 5):
        native.start()
        time.sleep(moment)  # this moment is what is tried
        if clean:
            native.stop()
        else:
            native.kill()
    native.start()
    ready(native, within=60)
    traffic = Traffic(native)
    traffic.send(3)
    traffic.arrived()
