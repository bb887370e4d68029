"""The key that signs the places of records: its form, and where it is in DATA_DIR."""

from __future__ import annotations

from pathlib import Path

# The time from which on the function takes no unsigned place, and 32 random bytes
FORM = r"\d{8}T\d{6}Z-[0-9a-f]{64}"


def kept(data_dir: Path) -> Path:
    """The key of the function that this DATA_DIR was used with last."""
    return data_dir / "record.key"


def shared(run_dir: Path) -> Path:
    """The same, as soon as it is known in this run that the function has it."""
    return run_dir / "record.key"
