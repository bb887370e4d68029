"""What a library imports for nothing is not held, and is there for those that want it afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from common.unused import unused

HELD = """
import sys
import {module}
print([each for each in {names} if each in sys.modules])
"""


def test_a_name_of_it_is_a_class_meanwhile() -> None:
    with unused("nowhere", "sys"):
        from nowhere import Thing  # type: ignore[import-not-found]

        assert issubclass(Thing, Exception)
    assert "nowhere" not in sys.modules
    assert "sys" in sys.modules
    assert sys.version


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("appliance.__main__", ["difflib", "supervisor.http", "xml.etree", "xmlrpc.client"]),
        ("producer.schedule", ["asyncio", "multiprocessing.context", "tzlocal"]),
    ],
)
def test_the_processes_hold_none_of_it(module: str, names: list[str]) -> None:
    code = HELD.format(module=module, names=names)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
