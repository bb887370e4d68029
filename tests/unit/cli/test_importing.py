"""`appliance import`: what it says, and how it ends."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from bench.backlog import write_backlog
from cli import __main__ as cli
from cli import importing
from common import aws
from common.settings import load_settings
from producer.bucket import BucketSink
from producer.put import Put
from producer.record import Record
from tests.checker import entries
from tests.fake_kinesis import FakeClock, FakeKinesis, refuse_all, sink_of

LINE = b'192.0.2.1 - - [18/Apr/2020:01:42:18 +0000] "GET / HTTP/1.1" 200 1 "-" "a"\n'


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKinesis:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "data" / "log").mkdir(parents=True)
    stream = FakeKinesis()
    monkeypatch.setattr(importing, "make_sink", lambda *_: sink_of(stream, FakeClock()))
    return stream


def write(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    os.utime(path, (0, 0))
    return str(path)


def test_it_says_what_was_acknowledged(stream: FakeKinesis, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "old", LINE)
    assert cli.main(["import", path, write(tmp_path / "empty", b"")]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/empty: skipped, it is empty",
        f"{len(LINE)} of {len(LINE)} bytes are acknowledged, 1 lines; what was in S3 before is not added again",
    ]
    assert cli.main(["import", "--json", path]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["lines"], answer["bytes"], answer["error"]) == (1, len(LINE), None)
    assert answer["files"][0]["path"] == path
    assert len({record.key for record in stream.records}) == 1


def test_what_is_refused_or_left_is_a_problem(
    stream: FakeKinesis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "growing").write_bytes(LINE + b"half")
    assert cli.main(["import", str(tmp_path / "growing")]) == 1
    assert "growing: 4 bytes are left" in capsys.readouterr().err
    stream.script = [refuse_all] * 100
    assert cli.main(["import", write(tmp_path / "old", LINE)]) == 1
    assert "records were refused" in capsys.readouterr().err


def test_a_file_that_cannot_be_imported(
    stream: FakeKinesis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["import", write(tmp_path / "old", LINE), str(tmp_path / "no\ne")]) == 2
    assert r"no\ne: No such file" in capsys.readouterr().err
    assert not stream.records


def test_firehose_would_double(
    stream: FakeKinesis, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DELIVERY", "firehose")
    assert cli.main(["import", "any"]) == 2
    assert "a second import would double every line" in capsys.readouterr().err
    assert not stream.calls


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption(
    stream: FakeKinesis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    def interrupted(*_: Any) -> None:
        signal.raise_signal(number)

    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    monkeypatch.setattr(importing, "send", interrupted)
    try:
        assert cli.main(["import", write(tmp_path / "old", LINE)]) == 130
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    assert "import the same files again to go on" in capsys.readouterr().err
    assert not stream.records


def test_with_s3_old_lines_are_entries_and_a_second_import_adds_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"DATA_DIR": str(tmp_path), "TARGET": "aws", "DELIVERY": "s3", "S3_BUCKET": "old-logs"}
    for name, value in (given | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}).items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    settings.log_file.parent.mkdir()
    count = 3_000  # more than one call of single records: for Kinesis they are compressed
    put, sent = BucketSink.put, list[Record]()

    def noted(sink: BucketSink, batch: Sequence[Record]) -> Put:
        sent.extend(batch)
        return put(sink, batch)

    monkeypatch.setattr(BucketSink, "put", noted)
    write_backlog(tmp_path / "old", count)
    with mock_aws(), closing(aws.client(settings, "s3")) as s3:
        s3.create_bucket(Bucket="old-logs")
        for _ in range(2):
            assert cli.main(["import", str(tmp_path / "old")]) == 0
            found = [entry["path"] for _, entry in entries(s3, "old-logs")]
            assert (len(found), len(set(found))) == (count, count)
    assert all(record.data.endswith(b'"\n') for record in sent), "nothing is compressed that is unpacked here again"
