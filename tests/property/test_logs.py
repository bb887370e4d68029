"""Several logs of one producer, whatever the stream refuses and loses: each line once, below the name of its log.

Producer, records, function and bucket are the real ones but for their ends; the logs may have the very same lines.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import index
from archiver.archive import Archive
from archiver.event import Key
from common.settings import Settings
from journal.logs import logs_of
from producer.logs import Logs
from producer.schedule import next_poll
from producer.tick import Producer
from tests.fake_kinesis import FakeClock, FakeKinesis, error, lose_answer, refuse, refuse_all, sink_of
from tests.fake_s3 import FakeS3
from tests.keys import KEY
from tests.lambda_events import combined, event, record

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAMES = ("shop", "blog", "rejects")
FAULTS = [None, refuse([0]), refuse([1, 2]), refuse_all, lose_answer, error("AccessDeniedException")]
writes = st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(1, 30))
steps = st.one_of(
    writes,
    writes,
    st.tuples(st.just("rotate"), st.sampled_from(NAMES), st.just(0)),
    st.tuples(st.just("tick"), st.just(""), st.integers(0, len(FAULTS) - 1)),
    st.tuples(st.sampled_from(["restart", "deliver"]), st.just(""), st.just(0)),
)


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class Machine:
    """`folder`: LOG_FILES is the folder of the logs, instead of their names."""

    def __init__(self, folder: Path, by_folder: bool) -> None:
        (folder / "logs").mkdir()
        self.logs = {name: folder / "logs" / f"{name}.access.log" for name in NAMES}
        named = ",".join(f"{name}={log}" for name, log in self.logs.items())
        log_files = str(folder / "logs") if by_folder else named
        self.settings = Settings(data_dir=folder / "data", log_files=log_files, record_key=KEY)
        self.clock, self.stream, self.s3 = FakeClock(), FakeKinesis(), FakeS3()
        self.archive = Archive(cast("S3Client", self.s3), "b", rng=random.Random(0), sleep=lambda _: None)
        self.written: Counter[tuple[str, bytes]] = Counter()
        self.delivered = 0
        self.rotations = 0
        self.start()

    def start(self) -> None:
        look = Logs(self.settings, self.clock, random.Random(len(self.stream.calls))).look
        self.producer = Producer(self.settings, look, None, self.clock, next_poll(60))

    def tick(self, fault: int = 0) -> None:
        self.stream.script = [FAULTS[fault]]
        self.producer.tick(sink_of(self.stream, self.clock, key=lambda: KEY, retry_seconds=0), lambda: False)

    def write(self, name: str, count: int) -> None:
        """The same lines in each log, so that nothing but the name tells them apart."""
        with self.logs[name].open("ab") as log:
            for _ in range(count):
                number = sum(times for (one, _), times in self.written.items() if one == name)
                path = b"/%d" % number
                self.written[name, path] += 1
                log.write(combined(request=b"GET %s HTTP/1.1" % path) + b"\n")

    def rotate(self, name: str) -> None:
        if self.logs[name].exists():
            self.rotations += 1
            self.logs[name].rename(self.logs[name].with_name(f"{self.logs[name].name}.{self.rotations}"))

    def deliver(self) -> None:
        """What is new in the stream, and some of what was delivered before, once more."""
        start = max(0, self.delivered - 2)
        entries = [record(stored.data, stored.key) for stored in self.stream.records[start:]]
        self.delivered = len(self.stream.records)
        index.Run(self.archive, "", Context(), Key.of(KEY)).archive(event(entries))

    def archived(self) -> Counter[tuple[str, bytes]]:
        found: Counter[tuple[str, bytes]] = Counter()
        for key, stored in self.s3.objects.items():
            name, _, rest = key.partition("/")
            assert rest == "2020/04/18/01/web-access.log"
            for line in stored.body.splitlines():
                found[name, line.split(b'"path":"')[1].partition(b'"')[0]] += 1
        return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.booleans(), st.lists(steps, max_size=25))
def test_every_line_once_below_the_name_of_its_log(by_folder: bool, done: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("producer.batch.MAX_BATCH_RECORDS", 20)
        patch.setattr("producer.reader.FINAL_AFTER", 0)
        machine = Machine(Path(folder), by_folder)
        for step, name, number in done:
            match step:
                case "write":
                    machine.write(name, number)
                case "rotate":
                    machine.rotate(name)
                case "tick":
                    machine.tick(number)
                case "restart":
                    machine.start()
                case _:
                    machine.deliver()
        for name in NAMES:
            machine.write(name, 1)
        for _ in range(3):
            machine.tick()
        machine.deliver()
        assert machine.archived() == machine.written
        assert {one.log_name for one in logs_of(machine.settings)} == set(NAMES)
