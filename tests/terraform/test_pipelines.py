"""Applied to emulators by the real Terraform: what it makes carries lines, does not drift, and goes away again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from common.clock import SystemClock
from entrypoint.bundle import code_sha256
from entrypoint.delivery import log_group
from entrypoint.provision import connect, provision
from entrypoint.run import Run
from tests.appliance.drivers import s3_client
from tests.checker import NAMES, entries, judge
from tests.emulator import Emulator
from tests.terraform.deployments import SERVICES, Deployment, Deployments
from tests.terraform.driver import ROOT, changes
from tests.waiting import eventually

pytestmark = pytest.mark.terraform


def on(*names: str) -> pytest.MarkDecorator:
    """The deployments a test is for."""
    params = [
        pytest.param(name, marks=[pytest.mark.localstack] if "LocalStack" in name else [], id=name.replace(" ", "-"))
        for name in names
    ]
    return pytest.mark.parametrize("deployment", params, indirect=True)


STREAMS = ("stream on MiniStack", "stream on LocalStack")
FIREHOSE = ("firehose on MiniStack",)
BUCKETS = ("bucket on MiniStack", "bucket on LocalStack")
PIPELINES = (*STREAMS, *FIREHOSE, *BUCKETS)
ALL = (*PIPELINES, "athena on MiniStack")

# What a second plan would change although nothing has changed, and why: what an emulator does not tell.
DRIFT = {
    "ministack": {
        # DescribeAlarms in the query protocol, which the provider speaks, leaves these out (the JSON protocol has them)
        "aws_cloudwatch_metric_alarm": {
            "actions_enabled",
            "alarm_description",
            "dimensions",
            "period",
            "statistic",
            "treat_missing_data",
        },
        # DescribeDeliveryStream leaves out CustomTimeZone, which the provider sets to UTC by itself
        "aws_kinesis_firehose_delivery_stream": {"extended_s3_configuration.custom_time_zone"},
    },
    "localstack": {},
}


@on(*ALL)
def test_a_second_plan_changes_nothing(deployment: Deployment) -> None:
    assert re.fullmatch(r"Apply complete! Resources: [1-9]\d* added, 0 changed, 0 destroyed\.", deployment.added)
    known = DRIFT[deployment.kind.emulator]
    unknown = {}
    for address, attributes in changes(deployment.second).items():
        kind = next(part for part in address.split(".") if part.startswith("aws_"))
        if more := attributes - known.get(kind, set()):
            unknown[address] = more
    assert unknown == {}


@on(*STREAMS, *BUCKETS)
def test_lines_become_hourly_objects_exactly_once(deployment: Deployment, tmp_path: Path) -> None:
    """The real producer as cron runs it, told nothing but Terraform's outputs."""
    log = Log(tmp_path, deployment)
    log.write(1_500)
    log.ship()
    log.write(500)
    log.ship()
    s3 = s3_client(deployment.url)
    bucket = deployment.outputs["bucket_name"]

    def judged() -> bool:
        verdict = judge(log.sent, entries(s3, bucket), lambda entry: entry["path"])
        assert verdict.exactly_once, (len(verdict.lost), verdict.doubled[:3], verdict.misfiled[:3])
        return True

    try:
        eventually(judged, within=90, every=0.5, why="every line in its object once")
        hours = {key for key, _ in entries(s3, bucket)}
    finally:
        s3.close()
    assert len(hours) == len(log.hours)
    deployment.notes.append(f"{len(log.sent)} lines archived exactly once in {len(hours)} hourly objects.")


