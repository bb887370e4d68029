"""What the function leaves out of a host's log, the client behind a proxy, and lines that are skipped."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

import index
from appliance.lines import TIMES
from archiver.archive import Archive, Limits
from archiver.event import kinesis_record
from archiver.fields import FormatError
from archiver.filing import file_record, file_runs
from archiver.firehose import Transform
from archiver.kept import format_of
from archiver.stored import LINES_KEY
from tests.fake_s3 import FakeS3
from tests.lambda_events import ARRIVED_HOUR, GENERATION, combined, escaped, event, firehose_event, record
from tests.unit.nginx import test_lines as by_nginx

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY = f"{ARRIVED_HOUR}/web-access.log"


def main(forwarded: bytes, **other: Any) -> bytes:
    return combined(**other) + b' "%b"' % escaped(forwarded)


def entries(lines: list[bytes], **given: str) -> list[dict[str, Any]]:
    """The lines' entries, one way and the other; of a rejected line, what is kept there."""
    one, format_ = kinesis_record(record(b"\n".join(lines) + b"\n")), format_of(given)
    ways = [b"".join(item.text for _, item in way(one, "", format_)) for way in (file_record, file_runs)]
    assert ways[0] == ways[1]
    return [json.loads(line) for line in ways[0].splitlines()]


# Queries


def test_a_query_is_kept_as_nginx_keeps_it() -> None:
    within = {path: kept for path, kept in by_nginx.NAMED.items() if path.count("token=") <= TIMES}
    lines = [
        combined(request=f"GET {path} HTTP/1.1".encode(), referer=f"http://b{path}".encode()) for path in within
    ] * 3  # enough for the block path
    given = {"FIELDS": "referer", "DROP_QUERY": "token, access_token"}
    for entry, kept in zip(entries(lines, **given), [*within.values()] * 3, strict=True):
        shown = kept.replace(r"\x22", '"').replace(r"\x5C", "\\")
        assert (entry["path"], entry["referer"]) == (shown, f"http://b{shown}")
    for entry, path in zip(entries(lines, **given | {"DROP_QUERY": "all"}), [*within] * 3, strict=True):
        shown = path.partition("?")[0].partition("%3F")[0]
        assert (entry["path"], entry["referer"]) == (shown, f"http://b{shown}")


def test_a_parameter_is_left_out_as_often_as_it_occurs_and_whatever_is_around_it() -> None:
    requests = [b"GET /" + b"?token=h1dden&a=1" * 500 + b" HTTP/1.1", b"\x16\x03?token=h1dden", b"GET /?token=h1dden"]
    found = entries([combined(request=each) for each in requests] * 20, DROP_QUERY="token")
    assert len(found) == 60
    for entry in found:
        assert "h1dden" not in json.dumps(entry)
        assert "token=" in entry["path"]


def test_a_variable_of_the_formats_own_has_no_query_either() -> None:
    text = '$remote_addr [$time_local] "$request" $status "$request_uri" "$sent_http_location"'
    line = b'1.2.3.4 [18/Apr/2020:01:42:18 +0000] "GET /a?b HTTP/1.1" 302 "/a?b" "https://c/?d=e"'
    given = {"ACCESS_LOG_FORMAT": text, "FIELDS": "request_uri,sent_http_location", "DROP_QUERY": "all"}
    [entry] = entries([line], **given)
    assert (entry["path"], entry["request_uri"], entry["sent_http_location"]) == ("/a", "/a", "https://c/")


@pytest.mark.parametrize(
    "line", [b"/?" + b"%25" * 200_000, b"/?" + b"&token[" * 100_000, b"/?" + b"%26token[" * 30_000]
)
def test_a_hostile_query_costs_linear_time(line: bytes) -> None:
    begun = time.process_time()
    entries([combined(request=b"GET %b HTTP/1.1" % line)], DROP_QUERY="token,code", FIELDS="referer", LOG_SKIP="/a*b")
    assert time.process_time() - begun < 2


# Addresses


