"""Where things are in the bucket. Pure."""

from __future__ import annotations

from typing import NamedTuple

NAME = "web-access.log"


class HourlyObject(NamedTuple):
    """One hour's entries, or its rejected lines. `hour` is YYYY/MM/DD/HH in UTC."""

    prefix: str
    hour: str
    rejected: bool = False

    @property
    def key(self) -> str:
        return f"{self.prefix}{'rejected/' if self.rejected else ''}{self.hour}/{NAME}"

    @property
    def counterpart(self) -> HourlyObject:
        """The object of the hour's rejected lines for that of its entries, and the other way round."""
        return self._replace(rejected=not self.rejected)

    def ledger_key(self, digest: str) -> str:
        """The side object that holds this object's ledger once the user metadata cannot; named by its content."""
        return f"{self.prefix}ledger/{self.hour}/{'rejected' if self.rejected else 'entries'}-{digest}"
