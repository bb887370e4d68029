"""The daemon's loop, round by round: what it says, how often, and what it writes into its status."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ProfileNotFound

from common import aws
from common.delivery import FIREHOSE
from common.settings import Settings
from common.status import EntrypointStatus
from entrypoint import capabilities
from entrypoint import watch as module
from entrypoint.errors import ProvisionError, UnavailableError
from entrypoint.provision import Clients, connect
from entrypoint.resources import Outcome, State
from entrypoint.run import Run
from entrypoint.watch import LOOK_EVERY, LOOK_EVERY_ON_AWS, REMIND_EVERY, RETRY_CAP, Watch
from tests.statuses import status_json
from tests.unit.entrypoint.fakes import FakeClock, refusal

ALL = ("bucket", "role", "stream", "function", "mapping")


class Endpoint:
    """Stands for `provision` and what it finds: per kind a state and a detail, or an error where it stops."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.drifted: dict[str, str] = {}
        self.keeps = True
        self.error: Exception | None = None
        self.error_at = "bucket"
        self.applied = 0
        self.connections = 0
        self.ignores: list[str] | Exception = []
        self.probed = 0
        self.s3 = None

    def ignored_conditions(self, *_: Any) -> list[str]:
        self.probed += 1
        if isinstance(self.ignores, Exception):
            raise self.ignores
        return self.ignores

    def connect(self, _: Settings) -> Clients:
        self.connections += 1
        return cast(Clients, self)

    def provision(self, _clients: Clients, _settings: Settings, _code: bytes, run: Run) -> Iterator[Outcome]:
        self.applied += run.apply
        for kind in ALL:
            if self.error and kind == self.error_at:
                raise self.error
            state: State = "created" if kind not in self.there else "updated" if kind in self.drifted else "unchanged"
            yield Outcome(kind, "x", state, (self.drifted[kind],) if state == "updated" else ())
            if run.apply:
                self.there.add(kind)
                if self.keeps:
                    self.drifted.pop(kind, None)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Endpoint:
    endpoint = Endpoint()
    monkeypatch.setattr(module, "provision", endpoint.provision)
    monkeypatch.setattr(capabilities, "ignored_conditions", endpoint.ignored_conditions)
    caplog.set_level("INFO")
    return endpoint


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, localstack_host="127.0.0.1:9")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def watch(endpoint: Endpoint, settings: Settings, clock: FakeClock) -> Watch:
    return Watch(settings, b"zip", clock, random.Random(1), connect=endpoint.connect)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    caplog.clear()
    return lines


def status(settings: Settings) -> dict[str, Any]:
    return status_json(settings.status_dir, EntrypointStatus)


