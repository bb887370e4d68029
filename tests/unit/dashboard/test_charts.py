from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import charts
from dashboard.charts import CLASSES, Minutes, add, chart, status_class, without_query

NOW = datetime(2026, 11, 23, 10, 5, 42, tzinfo=UTC)


def archived(time: datetime, path: str = "/", status: object = 200, agent: str = "test") -> bytes:
    return json.dumps(
        {"time": f"{time:%Y-%m-%dT%H:%M:%S}.000Z", "path": path, "status": status, "userAgent": agent}
    ).encode()


def test_a_line_is_in_the_minute_of_its_own_time() -> None:
    minutes: Minutes = {}
    add(minutes, [archived(NOW), archived(NOW - timedelta(minutes=2), status=404), archived(NOW - timedelta(hours=2))])
    found = chart([minutes], NOW, 3)
    assert found["from"] == "2026-11-23T10:03:00+00:00"
    assert found["to"] == "2026-11-23T10:06:00+00:00"
    assert [(each["t"][11:16], each["2xx"], each["4xx"]) for each in found["minutes"]] == [
        ("10:03", 0, 1),
        ("10:04", 0, 0),
        ("10:05", 1, 0),
    ]
    assert found["lines"] == 2


def test_fields_have_a_sum_and_percentiles() -> None:
    lines = [json.loads(archived(NOW)) | {"bytes": 10, "requestTime": number / 1000} for number in range(1, 101)]
    minutes: list[Minutes] = [{}, {}]
    for number, line in enumerate(lines):
        add(minutes[number % 2], [json.dumps(line).encode()])
    found = chart(minutes, NOW, 2)
    before, now = found["minutes"]
    assert (before["bytes"], before["seconds"]) == (None, None)
    assert (now["bytes"], found["bytes"]) == (1000, 1000)
    assert now["seconds"] == found["seconds"] == [pytest.approx(each, rel=0.03) for each in (0.05, 0.095, 0.099)]
    add(minutes[0], [json.dumps(json.loads(archived(NOW)) | {"requestTime": 0}).encode()] * 1000)
    assert chart(minutes, NOW, 1)["seconds"] == [0.0, pytest.approx(0.044, rel=0.05), pytest.approx(0.088, rel=0.05)]


@pytest.mark.parametrize("number", ["1e400", "NaN", "-1", '"1"', "null", "1" + "0" * 400, "[1]"])
def test_a_number_that_is_none_of_nginx_s_counts_for_nothing(number: str) -> None:
    minutes: Minutes = {}
    add(minutes, [archived(NOW)[:-1] + b',"bytes":%b,"requestTime":%b}' % (number.encode(), number.encode())])
    found = chart([minutes], NOW, 1)
    assert (found["lines"], found["bytes"], found["seconds"]) == (1, None, None)


def test_what_is_no_entry_is_left_out() -> None:
    minutes: Minutes = {}
    add(minutes, [b"", b"{", b"[]", b"1", b'{"time":5}', b'{"path":"/"}', b"\xff\xfe"])
    assert minutes == {}


def test_a_query_is_never_shown() -> None:
    for query in ("?password=1#x", "%3Fcode=1", "%253fcode=1", "#access_token=1", "%23x", ";jsessionid=1", "%3Bx"):
        assert without_query(f"/login{query}") == "/login"
    assert without_query("/100%25/%2f") == "/100%25/%2f"
    assert without_query(None) == "None"
    assert len(without_query("/" + "x" * 5000)) == charts.NAME_LENGTH


def test_statuses_that_are_none_of_the_known_are_other() -> None:
    assert [status_class(each) for each in (200, 204, 301, 404, 499, 503)] == ["2xx", "2xx", "3xx", "4xx", "4xx", "5xx"]
    assert {status_class(each) for each in (100, 0, 600, None, "200", 20.5)} == {"other"}


def test_names_without_number_are_kept_within_bounds() -> None:
    minutes: Minutes = {}
    lines = [archived(NOW, path=f"/{number}") for number in range(5000)] + [archived(NOW, path="/often")] * 500
    add(minutes, lines)
    (minute,) = minutes.values()
    assert len(minute.paths) <= 2 * charts.DISTINCT
    assert chart([minutes], NOW, 1)["paths"][0] == {"name": "/often", "count": 500}
    assert chart([minutes], NOW, 1)["lines"] == 5500


ENTRIES = st.lists(
    st.tuples(
        st.integers(-200, 0), st.sampled_from(["/", "/a", "/b?c=d"]), st.sampled_from([200, 302, 404, 500, None])
    ),
    max_size=60,
)


@given(entries=ENTRIES, cut=st.integers(0, 60), minutes=st.integers(1, 180))
def test_the_sums_are_those_of_the_lines(entries: list[tuple[int, str, Any]], cut: int, minutes: int) -> None:
    """However the lines are spread over objects."""
    parts: list[Minutes] = [{}, {}]
    lines = [archived(NOW + timedelta(minutes=ago), path, status) for ago, path, status in entries]
    add(parts[0], lines[:cut])
    add(parts[1], lines[cut:])
    found = chart(parts, NOW, minutes)
    within = [each for each in entries if each[0] > -minutes]
    assert found["lines"] == len(within)
    assert len(found["minutes"]) == minutes
    for name in CLASSES:
        assert sum(each[name] for each in found["minutes"]) == sum(status_class(each[2]) == name for each in within)
    assert {each["name"]: each["count"] for each in found["paths"]} == Counter(
        without_query(each[1]) for each in within
    )
