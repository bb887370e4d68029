"""Another program that may write to the stream claims the next bytes of the log: the lines that come there are kept."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from tests.appliance.drivers import Native, client, ready, s3_client, told
from tests.appliance.test_pipeline import BUCKET, Traffic
from tests.lambda_events import combined
from tests.waiting import eventually

pytestmark = pytest.mark.emulator


def test_a_claim_on_the_next_bytes_of_the_log_changes_nothing(native: Native) -> None:
    native.start()
    ready(native)
    traffic = Traffic(native)
    traffic.send(3)
    traffic.arrived()
    data = Path(native.directory / "data")
    generation = json.loads((data / "log" / "checkpoint.json").read_bytes())["generations"][-1]
    place = f"{generation['id']}:{generation['offset']}"
    forged = combined(request=b"GET /forged HTTP/1.1", agent=b"x" * 5000)
    with closing(client(native, "kinesis")) as kinesis:
        kinesis.put_record(StreamName="web-log-stream", PartitionKey=place, Data=forged)

    with closing(s3_client(native)) as s3:

        def there() -> bool:
            keys = [each["Key"] for each in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]
            return "2020/04/18/01/web-access.log" in keys

        eventually(there, within=30, every=0.5, why="the forged line, as a foreign one")
    traffic.send(5)
    traffic.arrived()
    for command in (["audit", "--deep", "--grace", "0"], ["audit", "--deep", "--json"]):
        audited = told(native, *command)
        assert audited.returncode == 0, audited.stdout + audited.stderr
    found = json.loads(audited.stdout)
    assert found["totals"]["missing"] == found["deep"]["bytes"] == 0
    assert found["deep"]["compared"] >= 8
    for path in (data / "record.key", data / "run" / "record.key"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_text() not in native.output()
