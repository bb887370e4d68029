"""DELIVERY=firehose, as a user goes it: requests to nginx, JSON lines below their own hour, at least once."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.appliance.drivers import Appliance, Native, get, ready, s3_client, told
from tests.emulator import Emulator
from tests.waiting import eventually

BUCKET = "my-bucket"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def objects(where: str | Appliance, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """(key, bytes) of all that is in the bucket below `prefix`."""
    s3 = s3_client(where)
    try:
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
            for item in page.get("Contents", []):
                with suppress(s3.exceptions.NoSuchKey):  # the entrypoint takes its probe away
                    yield item["Key"], s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
    except s3.exceptions.NoSuchBucket:
        return
    finally:
        s3.close()


def entries(where: str | Appliance, mark: str, prefix: str = "") -> list[tuple[str, dict[str, Any]]]:
    """(key, entry) of every line with `mark` in its path."""
    return [
        (key, json.loads(line))
        for key, body in objects(where, prefix)
        if "rejected/" not in key
        for line in body.splitlines()
        if mark.encode() in line
    ]


def hour_of(entry: dict[str, Any]) -> str:
    return f"{datetime.fromisoformat(entry['time']):%Y/%m/%d/%H}/"


def test_requests_arrive_below_their_hour_and_verify_follows_them(appliance: Appliance) -> None:
    appliance.start(DELIVERY="firehose")
    ready(appliance)
    mark = secrets.token_hex(6)
    sent = [f"/{mark}/{number}" for number in range(40)]
    for path in sent:
        get(appliance.http_port, path)

    def arrived() -> list[tuple[str, dict[str, Any]]]:
        found = entries(appliance, mark)
        return found if {entry["path"] for _, entry in found} == set(sent) else []

    for key, entry in eventually(arrived, within=30, why=appliance.output()[-3000:]):
        assert key.startswith(hour_of(entry))
    verified = told(appliance, "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr + appliance.output()[-3000:]
    assert verified.stdout.count("✓") == 9, verified.stdout
    assert "✓ delivery stream: web-log-delivery is ACTIVE, buffers up to 64 MiB or 60 s" in verified.stdout
    assert "waiting for Firehose: it may buffer for 90 s" in verified.stdout

    def audited() -> bool:
        audit = told(appliance, "audit")
        assert audit.returncode == 2
        assert "what it has acknowledged is all that can be known" in audit.stdout
        return ", 0 not yet" in audit.stdout

    eventually(audited)
    assert "acknowledged by Firehose is all that can be known" in appliance.run("appliance", "health").stdout
    probes = [key for key, _ in objects(appliance, "1970/")]
    assert probes == [], "the entrypoint takes its probe away again"


def line(path: str, moment: datetime) -> str:
    stamp = f"{moment:%d}/{MONTHS[moment.month - 1]}/{moment:%Y:%H:%M:%S} +0000"
    return (
        f'203.0.113.9 - - [{stamp}] "GET {path} HTTP/1.1" 200 612 "-" "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"\n'
    )


@pytest.mark.emulator
def test_a_backlog_over_several_hours_is_filed_by_the_lines_own_time(native: Native) -> None:
    """10,000 lines of seven hours, out of order now and then, and some that are no request at all."""
    mark = secrets.token_hex(6)
    log = native.directory / "data" / "log" / "access.log"
    log.parent.mkdir(parents=True)
    begin = datetime(2025, 12, 31, 20, tzinfo=UTC)
    moments = [begin + timedelta(seconds=2.5 * (number - number % 7)) for number in range(10_000)]
    wrong = [f"{mark} no request {number}\n" for number in range(20)]
    with log.open("w") as file:
        for number, moment in enumerate(moments):
            file.write(line(f"/{mark}/{number}", moment))
            if number % 500 == 250:
                file.write(wrong[number // 500])
    native.start(DELIVERY="firehose", S3_PREFIX="logs/")
    ready(native)

    def arrived() -> list[tuple[str, dict[str, Any]]]:
        found = entries(native, f"/{mark}/", "logs/")
        return found if len({entry["path"] for _, entry in found}) >= len(moments) else []

    archive = eventually(arrived, within=60, every=0.5, why=native.output()[-3000:])
    times = {f"/{mark}/{number}": moment for number, moment in enumerate(moments)}
    assert {entry["path"] for _, entry in archive} == times.keys()
    for key, entry in archive:
        assert datetime.fromisoformat(entry["time"]) == times[entry["path"]].replace(microsecond=0)
        assert key.startswith(f"logs/{hour_of(entry)}"), key

    def rejected() -> bool:
        found = b"".join(body for _, body in objects(native, "logs/rejected/")).decode()
        assert [text for text in wrong if text.strip() not in found] == []
        return True

    eventually(rejected)


@pytest.mark.emulator
def test_a_changed_delivery_loses_nothing(native: Native, emulator: Emulator) -> None:
    """Lines go to the stream first, then to Firehose, and to the stream again; each of them is in the bucket."""
    emulator.start()
    mark = secrets.token_hex(6)
    sent: list[str] = []
    for delivery in ("kinesis", "firehose", "kinesis"):
        native.start(DELIVERY=delivery, LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}")
        ready(native)
        for _ in range(10):
            sent.append(f"/{mark}/{len(sent)}")
            get(native.http_port, sent[-1])
        assert native.stop() == 0
    eventually(lambda: {entry["path"] for _, entry in entries(emulator.url, mark)} >= set(sent), within=30)


@pytest.mark.emulator
def test_an_endpoint_that_comes_later_and_forgets_everything(native: Native, emulator: Emulator) -> None:
    native.start(DELIVERY="firehose", LOCALSTACK_HOST=f"127.0.0.1:{emulator.port}")
    eventually(lambda: get(native.http_port, "/") == 200, why="nginx serves without an endpoint")
    mark = secrets.token_hex(6)

    def there(paths: list[str]) -> bool:
        return {entry["path"] for _, entry in entries(emulator.url, mark)} >= set(paths)

    before = [f"/{mark}/before/{number}" for number in range(10)]
    for path in before:
        get(native.http_port, path)
    emulator.start()
    eventually(lambda: there(before), within=60)
    emulator.stop(kill=True)
    after = [f"/{mark}/after/{number}" for number in range(10)]
    for path in after:
        get(native.http_port, path)
    emulator.start()
    eventually(lambda: there(after), within=60)
    assert told(native, "verify").returncode == 0
