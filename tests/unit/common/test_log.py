"""How a line of the log looks in each LOG_FORMAT, and what never stands in one."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.log import HIDDEN, configure, event, log_uncaught, redact

ROOT = Path(__file__).resolve().parents[3]
TAGGED = ROOT / "appliance" / "tagged"

log = logging.getLogger("somewhere")


class Printed:
    """Standard output so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys, self._text = capsys, ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().out
        return self._text


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Printed]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    yield Printed(capsys)
    root.handlers[:] = before
    root.setLevel(level)


def test_human_lines_say_when_how_grave_and_what(stream: Printed) -> None:
    configure("INFO", "human", "some")
    log.info("shipped %d lines", 3, extra=event("shipped", lines=3))
    log.debug("not this one")
    line = stream.getvalue()
    assert line.endswith("Z INFO    shipped 3 lines\n")
    assert line.count("\n") == 1


def test_a_process_without_a_wrapper_names_itself(stream: Printed) -> None:
    configure("INFO", "human", "some", tag=True)
    log.info("up")
    configure("INFO", "syslog", "some", tag=True)
    log.info("up")
    human, syslog = stream.getvalue().splitlines()
    assert human.startswith("some | 2")
    assert syslog == "<6>some: up"


def test_json_lines_hold_the_event_and_its_facts(stream: Printed) -> None:
    configure("INFO", "json", "some")
    log.warning("two\nlines 안녕", extra=event("retrying", records=2, reason="Throttled", ranges=[("a", 1)]))
    line = json.loads(stream.getvalue())
    assert stream.getvalue().count("\n") == 1
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "program": "some",
        "event": "retrying",
        "message": "two\nlines 안녕",
        "facts": {"records": 2, "reason": "Throttled", "ranges": [["a", 1]]},
    }


def test_a_library_s_line_has_an_event_too(stream: Printed) -> None:
    configure("INFO", "json", "some")
    logging.getLogger("botocore").warning("of its own")
    line = json.loads(stream.getvalue())
    assert (line["event"], "facts" in line) == ("output", False)


def test_json_lines_hold_the_traceback_without_secrets(stream: Printed) -> None:
    configure("INFO", "json", "some")
    try:
        raise ValueError("http://user:word@host/path?X-Amz-Signature=abc")
    except ValueError:
        log.exception("it failed", extra=event("failed"))
    line = json.loads(stream.getvalue())
    assert line["traceback"].startswith("Traceback")
    assert "ValueError" in line["traceback"]
    assert "word" not in stream.getvalue()
    assert "abc" not in stream.getvalue()


def test_syslog_lines_have_a_priority_each(stream: Printed) -> None:
    configure("DEBUG", "syslog")
    log.debug("a")
    log.info("b")
    log.warning("c\nd")
    log.critical("e")
    assert stream.getvalue().splitlines() == ["<7>a", "<6>b", "<4>c", "<4>d", "<3>e"]


def test_what_ends_a_process_is_one_event(stream: Printed) -> None:
    configure("INFO", "json", "some")
    assert sys.excepthook is log_uncaught
    log_uncaught(ValueError, ValueError("no"), None)
    log_uncaught(KeyboardInterrupt, KeyboardInterrupt(), None)
    line = json.loads(stream.getvalue())
    assert (line["level"], line["event"], line["message"]) == ("critical", "failed", "ValueError: no")


