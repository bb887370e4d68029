from __future__ import annotations

import asyncio
import secrets
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from emulator.guard import credential, guarded, refusal

KEY = "AKIA0123456789ABCDEF"
SIGNED = {
    "host": "127.0.0.1:4566",
    "authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20261130/us-east-1/kinesis/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=00",
}
FORMS = ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; b=x"]
PAGES = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "same-origin"},
]
OWN_HOSTS = ["localhost:4566", "[::1]:4566", "192.168.99.100:4566", "web-log:4566", "my-bucket.localhost:4566"]
OWN_HOSTS += ["host.docker.internal:4566", "emulator.example:4566", "emulator.example"]
OTHER_HOSTS = [
    "evil.example",
    "evil.example:4566",
    "",
    "127.0.0.1.nip.io",
    "emulator.example.evil.example:4566",
    "[::1",
]
NO_API = ["/_ministack/reset", "/_ministack/config", "/_ministack/health", "/_localstack/health", "/_localstack/init"]
NO_API += ["/health", "/_aws/sqs/messages", "/_aws/execute-api/a/b", "/_ministack/lambda-code/f"]


def asked(method: str = "POST", path: str = "/", query: str = "", key: str = KEY, **headers: str) -> str | None:
    """The refusal of a signed request with these headers besides; an empty header is left out."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in (SIGNED | given).items() if value}
    return refusal(method, path, query, kept, key=key, name="emulator.example")


def test_a_request_signed_with_the_key_is_answered() -> None:
    assert asked() is None
    assert asked("GET", "/my-bucket/key") is None
    assert asked("PUT", "/my-bucket/key", content_type="text/plain") is None
    # IAM and STS are called by a form, but one that is signed
    assert asked(content_type="application/x-www-form-urlencoded; charset=utf-8") is None


@pytest.mark.parametrize("headers", PAGES)
def test_what_a_browser_sends_for_a_page_is_refused_even_with_the_key(headers: dict[str, str]) -> None:
    assert "no web page" in (asked(**headers) or "")
    assert "no web page" in (asked("GET", "/my-bucket/key", **headers) or "")


def test_an_address_typed_into_a_browser_is_no_page_and_a_preflight_is_one() -> None:
    assert asked("GET", "/my-bucket/key", sec_fetch_site="none") is None
    assert "no web page" in (asked("OPTIONS") or "")


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_is_refused_without_a_header_that_no_form_can_send(kind: str) -> None:
    presigned = f"X-Amz-Credential={KEY}/20261130/us-east-1/s3/aws4_request"
    assert "HTML form" in (asked(query=presigned, authorization="", content_type=kind) or "")


@pytest.mark.parametrize("host", [*OWN_HOSTS, *OTHER_HOSTS])
def test_no_name_of_another_site_is_answered(host: str) -> None:
    assert (asked(host=host) is None) is (host in OWN_HOSTS)


@pytest.mark.parametrize("path", NO_API)
def test_what_is_no_api_of_aws_is_refused_even_with_the_key(path: str) -> None:
    assert "appliance health" in (asked(path=path) or "")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer " + KEY,
        "AWS4-HMAC-SHA256 Credential=test/20261130/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00",
        f"AWS4-HMAC-SHA256 Credential={KEY}",
        f"AWS4-HMAC-SHA256 Credential={KEY[:-1]}/20261130/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential=x{KEY}/20261130/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
    ],
)
def test_without_the_key_nothing_is_answered(authorization: str) -> None:
    assert "credentials" in (asked(authorization=authorization) or "")
    assert "credentials" in (asked("GET", authorization=authorization) or "")


hostile = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=60)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]) | hostile,
    path=hostile,
    query=hostile | st.builds("X-Amz-Credential={}".format, hostile) | st.builds("AWSAccessKeyId={}".format, hostile),
    headers=st.dictionaries(
        st.sampled_from(["host", "authorization", "content-type", "origin", "sec-fetch-site", "x-amz-target"]),
        hostile | st.builds("AWS4-HMAC-SHA256 Credential={}/a/b/c/".format, hostile),
    ),
)
def test_whatever_is_sent_without_the_key_is_refused(
    method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    assert refusal(method, path, query, headers, key=secrets.token_hex(16), name="127.0.0.1")


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_presigned_url_is_answered_with_the_key_alone(version: str) -> None:
    def url(key: str) -> tuple[str, str]:
        client = boto3.client(
            "s3",
            endpoint_url="http://localhost:4566",
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key="secret",
            config=Config(signature_version=version),
        )
        parts = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"}))
        return parts.path, parts.query

    path, query = url(KEY)
    assert credential({}, query) == (KEY, "s3")
    assert asked("GET", path, query, authorization="") is None
    assert asked("GET", *url("AKIAOTHER"), authorization="")


def test_a_key_in_a_query_may_be_escaped() -> None:
    scope = quote(f"{KEY}/20261130/us-east-1/kinesis/aws4_request", safe="")
    assert credential({}, f"a=b&X-Amz-Credential={scope}") == (KEY, "kinesis")
    assert credential({}, "X-Amz-Credential=short") == ("short", "")


class Call:
    """One ASGI request to a guarded application that says yes to everything, every web page included."""

    def __init__(self, scope: dict[str, Any], key: str = KEY) -> None:
        self.sent: list[MutableMapping[str, Any]] = []
        self.answered = False
        asyncio.run(guarded(self._app, key, "127.0.0.1")(scope, self._receive, self._send))

    async def _app(self, _scope: Any, _receive: Any, send: Any) -> None:
        self.answered = True
        headers = [(b"Access-Control-Allow-Origin", b"*"), (b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"yes"})

    async def _receive(self) -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)


def http(**headers: str) -> dict[str, Any]:
    pairs = [(name.encode(), value.encode()) for name, value in (SIGNED | headers).items()]
    return {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": pairs}


def test_no_answer_lets_a_web_page_read_it() -> None:
    call = Call(http())
    assert call.answered
    assert call.sent[0]["headers"] == [(b"content-type", b"text/html")]


@pytest.mark.parametrize(
    ("service", "begins"),
    [
        ("s3", b"<Error><Code>AccessDenied"),
        ("sts", b"<ErrorResponse><Error>"),
        ("kinesis", b'{"__type": "AccessDenied'),
    ],
)
def test_a_refusal_is_said_as_the_service_says_it(service: str, begins: bytes) -> None:
    call = Call(http(authorization=SIGNED["authorization"].replace("kinesis", service)), key="another")
    assert not call.answered
    assert call.sent[0]["status"] == 403
    assert call.sent[1]["body"].startswith(begins)
    assert b"DATA_DIR/emulator/credentials" in call.sent[1]["body"]
    assert b"another" not in call.sent[1]["body"]


def test_a_websocket_is_refused_and_the_lifespan_is_handed_on() -> None:
    refused = Call({"type": "websocket", "path": "/", "query_string": b"", "headers": []})
    assert not refused.answered
    assert refused.sent == [{"type": "websocket.close"}]
    assert Call({"type": "lifespan"}).answered
