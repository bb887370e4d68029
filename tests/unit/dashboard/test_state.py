from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appliance.health import Check
from common.clock import iso
from common.settings import Settings
from common.status import ApplianceStatus, Endpoint, EntrypointStatus, ProducerStatus, Statuses
from dashboard.disk import Disk
from dashboard.function import Batches
from dashboard.inventory import Inventory
from dashboard.periodic import Seen
from dashboard.proof import Proof
from dashboard.state import Local, Rates, Views, state
from dashboard.stream import Stream
from journal.hourly import Object
from tests.statuses import made

NOW = datetime(2026, 11, 23, 10, 0, 30, tzinfo=UTC)
URL = "http://127.0.0.1:4566"
RATES: Rates = dict.fromkeys(("log", "producer", "stream", "function", "bucket"), (1.0, None))
PRODUCER = {
    "state": "idle",
    "last_tick": "2026-11-23T10:00:00.000Z",
    "next_poll": "2026-11-23T10:01:00.000Z",
    "interval": 60.0,
    "ship_request": "an id",
    "counters": {
        "started_at": "2026-11-23T09:00:00Z",
        "lines": 7,
        "records": 5,
        "retries": {"Throttled": 2, "no answer": 1},
        "throttled": 2,
        "shards": {"shardId-0": 5, "shardId-closed": 1},
    },
}


def appliance(endpoint: Endpoint) -> ApplianceStatus:
    return ApplianceStatus(started_at=NOW, endpoint=endpoint)


def local(**changes: Any) -> Local:
    checks = [Check("nginx", "ok", "answers"), Check("producer", "ok", "last poll"), Check("entrypoint", "ok", "ready")]
    disk = Disk(100, 1, 7, 100, 7, 0, 0, None)
    said = Statuses(appliance("embedded"), made(ProducerStatus, PRODUCER))
    of_said = {name: changes.pop(name) for name in ("appliance", "producer", "entrypoint") if name in changes}
    return replace(Local(checks, replace(said, **of_said), disk), **changes)


def views(**changes: Any) -> Views:
    """Everything is well."""
    one = Object("2026/11/23/10", NOW, "2026/11/23/10/web-access.log", "e", 400)
    totals = {"written": 7, "acknowledged": 7, "archived": 7, "missing": 0, "pending": 0}
    given: dict[str, Any] = {
        "local": local(),
        "stream": Stream("ACTIVE", ["shardId-0"], 24),
        "function": Batches({"batches": 1, "lines": 7}, 0.1, NOW),
        "bucket": Inventory([one], {one.key: 7}),
        "proof": Proof(NOW, "lines", totals, 0, 0, None),
    } | changes
    return Views(
        **{name: value if isinstance(value, Seen) else Seen(value, NOW, looked=1.0) for name, value in given.items()}
    )


def shown(seen: Views | None = None, **settings: Any) -> Any:
    return state(Settings(**settings), seen or views(), RATES, NOW, URL)


def states(found: Any) -> dict[str, str]:
    return {one["id"]: one["state"] for one in found["nodes"]}


def node(found: Any, name: str) -> Any:
    return next(one for one in found["nodes"] if one["id"] == name)


def test_all_is_well() -> None:
    found = shown()
    assert set(states(found).values()) == {"ok"}
    assert found["poll"] == {
        "interval": 60.0,
        "next": "2026-11-23T10:01:00.000Z",
        "last": "2026-11-23T10:00:00.000Z",
        "shipping": False,
        "answered": "an id",
        "error": None,
    }
    assert found["endpoint"] == {"kind": "embedded", "url": URL, "reachable": True, "error": None}
    assert found["audit"]["verdict"] == "complete"
    assert [(one["from"], one["to"]) for one in found["edges"]] == [
        ("nginx", "log"),
        ("log", "producer"),
        ("producer", "stream"),
        ("stream", "function"),
        ("function", "bucket"),
    ]
    facts = {one["key"]: (one["value"], one["unit"]) for one in node(found, "producer")["facts"]}
    assert facts["retries"] == (3, "records")
    assert {one["key"]: one["value"] for one in node(found, "bucket")["facts"]}["lines"] == 7
    assert node(found, "stream")["shards"] == [{"id": "shardId-0", "records": 5}]


