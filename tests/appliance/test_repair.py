"""What the stream or the bucket has lost is put back from the log on disk, and `audit` tells before and after."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError

from tests.appliance.drivers import Native, get, ready, s3_client, told
from tests.appliance.drivers import client as aws_client
from tests.checker import NAMES, entries, judge
from tests.emulator import Emulator
from tests.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_lambda import LambdaClient

pytestmark = pytest.mark.emulator

BUCKET = "my-bucket"
STREAM = "web-log-stream"
FUNCTION = "stream-transformation"
QUICK = {"REPAIR_INTERVAL": "1", "REPAIR_AFTER": "3"}


class Pipeline:
    """An appliance with an emulator outside of it, or with its own, and the requests that can be told apart."""

    def __init__(self, native: Native, emulator: Emulator | None = None) -> None:
        self.native = native
        self._emulator = emulator
        self.where: str | Native = emulator.url if emulator else native
        self._run = secrets.token_hex(4)
        self.sent: list[str] = []

    @property
    def emulator(self) -> Emulator:
        assert self._emulator
        return self._emulator

    def start(self, **settings: str) -> None:
        where = {"LOCALSTACK_HOST": f"127.0.0.1:{self._emulator.port}"} if self._emulator else {}
        self.native.start(**(where | QUICK | settings))
        ready(self.native)

    def send(self, count: int) -> list[str]:
        paths = [f"/{self._run}/{len(self.sent) + number}" for number in range(count)]
        for path in paths:
            get(self.native.http_port, path)
        self.sent += paths
        return paths

    def archive(self) -> list[tuple[str, dict[str, Any]]]:
        s3 = s3_client(self.where)
        try:
            found = entries(s3, BUCKET)
        except s3.exceptions.NoSuchBucket:
            found = []
        except BotoCoreError as error:
            raise AssertionError(f"the emulator does not answer: {error}") from error
        finally:
            s3.close()
        return [(key, entry) for key, entry in found if entry["path"].startswith(f"/{self._run}/")]

    def arrived(self, paths: list[str], within: float = 40) -> None:
        """All of these are archived, and nothing more, exactly once."""

        def look() -> bool:
            verdict = judge(paths, self.archive(), lambda entry: entry["path"])
            assert not verdict.lost, verdict.lost[:3]
            return True

        eventually(look, within=within, every=0.5, why=f"lines in S3\n{self.native.output()[-3000:]}")
        verdict = judge(paths, self.archive(), lambda entry: entry["path"])
        assert verdict.exactly_once, verdict

    def audit(self, *options: str) -> subprocess.CompletedProcess[str]:
        return told(self.native, "audit", *options)

    def audited(self, code: int, within: float = 30) -> str:
        """Wait until `audit` ends with this exit code; what it printed."""

        def look() -> str:
            done = self.audit()
            assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
            return done.stdout

        return eventually(look, within=within, every=0.3, why=f"audit {code}")

    @contextmanager
    def kinesis(self) -> Iterator[KinesisClient]:
        client = aws_client(self.where, "kinesis")
        yield client
        client.close()

    @contextmanager
    def function(self) -> Iterator[LambdaClient]:
        client = aws_client(self.where, "lambda")
        yield client
        client.close()


@pytest.fixture
def pipeline(native: Native, emulator: Emulator) -> Pipeline:
    emulator.start()
    return Pipeline(native, emulator)


def settled(pipeline: Pipeline) -> None:
    """Everything is archived, and the producer has seen that it is."""
    out = pipeline.audited(0)
    assert "0 missing" in out

    def look() -> bool:
        tree = json.loads((pipeline.native.directory / "data" / "log" / "archived.json").read_bytes())
        known = list(tree["generations"].values())
        return bool(known) and all(each["archived"] == [[0, each["offset"]]] for each in known)

    eventually(look, within=20, why="seen archived")


def test_an_emulator_restarted_empty_gets_everything_still_on_disk_again(pipeline: Pipeline) -> None:
    pipeline.start()
    first = pipeline.send(30)
    pipeline.arrived(first)
    settled(pipeline)
    pipeline.emulator.stop(kill=True)
    pipeline.send(10)
    assert pipeline.audit().returncode == 2, "an endpoint that is away is no proof of anything"
    pipeline.emulator.start()
    pipeline.arrived(pipeline.sent, within=60)
    assert "was created again" in pipeline.native.output()
    assert "0 missing" in pipeline.audited(0)
    pipeline.send(5)
    pipeline.arrived(pipeline.sent)


def test_an_emulator_emptied_while_the_appliance_was_stopped(pipeline: Pipeline) -> None:
    pipeline.start()
    pipeline.send(20)
    pipeline.arrived(pipeline.sent)
    settled(pipeline)
    assert pipeline.native.stop() == 0
    pipeline.emulator.stop(kill=True)
    pipeline.emulator.start()
    pipeline.start()
    pipeline.arrived(pipeline.sent, within=60)


def test_an_object_its_owner_has_deleted_does_not_come_back(pipeline: Pipeline) -> None:
    pipeline.start()
    pipeline.send(20)
    pipeline.arrived(pipeline.sent)
    settled(pipeline)
    before = list(pipeline.sent)
    s3 = s3_client(pipeline.where)
    for key in {key for key, _ in pipeline.archive()}:
        s3.delete_object(Bucket=BUCKET, Key=key)
    s3.close()
    out = pipeline.audited(0)
    assert "removed in access.log" in out
    pipeline.native.stop()
    pipeline.start()
    later = pipeline.send(5)
    pipeline.arrived(later)

    def asked_again() -> bool:
        status = json.loads((pipeline.native.directory / "data" / "run" / "status" / "repair.json").read_bytes())
        return bool(status["missing"] == 0 and status["pending"] == 0)

    eventually(asked_again, within=20)
    assert {entry["path"] for _, entry in pipeline.archive()} == set(later)
    assert not set(later) & set(before)
    assert "sending them again" not in pipeline.native.output()


def test_the_embedded_emulator_killed_loses_nothing_and_brings_nothing_back(native: Native) -> None:
    """Its stream is gone and its bucket's creation date is new, but the bucket is not."""
    pipeline = Pipeline(native)
    pipeline.start()
    pipeline.send(10)
    s3 = s3_client(pipeline.where)
    values = ("-", "2020-04-18T01:42:18.000Z", "GET", "/old", "HTTP/1.1", 200, "-")
    old = json.dumps(dict(zip(NAMES, values, strict=True))) + "\n"
    s3.put_object(Bucket=BUCKET, Key="2020/04/18/01/web-access.log", Body=old.encode())
    pipeline.arrived(pipeline.sent)
    settled(pipeline)
    for key in {key for key, _ in pipeline.archive()}:
        s3.delete_object(Bucket=BUCKET, Key=key)
    s3.close()
    created = json.loads((native.directory / "data" / "log" / "archived.json").read_bytes())["created"]
    for pid in native.pids("-m emulator"):
        os.kill(pid, signal.SIGKILL)
    later = pipeline.send(20)
    pipeline.arrived(later, within=60)

    def noticed() -> bool:
        tree = json.loads((native.directory / "data" / "log" / "archived.json").read_bytes())
        return bool(tree["created"] != created)

    eventually(noticed, within=20)
    assert "0 missing" in pipeline.audited(0)
    pipeline.arrived(later)
    assert "was created again" not in native.output()


