"""The key that signs and verifies the places of records. All that share a function share its key."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from common.atomic import write_atomic
from common.settings import Settings
from common.values import KEY_FORM
from entrypoint.errors import ProvisionError
from entrypoint.resources import Outcome

VARIABLE = "RECORD_KEY"
# In a stream that is there already may be unsigned records, and producers elsewhere have to be given the key
GRACE = timedelta(days=1)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def new_key(stream: Outcome, now: datetime) -> str:
    """A key for the records of this stream: its time, from which on no unsigned place holds, and 32 random bytes."""
    since = NEVER if stream.state == "created" else now + GRACE
    return f"{since:%Y%m%dT%H%M%SZ}-{secrets.token_hex(32)}"


class KeyFile:
    """The key of this DATA_DIR, which it keeps for a function that has to be made anew."""

    def __init__(self, settings: Settings, new: str = "") -> None:
        self._settings = settings
        self._new = new
        self.key = ""

    def variable(self, there: Mapping[str, str]) -> dict[str, str]:
        """What the function's environment, `there`, is to have: its own key, else this DATA_DIR's, else the new one.

        Raises ProvisionError when RECORD_KEY is set to another one than the function's.
        """
        given = self._settings.record_key
        known = (there.get(VARIABLE, ""), given, _read(self._settings.kept_key), self._new)
        self.key = next(filter(re.compile(KEY_FORM).fullmatch, known), "")
        if given and given != self.key:
            raise ProvisionError(
                f"function {self._settings.lambda_function}: its RECORD_KEY is another one than yours, so your records "
                "would be foreign to it. Mend it by leaving RECORD_KEY out: the function's own is then used"
            )
        return {VARIABLE: self.key} if self.key else {}

    @property
    def differs(self) -> bool:
        return self.key != _read(self._settings.shared_key)

    def save(self) -> None:
        """Keep the key, then let the producer have it. Raises ProvisionError."""
        if not self.key or not self.differs:
            return
        for path in (self._settings.kept_key, self._settings.shared_key):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, self.key.encode(), mode=0o600)
            except OSError as error:
                raise ProvisionError(f"{path} cannot be written ({error.strerror}): let this user write it") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