# What is logged, and what may stand of it: the same for the log and for the wrapper around what only prints
SECRETS = {
    "http://key:h1dden@host:4566/bucket": "http://...@host:4566/bucket",
    "https://h1dden@host/bucket": "https://...@host/bucket",
    "GET /a/b?token=h1dden HTTP/1.1": "GET /a/b?... HTTP/1.1",
    'request: "GET /?a"h1dden[]=(h1dden) HTTP/1.1"': 'request: "GET /?...) HTTP/1.1"',
    "['/a?b=h1dden']": "['/a?...']",
    "http://host/key?X-Amz-Credential=AKIA%2F20261123&X-Amz-Signature=h1dden": "http://host/key?...",
    'could not connect to "http://host/my-bucket?prefix=h1dden"': 'could not connect to "http://host/my-bucket?..."',
    'at "http://host:4566/b?list-type=2&prefix=h1dden", 2 times': 'at "http://host:4566/b?...", 2 times',
    "/path?h1dden": "/path?...",
    "X-Amz-Signature: h1dden": "X-Amz-Signature: ...",
    "Authorization: h1dden": "Authorization: ...",
    "Authorization: Basic h1dden=": "Authorization: ...",
    "'authorization': 'Basic h1dden', 'host': 'a'": "'authorization': ..., 'host': 'a'",
    "AUTHORIZATION: bearer \th1dden, x": "AUTHORIZATION: ..., x",
    "Authorization: AWS4-HMAC-SHA256 Credential=h1dden, SignedHeaders=host, Signature=h1dden": (
        "Authorization: ..., SignedHeaders=host, Signature=..."
    ),
    "aws_secret_access_key = h1dden": "aws_secret_access_key = ...",
    "AWS_SECRET_ACCESS_KEY=h1dden": "AWS_SECRET_ACCESS_KEY=...",
    "AWS_SESSION_TOKEN='h1dden'": "AWS_SESSION_TOKEN=...",
    '{"SecretAccessKey": "h1dden", "SessionToken":"h1dden"}': '{"SecretAccessKey": ..., "SessionToken":...}',
    "password: h1dden": "password: ...",
    "ValueError: cannot log in with passwd=h1dden&user=a": "ValueError: cannot log in with passwd=...&user=a",
    "안녕 secret=h1dden; 안녕": "안녕 secret=...; 안녕",
    "GET /a%3Fcode=h1dden HTTP/1.1": "GET /a%3F... HTTP/1.1",
    "GET /a%253fcode%253Dh1dden HTTP/1.1": "GET /a%253f... HTTP/1.1",
    'host: "app", referrer: "http://app/a?b=c h1dden h1dden"': 'host: "app", referrer: ...',
    'referrer: "http://app/reset/h1dden"': "referrer: ...",
    "/back#access_token=h1dden&state=h1dden": "/back#...",
    "/back%23id=h1dden": "/back%23...",
    "/cart;jsessionid=h1dden": "/cart;jsessionid=...",
    "/cart%3BPHPSESSID%3Dh1dden": "/cart%3BPHPSESSID%3D...",
    "LOCALSTACK_HOST='admin:h1dden@host:4566'": "LOCALSTACK_HOST='...@host:4566'",
    "admin:h1@dden@host": "...@host",
    "http://admin:h1dden@h1dden@host/": "http://...@host/",
    "to=http%3A%2F%2Fadmin%3Ah1dden%40host": "to=http%3A%2F%2F...%40host",
    'Authorization: Digest username="h1dden", response="h1dden"': "Authorization: ...",
    "it sent Basic aDFkZGVuOmgxZGRlbg==h1dden": "it sent Basic ...",
    "it sent bearer h1dden-h1dden": "it sent bearer ...",
    "Cookie: a=h1dden; b=h1dden": "Cookie: ...",
    "password: 'h1dden with h1dden'": "password: ...",
    r"{\"password\": \"h1dden with h1dden\"}": r"{\"password\": ...}",
    "AWS_ACCESS_KEY_ID=h1dden": "AWS_ACCESS_KEY_ID=...",
    "the key AKIAH1DDENH1DDENH1DD is no key, nor h1ASIAH1DDENH1DDENH1DD": "the key ... is no key, nor h1...",
    "X-Api-Key: h1dden": "X-Api-Key: ...",
    "RECORD_KEY=h1dden": "RECORD_KEY=...",
    "X-Amz-Security-Token=h1dden": "X-Amz-Security-Token=...",
}


@pytest.mark.parametrize("text", SECRETS)
@pytest.mark.parametrize("format", ["human", "json", "syslog"])
def test_no_secret_gets_into_a_line(stream: Printed, text: str, format: str) -> None:  # noqa: A002
    configure("INFO", format, "some")
    log.error("it says %s", text, extra=event("failed", error=text, deep={"list": [text]}))
    assert "h1dden" not in stream.getvalue()
    assert HIDDEN in stream.getvalue()
    assert "it says" in stream.getvalue()


NO_SECRETS = [
    "shipped 3 lines in 1 records, 120 bytes; first shardId-000000000000 4956, lag 0 bytes",
    "waiting for http://127.0.0.1:4566: it does not answer; nginx serves and logs meanwhile",
    "The security token included in the request is invalid",
    "Mend it with: -e S3_BUCKET=my-bucket",
    "is that so? Yes.",
    "not in arn:aws:iam::000000000000:role/lambda-ex",
    "mail to nobody@example.com about s3://my-bucket/2026/11/23/16/web-access.log",
    "token",
    "password:",
    "Cookie: ",
    "at 10:20, mail to nobody@example.com",
    "client: 10.0.0.1:5678, server: _, #3 of 10",
    "Asia/Seoul and Asian sites",
    "a basic set-up",
]


