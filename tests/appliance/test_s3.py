"""DELIVERY=s3, as a user goes it: no stream, no function, and each line exactly once in its hour."""

from __future__ import annotations

import json
import os
import secrets
import signal

import pytest

from tests.appliance.drivers import Appliance, Native, client, get, ready, s3_client, told
from tests.checker import entries, judge
from tests.emulator import Emulator
from tests.waiting import eventually

BUCKET = "my-bucket"
DELIVERIES = ("kinesis", "s3", "kinesis", "s3")


def arrived(appliance: Appliance, where: str | Appliance, sent: list[str]) -> None:
    """All of these are archived, exactly once."""

    def look() -> bool:
        s3 = s3_client(where)
        try:
            found = entries(s3, BUCKET)
        finally:
            s3.close()
        mark = sent[0].rpartition("/")[0]
        mine = [(key, entry) for key, entry in found if entry["path"].startswith(f"{mark}/")]
        verdict = judge(sent, mine, lambda entry: entry["path"])
        assert not verdict.lost, (verdict.lost[:3], appliance.output()[-3000:])
        assert not verdict.doubled, verdict.doubled[:3]
        return True

    eventually(look, within=60)


def requests(appliance: Appliance, mark: str, first: int, count: int) -> list[str]:
    paths = [f"/{mark}/{number}" for number in range(first, first + count)]
    for path in paths:
        get(appliance.http_port, path)
    return paths


def test_requests_arrive_once_and_there_is_nothing_but_the_bucket(appliance: Appliance) -> None:
    appliance.start(DELIVERY="s3", REPAIR_INTERVAL="1")
    ready(appliance)
    sent = requests(appliance, secrets.token_hex(6), 0, 40)
    arrived(appliance, appliance, sent)
    verified = told(appliance, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr + appliance.output()[-3000:]
    assert verified.stdout.count("✓") == 5, verified.stdout
    audited = told(appliance, "audit")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    kinesis, functions = client(appliance, "kinesis"), client(appliance, "lambda")
    assert kinesis.list_streams()["StreamNames"] == []
    assert functions.list_functions()["Functions"] == []
    kinesis.close()
    functions.close()

    def proven() -> bool:
        status = json.loads(appliance.run("appliance", "status", "--json").stdout)
        return bool(status["archive"]["pending"] == 0)

    eventually(proven, within=20, why="what is acknowledged is archived, without a look at the bucket")


@pytest.mark.emulator
def test_a_changed_delivery_goes_on_in_the_same_hour(native: Native, emulator: Emulator) -> None:
    """What waits in the stream, what is appended, and a producer that is killed meanwhile."""
    emulator.start()
    mark, sent = secrets.token_hex(6), list[str]()
    for delivery in DELIVERIES:
        native.start(DELIVERY=delivery, LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}", POLL_INTERVAL="0.5")
        ready(native)
        for _ in range(3):
            sent += requests(native, mark, len(sent), 20)
            for pid in native.pids("producer"):
                os.kill(pid, signal.SIGKILL)
        native.stop()
    native.start(DELIVERY="kinesis", LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}")
    ready(native)
    arrived(native, emulator.url, sent)