def test_records_lost_with_their_stream_are_sent_again(pipeline: Pipeline) -> None:
    pipeline.start()
    pipeline.send(5)
    pipeline.arrived(pipeline.sent)
    with pipeline.function() as function:
        [mapping] = function.list_event_source_mappings(FunctionName=FUNCTION)["EventSourceMappings"]
        function.delete_event_source_mapping(UUID=mapping["UUID"])
    pipeline.send(20)

    def acknowledged() -> bool:
        status = json.loads((pipeline.native.directory / "data" / "run" / "status" / "producer.json").read_bytes())
        return bool(status["lag_bytes"] == 0 and status["counters"]["lines"] >= 25)

    eventually(acknowledged, every=0.05)
    with pipeline.kinesis() as kinesis:
        kinesis.delete_stream(StreamName=STREAM)
    pipeline.arrived(pipeline.sent, within=60)
    assert "0 missing" in pipeline.audited(0)


def test_audit_says_what_is_missing_and_repairs_it_on_request(pipeline: Pipeline) -> None:
    """The producer would not do it by itself for an hour."""
    pipeline.start(REPAIR_INTERVAL="3600", REPAIR_AFTER="3")
    pipeline.send(10)
    pipeline.arrived(pipeline.sent)
    pipeline.audited(0)
    pipeline.emulator.stop(kill=True)
    pipeline.emulator.start()

    def all_missing() -> str:
        """A part was acknowledged less than REPAIR_AFTER ago at first, where a poll came between the requests."""
        out = pipeline.audited(1)
        assert out.rstrip().endswith(" missing, 0 pending"), out
        return out

    out = eventually(all_missing)
    written = (pipeline.native.directory / "data" / "log" / "access.log").stat().st_size
    last = out.splitlines()[-1]
    assert last == f"{written:,} bytes written, {written:,} acknowledged, 0 archived, {written:,} missing, 0 pending"
    assert "missing in access.log" in out
    assert f"bytes [0, {written})" in out
    assert json.loads(pipeline.audit("--json").stdout)["totals"]["missing"] == written
    ready(pipeline.native)
    repaired = pipeline.audit("--repair")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert f"{written:,} bytes were sent again" in repaired.stderr
    assert repaired.stdout.splitlines()[-1].endswith(f"{written:,} archived, 0 missing, 0 pending")
    pipeline.arrived(pipeline.sent)
