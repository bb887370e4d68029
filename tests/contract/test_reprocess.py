"""`appliance reprocess` killed at each request to an emulator in turn: before it is sent, or when it is answered."""

from __future__ import annotations

import json
import random
import secrets
import time
from collections import Counter
from typing import Any

import pytest

from archiver.archive import Archive
from archiver.event import Record
from archiver.filing import file_record, file_runs
from archiver.format import COMBINED, compiled
from archiver.layout import HourlyObject
from cli import __main__ as cli
from cli.reprocess import Done, Reprocess
from common.settings import Settings
from journal.hourly import objects, pages
from tests.contract.test_archive import Backend, backend, client
from tests.lambda_events import GENERATION, combined

__all__ = ["backend"]
SHORT = b"192.168.99.1 - - [18/Apr/2020:01:42:18 +0000] junk"


class Killed(BaseException):
    pass


class Killing:
    """Counts the requests, and ends the process at one of them."""

    def __init__(self, backend: Backend, event: str) -> None:
        self.calls, self.at = 0, -1
        backend.s3.meta.events.register(event, self)

    def __call__(self, **_: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise Killed


@pytest.mark.parametrize("backend", [pytest.param("ministack", marks=pytest.mark.emulator)], indirect=True)
@pytest.mark.parametrize("event", ["before-send.s3", "after-call.s3"])
def test_killed_at_each_request(backend: Backend, event: str) -> None:
    killing, settings = Killing(backend, event), Settings(s3_bucket=backend.bucket)
    log = [combined(request=b"GET /%d HTTP/1.1" % number) for number in range(4)] + [SHORT]
    for nth in range(1, 100):
        prefix, start = f"{secrets.token_hex(4)}/", 0

        def entries(of_rejected: bool, prefix: str = prefix) -> Counter[str]:
            base = f"{prefix}rejected/" if of_rejected else prefix
            found = objects(pages(backend.s3, backend.bucket, Prefix=base), base)
            bodies = [backend.s3.get_object(Bucket=backend.bucket, Key=each.key)["Body"].read() for each in found]
            return Counter(json.loads(line)["raw" if of_rejected else "path"] for line in b"".join(bodies).splitlines())

        def run(prefix: str = prefix) -> Done:
            made = Reprocess(backend.s3, settings, COMBINED, lambda _: None)
            made.run(prefix, "2020")
            return made.done

        for line in log:
            archive = Archive(backend.s3, backend.bucket, rng=random.Random(), sleep=time.sleep)
            for target, item in file_record(
                Record(line, GENERATION, start, None, 0.0, None), prefix, compiled("common")
            ):
                archive.append(target, [item])
            start += len(line) + 1
        killing.calls, killing.at = 0, nth
        try:
            run()
            killing.at = -1
        except Killed:
            killing.at = -1
            run()
        assert entries(False) == Counter(f"/{number}" for number in range(4))
        assert entries(True) == Counter([SHORT.decode()])
        if killing.calls < nth:
            assert nth > 6
            return
    raise AssertionError("there was no end of requests")


@pytest.mark.emulator
def test_the_command_with_more_than_fits_its_memory(
    ministack: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rejected lines that stay are kept in a file meanwhile."""
    log = [line for number in range(30_000) for line in (combined(request=b"GET /%d HTTP/1.1" % number), SHORT * 6)]
    with client(ministack) as s3:
        backend = Backend(s3, f"archive-{secrets.token_hex(6)}")
        s3.create_bucket(Bucket=backend.bucket)
        target = HourlyObject("", "2020/04/18/01")
        record = Record(b"\n".join(log), GENERATION, 0, None, 0.0, None)
        backend.archive().append(target.counterpart, [item for _, item in file_runs(record, "", compiled("common"))])
        for name, value in {"LOCALSTACK_HOST": ministack, "S3_BUCKET": backend.bucket}.items():
            monkeypatch.setenv(name, value)
        assert cli.main(["reprocess", "2020/04"]) == 0
        assert capsys.readouterr().out == "30,000 of 60,000 rejected lines are entries now, 30,000 stay rejected\n"
        assert cli.main(["reprocess", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"objects": 1, "lines": 30_000, "entries": 0}
        backend.target = target
        assert backend.body().count(b"\n") == 30_000
