"""The layer table of ARCHITECTURE.md, enforced: who may import what, and who may read the environment."""

from __future__ import annotations

import ast
import sys
from pathlib import Path, PurePosixPath

import pytest

from common.delivery import DELIVERIES

ROOT = Path(__file__).resolve().parents[2]

AWS = {"boto3", "botocore"}
# folder -> what its files may import besides the standard library
ALLOWED = {
    "appliance": {"appliance", "common"},
    "cli": {"cli", "appliance", "journal", "common", *AWS},
    "common": {"common", *AWS},
    "dashboard": {"dashboard", "appliance", "journal", "common", "hypercorn", "prometheus_client", "starlette", *AWS},
    "emulator": {"emulator", "common", "hypercorn", "ministack"},
    "entrypoint": {"entrypoint", "common", *AWS},
    "host": {"host", "entrypoint"},
    "journal": {"journal", "common", *AWS},
    "lambda": {"archiver", *AWS},
    "producer": {"producer", "journal", "common"},
}
# file -> what it alone may import on top of that
ALLOWED_HERE_ONLY = {
    "cli/awscli.py": {"awscli"},
    "common/archiver.py": {"archiver"},
    "common/formats.py": {"archiver"},
    "cli/importing.py": {"producer"},
    "cli/policy.py": {"entrypoint"},
    "cli/screen.py": {"rich"},
    "cli/tail.py": {"rich"},
    "appliance/slim.py": {"botocore"},  # at the image's build
    "appliance/lines.py": {"archiver"},
    "appliance/supervise.py": {"supervisor"},
    "journal/packed.py": {"compression"},  # of the standard library, from Python 3.14 on
    "producer/record.py": {"isal"},
    "producer/schedule.py": {"apscheduler"},
}
# file -> why it may read the environment
READS_ENVIRONMENT = {
    "common/typed.py": "the one reader of the settings",
    "common/settings.py": "judges the names in it",
    "appliance/run.py": "adds to its own environment what the programs need",
    "emulator/__main__.py": "hands on what MiniStack and the functions may know",
    "emulator/serve.py": "gets it",
    "common/aws.py": "credentials are the SDK's and no settings",
    "cli/awscli.py": "prepares the environment of the CLI",
    "lambda/archiver/connect.py": "finds the function's endpoint",
    "lambda/index.py": "is configured by Lambda, without the appliance",
}
# what looks at the product from outside, and may import all of it
OUTSIDE = {"bench", "tests"}
ENVIRONMENT = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
# type stubs are there when the types are checked, and not where the code runs
STUBS = "mypy_boto3_"
COLLECTIONS = (ast.List, ast.Set, ast.Tuple)


