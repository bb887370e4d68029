"""What tests of the function share: events as Lambda hands them over, lines as nginx writes them."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterable
from typing import Any

GENERATION = "5e9a5f2a0123456789abcdef"  # first seen 2020-04-18T02:00:10Z
GENERATION_HOUR = "2020/04/18/02"
ARRIVED = 1587171600.0  # 2020-04-18T01:00:00Z
ARRIVED_HOUR = "2020/04/18/01"


def record(data: bytes, key: str = f"{GENERATION}:0") -> dict[str, Any]:
    return {
        "eventSource": "aws:kinesis",
        "eventID": "shardId-000000000000:49607",
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": key,
            "sequenceNumber": "49607",
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": ARRIVED,
        },
    }


def event(records: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"Records": list(records)}


STREAM_ARN = "arn:aws:firehose:us-east-1:000000000000:deliverystream/web-log-delivery"


def firehose_event(*data: bytes) -> dict[str, Any]:
    """An event of a delivery stream; the records are called r0, r1, ..."""
    return {
        "invocationId": "i",
        "deliveryStreamArn": STREAM_ARN,
        "region": "us-east-1",
        "records": [
            {
                "recordId": f"r{number}",
                "approximateArrivalTimestamp": int(ARRIVED * 1000),
                "data": base64.b64encode(each).decode(),
            }
            for number, each in enumerate(data)
        ],
    }


def gzipped(data: bytes) -> bytes:
    return zlib.compress(data, wbits=31)


def escaped(data: bytes) -> bytes:
    """A variable as nginx writes it: ngx_http_log_escape, `escape=default`."""
    return re.sub(rb'[^ -~]|["\\]', lambda byte: b"\\x%02X" % ord(byte[0]), data)


def combined(
    *,
    host: bytes = b"192.168.99.1",
    user: bytes = b"-",
    time: bytes = b"18/Apr/2020:01:42:18 +0000",
    request: bytes = b"GET / HTTP/1.1",
    status: int = 200,
    size: int = 612,
    referer: bytes = b"-",
    agent: bytes = b"curl/8.5.0",
) -> bytes:
    """A line of the combined format; the byte arguments are what the client sent."""
    return b'%s - %s [%s] "%s" %03d %d "%s" "%s"' % (
        *(escaped(host), escaped(user), time, escaped(request)),
        *(status, size, escaped(referer), escaped(agent)),
    )


def bytes_of(text: str) -> bytes:
    """The bytes behind a text in which bytes were made visible: the documented inverse."""
    shown = rb"\\x([89A-F][0-9A-F]|5C)"
    return re.sub(shown, lambda match: bytes.fromhex(match[1].decode()), text.encode())
