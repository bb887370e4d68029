"""The function's own code, for what does here what the function does there. In the wheel it is a package of its own."""

from __future__ import annotations

import common.formats  # noqa: F401 - it says where the code is

# isort: split
from archiver.archive import Archive as Archive
from archiver.archive import ContentionError as ContentionError
from archiver.archive import Elsewhere as Elsewhere
from archiver.archive import Limits as Limits
from archiver.event import FRAGMENT as FRAGMENT
from archiver.event import Record as Record
from archiver.filing import Item as Item
from archiver.filing import file_blocks as file_blocks
from archiver.filing import file_record as file_record
from archiver.filing import file_runs as file_runs
from archiver.layout import HourlyObject as HourlyObject
from archiver.ledger import Ledger as Ledger
from archiver.ledger import LedgerError as LedgerError
from archiver.stored import Reader as Reader
from archiver.stored import State as State
