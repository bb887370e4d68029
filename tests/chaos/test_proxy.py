"""The fault proxy does to a request what each kind says, and nothing to the others."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from tests.chaos.proxy import Fault, FaultProxy, Kind
from tests.waiting import eventually, free_port

BODY = b"0123456789" * 100
SESSION: Any = boto3.session.Session()  # one for all: it keeps the service models


class Upstream(BaseHTTPRequestHandler):
    """Answers every request, and remembers it."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str, bytes]]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.seen.append((self.command, self.path, body))
        answer = b"" if self.command == "PUT" else BODY
        if self.headers.get("X-Amz-Target", "").endswith(".PutRecords"):
            records = json.loads(body)["Records"]
            each = [{"ShardId": "shard", "SequenceNumber": record["PartitionKey"]} for record in records]
            answer = json.dumps({"FailedRecordCount": 0, "Records": each}).encode()
        if "chunked" in self.path:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(answer), 300):
                part = answer[start : start + 300]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_response(204 if self.command == "DELETE" else 200)
        if self.command != "DELETE":
            self.send_header("Content-Length", str(len(answer)))
        self.send_header("ETag", '"tag"')
        self.end_headers()
        if self.command not in ("HEAD", "DELETE"):
            self.wfile.write(answer)

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 (the names are http.server's)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (http.server's name)
        pass


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    Upstream.seen.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    one = FaultProxy(free_port(), server.server_address[1], random.Random(1))
    one.start()
    yield one
    one.stop()
    server.shutdown()
    server.server_close()
    thread.join()