def test_addresses_are_kept_as_nginx_keeps_them() -> None:
    given = {"ACCESS_LOG_FORMAT": "main", "FIELDS": "forwardedFor", "ANONYMIZE_IP": "1"}
    bare = {each: kept for each, kept in by_nginx.KEPT.items() if "]" not in each and ":4711" not in each}
    found = entries([main(b"-", host=each.encode()) for each in bare] * 9, **given)
    assert [entry["host"] for entry in found] == [*bare.values()] * 9
    lists = {
        ", ".join(by_nginx.KEPT): ", ".join(by_nginx.KEPT.values()),
        "10.0.0.1,unknown , app.internal": "10.0.0.0, unknown, unknown",
        '10.0.0.1, 10.0.0.1;drop, "10.0.0.1': "10.0.0.0, unknown, unknown",
        "-": None,
    }
    found = entries([main(each.encode()) for each in lists] * 12, **given)
    assert [entry["forwardedFor"] for entry in found] == [*lists.values()] * 12


def test_what_is_no_address_is_not_kept_as_one() -> None:
    found = entries(
        [combined(host=each) for each in (b"pc17.example.org", b"unix:", b"fe80::1%eth0")], ANONYMIZE_IP="1"
    )
    assert [entry["host"] for entry in found] == ["-", "unix:", "-"]


def test_another_field_is_shortened_where_it_is_an_address() -> None:
    text = '$remote_addr [$time_local] "$request" $status "$http_x_real_ip" "$upstream_connect_time"'
    given = {"ACCESS_LOG_FORMAT": text, "FIELDS": "http_x_real_ip,upstream_connect_time", "ANONYMIZE_IP": "1"}
    for sent, kept in {"203.0.113.7": "203.0.113.0", "1.2.3.4, ::1": "1.2.3.0, ::", "12:34:56": "12:34:56"}.items():
        line = f'1.2.3.4 [18/Apr/2020:01:42:18 +0000] "GET / HTTP/1.1" 200 "{sent}" "0.1 : 0.2"'
        [entry] = entries([line.encode()], **given)
        assert (entry["http_x_real_ip"], entry["upstream_connect_time"]) == (kept, "0.1 : 0.2")


def test_a_rejected_line_keeps_its_bytes() -> None:
    [kept] = entries([b"192.168.99.17 /?token=h1dden"], ANONYMIZE_IP="1", DROP_QUERY="token")
    assert kept["raw"] == "192.168.99.17 /?token=h1dden"


# The client behind a proxy

CLIENTS = {
    ("10.0.0.1", "203.0.113.7"): "203.0.113.7",
    ("10.0.0.1", "1.1.1.1, 203.0.113.7, 10.0.0.2"): "203.0.113.7",
    ("10.0.0.1", "10.0.0.3,10.0.0.2"): "10.0.0.3",
    ("10.0.0.1", "203.0.113.7:4711"): "203.0.113.7",
    ("::ffff:10.0.0.1", "[2001:DB8::7]:4711"): "2001:db8::7",
    ("fc00::1", "2001:db8::7"): "2001:db8::7",
    ("10.0.0.1", "203.0.113.7, unknown"): "10.0.0.1",
    ("10.0.0.1", "203.0.113.7, unknown, 10.0.0.9"): "10.0.0.9",
    ("10.0.0.1", '"host":"1.2.3.4"'): "10.0.0.1",
    ("10.0.0.1", "-"): "10.0.0.1",
    ("203.0.113.1", "203.0.113.7"): "203.0.113.1",
    ("unix:", "203.0.113.7"): "unix:",
}


@pytest.mark.parametrize("fields", ["", "bytes,forwardedFor"])
def test_the_client_is_the_last_address_that_is_no_proxys(fields: str) -> None:
    lines = [main(hops.encode(), host=host.encode()) for host, hops in CLIENTS] * 4
    given = {"ACCESS_LOG_FORMAT": "main", "TRUSTED_PROXIES": "10.0.0.1/8,fc00::/7", "FIELDS": fields}
    found = entries(lines, **given)
    assert [entry["host"] for entry in found] == [*CLIENTS.values()] * 4
    for entry, (_, hops) in zip(found, [*CLIENTS] * 4, strict=True):
        assert [*entry][7:] == [name for name in fields.split(",") if name]
        assert entry.get("forwardedFor") == (None if hops == "-" or not fields else hops)
    anonymous = [entry["host"] for entry in entries(lines, **given, ANONYMIZE_IP="1")]
    assert anonymous[:2] == ["203.0.113.0", "203.0.113.0"]


