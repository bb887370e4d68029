from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from archiver.layout import HourlyObject
from journal import hourly


@pytest.mark.parametrize("prefix", ["", "logs/"])
@pytest.mark.parametrize("rejected", [False, True])
def test_the_names_are_those_of_the_function(prefix: str, rejected: bool) -> None:
    written = HourlyObject(prefix, "2026/11/23/10", rejected)
    assert hourly.object_key(prefix, "2026/11/23/10", rejected) == written.key
    assert hourly.ledger_key(prefix, "2026/11/23/10", "ab", rejected) == written.ledger_key("ab")


def test_only_hourly_objects_are_listed() -> None:
    names = ["2026/11/23/10/web-access.log", "2026/11/23/10/other", "2026/11/23/web-access.log", "2026/11/23/10/"]
    item = {"LastModified": datetime(2026, 11, 23, 11, tzinfo=UTC), "ETag": "e", "Size": 1}
    page = {"Contents": [{"Key": f"logs/{name}", **item} for name in names]}
    found = list(hourly.objects(iter([page, {}]), "logs/"))
    assert [(one.key, one.hour) for one in found] == [(f"logs/{names[0]}", "2026/11/23/10")]
    assert [one.key for one in hourly.objects(iter([page]), "logs/", any_name=True)] == [
        f"logs/{name}" for name in names[:2]
    ]


def test_an_hour_is_named_in_utc() -> None:
    assert hourly.hour_of(datetime(2026, 11, 23, 1, 30, tzinfo=timezone(timedelta(hours=2)))) == "2026/11/22/23"
