"""What an earlier format has put into other objects: rejected then and an entry now, or the other way round.

The ledgers of those objects are read once, before the first append beside them, and kept. So what a writer with
another format wrote before is there once, and only the first append to an object asks for more than its own state.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest

from archiver.filing import Item
from archiver.layout import HourlyObject
from archiver.ledger import Ledger
from archiver.stored import Reader, State

# Ledgers for one append, and as many are kept. A line has one such object, or a few, and lines that a client has given
# a time of its own have others: those with the most lines count.
MOST = 16


class Others:
    """Those of one bucket."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._ledgers: dict[HourlyObject, Ledger] = {}

    def enter(self, target: HourlyObject, state: State, items: Iterable[Item]) -> None:
        """Put into the ledger of an object what the others have of the lines that it lacks. Raises as `read` does.

        What is kept is read again for an object that is not there: the bucket may have been made anew.
        """
        ledger = state.ledger
        lacking: dict[str, list[Item]] = {}
        for item in items:
            if item.owner and item.others and not ledger.covers(item.owner, item.start, item.end):
                for hour in item.others:
                    lacking.setdefault(hour, []).append(item)
        for hour in nlargest(MOST, lacking, key=lambda hour: sum(item.lines for item in lacking[hour])):
            other = HourlyObject(target.prefix, hour, not target.rejected)
            there = self._ledgers.pop(other, None)
            if there is None or state.etag is None:
                there = self._reader.read(other).ledger
            self._ledgers[other] = there
            for item in lacking[hour]:
                for start, end in there.within(str(item.owner), item.start, item.end):
                    ledger.add(str(item.owner), start, end)
        for other in list(self._ledgers)[:-MOST]:
            del self._ledgers[other]
