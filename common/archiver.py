"""The function's own code, for what does here what the function does there. In the wheel it is a package of its own."""

from __future__ import annotations

import common.formats  # noqa: F401 - it says where the code is

# isort: split
from archiver.archive import Archive, ContentionError, Elsewhere
from archiver.event import FRAGMENT, Record
from archiver.filing import Item, file_blocks, file_record, file_runs
from archiver.layout import HourlyObject
from archiver.ledger import Ledger, LedgerError
from archiver.stored import Reader, State

__all__ = [
    "FRAGMENT",
    "Archive",
    "ContentionError",
    "Elsewhere",
    "HourlyObject",
    "Item",
    "Ledger",
    "LedgerError",
    "Reader",
    "Record",
    "State",
    "file_blocks",
    "file_record",
    "file_runs",
]