@pytest.mark.parametrize(("text", "stays"), [*SECRETS.items(), *((text, text) for text in NO_SECRETS)])
def test_what_stays_of_a_text(text: str, stays: str) -> None:
    assert redact(text) == stays


# The wrapper around what only prints


def tagged(log_format: str, printed: bytes, name: str = "some") -> bytes:
    """What stands in the log when a program of this name prints this."""
    return subprocess.run(
        [TAGGED, name, sys.executable, "-c", "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"],
        input=printed,
        env=os.environ | {"LOG_FORMAT": log_format, "TZ": "Asia/Seoul"},
        capture_output=True,
        timeout=90,
        check=True,
    ).stdout


def test_the_wrapper_hides_what_the_log_hides() -> None:
    texts = [*SECRETS, *NO_SECRETS]
    expected = [*SECRETS.values(), *NO_SECRETS]
    printed = "\n".join(texts).encode()
    human, syslog, as_json = (tagged(one, printed).decode().splitlines() for one in ("human", "syslog", "json"))
    assert human == [f"some | {text}" for text in expected]
    assert syslog == [f"<6>some: {text}" for text in expected]
    assert [json.loads(line)["message"] for line in as_json] == expected


PIECES = [*("secret", "my-Secret_key", "Token", "PASSWORD", "authorization", "Basic", "bearer", "credential"), "안"]
PIECES += [*("referrer: ", "%3F", "%253f", "%23", "%3d", "%3A%2f%2F", "%40", "cookie", "Digest", "access_key_id")]
PIECES += [*("SessionId", "AKIA", "asia", "eyJ", "0123456789abcdef", "\u212a", "\u017f")]
PIECES += [*"=:?@/ \t'\",;&.-_()[]{}#%\\x", "://"]


@given(st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), min_size=20, max_size=60))
@settings(max_examples=20)
def test_the_wrapper_and_the_log_agree(texts: list[str]) -> None:
    found = tagged("human", "".join(f"{text}\n" for text in texts).encode()).decode().split("\n")
    assert found == [*(f"some | {redact(text)}" for text in texts), ""]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@settings(max_examples=300)
def test_redacting_twice_hides_nothing_less(text: str) -> None:
    once = redact(text)
    assert len(redact(once)) <= len(once)


def test_secrets_are_hidden_side_by_side() -> None:
    for first, second in product(SECRETS, SECRETS):
        assert "h1dden" not in redact(f"{first} and {second}")


@pytest.mark.parametrize("text", ["=x:", "a:", "?", "://", "secret", "token=", "basic ", "%25", "#a", "akia", "x:y@"])
def test_a_hostile_text_takes_no_long_time(text: str) -> None:
    begun = time.process_time()
    redact(text * 10_000)
    assert time.process_time() - begun < 1


COMMANDS = {
    b"\x1b]0;pwn\x07": b"\\x1b]0;pwn\\x07",
    b"\x1b[2J": b"\\x1b[2J",
    b"\xc2\x9b2J": b"\\xc2\\x9b2J",
    b"\x9b2J": b"\\x9b2J",
    b"\r\x08\x7f": b"\\x0d\\x08\\x7f",
    b"\xff\xc0\x80": b"\\xff\\xc0\\x80",
    "\tsaid 안녕 é \xa0😀".encode(): "\tsaid 안녕 é \xa0😀".encode(),
}


def test_what_is_printed_does_not_command_the_terminal() -> None:
    prefixes = [("human", b"", b"some | "), ("syslog", b"", b"<6>some: "), ("syslog", b"<4>", b"<4>some: ")]
    for log_format, before, after in prefixes:
        printed = b"".join(b'%shost: "%s"\n' % (before, one) for one in COMMANDS)
        expected = b"".join(b'%shost: "%s"\n' % (after, one) for one in COMMANDS.values())
        assert tagged(log_format, printed) == expected


NGINX = (
    b'2026/11/23 16:05:00 [error] 7#7: *1 connect() failed, client: 10.0.0.1, request: "GET /a?key=h1dden"x HTTP/1.1", '
    b'upstream: "http://me:h1dden@app:3000/a?key=h1dden", host: "app"'
)
PRINTED = b"\n".join(
    [
        NGINX,
        b"2026-11-23 16:05:00 WARNING [ministack] beware",
        b'\x1b[1mbold\x1b[0m "quoted" back\\slash \xec\x95\x88 \xff\xc0\x80 \ttab',
        b"",
        b"last",
    ]
)


