"""What the image's build takes from the packages: never what the code calls."""

from __future__ import annotations

from typing import Any

from botocore import xform_name

from appliance.slim import cut

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
