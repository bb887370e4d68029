"""Whatever a delivery stream hands over: each record is answered once, each line delivered, kept or handed back."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from archiver import event as events
from archiver import firehose
from archiver.filing import Item, file_record
from archiver.firehose import Transform
from archiver.layout import HourlyObject
from tests.lambda_events import combined, firehose_event, gzipped

LINES = st.sampled_from(
    [combined(), combined(agent=b"\x01"), combined(time=b"18/Apr/2020:02:00:00 +0000"), b"junk", b"", b"\xff"]
)
PACKS = st.lists(LINES, max_size=6).map(lambda lines: b"".join(line + b"\n" for line in lines))
DATA = PACKS | PACKS.map(gzipped) | LINES | st.binary(max_size=40) | st.binary(max_size=20).map(b"\x1f\x8b".__add__)
LIMIT = 3000


@given(st.lists(DATA, max_size=8), st.booleans())
def test_each_record_once_and_each_line_somewhere(data: list[bytes], refusing: bool) -> None:
    kept: list[bytes] = []

    def append(target: HourlyObject, items: Sequence[Item]) -> None:
        if refusing:
            raise OSError("no")
        assert target.rejected
        kept.extend(item.text for item in items)

    happened = firehose_event(*data)
    with mock.patch.object(firehose, "MAX_RESPONSE", LIMIT):
        response = Transform(append, "").answer(happened)
    as_it_came = {"records": [{**each, "result": "ProcessingFailed"} for each in happened["records"]]}
    assert len(json.dumps(response)) <= max(LIMIT, len(json.dumps(as_it_came)))
    assert [answer["recordId"] for answer in response["records"]] == [each["recordId"] for each in happened["records"]]
    expected: list[bytes] = []
    for sent, answer in zip(happened["records"], response["records"], strict=True):
        expected += check(sent, answer)
    assert kept == expected


def check(sent: dict[str, Any], answer: dict[str, Any]) -> list[bytes]:
    """The answer against the plain way, line by line. Returns what has to be kept of the record."""
    filed = list(file_record(events.firehose_record(sent), ""))
    hours = {target.hour for target, _ in filed if not target.rejected}
    if answer["result"] == "Dropped":
        assert filed == []
    elif answer["result"] == "ProcessingFailed":
        assert answer["data"] == sent["data"]
    else:
        (hour,) = hours
        assert "/".join(answer["metadata"]["partitionKeys"].values()) == hour
        entries = b"".join(item.text for target, item in filed if not target.rejected)
        assert base64.b64decode(answer["data"]) == entries
        return [item.text for target, item in sorted(filed, key=lambda one: one[0]) if target.rejected]
    return []