@on(*FIREHOSE)
def test_ten_thousand_lines_each_below_its_own_hour(deployment: Deployment, tmp_path: Path) -> None:
    """Through the transform, whatever their order; what cannot be parsed is kept below rejected/."""
    log = Log(tmp_path, deployment)
    log.write(10_000)
    log.write_raw("this is no line of a web server")
    log.ship()
    s3 = s3_client(deployment.url)
    bucket = deployment.outputs["bucket_name"]
    # MiniStack puts its own date between the prefix and the name that Firehose gives
    below_hour = re.compile(r"(\d{4}/\d\d/\d\d/\d\d)/.+")
    filed: list[tuple[str, dict[str, Any]]] = []
    rejected: list[str] = []

    def all_there() -> bool:
        filed.clear()
        rejected.clear()
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", []):
                body = s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode()
                lines = body.splitlines()
                if found := below_hour.fullmatch(item["Key"]):
                    filed.extend((found[1], json.loads(line)) for line in lines)
                elif item["Key"].startswith("rejected/"):
                    rejected.extend(lines)
        assert len(filed) >= 10_000
        assert any("no line of a web server" in line for line in rejected), rejected
        return True

    try:
        eventually(all_there, within=60, every=0.5, why="10,000 lines and the one that is none")
    finally:
        s3.close()
    assert Counter(entry["path"] for _, entry in filed) == Counter(log.sent)
    assert all(list(entry) == NAMES for _, entry in filed)
    elsewhere = [entry for hour, entry in filed if entry["time"][:13] != hour.replace("/", "-", 2).replace("/", "T")]
    assert elsewhere == []
    hours = {hour for hour, _ in filed}
    assert len(hours) == len(log.hours)
    deployment.notes.append(f"{len(filed)} lines through the transform, each below its own of {len(hours)} hours.")


