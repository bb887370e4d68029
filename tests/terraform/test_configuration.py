"""What terraform/ says, judged without applying it: form, types, refusals, plans, documentation, security."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from archiver.fields import DECIMAL, INTEGER, TABLE, TEXT
from archiver.format import NAMED
from common.settings import Settings
from tests.terraform.driver import MODULES, ROOT, ROOTS, SOURCE, Workspace

pytestmark = [pytest.mark.terraform, pytest.mark.usefixtures("terraform")]

DOCUMENTS = [ROOT / "docs" / "terraform.md", *sorted(SOURCE.rglob("README.md"))]
BLOCK = re.compile(r'^(?:variable|output) "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
CALL = re.compile(r'^module "\w+" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
# `some_variable`, `variable = value` and `-var variable=value`
MENTIONED = re.compile(r"`([a-z]+(?:_[a-z]+)+)`|`([a-z_]+) = [^`]*`|`-var ([a-z_]+)=[^`]*`")
DESCRIPTION = re.compile(r'^  description = "((?:[^"\\]|\\.)+)"$', re.MULTILINE)


def test_formatted() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", "-diff", str(SOURCE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    example = (SOURCE / "aws" / "terraform.tfvars.example").read_text()
    done = subprocess.run(["terraform", "fmt", "-"], input=example, capture_output=True, text=True, check=True)
    assert done.stdout == example


def test_beside_an_appliance_no_name_is_the_one_that_it_has_made() -> None:
    given = dict(re.findall(r'^(\w+) += "?([^"\n]+)"?$', (SOURCE / "localstack" / "beside.tfvars").read_text(), re.M))
    assert given.pop("alarms") == "false"
    defaults = {
        name: re.findall(r'^  default +="? *"?([^"\n]+)', body, re.M)
        for name, body in declared("localstack", "variable").items()
    }
    assert given.keys() == {name for name in defaults if name.endswith("_name")}
    taken = {field.default for field in Settings.model_fields.values()}
    assert all(default in taken for name in given for default in defaults[name])
    assert not taken & {*given.values()}


def test_the_example_makes_no_web_server_that_cannot_be_reached() -> None:
    assert not re.search(r"^allowed_cidrs", (SOURCE / "aws" / "terraform.tfvars.example").read_text(), re.M)


def test_what_a_user_leaves_there_is_not_committed() -> None:
    names = ["aws/terraform.tfvars", "localstack/own.auto.tfvars", "localstack/credentials", "aws/terraform.tfstate"]
    for name in names:
        subprocess.run(["git", "check-ignore", "--quiet", "--no-index", f"terraform/{name}"], cwd=ROOT, check=True)
    kept = ["git", "check-ignore", "--quiet", "--no-index", "terraform/localstack/beside.tfvars"]
    assert subprocess.run(kept, cwd=ROOT, check=False).returncode == 1


@pytest.mark.parametrize("name", [*ROOTS, *MODULES])
def test_variables_and_outputs_are_described_and_typed(name: str) -> None:
    """Their descriptions are their documentation."""
    for kind in ("variable", "output"):
        found = declared(name, kind)
        assert found, f"{name} has no {kind}"
        for each, body in found.items():
            assert DESCRIPTION.search(body), f"{kind} {each} has no description"
            assert kind == "output" or re.search(r"^  type +=", body, re.MULTILINE), f"{each} has no type"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documents_name_what_is_declared(document: Path) -> None:
    text = document.read_text()
    here = [document.parent.relative_to(SOURCE).as_posix()] if document.is_relative_to(SOURCE) else [*ROOTS, *MODULES]
    known = {each for name in here for kind in ("variable", "output") for each in declared(name, kind)}
    assert {next(filter(None, each)) for each in MENTIONED.findall(text)} - known == set()
    for body in CALL.findall(text):
        (name,) = re.findall(r'^  source += "\.\./(modules/[\w-]+)"$', body, re.MULTILINE)
        given = set(re.findall(r"^  (\w+) +=", body, re.MULTILINE)) - {"source"}
        variables = declared(name, "variable")
        required = {each for each, block in variables.items() if not re.search(r"^  default +=", block, re.M)}
        assert required <= given <= set(variables), name


def test_the_document_says_what_each_alarm_means() -> None:
    calls = [call for name in MODULES for call in CALL.findall((SOURCE / name / "main.tf").read_text())]
    watching = [call for call in calls if '"../alarms"' in call]
    alarms = {each for call in watching for each in re.findall(r"^    ([\w-]+) = \{$", call, re.M)}
    assert len(alarms) == 9
    assert set(re.findall(r"`…-([\w-]+)`", (ROOT / "docs" / "terraform.md").read_text())) == alarms


def test_the_fields_are_those_of_the_function() -> None:
    text = (SOURCE / "modules" / "log-lines" / "main.tf").read_text()
    rows = re.findall(r'^    (\w+) += \{ type = "(\w+)", variables = (\[.*\]) \}$', text, re.M)
    types = {TEXT: "string", INTEGER: "bigint", DECIMAL: "double"}
    assert [(name, kind, tuple(json.loads(variables))) for name, kind, variables in rows] == [
        (field.name, types[field.kind], field.variables) for field in TABLE
    ]
    texts = dict(re.findall(r'^ +(\w+) += "(.*[$].*)"$', text, re.M))
    found = {name: texts[name].replace("${local.combined}", texts["combined"]) for name in NAMED}
    assert {name: json.loads(f'"{value}"') for name, value in found.items()} == NAMED


def declared(name: str, kind: str) -> dict[str, str]:
    """Name -> body of each variable or output of a module or root."""
    return dict(BLOCK.findall((SOURCE / name / f"{kind}s.tf").read_text()))


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


@pytest.mark.parametrize("delivery", ["kinesis", "firehose", "s3"])
def test_all_of_aws_can_be_planned_without_aws(delivery: str, built: Path, tmp_path: Path) -> None:
    """Web server and Athena included; only the newest image's id needs AWS, so one is given."""
    workspace = Workspace(tmp_path, "aws")
    workspace.offline()
    workspace.init()
    variables: dict[str, Any] = {name: str(built / file) for name, file in BUILT.items()}
    variables |= {
        "bucket_name": "some-bucket",
        "delivery": delivery,
        "fields": [] if delivery == "firehose" else ["bytes", "requestTime"],
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
        "s3": set[str](),
    }
    assert stream[delivery] <= kinds
    assert not set().union(*(stream[other] for other in stream if other != delivery)) & kinds
    assert ("aws_lambda_function" in kinds) == bool(stream[delivery])
    assert {"aws_instance", "aws_glue_catalog_table", "aws_athena_workgroup", "aws_s3_bucket_policy"} <= kinds
    (table,) = (each["change"]["after"] for each in made if each["type"] == "aws_glue_catalog_table")
    columns = {each["name"]: each["type"] for each in table["storage_descriptor"][0]["columns"]}
    assert columns.get("requesttime") == ("double" if variables["fields"] else None)
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
