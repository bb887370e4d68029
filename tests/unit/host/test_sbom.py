"""The bills of materials: all that is locked, in the form that CycloneDX's schema asks for."""

from __future__ import annotations

import json
import re
from importlib.metadata import distributions
from typing import Any

import pytest

from host.bundle import FOLDER, IMAGE, ROOT, build

LOCKS = {FOLDER: ["host.txt"], IMAGE: ["runtime.txt", "emulator.txt"]}
# the emulator pins them, and it is in the environment of the tests
PINNED = {"boto3", "botocore", "s3transfer"}
DIGITS = {"SHA-256": 64, "SHA-512": 128}


@pytest.fixture(scope="module")
def bills() -> dict[str, Any]:
    made = build(ROOT)
    return {name: json.loads(made[f"{name}.cdx.json"]) for name in LOCKS}


@pytest.mark.parametrize("name", LOCKS)
def test_it_has_what_the_schema_requires(bills: dict[str, Any], name: str) -> None:
    """CycloneDX 1.6, bom-1.6.schema.json: `required`, the patterns and the lists of values of what is used."""
    bill = bills[name]
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", bill["serialNumber"])
    assert set(bill) == {"$schema", "bomFormat", "specVersion", "serialNumber", "version", "metadata", "components"}
    main = bill["metadata"]["component"]
    assert (main["type"], main["name"]) == ("application", name)
    for one in bill["components"]:
        assert set(one) == {"type", "bom-ref", "name", "version", "purl", "hashes"}
        assert (one["type"], bool(one["name"])) == ("library", True)
        assert re.fullmatch(r"pkg:(pypi|npm)/[a-z0-9][a-z0-9._-]*@[\w.+-]+", one["purl"])
        assert one["hashes"]
        assert len({each["content"] for each in one["hashes"]}) == len(one["hashes"])
        for each in one["hashes"]:
            assert set(each) == {"alg", "content"}
            assert re.fullmatch(rf"[0-9a-f]{{{DIGITS[each['alg']]}}}", each["content"])
    references = [main["bom-ref"], *(one["bom-ref"] for one in bill["components"])]
    assert len(set(references)) == len(references)


@pytest.mark.parametrize("name", LOCKS)
def test_it_names_everything_that_is_locked(bills: dict[str, Any], name: str) -> None:
    pinned = {}
    for each in LOCKS[name]:
        lock = (ROOT / "locks" / each).read_text()
        parts = re.split(r"^(\S+==\S+)", lock, flags=re.MULTILINE)[1:]
        for one, rest in zip(parts[::2], parts[1::2], strict=True):
            if "sys_platform == 'win32'" not in rest:
                pinned[one] = rest.count("--hash")
    found = {
        f"{one['name']}=={one['version']}": len(one["hashes"])
        for one in bills[name]["components"]
        if "pypi" in one["purl"]
    }
    assert found == pinned


def test_what_runs_here_is_in_it(bills: dict[str, Any]) -> None:
    found = {one["name"]: one["version"] for one in bills[FOLDER]["components"]}
    here = {each.name.lower().replace("_", "-"): each.version for each in distributions()}
    assert {name: here[name] for name in found.keys() - PINNED} == {name: found[name] for name in found.keys() - PINNED}


def test_the_page_s_chart_library_is_in_the_image_s(bills: dict[str, Any]) -> None:
    assert [one["name"] for one in bills[IMAGE]["components"] if "npm" in one["purl"]] == ["uplot"]