def client(proxy: FaultProxy, service: str, read_timeout: float = 60) -> Any:
    config = Config(
        retries={"total_max_attempts": 1},
        read_timeout=read_timeout,
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
    )
    return SESSION.client(
        service,
        endpoint_url=f"http://127.0.0.1:{proxy.port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )


def get_object(proxy: FaultProxy) -> bytes:
    s3 = client(proxy, "s3")
    try:
        body: bytes = s3.get_object(Bucket="bucket", Key="key")["Body"].read()
    finally:
        s3.close()
    return body


def put_records(proxy: FaultProxy, count: int = 1) -> dict[str, Any]:
    kinesis = client(proxy, "kinesis")
    records = [{"Data": b"line", "PartitionKey": str(number)} for number in range(count)]
    try:
        answer: dict[str, Any] = kinesis.put_records(StreamName="stream", Records=records)
    finally:
        kinesis.close()
    return answer


def test_without_a_fault_everything_passes_unchanged(proxy: FaultProxy) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    large = bytes(range(256)) * 4096
    for method, path, sent, status, received in [
        ("GET", "/a?b=c%20d", b"", 200, BODY),
        ("PUT", "/large", large, 200, b""),
        ("HEAD", "/a", b"", 200, b""),
        ("DELETE", "/a", b"", 204, b""),
        ("GET", "/chunked", b"", 200, BODY),
    ]:
        connection.request(method, path, body=sent or None)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (status, received)
        assert Upstream.seen[-1] == (method, path, sent)
        if method == "HEAD":
            assert answer.headers["Content-Length"] == str(len(BODY))
    connection.request("PUT", "/parts", body=iter([b"one", b"two"]), encode_chunked=True)
    assert connection.getresponse().read() == b""
    assert Upstream.seen[-1] == ("PUT", "/parts", b"onetwo")
    connection.close()
    assert not proxy.hits
    assert proxy.passed == len(Upstream.seen)


def test_the_go_ahead_for_an_object_comes_before_its_body(proxy: FaultProxy) -> None:
    """boto3 waits a second for it."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as connection:
        head = f"PUT /bucket/key HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {len(BODY)}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert connection.recv(1024).startswith(b"HTTP/1.1 200 ")
    assert Upstream.seen == [("PUT", "/bucket/key", BODY)]


@pytest.mark.parametrize(
    ("kind", "status", "kinesis", "s3"),
    [
        (Kind.THROTTLED, 429, "ProvisionedThroughputExceededException", "SlowDown"),
        (Kind.ERROR, 500, "InternalFailure", "InternalError"),
        (Kind.UNAVAILABLE, 503, "ServiceUnavailable", "SlowDown"),
        (Kind.EXPIRED, 400, "ExpiredTokenException", "ExpiredToken"),
    ],
)
def test_an_error_has_its_services_shape_and_nothing_is_passed_on(
    proxy: FaultProxy, kind: Kind, status: int, kinesis: str, s3: str
) -> None:
    proxy.inject(Fault(kind, count=2))
    for call, code in ((put_records, kinesis), (get_object, s3)):
        with pytest.raises(ClientError) as caught:
            call(proxy)
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert not Upstream.seen
    assert get_object(proxy) == BODY
    assert proxy.hits == {kind: 2}


def test_a_fault_meets_only_its_service_and_only_as_often_as_it_says(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.ERROR, "kinesis", count=1))
    assert get_object(proxy) == BODY
    assert proxy.pending() == 1
    with pytest.raises(ClientError):
        put_records(proxy)
    assert proxy.pending() == 0
    assert put_records(proxy)["Records"]


def test_a_lasting_fault_meets_every_request_until_it_is_over(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.EXPIRED, "s3", lasting=600))
    for _ in range(3):
        with pytest.raises(ClientError):
            get_object(proxy)
    assert put_records(proxy)["Records"]
    proxy.clear()
    proxy.inject(Fault(Kind.EXPIRED, "s3", lasting=0.4))

    def passes() -> bool:
        try:
            return get_object(proxy) == BODY
        except ClientError:
            return False

    eventually(passes, within=5)
    assert proxy.hits[Kind.EXPIRED] >= 3


def test_what_was_injected_can_be_taken_back(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.ERROR, count=99))
    proxy.clear()
    assert get_object(proxy) == BODY
    assert not proxy.hits


def test_a_reset_comes_before_the_request_is_passed_on(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.RESET))
    with pytest.raises(ConnectionClosedError):
        put_records(proxy)
    assert not Upstream.seen


def test_a_dropped_response_was_a_success_upstream(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.DROPPED))
    with pytest.raises(ConnectionClosedError):
        put_records(proxy)
    assert len(Upstream.seen) == 1


def test_a_cut_response_is_noticed_by_its_length(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.CUT))
    with pytest.raises(BotoCoreError):
        get_object(proxy)
    assert len(Upstream.seen) == 1


def test_a_slow_answer_comes_late_or_not_at_all_for_who_does_not_wait(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.SLOW, seconds=0.3))
    begun = time.monotonic()
    assert get_object(proxy) == BODY
    assert time.monotonic() - begun >= 0.3
    proxy.inject(Fault(Kind.SLOW, seconds=2))
    impatient = client(proxy, "s3", read_timeout=0.05)
    with pytest.raises(ReadTimeoutError):
        impatient.get_object(Bucket="bucket", Key="key")
    impatient.close()
    eventually(lambda: len(Upstream.seen) == 2, within=5, why="it is passed on all the same")


def test_put_records_is_refused_in_part_and_says_a_wrong_count(proxy: FaultProxy) -> None:
    proxy.inject(Fault(Kind.PARTIAL))
    assert get_object(proxy) == BODY, "what is no PutRecords does not meet it"
    answer = put_records(proxy, count=40)
    passed = [record["PartitionKey"] for record in json.loads(Upstream.seen[-1][2])["Records"]]
    assert 0 < len(passed) < 40
    assert answer["FailedRecordCount"] == 1
    for number, entry in enumerate(answer["Records"]):
        if str(number) in passed:
            assert entry["SequenceNumber"] == str(number)
        else:
            assert entry["ErrorCode"] == "ProvisionedThroughputExceededException"


def test_during_an_outage_connections_are_refused_and_open_ones_broken(proxy: FaultProxy) -> None:
    kept = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    kept.request("GET", "/")
    assert kept.getresponse().read() == BODY
    outages = 0

    def refused() -> bool:
        """Another one, when it was over before it was asked."""
        nonlocal outages
        outages += 1
        outage = threading.Thread(target=proxy.inject, args=(Fault(Kind.OUTAGE, seconds=0.5),))
        outage.start()
        try:
            eventually(lambda: proxy.hits[Kind.OUTAGE] == outages, every=0.01)
            get_object(proxy)
        except EndpointConnectionError:
            return True
        finally:
            outage.join()
        return False

    eventually(refused, every=0.01)
    with pytest.raises(ConnectionResetError):
        kept.sock.recv(1)
    kept.close()
    assert get_object(proxy) == BODY
    assert proxy.hits == {Kind.OUTAGE: outages}


def test_an_upstream_that_is_away_is_a_broken_connection() -> None:
    alone = FaultProxy(free_port(), free_port(), random.Random())
    alone.start()
    try:
        with pytest.raises(ConnectionClosedError):
            get_object(alone)
    finally:
        alone.stop()