class Log:
    """An access log and the producer that ships it."""

    def __init__(self, directory: Path, deployment: Deployment) -> None:
        self._directory = directory
        self._path = directory / "access.log"
        self._deployment = deployment
        self.sent: list[str] = []
        # around midnight, so that hours differ in more than their number
        self.hours = [datetime(2026, 11, 22, 20, tzinfo=UTC) + timedelta(hours=n) for n in range(8)]

    def write(self, count: int) -> None:
        """So many requests, the hours in order, each with a path of its own; times in the zone of the web server."""
        with self._path.open("a") as log:
            for number in range(count):
                hour = self.hours[number * len(self.hours) // count]
                at = (hour + timedelta(seconds=number % 3600)).astimezone(_tokyo)
                path = f"/{len(self.sent)}"
                self.sent.append(path)
                log.write(
                    f'192.0.2.{number % 250} - - [{at:%d/%b/%Y:%H:%M:%S %z}] "GET {path} HTTP/1.1" 200 612 "-" "test"\n'
                )

    def write_raw(self, line: str) -> None:
        with self._path.open("a") as log:
            log.write(f"{line}\n")

    def ship(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        told = {"DATA_DIR": str(self._directory / "data"), "LOG_FILE": str(self._path), **self._deployment.producer}
        done = subprocess.run(
            [sys.executable, "-m", "producer", "--once"],
            cwd=self._directory,
            env=kept | told | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


_tokyo = datetime.strptime("+0900", "%z").tzinfo

# What the entrypoint would change in what Terraform made, and why Terraform makes it otherwise.
OTHERWISE = {
    # Terraform makes the function's log group, and allows writing that one only: with the managed policy a last
    # invocation would make the group again after `terraform destroy`
    "role": ("AWSLambdaBasicExecutionRole",),
    # the appliance's producer is to have the key that Terraform has made
    "function": ("its RECORD_KEY is taken over",),
}


@on(*PIPELINES)
def test_the_entrypoint_finds_what_it_would_have_made(deployment: Deployment, built: Path) -> None:
    clients = connect(deployment.settings)
    code = (built / "stream-transformation.zip").read_bytes()
    looking = Run(SystemClock(), 30, apply=False)
    outcomes = list(provision(clients, deployment.settings, code, looking))
    assert outcomes
    for outcome in outcomes:
        expected = OTHERWISE.get(outcome.kind, ())
        assert outcome.state == ("updated" if expected and outcome.details else "unchanged"), str(outcome)
        assert all(any(word in detail for word in expected) for detail in outcome.details), str(outcome)


# Paths in what the API says that differ, and why. Everything else must be the same.
DIFFERENCES = {
    "kinesis": {
        "role *.policies.write-own-log.*": "instead of the managed policy, see OTHERWISE",
        "role *.attached": "instead of it write-own-log, see OTHERWISE",
        "role *.policies.keep-discarded-batches.*": "for the mapping's destination",
        "stream.EncryptionType": "costs nothing on AWS with its own key; an emulator encrypts nothing",
        "stream.KeyId": "the key of that",
        "mapping.DestinationConfig.*": "for batches that grow too old, if maximum_record_age_seconds is set",
    },
    "firehose": {
        "role *.policies.write-own-log.*": "instead of the managed policy, see OTHERWISE",
        "role *.attached": "instead of it write-own-log, see OTHERWISE",
        "delivery.DeliveryStreamEncryptionConfiguration.*": "costs nothing on AWS with its own key",
        "delivery.Destination.ProcessingConfiguration.Processors.0.Parameters.RoleArn.*": "the provider names it",
        "delivery.Destination.DataFormatConversionConfiguration.*": "the provider names the default, none",
        "lifecycle.drop-old-versions.*": "the entrypoint's bucket keeps no versions",
        "log.retentionInDays": "what Terraform makes keeps a month, the entrypoint's goes with its emulator",
    },
}


# What a mapping has on AWS when nothing is said, as the entrypoint does; MiniStack then tells nothing either.
DEFAULTS = {
    "mapping.MaximumRetryAttempts": '["-1"]',
    "mapping.MaximumRecordAgeInSeconds": '["-1"]',
    "mapping.ParallelizationFactor": '["1"]',
}


@on("stream on MiniStack", *FIREHOSE)
def test_the_api_describes_both_alike(deployment: Deployment, built: Path, tmp_path: Path) -> None:
    """The entrypoint provisions the same names on an emulator of its own; then every description is compared."""
    other = Emulator(tmp_path / "emulator", {"SERVICES": SERVICES})
    other.start()
    try:
        settings = deployment.settings.model_copy(update={"localstack_host": other.url, "data_dir": tmp_path / "data"})
        code = (built / "stream-transformation.zip").read_bytes()
        list(provision(connect(settings), settings, code, Run(SystemClock(), 60)))
        provisioned = described(other.url, deployment)
    finally:
        other.stop()
    applied = described(deployment.url, deployment)
    assert applied["function"]["CodeSha256"] == code_sha256(code)
    known = DIFFERENCES[deployment.kind.delivery]
    one, other_one = DEFAULTS | flat(provisioned), DEFAULTS | flat(applied)
    differing = {
        path: (one.get(path), other_one.get(path)) for path in one | other_one if one.get(path) != other_one.get(path)
    }
    assert {path: both for path, both in differing.items() if not any(fnmatch(path, each) for each in known)} == {}
    assert [each for each in known if not any(fnmatch(path, each) for path in differing)] == [], "no longer differ"


def client(service: Any, url: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}, read_timeout=60),
    )


# Times, random ids and what counts how often something was changed
INCIDENTAL = re.compile(
    r"Time(stamp)?$|Date$|Id$|^UUID$|MappingArn$|^ResponseMetadata$|^Last|^State(Reason\w*)?$|Version"
)


def described(url: str, deployment: Deployment) -> dict[str, Any]:
    """What the API says of every resource that both make, without what no two of them have in common."""
    names = deployment.variables
    s3, iam, lambda_ = client("s3", url), client("iam", url), client("lambda", url)
    found: dict[str, Any] = {
        "bucket": s3.get_bucket_location(Bucket=names["bucket_name"])["LocationConstraint"],
        "lifecycle": {
            rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=names["bucket_name"])["Rules"]
        },
        "function": lambda_.get_function_configuration(FunctionName=names["function_name"]),
    }
    roles = [names["role_name"]]
    if deployment.kind.delivery == "kinesis":
        kinesis = client("kinesis", url)
        found["stream"] = kinesis.describe_stream_summary(StreamName=names["stream_name"])["StreamDescriptionSummary"]
        (found["mapping"],) = lambda_.list_event_source_mappings(FunctionName=names["function_name"])[
            "EventSourceMappings"
        ]
        kinesis.close()
    else:
        roles.append(names["firehose_role_name"])
        firehose = client("firehose", url)
        stream = firehose.describe_delivery_stream(DeliveryStreamName=names["delivery_stream_name"])
        found["delivery"] = stream["DeliveryStreamDescription"]
        (one,) = found["delivery"].pop("Destinations")
        found["delivery"]["Destination"] = one["ExtendedS3DestinationDescription"]
        firehose.close()
        logs = client("logs", url)
        group = log_group(names["delivery_stream_name"])
        (found["log"],) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        found["log"]["streams"] = [
            each["logStreamName"] for each in logs.describe_log_streams(logGroupName=group)["logStreams"]
        ]
        logs.close()
    for role in roles:
        policies = iam.list_role_policies(RoleName=role)["PolicyNames"]
        attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
        found[f"role {role}"] = iam.get_role(RoleName=role)["Role"] | {
            "policies": {
                name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in policies
            },
            "attached": [each["PolicyName"] for each in attached],
        }
    for each in (s3, iam, lambda_):
        each.close()
    return found