def test_one_line_a_resource_then_silence(watch: Watch, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    assert watch.round() == LOOK_EVERY
    assert said(caplog) == [*(f"INFO {kind} x: created" for kind in ALL), "INFO ready at http://127.0.0.1:9"]
    for _ in range(3):
        assert watch.round() == LOOK_EVERY
    assert said(caplog) == []
    assert status(settings) == {
        "state": "ready",
        "endpoint": "http://127.0.0.1:9",
        "resources": dict.fromkeys(ALL, "created"),
        "checked_at": "2026-01-01T00:00:00Z",
        "provisioned_at": "2026-01-01T00:00:00Z",
        "conditional_writes": "honoured",
        "event_time_prefixes": None,
        "error": None,
        "version": 1,
        "due": "2026-01-01T00:05:00Z",
    }


def test_what_the_bucket_does_not_honour_is_said_once_and_stays_in_the_status(
    watch: Watch, endpoint: Endpoint, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.ignores = ["If-Match on PutObject"]
    for _ in range(3):
        watch.round()
    (warning,) = [line for line in said(caplog) if line.startswith("WARNING")]
    assert "http://127.0.0.1:9 does not honour If-Match on PutObject: " in warning
    assert "one shard and one writer only" in warning
    assert status(settings)["state"] == "ready"
    assert status(settings)["conditional_writes"] in warning
    assert endpoint.probed == 1


def test_a_bucket_made_anew_is_probed_anew_and_others_are_not(
    watch: Watch, endpoint: Endpoint, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    watch.round()
    endpoint.there.remove("function")
    watch.round()
    assert endpoint.probed == 1
    endpoint.there.clear()
    endpoint.ignores = ["If-Match on PutObject"]
    said(caplog)
    watch.round()
    assert endpoint.probed == 2
    assert any("does not honour" in line for line in said(caplog))
    endpoint.there.clear()
    watch.round()
    assert endpoint.probed == 3
    assert not any("does not honour" in line for line in said(caplog))
    endpoint.there.clear()
    endpoint.ignores = []
    watch.round()
    assert status(settings)["conditional_writes"] == "honoured"


def test_a_probe_that_cannot_be_made_is_said_and_no_failure(
    watch: Watch, endpoint: Endpoint, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.ignores = refusal("AccessDenied", 403)
    assert watch.round() == LOOK_EVERY
    (warning,) = [line for line in said(caplog) if line.startswith("WARNING")]
    assert "cannot be seen" in warning
    assert "AccessDenied" in warning
    assert status(settings)["state"] == "ready"


def test_a_probe_that_failed_for_a_reason_that_passes_is_made_again(
    watch: Watch, endpoint: Endpoint, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.ignores = refusal("InsufficientStorage", 507)
    for _ in range(3):
        watch.round()
        assert not watch.quiet, "the lookout would not try it again"
    assert len([line for line in said(caplog) if "It passes by itself" in line]) == 1
    endpoint.ignores = []
    watch.round()
    assert (watch.quiet, endpoint.probed) == (True, 4)
    assert status(settings)["conditional_writes"] == "honoured"
    endpoint.there.remove("bucket")
    endpoint.ignores = refusal("AccessDenied", 403)
    watch.round()
    watch.round()
    assert (watch.quiet, endpoint.probed) == (True, 5)


def test_it_looks_before_it_provisions_again(watch: Watch, endpoint: Endpoint) -> None:
    for _ in range(5):
        watch.round()
    assert endpoint.applied == 1


def test_what_was_forgotten_is_said_loudly_and_made_again(
    watch: Watch, endpoint: Endpoint, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    watch.round()
    said(caplog)
    endpoint.there -= {"bucket", "stream"}
    watch.round()
    assert said(caplog) == [
        "WARNING http://127.0.0.1:9 has forgotten bucket x, stream x: provisioning again",
        "INFO bucket x: created",
        "INFO role x: unchanged",
        "INFO stream x: created",
        "INFO function x: unchanged",
        "INFO mapping x: unchanged",
        "INFO ready at http://127.0.0.1:9",
    ]
    assert status(settings)["resources"] == {
        kind: "created" if kind in ("bucket", "stream") else "unchanged" for kind in ALL
    }


def test_an_endpoint_that_is_away_is_said_once_and_then_twice_a_minute(
    watch: Watch, endpoint: Endpoint, settings: Settings, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.error = UnavailableError("it does not answer (Connection refused)")
    pauses = []
    while clock.seconds < 10 * REMIND_EVERY:
        pauses.append(watch.round())
        clock.sleep(pauses[-1])
    assert max(pauses) <= RETRY_CAP
    assert len({round(pause, 6) for pause in pauses}) > len(pauses) / 2
    first, *lines = said(caplog)
    assert 8 <= len(lines) <= 10
    waiting = "waiting for http://127.0.0.1:9: it does not answer (Connection refused); nginx serves and logs meanwhile"
    assert first == f"INFO {waiting}", "it may be starting as well"
    assert set(lines) == {f"WARNING {waiting}"}
    assert (status(settings)["state"], status(settings)["error"]) == (
        "waiting",
        "it does not answer (Connection refused)",
    )
    endpoint.error = None
    watch.round()
    assert said(caplog)[-1] == "INFO ready at http://127.0.0.1:9"
    endpoint.error = UnavailableError("gone again")
    watch.round()
    assert said(caplog) == ["WARNING waiting for http://127.0.0.1:9: gone again; nginx serves and logs meanwhile"]


def test_back_again_with_everything_still_there_it_only_looks(watch: Watch, endpoint: Endpoint) -> None:
    watch.round()
    endpoint.error = UnavailableError("away")
    watch.round()
    endpoint.error = None
    watch.round()
    assert watch.state == "ready"
    assert endpoint.applied == 1


def test_lost_in_the_middle_it_provisions_again_when_it_is_back(watch: Watch, endpoint: Endpoint) -> None:
    endpoint.error, endpoint.error_at = UnavailableError("away"), "function"
    watch.round()
    assert watch.state == "waiting"
    endpoint.error = None
    watch.round()
    assert endpoint.there == set(ALL)


def test_an_endpoint_that_is_provisioned_is_not_said_to_be_away(
    watch: Watch, endpoint: Endpoint, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.error = UnavailableError("away")
    watch.round()
    endpoint.error = None
    told: list[tuple[str, str | None]] = []
    tell = watch._tell

    def look(*arguments: Any) -> None:
        told.append((status(settings)["state"], status(settings)["error"]))
        tell(*arguments)

    monkeypatch.setattr(watch, "_tell", look)
    watch.round()
    assert set(told) == {("provisioning", None)}


def test_an_error_is_logged_once_for_each_change_of_its_words(
    watch: Watch, endpoint: Endpoint, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.error, endpoint.error_at = ProvisionError("bucket x: somebody else's"), "role"
    for _ in range(4):
        assert watch.round() == LOOK_EVERY
    assert said(caplog) == [
        "INFO bucket x: created",
        "ERROR bucket x: somebody else's",
        "INFO bucket x: unchanged",
    ]
    assert (status(settings)["state"], status(settings)["error"]) == ("failed", "bucket x: somebody else's")
    endpoint.error = ProvisionError("role x: something else")
    watch.round()
    assert said(caplog) == ["ERROR role x: something else"]
    endpoint.error = None
    watch.round()
    assert watch.state == "ready"
    assert status(settings)["error"] is None


def test_what_nobody_thought_of_does_not_end_the_loop_but_is_shown(
    watch: Watch, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint.error = ZeroDivisionError("surprise")
    for _ in range(3):
        assert watch.round() == LOOK_EVERY
    (record,) = caplog.records
    assert record.getMessage() == "ZeroDivisionError: surprise"
    assert record.exc_info


def test_a_client_that_cannot_be_made_is_told_without_a_traceback(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ProfileNotFound(profile="mine")

    monkeypatch.setattr(aws, "client", fail)
    monkeypatch.setattr(watch, "connect", connect)
    watch.round()
    (record,) = caplog.records
    assert "The config profile (mine) could not be found. Check" in record.getMessage()
    assert not record.exc_info


def test_a_drift_is_mended_and_an_endpoint_that_does_not_keep_it_is_not_flooded(
    watch: Watch, endpoint: Endpoint, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    watch.round()
    endpoint.drifted["mapping"] = "enabled again"
    watch.round()
    assert endpoint.applied == 2
    assert "WARNING not as it was made: mapping x: updated (enabled again): provisioning again" in said(caplog)
    endpoint.keeps = False
    endpoint.drifted["function"] = "Description"
    for _ in range(12):
        clock.sleep(watch.round())
    assert watch.state == "ready"
    # 12 looks in a minute: at once, and at most every REMIND_EVERY afterwards
    assert endpoint.applied == 2 + 2


def test_clients_are_kept_until_the_endpoint_is_found_elsewhere(
    watch: Watch, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = {"url": "http://h:4566"}
    monkeypatch.setattr(aws, "endpoint_url", lambda *_: where["url"])
    endpoint.error = UnavailableError("away")
    for _ in range(4):
        watch.round()
    assert endpoint.connections == 1
    where["url"] = "http://h:4572"
    watch.round()
    assert endpoint.connections == 2
    endpoint.error = None
    for _ in range(4):
        watch.round()
    where["url"] = "http://h:4566"
    watch.round()
    assert endpoint.connections == 2


def test_a_status_that_cannot_be_written_is_no_reason_to_stop(
    watch: Watch, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.run_dir.mkdir(parents=True)
    settings.status_dir.write_text("a file where a directory should be")
    for _ in range(3):
        watch.round()
    assert watch.state == "ready"
    assert len([line for line in said(caplog) if "status cannot be written" in line]) == 1


def test_a_hung_endpoint_costs_a_round_no_more_than_its_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from entrypoint import provision

    monkeypatch.setattr(provision, "READ_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as hung:
        settings = Settings(data_dir=tmp_path, localstack_host=f"127.0.0.1:{hung.getsockname()[1]}")
        made: list[Clients] = []

        def connect(settings: Settings) -> Clients:
            made.append(provision.connect(settings))
            return made[-1]

        watch = Watch(settings, b"zip", FakeClock(), random.Random(1), connect=connect)
        watch.round()
        assert (watch.state, watch.error) == ("waiting", "it does not answer (timed out)")
        for client in (made[0].s3, made[0].iam, made[0].kinesis, made[0].lambda_):
            client.close()


def test_with_firehose_what_the_endpoint_does_with_a_probe_is_said_and_stays_in_the_status(
    endpoint: Endpoint, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    found: list[str | Exception] = ["own hour"]

    def filed(*_: Any, **__: Any) -> str:
        endpoint.probed += 1
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    monkeypatch.setattr(capabilities, "filed", filed)
    monkeypatch.setattr(endpoint, "firehose", None, raising=False)
    chosen = settings.model_copy(update={"delivery": FIREHOSE})
    watch = Watch(chosen, b"zip", FakeClock(), random.Random(1), connect=endpoint.connect)
    watch.round()
    watch.round()
    assert endpoint.probed == 1
    assert status(settings)["event_time_prefixes"] == "honoured"
    assert status(settings)["conditional_writes"] is None
    assert not [line for line in said(caplog) if line.startswith("WARNING")]
    for outcome, words in {
        "untransformed": "runs no transform for delivery stream web-log-delivery",
        "hour of arrival": "does not evaluate the prefix of delivery stream web-log-delivery",
        "failed": "aws logs filter-log-events --log-group-name /aws/lambda/stream-transformation",
        "unseen": "could not be seen within 5 s",
    }.items():
        found[0] = outcome
        endpoint.there.clear()  # a bucket made anew is probed anew
        watch.round()
        assert words in status(settings)["event_time_prefixes"]
        (warning,) = [line for line in said(caplog) if line.startswith("WARNING") and "forgotten" not in line]
        assert words in warning
        assert watch.state == "ready"
    found[0] = refusal("ServiceUnavailableException", 503)
    endpoint.there.clear()
    watch.round()
    assert "what DELIVERY=firehose needs cannot be seen" in status(settings)["event_time_prefixes"]
    assert watch.state == "ready"


class OnAws:
    """The probes of TARGET=aws; `answers` has an error for what is not there."""

    def __init__(self) -> None:
        self.errors: dict[str, ClientError] = {}
        self.sources = ["arn:aws:kinesis:us-east-1:0:stream/web-log-stream"]
        self.s3 = self.kinesis = self.lambda_ = self.firehose = self

    def _ask(self, what: str) -> dict[str, str]:
        if what in self.errors:
            raise self.errors[what]
        return {"there": "yes"}

    def head_bucket(self, **_: str) -> dict[str, str]:
        return self._ask("bucket")

    def describe_stream_summary(self, **_: str) -> dict[str, str]:
        return self._ask("stream")

    def describe_delivery_stream(self, **_: str) -> dict[str, str]:
        return self._ask("delivery stream")

    def get_function_configuration(self, **_: str) -> dict[str, str]:
        return self._ask("function")

    def get_paginator(self, _: str) -> OnAws:
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [{"EventSourceMappings": [{"EventSourceArn": source, "State": "Enabled"} for source in self.sources]}]


@pytest.fixture
def on_aws(tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> tuple[OnAws, Watch, Settings]:
    caplog.set_level("INFO")
    cloud, settings = OnAws(), Settings(data_dir=tmp_path, target="aws")
    connect = lambda _: cast(Clients, cloud)  # noqa: E731
    return cloud, Watch(settings, b"", clock, random.Random(1), connect=connect), settings


def test_on_aws_it_only_looks(on_aws: tuple[OnAws, Watch, Settings], caplog: pytest.LogCaptureFixture) -> None:
    _, watch, settings = on_aws
    assert watch.round() == LOOK_EVERY_ON_AWS
    assert said(caplog) == [
        "INFO bucket my-bucket: is there",
        "INFO function stream-transformation: is there",
        "INFO stream web-log-stream: is there",
        "INFO mapping web-log-stream -> stream-transformation: is there",
        "INFO ready at AWS",
    ]
    assert status(settings)["state"] == "ready"
    watch.round()
    assert said(caplog) == []


def test_on_aws_what_is_missing_is_terraform_s_to_make(
    on_aws: tuple[OnAws, Watch, Settings], caplog: pytest.LogCaptureFixture
) -> None:
    cloud, watch, settings = on_aws
    cloud.errors = {"bucket": refusal("404", 404), "stream": refusal("ResourceNotFoundException")}
    cloud.sources = ["arn:aws:kinesis:us-east-1:0:stream/another"]
    for _ in range(2):
        watch.round()
    (error,) = [line for line in said(caplog) if line.startswith("ERROR")]
    assert "not on AWS: bucket my-bucket, stream web-log-stream, mapping" in error
    assert "apply terraform/" in error
    assert status(settings)["state"] == "failed"
    assert status(settings)["resources"]["stream"] == "missing"


def test_on_aws_what_may_not_be_seen_is_told_and_trusted(
    on_aws: tuple[OnAws, Watch, Settings], caplog: pytest.LogCaptureFixture
) -> None:
    """The appliance's own credentials may well be allowed to put records and nothing else."""
    cloud, watch, settings = on_aws
    cloud.errors = {"bucket": refusal("403", 403), "function": refusal("AccessDeniedException", 403)}
    watch.round()
    assert "INFO bucket my-bucket: cannot be seen by these credentials" in said(caplog)
    assert status(settings)["state"] == "ready"
    assert status(settings)["resources"]["function"] == "unseen"


def test_on_aws_wrong_credentials_are_an_error(on_aws: tuple[OnAws, Watch, Settings]) -> None:
    cloud, watch, _ = on_aws
    cloud.errors = {"stream": refusal("UnrecognizedClientException", 400)}
    watch.round()
    assert watch.state == "failed"
    assert "credentials are not accepted" in (watch.error or "")


def test_on_aws_without_a_stream_the_bucket_is_all_that_is_to_be_named(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    cloud, settings = OnAws(), Settings(data_dir=tmp_path, target="aws", delivery="s3")
    cloud.errors = {"bucket": refusal("404", 404)}
    Watch(settings, b"", clock, random.Random(1), connect=lambda _: cast(Clients, cloud)).round()
    (error,) = [line for line in said(caplog) if line.startswith("ERROR")]
    assert error.endswith("or take its names: -e S3_BUCKET=… -e AWS_DEFAULT_REGION=…")


def test_on_aws_with_firehose_the_delivery_stream_is_looked_for(
    tmp_path: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    cloud, settings = OnAws(), Settings(data_dir=tmp_path, target="aws", delivery="firehose")
    connect = lambda _: cast(Clients, cloud)  # noqa: E731
    watch = Watch(settings, b"", clock, random.Random(1), connect=connect)
    watch.round()
    assert said(caplog) == [
        "INFO bucket my-bucket: is there",
        "INFO function stream-transformation: is there",
        "INFO delivery stream web-log-delivery: is there",
        "INFO ready at AWS",
    ]
    cloud.errors = {"delivery stream": refusal("ResourceNotFoundException")}
    watch.round()
    (error,) = [line for line in said(caplog) if line.startswith("ERROR")]
    assert "not on AWS: delivery stream web-log-delivery." in error
    assert "-e FIREHOSE_STREAM=…" in error
