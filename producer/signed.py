"""The signature of a record's place: with it nothing but a holder of the key can claim bytes of a log.

The partition key becomes `<place>:<tag>`. The tag is the first 128 bits of the HMAC-SHA-256 of the place, a newline and
the data, in base64url, so a place holds for this data only. `lambda/archiver/event.py` verifies it.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable

from common.settings import Settings

TAG_BYTES = 16
# The colon and the tag in base64url, without its padding
SIGNATURE_BYTES = 1 + 22


class NoKeyError(Exception):
    """The key is not known yet; the message is for the user."""


def signed(place: str, data: bytes, key: str) -> str:
    digest = hmac.digest(key.encode(), b"%b\n%b" % (place.encode(), data), "sha256")
    return f"{place}:{base64.urlsafe_b64encode(digest[:TAG_BYTES])[: SIGNATURE_BYTES - 1].decode()}"


def key_of(settings: Settings) -> Callable[[], str]:
    """Where the sink gets the key before each call; an empty one means that nothing is signed. Raises NoKeyError.

    In the appliance the entrypoint leaves it in `run/` at each start, once it is the function's key too: what was
    signed with another one would be foreign to the function.
    """
    if settings.record_key or settings.target == "aws" or not settings.owns_log:
        return lambda: settings.record_key

    path = settings.shared_key

    def read() -> str:
        try:
            return path.read_text()
        except OSError as error:
            raise NoKeyError(
                f"the function's key is not known yet ({path}: {error.strerror}). The entrypoint "
                "writes it when the function has it; its lines in the log say why it has not"
            ) from None

    return read