def flat(value: Any, path: str = "") -> dict[str, str]:
    """Every leaf of a description under its path; single strings and lists of them are sets, as IAM reads them."""
    if isinstance(value, dict):
        found: dict[str, str] = {}
        for key, item in value.items():
            if not INCIDENTAL.search(key) or key in ("RetentionPeriodHours", "KeyId"):
                found |= flat(item, f"{path}.{key}" if path else key)
        return found
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        found = {}
        for item in value:
            label = item.get("Sid") or item.get("ParameterName") or item.get("Key") or str(value.index(item))
            found |= flat(item, f"{path}.{label}")
        return found
    items = value if isinstance(value, list) else [value]
    return {path: json.dumps(sorted(map(str, items)))}


@on(*ALL)
def test_destroy_leaves_nothing(deployment: Deployment, deployments: Deployments, request: Any) -> None:
    """The last test of a deployment: what the API lists afterwards has none of its names."""
    name = request.node.callspec.params["deployment"]
    assert re.fullmatch(r"Destroy complete! Resources: [1-9]\d* destroyed\.", deployments.destroyed(name))
    ours = [str(value) for key, value in deployment.variables.items() if key.endswith("_name")]
    assert sorted(set(left(deployment.url, deployment.kind.emulator)) & set(ours)) == []


def left(url: str, emulator: str) -> Iterator[str]:
    """The names of all there is; log groups and alarms by the name that is in theirs."""
    look: list[tuple[str, Callable[[Any], list[str]]]] = [
        ("s3", lambda it: [each["Name"] for each in it.list_buckets()["Buckets"]]),
        ("iam", lambda it: [each["RoleName"] for each in it.list_roles()["Roles"]]),
        ("kinesis", lambda it: it.list_streams()["StreamNames"]),
        ("lambda", lambda it: [each["FunctionName"] for each in it.list_functions()["Functions"]]),
        ("lambda", lambda it: [each["FunctionArn"].rpartition(":")[2] for each in mappings(it)]),
        (
            "logs",
            lambda it: [each["logGroupName"].rpartition("/")[2] for each in it.describe_log_groups()["logGroups"]],
        ),
        ("cloudwatch", lambda it: [alarm_of(each["AlarmName"]) for each in it.describe_alarms()["MetricAlarms"]]),
    ]
    if emulator == "ministack":
        look += [
            ("firehose", lambda it: it.list_delivery_streams()["DeliveryStreamNames"]),
            ("glue", lambda it: [each["Name"] for each in it.get_databases()["DatabaseList"]]),
            ("athena", lambda it: [each["Name"] for each in it.list_work_groups()["WorkGroups"]]),
        ]
    for service, names in look:
        one = client(service, url)
        try:
            yield from names(one)
        except ClientError as error:
            raise AssertionError(f"{service} cannot be listed: {error}") from error
        finally:
            one.close()


def mappings(lambda_: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lambda_.list_event_source_mappings()["EventSourceMappings"]
    return found


def alarm_of(alarm: str) -> str:
    """`function-1f2e3d4c-errors` is one of function-1f2e3d4c."""
    return "-".join(alarm.split("-")[:2])