def test_of_a_bucket_that_is_not_known_as_a_whole_nothing_is_summed() -> None:
    one = Object("2026/11/23/10", NOW, "2026/11/23/10/web-access.log", "e", 400)
    found = shown(views(bucket=Inventory([one], {one.key: 7}, whole=False)))
    facts = {each["key"]: each["value"] for each in node(found, "bucket")["facts"]}
    assert facts == {"newest_objects": 1, "newest": iso(NOW)}


def test_nobody_has_said_anything_yet() -> None:
    nothing: Views = Views(Seen(), Seen(), Seen(), Seen(), Seen())
    found = shown(nothing)
    assert set(states(found).values()) == {"unknown"}
    assert found["poll"]["next"] is None
    assert found["audit"] is None
    assert found["endpoint"]["error"] is None
    assert found["behind"]["unarchived_bytes"] is None


@pytest.mark.parametrize(
    ("settings", "embedded", "kind"),
    [
        ({"localstack_host": "localstack"}, "embedded", "endpoint"),
        ({"target": "aws"}, "embedded", "aws"),
        ({}, "endpoint", "endpoint"),
        ({}, "embedded", "embedded"),
    ],
)
def test_kinds_of_endpoint(settings: dict[str, str], embedded: Endpoint, kind: str) -> None:
    seen = views(local=local(appliance=appliance(embedded)))
    assert shown(seen, **settings)["endpoint"]["kind"] == kind


def test_an_endpoint_that_is_down_is_what_its_nodes_say() -> None:
    since = NOW - timedelta(seconds=9)
    down: Seen[Any] = Seen(Inventory(), NOW, "the bucket: nobody answers", since, 1.0, unanswered=True)
    found = shown(views(local=local(answers=False), bucket=down))
    assert found["endpoint"]["reachable"] is False
    assert states(found) == {
        "nginx": "ok",
        "log": "ok",
        "producer": "ok",
        "stream": "failing",
        "function": "failing",
        "bucket": "failing",
    }
    assert {node(found, name)["error"] for name in ("stream", "function", "bucket")} == {f"{URL} does not answer"}
    assert found["endpoint"]["error"].startswith(f"{URL} does not answer. It is started again by itself")
    assert node(found, "stream")["error_at"] == iso(since)
    # a port that is open, behind which nobody answers
    assert not shown(views(bucket=down, stream=replace(down, value=None)))["endpoint"]["reachable"]
    assert shown(views(bucket=down))["endpoint"]["reachable"]
    # who refuses has answered
    refusing = replace(down, unanswered=False)
    assert shown(views(bucket=refusing, stream=replace(refusing, value=None)))["endpoint"]["reachable"]
    # before the first call has failed
    found = shown(views(local=local(answers=False)), localstack_host="localstack")
    assert (
        "does not answer. Start the endpoint, or name another one with -e LOCALSTACK_HOST" in found["endpoint"]["error"]
    )


def test_what_is_being_made_has_not_failed() -> None:
    absent: Seen[Any] = Seen(None, None, "the bucket is not there (yet)", NOW, 1.0)
    provisioning = EntrypointStatus(state="provisioning", due=NOW)
    making = local(entrypoint=provisioning)
    found = shown(views(local=making, bucket=absent, stream=absent))
    for name in ("stream", "bucket"):
        assert (states(found)[name], node(found, name)["error"]) == ("busy", None)
        assert node(found, name)["facts"] == [{"key": "status", "value": "CREATING", "unit": "text"}]
    for other in (EntrypointStatus(state="ready"), replace(provisioning, due=NOW - timedelta(seconds=1))):
        assert states(shown(views(local=local(entrypoint=other), bucket=absent)))["bucket"] == "failing"


def test_a_part_that_is_refused_is_shown_alone() -> None:
    refused: Seen[Any] = Seen(None, None, "was refused: AccessDenied", NOW, 1.0)
    assert states(shown(views(bucket=refused)))["bucket"] == "failing"
    found = shown(views(function=refused))
    assert (states(found)["function"], node(found, "function")["error"]) == ("unknown", "was refused: AccessDenied")
    found = shown(views(proof=refused))
    assert (found["audit"]["verdict"], found["audit"]["error"]) == ("unknown", "was refused: AccessDenied")
    assert found["behind"]["unarchived_bytes"] is None
    known = replace(refused, value=views().proof.value)
    audit = shown(views(proof=known))["audit"]
    assert (audit["verdict"], audit["written"]) == ("unknown", 7)


