from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from common.settings import Settings
from common.status import EntrypointStatus, ProducerStatus
from dashboard.collector import Collector
from dashboard.metrics import FUNCTION, OPENMETRICS, PRODUCER, exposition
from dashboard.periodic import Seen
from dashboard.proof import Proof
from dashboard.state import Views
from tests.statuses import made
from tests.unit.dashboard.test_state import NOW, local, views

ROOT = Path(__file__).resolve().parents[3]
COUNTERS = {field: number for number, (field, _) in enumerate(PRODUCER.values(), 1)} | {
    "started_at": "2026-11-23T09:00:00Z",
    "retries": {"ProvisionedThroughputExceededException": 3, 'a "quote"\n': 1},
    "shards": {"shardId-000000000000": 4, "shardId-000000000001": 5},
    "tick_seconds": {"buckets": {"0.005": 1, "0.1": 4, "60": 5}, "sum": 1.5, "count": 5},
}


def everything() -> Views:
    producer = made(ProducerStatus, {"counters": COUNTERS, "last_tick": "2026-11-23T10:00:00Z"})
    found = views(local=local(producer=producer, entrypoint=EntrypointStatus(state="ready")))
    assert found.function.value
    counts = {field: number for number, (field, _) in enumerate(FUNCTION.values(), 1)}
    return replace(found, function=Seen(replace(found.function.value, counts=counts), NOW, looked=1.0))


def in_bytes() -> Views:
    totals = {"written": 700, "acknowledged": 600, "archived": 500, "missing": 1, "pending": 99}
    return views(proof=Proof(NOW, "bytes", totals, 100, None, NOW - timedelta(seconds=30)))


def text(seen: Views, accept: str = "") -> str:
    collector = SimpleNamespace(views=seen, settings=Settings(), clock=SimpleNamespace(now=lambda: NOW))
    content, kind = exposition(cast("Collector", collector), accept)
    assert kind.startswith(OPENMETRICS if OPENMETRICS in accept else "text/plain")
    return content.decode()


def families(seen: Views) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(text(seen))}


def samples(seen: Views) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families(seen).values()
        for sample in family.samples
    }


def exposed() -> dict[str, str]:
    """The type by the name of each metric; a counter's as it is sampled, a histogram's without its suffixes."""
    both = families(everything()) | families(in_bytes())
    return {f"{name}_total" if one.type == "counter" else name: one.type for name, one in both.items()}


def test_the_numbers_are_those_of_the_processes() -> None:
    found = samples(everything())
    for name, (field, _) in PRODUCER.items():
        assert found[f"weblog_{name}_total", ()] == COUNTERS[field]
    for number, name in enumerate(FUNCTION, 1):
        assert found[f"weblog_{name}_total", ()] == number
    assert found["weblog_producer_retried_records_total", (("reason", 'a "quote"\n'),)] == 1
    assert found["weblog_producer_tick_duration_seconds_bucket", (("le", "0.1"),)] == 4
    assert found["weblog_producer_tick_duration_seconds_bucket", (("le", "+Inf"),)] == 5
    assert found["weblog_producer_tick_duration_seconds_sum", ()] == 1.5
    assert found["weblog_audit_lines", (("what", "archived"),)] == 7
    assert found["weblog_provisioning_state", (("state", "ready"),)] == 1
    assert found["weblog_provisioning_state", (("state", "failed"),)] == 0
    assert found["weblog_bucket_lines", ()] == 7
    assert found["weblog_checkpoint_lag_seconds", ()] == 0
    assert found["weblog_producer_shard_records_total", (("shard", "shardId-000000000001"),)] == 5
    assert (found["weblog_unarchived_lines", ()], found["weblog_unarchived_seconds", ()]) == (0, 0)
    found = samples(in_bytes())
    assert found["weblog_audit_bytes", (("what", "missing"),)] == 1
    assert found["weblog_unarchived_seconds", ()] == 30
    assert ("weblog_unarchived_lines", ()) not in found


def test_what_nobody_has_said_is_left_out() -> None:
    nothing: Views = Views(Seen(), Seen(), Seen(), Seen(), Seen())
    assert set(families(nothing)) == {"weblog_build_info", "weblog_up"}
    assert "weblog_producer_lines_total" not in text(views(local=local(producer=None)))
    silent = EntrypointStatus(state="ready", due=NOW - timedelta(seconds=1))
    assert "weblog_provisioning_state" not in text(views(local=local(entrypoint=silent)))
    broken: Seen[Any] = Seen(views().proof.value, NOW, "S3 is down", NOW, 1.0)
    found = samples(views(proof=broken))
    assert found["weblog_up", (("part", "audit"),)] == 0
    assert not any(name.startswith("weblog_audit") for name, _ in found)


@pytest.mark.parametrize("version", ["1.0.0", "x", "9" * 5000, "1.0.0\u00e9", ""])
def test_openmetrics_can_be_had_too(version: str) -> None:
    found = text(everything(), f"application/openmetrics-text; version={version},text/plain; version=x")
    names = {family.name for family in openmetrics(found)}  # type: ignore[no-untyped-call]
    assert names == {family.name.removesuffix("_info") for family in families(everything()).values()}


def test_names_keep_to_the_conventions() -> None:
    """https://prometheus.io/docs/practices/naming/"""
    for name, kind in exposed().items():
        assert re.fullmatch(r"weblog(_[a-z]+)+", name)
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|kilobytes)(_|$)|_(count|sum|bucket)$", name), name
        units = re.findall(r"_(seconds|bytes|lines|records|files)(?=_total$|$)", name)
        assert len(units) <= 1


def test_the_document_lists_each_name_and_no_other() -> None:
    document = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    table = document.partition("| of | names |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(weblog_[a-z_]+)`", table)) == set(exposed())
    assert set(re.findall(r"weblog_[a-z_]+[a-z]", document)) == set(exposed())
    (histogram,) = [name for name, kind in exposed().items() if kind == "histogram"]
    assert f"`_total` are counters, `{histogram}` is a histogram" in " ".join(document.split())


def expressions() -> list[str]:
    dashboard = json.loads((ROOT / "dashboard" / "grafana.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_grafana_asks_for_what_is_there(expression: str) -> None:
    known = {
        sample.name
        for family in [*families(everything()).values(), *families(in_bytes()).values()]
        for sample in family.samples
    }
    labelled = [*samples(everything()), *samples(in_bytes())]
    names = re.findall(r"weblog_\w+", expression)
    assert names
    assert set(names) <= known
    # a counter is looked at by its rate, and nothing else is
    for name in names:
        assert (f"rate({name}" in expression) == name.endswith(("_total", "_bucket"))
    for label, value in re.findall(r'(\w+)="([^"]*)"', expression):
        assert any((label, value) in labels for name, labels in labelled if name in names)
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")


def test_grafana_shows_what_to_alert_on() -> None:
    document = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    section = document.partition("## What to alert on")[2].partition("\n## ")[0]
    told = set(re.findall(r"weblog_[a-z_]+", section))
    assert told
    assert told - set(re.findall(r"weblog_\w+", " ".join(expressions()))) == set()


def test_grafanas_dashboard_can_be_imported() -> None:
    dashboard = json.loads((ROOT / "dashboard" / "grafana.json").read_text(encoding="utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"source", "instance"}
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) == 23
    for panel in panels:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