def violations(path: str, source: str) -> list[str]:
    """What `source`, if it stood at `path` (relative to the project), does that its layer may not."""
    folder = PurePosixPath(path).parts[0]
    if folder not in ALLOWED:
        return [f"{path}: no rule for the folder {folder}; give it one here and in ARCHITECTURE.md"]
    allowed = ALLOWED[folder] | ALLOWED_HERE_ONLY.get(path, set()) | sys.stdlib_module_names
    tree = ast.parse(source, path)
    for_types = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for statement in node.body
        for child in ast.walk(statement)
    }
    found = []
    os_names = {"os"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
            os_names |= {alias.asname for alias in node.names if alias.name == "os" and alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        else:
            continue
        for module in modules:
            top = module.partition(".")[0]
            if top.startswith(STUBS) and node in for_types:
                continue
            if top not in allowed:
                found.append(f"{path}:{node.lineno}: may not import {module}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) in ("__import__", "import_module"):
            found.append(f"{path}:{node.lineno}: imports by a name that is not in the text")
        if path not in READS_ENVIRONMENT and _reads_environment(node, os_names):
            found.append(f"{path}:{getattr(node, 'lineno', 0)}: reads the environment; that is common/typed.py's")
    return found


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _reads_environment(node: ast.AST, os_names: set[str]) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in ENVIRONMENT for alias in node.names)
    return (
        isinstance(node, ast.Attribute)
        and node.attr in ENVIRONMENT
        and isinstance(node.value, ast.Name)
        and node.value.id in os_names
    )


def sources() -> list[str]:
    """Every Python file of the product: all folders but hidden ones and OUTSIDE, so that a new folder is noticed."""
    folders = [each for each in ROOT.iterdir() if each.is_dir() and not each.name.startswith(".")]
    return sorted(
        path.relative_to(ROOT).as_posix()
        for folder in folders
        if folder.name not in OUTSIDE
        for path in folder.rglob("*.py")
        if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
    )


def named_deliveries(source: str) -> list[int]:
    """The lines of `source` that compare something with the name of a delivery."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            compared = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            compared = [node.value]
        else:
            continue
        each = [one for side in compared for one in (side.elts if isinstance(side, COLLECTIONS) else [side])]
        found += [one.lineno for one in each if isinstance(one, ast.Constant) and one.value in DELIVERIES]
    return found


# in the guard, s3 is the service that a request is for
@pytest.mark.parametrize("path", sorted(set(sources()) - {"common/delivery.py", "emulator/guard.py"}))
def test_no_file_tells_the_deliveries_apart_by_their_names(path: str) -> None:
    assert named_deliveries((ROOT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "settings.delivery == 'firehose'",
        "'kinesis' != settings.delivery.name",
        "facts.get('delivery') in ('kinesis', 'other')",
        "match delivery:\n    case 'firehose':\n        pass",
    ],
)
def test_a_comparison_with_the_name_of_a_delivery_is_found(source: str) -> None:
    assert len(named_deliveries(source)) == 1


@pytest.mark.parametrize("path", sources())
def test_each_file_keeps_to_its_layer(path: str) -> None:
    assert violations(path, (ROOT / path).read_text(encoding="utf-8")) == []


def test_every_layer_is_looked_at() -> None:
    assert {PurePosixPath(path).parts[0] for path in sources()} >= set(ALLOWED)


@pytest.mark.parametrize("path", [*ALLOWED_HERE_ONLY, *READS_ENVIRONMENT])
def test_no_exception_outlives_its_file(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("path", READS_ENVIRONMENT)
def test_no_exception_outlives_its_need(path: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert any(_reads_environment(node, {"os"}) for node in ast.walk(tree)), f"{path} needs no exception any more"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("entrypoint/provision.py", "import producer"),
        ("entrypoint/provision.py", "from producer.record import Record"),
        ("entrypoint/provision.py", "def late():\n    import producer.sink"),
        ("producer/sink.py", "import boto3"),
        ("producer/ship.py", "from botocore.exceptions import ClientError"),
        ("producer/sink.py", "import apscheduler"),
        ("producer/ship.py", "from apscheduler.triggers.cron import CronTrigger"),
        ("producer/tick.py", "import apscheduler"),
        ("producer/ship.py", "from entrypoint.policies import Policy"),
        ("producer/sink.py", "from mypy_boto3_kinesis import KinesisClient"),
        ("lambda/index.py", "from common.clock import Clock"),
        ("lambda/index.py", "import rich"),
        ("lambda/archiver/parse.py", "import requests"),
        ("appliance/health.py", "import supervisor"),
        ("common/aws.py", "import awscli"),
        ("cli/verify.py", "from producer.sink import KinesisSink"),
        ("producer/ship.py", "import importlib\nimportlib.import_module('boto3')"),
        ("producer/ship.py", "__import__('boto3')"),
        ("producer/ship.py", "import os\nos.environ['S3_BUCKET']"),
        ("producer/ship.py", "import os as system\nsystem.getenv('S3_BUCKET')"),
        ("producer/ship.py", "from os import environ"),
        ("entrypoint/watch.py", "import os\nos.putenv('A', 'b')"),
        ("lambda/archiver/layout.py", "import os\nos.environ.get('S3_PREFIX')"),
        ("common/settings.py", "from journal.ranges import Ranges"),
        ("journal/ledgers.py", "from producer.record import Record"),
        ("entrypoint/watch.py", "from journal.ranges import Ranges"),
        ("producer/ship.py", "from tests.checker import judge"),
        ("newcomer/main.py", ""),
    ],
)
def test_a_breach_is_found(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("producer/sink.py", "from common.aws import client\nfrom producer.record import Record"),
        ("producer/schedule.py", "from apscheduler.triggers.cron import CronTrigger"),
        ("producer/ship.py", "import os\nos.fsync(0)\nfrom . import record\nfrom .record import Record"),
        ("lambda/index.py", "import os\nfrom archiver import event\nos.environ['S3_BUCKET']"),
        ("entrypoint/bucket.py", "if TYPE_CHECKING:\n    from mypy_boto3_s3 import S3Client"),
        ("appliance/supervise.py", "from supervisor import events"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert violations(path, source) == []
