from __future__ import annotations

import base64
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

import index
from archiver import firehose
from archiver.archive import Appended
from archiver.filing import Item
from archiver.firehose import Transform
from archiver.layout import HourlyObject
from archiver.parse import parse
from tests.lambda_events import ARRIVED_HOUR, combined, event, firehose_event, gzipped, record

LINE = combined()
OTHER = combined(agent=b"other")
NEXT_HOUR = combined(time=b"18/Apr/2020:02:00:00 +0000")
KEYS = {"partitionKeys": {"year": "2020", "month": "04", "day": "18", "hour": "01"}}


class Kept:
    """What was appended to the bucket."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Item]] = []
        self.error: Exception | None = None

    def append(self, target: HourlyObject, items: Sequence[Item]) -> None:
        if self.error:
            raise self.error
        self.lines += [(target.key, item) for item in items]


@pytest.fixture
def kept() -> Kept:
    return Kept()


def answers(kept: Kept, *data: bytes) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = Transform(kept.append, "logs/").answer(firehose_event(*data))["records"]
    assert [answer["recordId"] for answer in found] == [f"r{number}" for number in range(len(data))]
    return found


def text(answer: dict[str, Any]) -> bytes:
    return base64.b64decode(answer["data"])


def refused(answer: dict[str, Any], data: bytes) -> bool:
    return answer == {"recordId": "r0", "result": "ProcessingFailed", "data": base64.b64encode(data).decode()}


@pytest.mark.parametrize("pack", [bytes, gzipped])
@pytest.mark.parametrize("ended", [b"\n", b""])
def test_lines_of_one_hour(kept: Kept, pack: Any, ended: bytes) -> None:
    (answer,) = answers(kept, pack(LINE + b"\n" + OTHER + ended))
    assert (answer["result"], answer["metadata"]) == ("Ok", KEYS)
    assert text(answer) == parse(LINE).text + parse(OTHER).text
    assert kept.lines == []


def test_the_keys_are_the_lines_own_hour_in_utc(kept: Kept) -> None:
    (answer,) = answers(kept, combined(time=b"01/Jan/2021:00:30:00 +0100"))
    assert answer["metadata"]["partitionKeys"] == {"year": "2020", "month": "12", "day": "31", "hour": "23"}


@pytest.mark.parametrize(
    "data",
    [
        b"junk",
        b"",
        b"\n",
        b"junk\njunk\n",
        b"\x1f\x8bnot gzip",
        gzipped(LINE + b"\n")[:-4],
        LINE + b"\n" + NEXT_HOUR + b"\n",
        gzipped(LINE + b"\njunk\n" + NEXT_HOUR + b"\n"),
    ],
)
def test_what_has_no_hour_of_its_own_is_for_the_error_output(
    kept: Kept, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (answer,) = answers(kept, data)
    assert refused(answer, data)
    assert kept.lines == []
    assert "record 'r0' is left to the error output: " in caplog.text


def test_a_gzip_of_nothing_is_dropped(kept: Kept) -> None:
    assert answers(kept, gzipped(b"")) == [{"recordId": "r0", "result": "Dropped"}]


def test_rejected_lines_among_others_are_kept_beside_them(kept: Kept) -> None:
    data = b"junk\n" + LINE + b"\n[18/Apr/2020:07:00:00 +0000]\njunk\n" + OTHER + b"\n"
    (answer,) = answers(kept, data)
    assert (answer["result"], text(answer)) == ("Ok", parse(LINE).text + parse(OTHER).text)
    assert [(key, json.loads(item.text)["raw"]) for key, item in kept.lines] == [
        (f"logs/rejected/{ARRIVED_HOUR}/web-access.log", "junk"),
        (f"logs/rejected/{ARRIVED_HOUR}/web-access.log", "junk"),
        ("logs/rejected/2020/04/18/07/web-access.log", "[18/Apr/2020:07:00:00 +0000]"),
    ]
    places = [item[:3] for _, item in kept.lines]
    assert len(set(places)) == 3
    answers(kept, data)
    assert [item[:3] for _, item in kept.lines] == places * 2, "the same record again is known to the ledger"
    answers(kept, b"x", data)
    assert not {item[:3] for _, item in kept.lines[6:]} & set(places), "another record with the same bytes is not"


def test_where_rejected_lines_cannot_be_written_the_record_is_refused(kept: Kept) -> None:
    kept.error = EndpointConnectionError(endpoint_url="http://s3")
    data = b"junk\n" + LINE + b"\n"
    assert refused(answers(kept, data)[0], data)


def test_what_would_make_the_response_too_long_is_refused(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzipped((LINE + b"\n") * 100)
    one = len(json.dumps(answers(kept, packed)[0]))
    monkeypatch.setattr(firehose, "MAX_RESPONSE", 2 * one + 1000)
    happened = firehose_event(packed, packed, packed, LINE)
    response = Transform(kept.append, "").answer(happened)
    assert [answer["result"] for answer in response["records"]] == ["Ok", "Ok", "ProcessingFailed", "Ok"]
    assert response["records"][2]["data"] == happened["records"][2]["data"]
    assert len(json.dumps(response)) <= 2 * one + 1000


def test_no_record() -> None:
    assert index.firehose_handler({"deliveryStreamArn": "a", "records": []}, None) == {"records": []}  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["data", "recordId", "approximateArrivalTimestamp"])
@pytest.mark.parametrize("value", [None, "%%%", 7, pytest.param("\ud800", id="surrogate")])
def test_odd_fields_do_not_raise(kept: Kept, field: str, value: Any) -> None:
    happened = firehose_event(LINE, b"junk", LINE + b"\njunk")
    for each in happened["records"]:
        each[field] = value
    found = Transform(kept.append, "").answer(happened)["records"]
    assert [answer["recordId"] for answer in found] == [each["recordId"] for each in happened["records"]]
    if field == "data":
        assert {answer["result"] for answer in found} == {"ProcessingFailed"}


def test_its_line_in_the_log(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    happened = firehose_event(gzipped((LINE + b"\n") * 3), b"junk", gzipped(b""))
    index.firehose_handler(happened, None)  # type: ignore[arg-type]
    line = json.loads(capsys.readouterr().out)
    assert line.pop("ms") >= 0
    assert line == {
        **{"event": "transformed", "records": 3, "ok": 1, "dropped": 1, "processing_failed": 1},
        **{"lines": 4, "rejected": 1, "written": 3, "bytes": 3 * len(parse(LINE).text)},
    }


def test_each_handler_takes_the_events_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the function is changed over, what was on its way still arrives."""

    class Counting:
        appended = 0

        def append(self, _target: HourlyObject, items: Sequence[Item], *_: object) -> Any:
            self.appended += len(items)
            return Appended(len(items), 0, changed=True)

    counting = Counting()
    monkeypatch.setattr(index, "archive", lambda: counting)

    class PlentyOfTime:
        def get_remaining_time_in_millis(self) -> int:
            return 60_000

    assert index.firehose_handler(event([record(LINE)]), PlentyOfTime())["written"] == 1
    assert counting.appended == 1
    assert index.handler(firehose_event(LINE), None)["records"][0]["result"] == "Ok"  # type: ignore[arg-type]


def test_inside_lambda_warnings_are_json_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.Logger("root")
    monkeypatch.setattr(logging, "getLogger", lambda *_: root)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    index._warn_as_json.cache_clear()
    try:
        index._warn_as_json()
        root.warning("s3://%s is\nodd", "b")
    finally:
        index._warn_as_json.cache_clear()
    assert json.loads(capsys.readouterr().out) == {"event": "concern", "level": "WARNING", "message": "s3://b is\nodd"}
