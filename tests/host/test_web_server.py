"""terraform/modules/web-server, applied; and its user data, run as it is in a bare Debian, up to the objects in S3."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.settings import Settings
from entrypoint.provision import connect
from tests.appliance.drivers import ROOT, get, s3_client
from tests.host.machine import STREAM, Debian, Pipeline, Requests
from tests.keys import KEY
from tests.terraform.driver import changes, unavailable
from tests.waiting import eventually

pytestmark = [pytest.mark.container, pytest.mark.terraform]

# what cron may take: up to a minute until it looks, the producer's start, the function
CRON = 150.0

MAIN = """
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.40, < 7.0"
    }
  }
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true

  endpoints {
    ec2 = var.emulator
    iam = var.emulator
    s3  = var.emulator
    sts = var.emulator
  }
}

variable "emulator" { type = string }
variable "module" { type = any }

module "web_server" {
  source = "%s"

  allowed_cidrs        = ["203.0.113.0/24"]
  ami_id               = "ami-0123456789abcdef0"
  artefact_bucket      = var.module.bucket
  endpoint_url         = var.module.endpoint_url
  host_archive         = var.module.archive
  name                 = var.module.name
  producer_policy_json = var.module.policy
  record_key           = var.module.record_key
  schedule             = var.module.schedule
  settings             = var.module.settings
}

