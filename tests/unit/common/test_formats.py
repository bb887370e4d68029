"""What a user may say of the format and the fields, and what is answered to the rest."""

from __future__ import annotations

import pytest

from common.formats import function_format, log_format, variables
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
        ({"access_log_format": "$remote_addr \udcff $request", **OTHERS_LOG}, "ACCESS_LOG_FORMAT='$remote_addr"),
        (
            {"access_log_format": "json", "delivery": "firehose", **OTHERS_LOG},
            "takes lines with [$time_local]",
        ),
        ({"fields": "bytes", "delivery": "firehose"}, "-e DELIVERY=kinesis"),
        (
            {"trusted_proxies": "10.0.0.0/8", **OTHERS_LOG},
            "TRUSTED_PROXIES='10.0.0.0/8': TRUSTED_PROXIES needs $http_x_forwarded_for, which the format lacks",
        ),
        (
            {"access_log_format": "json", "fields": "args", "drop_query": "code", **OTHERS_LOG},
            "the field args is of the query, which DROP_QUERY leaves out",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_at_the_start(given: dict[str, str], said: str) -> None:
    with pytest.raises(SeveralWrongError) as caught:
        Settings(**given)
    assert said in str(caught.value)


PRIVATE = {"trusted_proxies": "docker", "anonymize_ip": True, "drop_query": "code", "log_skip": "/health"}


@pytest.mark.parametrize("delivery", ["kinesis", "firehose", "s3"])
def test_what_is_left_out_of_a_hosts_log_the_function_leaves_out(delivery: str) -> None:
    given = Settings(access_log_format="main", delivery=delivery, **PRIVATE, **OTHERS_LOG)
    assert variables(given) == {
        "ACCESS_LOG_FORMAT": "main",
        "TRUSTED_PROXIES": "172.16.0.0/12,192.168.0.0/16,fc00::/7",
        "ANONYMIZE_IP": "1",
        "DROP_QUERY": "code",
        "LOG_SKIP": "/health",
    }
    assert BucketSink.own(given)["format"].kept


def test_of_the_appliances_own_log_nginx_has_left_it_out() -> None:
    given = Settings(fields="bytes", **PRIVATE)
    assert variables(given) == {"FIELDS": "bytes"}
    assert function_format(given).kept is None


def test_the_containers_nginx_logs_what_the_fields_need() -> None:
    logged = log_format("upstreamTime,bytes,requestTime")
    assert logged.endswith(' "$http_user_agent" requestTime=$request_time upstreamTime="$upstream_response_time"')
