"""What terraform/ says, judged without applying it: form, types, refusals, plans, documentation, security."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.terraform.driver import MODULES, ROOT, ROOTS, SOURCE, Workspace

pytestmark = [pytest.mark.terraform, pytest.mark.usefixtures("terraform")]

BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
DESCRIPTION = re.compile(r'^  description = "((?:[^"\\]|\\.)+)"$', re.MULTILINE)


def test_formatted() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-diff", str(SOURCE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    example = (SOURCE / "aws" / "terraform.tfvars.example").read_text()
    done = subprocess.run(["terraform", "fmt", "-"], input=example, capture_output=True, text=True, check=True)
    assert done.stdout == example


@pytest.mark.parametrize("name", [*ROOTS, *MODULES])
def test_variables_and_outputs_are_documented_and_typed(name: str) -> None:
    readme = SOURCE / name / "README.md"
    documented = readme.read_text() if readme.exists() else (ROOT / "docs" / "terraform.md").read_text()
    for kind, file in (("variable", "variables.tf"), ("output", "outputs.tf")):
        found = BLOCK.findall((SOURCE / name / file).read_text())
        assert found, f"{name} has no {kind}"
        for what, variable, body in found:
            assert what == kind, f"{what} {variable} stands in {file}"
            assert DESCRIPTION.search(body), f"{kind} {variable} has no description"
            assert kind == "output" or re.search(r"^  type +=", body, re.MULTILINE), f"{variable} has no type"
            assert f"`{variable}`" in documented, f"{variable} is not in {name}'s README"


@pytest.mark.parametrize("name", [*ROOTS, *MODULES])
def test_needs_no_provider_but_aws(name: str) -> None:
    text = (SOURCE / name / "versions.tf").read_text()
    assert re.findall(r'source += "([^"]+)"', text) == ["hashicorp/aws"]
    assert re.findall(r'^ +version += "([^"]+)"', text, re.MULTILINE) == [">= 5.40, < 7.0"]
    assert re.findall(r'required_version += "([^"]+)"', text) == [">= 1.5"]


@pytest.mark.parametrize("name", [*ROOTS, *MODULES])
def test_valid(name: str, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, name)
    workspace.init()
    workspace.run("validate", "-no-color")


@pytest.mark.parametrize("name", [each for each in [*ROOTS, *MODULES] if (SOURCE / each / "tests").is_dir()])
def test_refuses_bad_values_and_plans_good_ones(name: str, built: Path, tmp_path: Path) -> None:
    """Its own tests, written in Terraform's language."""
    workspace = Workspace(tmp_path, name)
    workspace.init()
    needed = re.findall(r'^variable "(package|host_archive)"', (workspace.path / "variables.tf").read_text(), re.M)
    said = workspace.run("test", "-no-color", *(f"-var={each}={built / BUILT[each]}" for each in needed)).stdout
    assert re.search(r"Success! [1-9]\d* passed, 0 failed\.", said), said


BUILT = {"package": "stream-transformation.zip", "host_archive": "web-log-producer.tar"}


@pytest.mark.parametrize("delivery", ["kinesis", "firehose"])
def test_all_of_aws_can_be_planned_without_aws(delivery: str, built: Path, tmp_path: Path) -> None:
    """Web server and Athena included; only the newest image's id needs AWS, so one is given."""
    workspace = Workspace(tmp_path, "aws")
    workspace.offline()
    workspace.init()
    variables: dict[str, Any] = {name: str(built / file) for name, file in BUILT.items()}
    variables |= {
        "bucket_name": "some-bucket",
        "delivery": delivery,
        "allowed_cidrs": ["203.0.113.0/24"],
        "ami_id": "ami-0123456789abcdef0",
        "expire_after_days": 730,
        "transition": {"days": 30, "storage_class": "STANDARD_IA"},
    }
    plan = workspace.plan(variables)
    made = [each for each in plan["resource_changes"] if each["mode"] == "managed"]
    assert all(each["change"]["actions"] == ["create"] for each in made)
    kinds = {each["type"] for each in made}
    stream = {
        "kinesis": {"aws_kinesis_stream", "aws_lambda_event_source_mapping"},
        "firehose": {"aws_kinesis_firehose_delivery_stream"},
    }
    assert stream[delivery] <= kinds
    other = "firehose" if delivery == "kinesis" else "kinesis"
    assert not stream[other] & kinds
    assert {"aws_instance", "aws_glue_catalog_table", "aws_athena_workgroup", "aws_s3_bucket_policy"} <= kinds
    # a change of delivery finds the bucket where it is: another address would delete it and everything in it
    buckets = [each["address"] for each in made if each["type"] == "aws_s3_bucket"]
    assert buckets == ["module.bucket.aws_s3_bucket.this[0]"]
    (instance,) = (each["change"]["after"] for each in made if each["type"] == "aws_instance")
    assert instance["metadata_options"][0]["http_tokens"] == "required"


def test_secure() -> None:
    """checkov finds nothing that is not argued for in place."""
    done = subprocess.run(
        [str(ROOT / "script" / "checkov")], capture_output=True, text=True, timeout=600, check=False, env=os.environ
    )
    if done.returncode == CANNOT:
        pytest.skip(f"{(done.stderr.strip().splitlines() or ['no word why'])[-1]} (see why: script/checkov)")
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = re.findall(r"# *checkov:skip=(\w+):?(.*)", "\n".join(path.read_text() for path in SOURCE.rglob("*.tf")))
    assert skipped
    assert all(re.fullmatch(r"CKV2?_AWS_\d+", check) and len(reason) > 20 for check, reason in skipped)


# What script/checkov ends with when it cannot be installed here
CANNOT = 3
