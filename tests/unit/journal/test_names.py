from __future__ import annotations

from pathlib import Path

import pytest

from journal.names import is_compressed, is_rotated

LOG = Path("/log/access.log")


@pytest.mark.parametrize(
    ("name", "rotated", "compressed"),
    [
        ("access.log", False, False),
        ("access.log.1", True, False),
        ("access.log-20261123", True, False),
        ("access.log.20261123T160500Z-0", True, False),
        ("access.log.2.gz", True, True),
        ("access.log-20261123.xz", True, True),
        ("access.logs", False, False),
        ("error.log.1", False, False),
        ("backup.zip", False, True),
    ],
)
def test_names(name: str, rotated: bool, compressed: bool) -> None:
    path = LOG.with_name(name)
    assert (is_rotated(path, LOG), is_compressed(path)) == (rotated, compressed)