output "web_server" {
  value     = module.web_server
  sensitive = true
}
"""


class Terraform:
    """A root configuration that has nothing but the module."""

    def __init__(self, directory: Path, pipeline: Pipeline, schedule: str = "cron") -> None:
        reason = unavailable(directory / "look")
        if reason:
            pytest.skip(reason)
        self._directory = directory
        (directory / "main.tf").write_text(MAIN % (ROOT / "terraform" / "modules" / "web-server"))
        stream = f"arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}"
        statement = {"Effect": "Allow", "Action": "kinesis:PutRecords", "Resource": stream}
        values = {
            "emulator": pipeline.emulator.url,
            "module": {
                "archive": str(pipeline.archive),
                "bucket": pipeline.bucket,
                "endpoint_url": pipeline.url_inside,
                "name": f"web-{secrets.token_hex(4)}",
                "policy": json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
                "record_key": KEY,
                "schedule": schedule,
                "settings": {
                    "AWS_DEFAULT_REGION": "us-east-1",
                    "DELIVERY": "kinesis",
                    "FIELDS": "bytes,requestTime,upstreamTime",
                    "KINESIS_DATA_STREAM": STREAM,
                    "S3_BUCKET": pipeline.bucket,
                },
            },
        }
        (directory / "terraform.tfvars.json").write_text(json.dumps(values))
        self.run("init", "-input=false")

    def run(self, *arguments: str, status: int = 0) -> str:
        variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        done = subprocess.run(
            ["terraform", *arguments, "-no-color"],
            cwd=self._directory,
            env=variables | {"AWS_EC2_METADATA_DISABLED": "true"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == status, f"{done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def plan(self) -> dict[str, Any]:
        """What is planned, as `terraform show -json` says it."""
        self.run("plan", "-input=false", "-out=plan")
        plan: dict[str, Any] = json.loads(self.run("show", "-json", "plan"))
        return plan

    def outputs(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.run("output", "-json"))["web_server"]["value"]
        return value


# What a second plan would change although nothing has changed: what MiniStack's EC2 does not keep, or tells otherwise.
DRIFT = {
    "module.web_server.aws_instance.instance": {
        "credit_specification",
        "ebs_optimized",
        "metadata_options",
        "root_block_device.encrypted",
        "root_block_device.tags",
        # these two cannot be changed in place
        "replace:ebs_optimized",
        "replace:root_block_device.0.encrypted",
    },
    # a new group has a rule for everything, which AWS's provider takes away and MiniStack keeps
    "module.web_server.aws_security_group.instance": {"egress"},
}


@pytest.fixture(scope="module")
def applied(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    one = Terraform(tmp_path_factory.mktemp("terraform"), pipeline)
    said = one.run("apply", "-auto-approve", "-input=false")
    made = re.search(r"Apply complete! Resources: ([1-9]\d*) added, 0 changed, 0 destroyed\.", said)
    assert made, said
    yield one
    said = one.run("destroy", "-auto-approve", "-input=false")
    assert f"Destroy complete! Resources: {made[1]} destroyed." in said, said


@pytest.fixture(scope="module")
def server(container_engine: str, applied: Terraform) -> Iterator[Debian]:
    """A machine on which the user data has run, as cloud-init runs it."""
    machine = Debian(container_engine)
    try:
        machine.write("/run/user-data", applied.outputs()["user_data"])
        machine.run("chmod 700 /run/user-data && /run/user-data", timeout=900)
        yield machine
    finally:
        machine.remove()


def test_the_module_makes_what_it_says_and_plans_it_no_second_time(applied: Terraform, pipeline: Pipeline) -> None:
    outputs = applied.outputs()
    assert outputs["instance_id"].startswith("i-")
    archive = s3_client(pipeline.emulator.url).get_object(Bucket=pipeline.bucket, Key=outputs["artefact_key"])["Body"]
    assert hashlib.sha256(archive.read()).hexdigest() in outputs["artefact_key"]
    assert changes(applied.plan()) == DRIFT


def test_the_role_may_send_and_fetch_its_archive_and_no_more(applied: Terraform, pipeline: Pipeline) -> None:
    outputs = applied.outputs()
    iam = connect(Settings(localstack_host=pipeline.emulator.url)).iam
    (name,) = iam.list_role_policies(RoleName=outputs["role_name"])["PolicyNames"]
    document: Any = iam.get_role_policy(RoleName=outputs["role_name"], PolicyName=name)["PolicyDocument"]
    allowed = {(statement["Action"], statement["Resource"]) for statement in document["Statement"]}
    assert allowed == {
        ("kinesis:PutRecords", f"arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}"),
        ("s3:GetObject", f"arn:aws:s3:::{pipeline.bucket}/{outputs['artefact_key']}"),
    }


def test_the_long_running_producer_may_read_what_it_repairs_from(pipeline: Pipeline, tmp_path: Path) -> None:
    terraform = Terraform(tmp_path, pipeline, schedule="systemd")
    planned = {change["address"]: change["change"]["after"] for change in terraform.plan()["resource_changes"]}
    document = json.loads(planned["module.web_server.aws_iam_role_policy.instance"]["policy"])
    allowed = {(statement["Action"], statement["Resource"]) for statement in document["Statement"]}
    assert allowed >= {
        ("s3:GetObject", f"arn:aws:s3:::{pipeline.bucket}/*"),
        ("s3:ListBucket", f"arn:aws:s3:::{pipeline.bucket}"),
    }
    instance = planned["module.web_server.aws_instance.instance"]
    assert instance["metadata_options"][0]["http_tokens"] == "required"
    assert instance["root_block_device"][0]["encrypted"] is True


def test_cron_ships_what_nginx_logs_into_its_hourly_object(server: Debian, pipeline: Pipeline) -> None:
    requests = Requests(server)
    requests.send(50)
    eventually(lambda: requests.arrived(pipeline), within=CRON, every=2, why="cron ships the lines")


def test_nginx_logs_what_the_fields_need(server: Debian) -> None:
    (line,) = server.run("tail -n 1 /var/log/nginx/access.log").splitlines()
    assert re.search(r'" requestTime=\d+\.\d{3} upstreamTime="-"$', line)


def test_logrotate_between_two_runs_loses_and_doubles_nothing(server: Debian, pipeline: Pipeline) -> None:
    requests = Requests(server)
    requests.send(700)  # more than one call takes: packed
    server.run("logrotate --force /etc/logrotate.d/nginx")
    assert server.run("ls /var/log/nginx").split() == ["access.log", "access.log.1", "error.log"]
    requests.send(20)
    eventually(lambda: requests.arrived(pipeline), within=CRON, every=2, why="cron ships the rotated lines")


def test_what_the_producer_says_reaches_syslog_with_its_level(server: Debian) -> None:
    server.write("/run/syslog.py", SYSLOG)
    server.run("nohup python3 /run/syslog.py >/dev/null 2>&1 &")
    eventually(lambda: server.run("test -S /dev/log") is not None, why="it listens")
    get(server.http_port, "/told")
    said = eventually(lambda: server.run("grep 'web-log-producer: shipped' /run/syslog"), within=CRON, every=2)
    # facility user (1), severity info (6): RFC 3164, 4.1.1
    assert said.startswith("<14>")


# binds the socket that logger writes to, and keeps what comes
SYSLOG = """
import os, socket
server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
server.bind("/dev/log")
os.chmod("/dev/log", 0o666)
with open("/run/syslog", "w") as out:
    while True:
        print(server.recv(65536).decode(), file=out, flush=True)
"""


def test_a_second_producer_finds_the_lock(server: Debian) -> None:
    once = "set -a; . /etc/default/web-log-producer; /opt/web-log-producer/venv/bin/web-log-producer --once"
    as_user = f"runuser -u web-log-producer -- sh -c '{once}'"
    # cron's own run may be at it just now; this makes the checkpoint whose lock is held below
    eventually(lambda: server.run(as_user) is not None, why="the producer has run")
    assert "another producer" in server.run(
        f"flock /var/lib/web-log-producer/log/checkpoint.json.lock {as_user}", status=75
    )
    eventually(lambda: server.run(as_user) is not None, why="nobody holds it now")


def test_the_same_again_changes_nothing(server: Debian, pipeline: Pipeline) -> None:
    requests = Requests(server)
    state = "ls -id /opt/web-log-producer/venv/bin; cat /etc/default/web-log-producer; id web-log-producer"
    before = server.run(state)
    assert "TARGET=localstack" in before
    assert "(adm)" in before
    server.run("/run/user-data", timeout=300)
    assert server.run(state) == before
    requests.send(5)
    eventually(lambda: requests.arrived(pipeline), within=CRON, every=2)
