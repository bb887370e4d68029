"""What the image's build takes from the packages: never what the code calls."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name

from appliance.slim import EMULATED, compiled, cut, emulated

SOURCE = '''"""About the module."""
from __future__ import annotations

class Empty:
    """Nothing else."""

def told(value: int) -> str | None:
    """About it."""
    assert value, "asserts stay"
    return told.__doc__
'''

MODEL: dict[str, Any] = {
    "metadata": {"apiVersion": "1"},
    "operations": {
        "PutThing": {"name": "PutThing", "input": {"shape": "In"}, "errors": [{"shape": "Full"}]},
        "DropThing": {"name": "DropThing", "input": {"shape": "Drop"}},
    },
    "shapes": {
        "In": {"type": "structure", "members": {"List": {"shape": "Names"}, "documentation": {"shape": "Name"}}},
        "Names": {"type": "list", "member": {"shape": "Name"}, "documentation": "<p>long</p>"},
        "Name": {"type": "string"},
        "Full": {"type": "structure", "members": {"In": {"shape": "In"}}},
        "Drop": {"type": "structure", "members": {}},
    },
}


def test_the_operations_that_the_code_names_stay_with_all_that_they_need() -> None:
    found = cut(MODEL, {"put_thing"}, xform_name)
    assert found["operations"].keys() == {"PutThing"}
    assert found["shapes"].keys() == {"In", "Names", "Name", "Full"}
    assert found["shapes"]["Names"]["documentation"] == ""
    assert found["shapes"]["In"] == MODEL["shapes"]["In"], "a member may be called so"
    assert found["metadata"] == MODEL["metadata"]


def test_nothing_is_left_of_a_service_that_is_not_called() -> None:
    assert cut(MODEL, set(), xform_name)["shapes"] == {}


@pytest.mark.parametrize("alone", [False, True])
def test_modules_are_compiled_without_what_they_say_of_themselves(tmp_path: Path, alone: bool) -> None:
    for name in ("one.py", "text.py"):
        (tmp_path / name).write_text(SOURCE)
    (tmp_path / "template.py").write_text("{{ no Python }}")
    compiled(tmp_path, {tmp_path / "text.py"}, alone=alone)
    assert (tmp_path / "one.py").exists() is not alone
    assert (tmp_path / "text.py").exists()
    assert (tmp_path / "template.py").exists()
    code = (
        "import one; print(one.__doc__, one.Empty.__doc__, one.told(1), one.told.__code__.co_firstlineno); one.told(0)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout == "None None None 7\n"
    assert "line 9" in ran.stderr
    assert "AssertionError: asserts stay" in ran.stderr
    if not alone:
        (tmp_path / "one.py").write_text(SOURCE.replace("told", "informed"))
        other = subprocess.run([sys.executable, "-c", "import one; one.informed"], cwd=tmp_path, check=False)
        assert other.returncode == 0, "another source, another code"


def test_of_the_emulator_stays_what_may_be_imported(tmp_path: Path) -> None:
    services = tmp_path / "services"
    (services / "stacks").mkdir(parents=True)
    for name in (*EMULATED, "__init__", "sqs", "sns", "gateway", "maps", "stacks/__init__"):
        (services / f"{name}.py").touch()
    (services / "s3.py").write_text("from ministack.services import sqs as _sqs\nimport ministack.services.sns")
    (tmp_path / "app.py").write_text('_get_module("gateway")')
    assert {path.stem for path in emulated(tmp_path)} == {"sqs", "sns", "gateway"}
    assert {path.stem for path in services.iterdir()} == EMULATED | {"__init__", "sqs", "sns", "gateway"}