def test_a_function_that_fails() -> None:
    later = NOW + timedelta(seconds=1)
    batches = Batches({"batches": 1, "failed": 1}, 0.1, NOW, later, "ClientError: no")
    found = shown(views(function=batches))
    assert (states(found)["function"], node(found, "function")["error"]) == ("failing", "ClientError: no")
    assert states(shown(views(function=replace(batches, last=later))))["function"] == "ok"


def test_lines_that_wait() -> None:
    disk = Disk(100, 1, 7, 100, 7, 30, 2, NOW - timedelta(seconds=20))
    found = shown(views(local=local(disk=disk)))
    assert found["behind"] == {
        "bytes": 30,
        "lines": 2,
        "since": "2026-11-23T10:00:10.000Z",
        "unarchived_bytes": 0,
        "unarchived_lines": 0,
        "unarchived_since": None,
    }
    assert states(found)["log"] == "busy"
    late = replace(disk, new_since=NOW - timedelta(seconds=121))
    assert states(shown(views(local=local(disk=late))))["log"] == "degraded"
    other = shown(views(local=local(format_error="20 of the newest 20 lines …")))
    assert (states(other)["log"], node(other, "log")["error"]) == ("degraded", "20 of the newest 20 lines …")
    broken = local(disk=None, disk_error="the checkpoint is damaged")
    found = shown(views(local=broken))
    assert (states(found)["log"], node(found, "log")["error"]) == ("failing", "the checkpoint is damaged")


def test_the_producer() -> None:
    def producer(**changes: Any) -> Any:
        return shown(views(local=local(producer=made(ProducerStatus, PRODUCER | changes))))

    assert states(producer(state="shipping"))["producer"] == "busy"
    assert producer(state="shipping")["poll"]["shipping"]
    assert producer(next_poll=None)["poll"]["next"] is None
    assert producer(next_poll="2026-11-23T10:00:00Z")["poll"]["next"] == iso(NOW)  # it is due
    assert producer(state="stopped")["poll"]["next"] is None
    assert producer(error="PutRecords was refused")["poll"]["error"] == "PutRecords was refused"
    past = producer(state="shipping", due="2026-11-23T10:00:00Z")
    assert (past["poll"]["shipping"], past["poll"]["next"]) == (False, None)
    assert past["poll"]["last"] == "2026-11-23T10:00:00.000Z"
    assert "state" not in [fact["key"] for fact in node(past, "producer")["facts"]]
    checks = [Check("producer", "degraded", "the stream is not there")]
    found = shown(views(local=local(checks=checks)))
    assert (states(found)["producer"], states(found)["nginx"]) == ("degraded", "unknown")
    assert shown(views(local=local(requested=True)))["poll"]["shipping"]


def test_with_firehose_nobody_can_tell_what_is_archived() -> None:
    found = shown(views(proof=Seen()), delivery="firehose")
    assert found["audit"] is None
    assert node(found, "stream")["name"] == "web-log-delivery"
    creating = Stream("CREATING", [], None)
    found = shown(views(stream=creating), delivery="firehose")
    assert (states(found)["stream"], node(found, "stream")["shards"]) == ("busy", [])


def test_with_s3_there_is_nothing_between_the_producer_and_the_bucket() -> None:
    seen = views(stream=Seen(), function=Seen())
    found = shown(seen, delivery="s3")
    assert states(found) == dict.fromkeys(("nginx", "log", "producer", "bucket"), "ok")
    assert [(one["from"], one["to"]) for one in found["edges"]] == [
        ("nginx", "log"),
        ("log", "producer"),
        ("producer", "bucket"),
    ]
    assert found["audit"]["verdict"] == "complete"
    # one look is all there is that could tell that nothing answers
    silent: Seen[Any] = Seen(None, None, "the bucket: no answer", NOW, 1.0, unanswered=True)
    assert not shown(replace(seen, bucket=silent), delivery="s3")["endpoint"]["reachable"]