def test_without_forwarded_for_no_proxy_can_be_trusted() -> None:
    for name in ("combined", "common"):
        with pytest.raises(FormatError, match=r"TRUSTED_PROXIES needs \$http_x_forwarded_for, which the format lacks"):
            format_of({"ACCESS_LOG_FORMAT": name, "TRUSTED_PROXIES": "10.0.0.0/8"})
    with pytest.raises(FormatError, match="the field arg_token is of the query"):
        format_of({"ACCESS_LOG_FORMAT": "json", "FIELDS": "arg_token", "DROP_QUERY": "code"})


# Lines that are skipped


def health(agent: bytes = b"curl/8", path: bytes = b"/health", method: bytes = b"GET", status: int = 200) -> bytes:
    return combined(request=b"%b %b HTTP/1.1" % (method, path), agent=agent, status=status)


SKIP = "/health, /probe/*, /v*,agent: kube-probe/ ("
SKIPPED = [health(), health(method=b"HEAD"), health(path=b"/probe/"), health(path=b'/probe/a?"b'), health(path=b"/v")]
SKIPPED += [health(path=b"/any", agent=b"kube-probe/ (1.2)"), health(status=301)]
OTHERS = [health(status=404), health(status=500), health(path=b"/health?a"), health(path=b"/health/"), combined()]
OTHERS += [health(path=b"/a/health"), health(path=b"/HEALTH"), health(method=b"POST"), health(path=b"/verify-01/0")]
OTHERS += [health(path=b"/verify-01/1", agent=b"kube-probe/ (1.2)"), health(path=b"/a", agent=b'"kube-probe/ (')]


def test_what_is_skipped_has_no_entry_whatever_is_around_it() -> None:
    lines = [line for pair in zip(SKIPPED * 20, OTHERS * 20, strict=False) for line in pair]
    lines += SKIPPED * 9 + OTHERS * 9
    random.Random(7).shuffle(lines)
    assert entries(lines, LOG_SKIP=SKIP) == entries([line for line in lines if line not in SKIPPED])


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> FakeS3:
    fake = FakeS3(min_part=100)
    limits = Limits(min_part=100)
    archive = Archive(cast("S3Client", fake), "b", rng=random.Random(0), sleep=lambda _: None, limits=limits)
    monkeypatch.setattr(index, "archive", lambda: archive)
    monkeypatch.setattr(index, "_format", lambda: format_of({"LOG_SKIP": SKIP}))
    return fake


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.mark.parametrize("lines", [[health()], [health()] * 50, [*OTHERS, *SKIPPED] * 9], ids=["one", "all", "some"])
def test_the_place_of_a_skipped_line_counts_as_archived(s3: FakeS3, lines: list[bytes]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    batch = event([record(data)])
    counts = index.handler(batch, Context())
    kept = [line for line in lines if line in OTHERS]
    assert (counts["written"], counts["objects"]) == (len(kept), 1)
    assert s3.objects[KEY].body.count(b"\n") == len(kept)
    assert s3.objects[KEY].metadata["ledger"].endswith(f";{GENERATION}=0-{len(data):x}")
    assert s3.objects[KEY].metadata[LINES_KEY] == str(len(kept))
    before = dict(s3.objects)
    assert index.handler(batch, Context())["objects"] == 0
    assert s3.objects == before


def test_a_large_object_takes_their_places_too(s3: FakeS3) -> None:
    first = b"".join(line + b"\n" for line in OTHERS)
    index.handler(event([record(first)]), Context())
    body = s3.objects[KEY].body
    index.handler(event([record(health() + b"\n", f"{GENERATION}:{len(first)}")]), Context())
    assert s3.objects[KEY].body == body
    assert s3.objects[KEY].metadata["ledger"].endswith(f";{GENERATION}=0-{len(first + health()) + 1:x}")
    assert s3.objects[KEY].metadata[LINES_KEY] == str(len(OTHERS))


def test_lines_of_another_program_are_skipped_without_a_trace(s3: FakeS3) -> None:
    assert index.handler(event([record(health(), "other")]), Context())["objects"] == 0
    assert not s3.objects


def test_firehose_drops_what_is_skipped() -> None:
    transform = Transform(lambda *_: None, "", format_of({"LOG_SKIP": SKIP}))
    answers = transform.answer(firehose_event(health(), health() + b"\n" + combined()))["records"]
    assert [answer["result"] for answer in answers] == ["Dropped", "Ok"]
