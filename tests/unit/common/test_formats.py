"""What a user may say of the format and the fields, and what is answered to the rest."""

from __future__ import annotations

import pytest

from common.formats import log_format
from common.settings import Settings
from common.typed import SeveralWrongError
from producer.bucket import BucketSink

OTHERS_LOG = {"log_file": "/var/log/nginx/access.log"}


@pytest.mark.parametrize(
    "given",
    [
        {"fields": "bytes,requestTime,upstreamStatus"},
        {"access_log_format": "main", **OTHERS_LOG},
        {"access_log_format": "json", "fields": "bytes", **OTHERS_LOG},
        {"access_log_format": "main", "delivery": "firehose", **OTHERS_LOG},
        {"access_log_format": '$remote_addr [$time_iso8601] "$request" $status $mine', "fields": "mine", **OTHERS_LOG},
    ],
)
def test_what_can_be_read_is_taken(given: dict[str, str]) -> None:
    fields = BucketSink.own(Settings(**given))["format"].fields
    assert ",".join(each.name for each in fields) == given.get("fields", "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fields": "bites"}, "FIELDS='bites': the field bites needs $bites, which the format lacks"),
        ({"access_log_format": "main"}, "the appliance's own nginx logs in combined"),
        ({"access_log_format": "apache", **OTHERS_LOG}, "use combined, main, common, vhost_combined, json, or a log_f"),
        ({"access_log_format": "$remote_addr$status", **OTHERS_LOG}, "nothing separates $remote_addr from $status"),
        (
            {"access_log_format": "$remote_addr $request", **OTHERS_LOG},
            "lacks $time_local or $time_iso8601 or $msec",
        ),
        (
            {"access_log_format": "json", "delivery": "firehose", **OTHERS_LOG},
            "takes lines with [$time_local]",
        ),
        ({"fields": "bytes", "delivery": "firehose"}, "-e DELIVERY=kinesis"),
    ],
)
def test_what_cannot_be_read_is_refused_at_the_start(given: dict[str, str], said: str) -> None:
    with pytest.raises(SeveralWrongError) as caught:
        Settings(**given)
    assert said in str(caught.value)


def test_the_containers_nginx_logs_what_the_fields_need() -> None:
    logged = log_format("upstreamTime,bytes,requestTime")
    assert logged.endswith(' "$http_user_agent" requestTime=$request_time upstreamTime="$upstream_response_time"')