def test_every_printed_line_gets_its_name() -> None:
    lines = tagged("human", PRINTED + b"\n").splitlines()
    assert all(line.startswith(b"some | ") for line in lines)
    assert len(lines) == 5
    assert b"h1dden" not in b"".join(lines)
    assert b'upstream: "http://...@app:3000/a?...", host: "app"' in lines[0]


def test_an_error_of_nginx_names_no_client_whose_address_is_not_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert b" client: 10.0.0.1, request: " in tagged("human", NGINX)
    monkeypatch.setenv("ANONYMIZE_IP", "true")
    assert b" client: ..., request: " in tagged("human", NGINX)
    assert tagged("human", b"client: 2001:db8::1") == b"some | client: ...\n"


def test_every_printed_line_becomes_an_object() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in tagged("json", PRINTED).splitlines()]
    assert [line["level"] for line in lines] == ["error", "warning", "info", "info", "info"]
    assert {line["program"] for line in lines} == {"some"}
    assert {line["event"] for line in lines} == {"output"}
    assert lines[0]["message"].endswith(
        'request: "GET /a?... HTTP/1.1", upstream: "http://...@app:3000/a?...", host: "app"'
    )
    assert lines[2]["message"] == '\x1b[1mbold\x1b[0m "quoted" back\\slash 안 \ufffd\ufffd\ufffd \ttab'
    now = datetime.now(UTC)
    assert all(now - timedelta(minutes=1) < datetime.fromisoformat(line["time"]) <= now for line in lines)


def test_an_object_of_ours_passes_as_it_is() -> None:
    line = b'{"time": "2026-11-23T16:05:00.000Z", "message": "what? \\"yes\\""}\n'
    assert tagged("json", line) == line


def test_every_printed_line_gets_a_priority() -> None:
    lines = tagged("syslog", PRINTED + b"\n<4>formatted already\n").splitlines()
    assert [line[: line.index(b":")] for line in lines] == [
        *(b"<3>some", b"<4>some", b"<6>some", b"<6>some", b"<6>some", b"<4>some")
    ]
    assert b"h1dden" not in b"".join(lines)


FLOOD = 100_000


@pytest.mark.parametrize("name", ["nginx", "emulator"])
@pytest.mark.parametrize("log_format", ["human", "json", "syslog"])
def test_lines_that_come_too_fast_are_counted(log_format: str, name: str) -> None:
    lines = [b"2026/11/23 16:05:00 [error] 7#7: *%d line" % number for number in range(FLOOD)]
    found = tagged(log_format, b"\n".join(lines) + b"\n", name).decode().splitlines()
    counted = [int(each[1]) for line in found if (each := re.search(r"\.\.\. (\d+) more lines within a second", line))]
    shown = [line for line in found if "more lines" not in line]
    assert len(shown) + sum(counted) == FLOOD
    assert len(shown) <= 20 * (len(counted) + 1)
    assert len(counted) < 30, "a second each"
    assert f"*{FLOOD - 1} line" in found[-1]
    if log_format != "human":
        assert all('"level": "error"' in line or line.startswith("<3>") for line in found)


def test_lines_of_our_own_programs_are_not_counted() -> None:
    assert len(tagged("human", b"line\n" * 1000, "producer").splitlines()) == 1000


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=30))
@settings(max_examples=10)
def test_whatever_is_printed_the_log_stays_json(lines: list[bytes]) -> None:
    # NUL ends a line's text in mawk, so it may join two lines; the log stays JSON then too
    printed = b"".join(line.replace(b"\n", b"").replace(b"\0", b"") + b"\n" for line in lines)
    found = tagged("json", printed).splitlines()
    assert len(found) == len(lines)
    for line in found:
        json.loads(line.decode())


@pytest.mark.parametrize("log_format", ["human", "json", "syslog"])
def test_the_wrapped_program_keeps_its_exit_status(log_format: str) -> None:
    ended = subprocess.run(
        [TAGGED, "some", sys.executable, "-c", "import sys; print('said'); sys.exit(7)"],
        env=os.environ | {"LOG_FORMAT": log_format},
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == 7
    assert b"said" in ended.stdout
