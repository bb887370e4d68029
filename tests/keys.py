"""A key that signs and verifies in the tests: unsigned places have never held, or still do."""

from __future__ import annotations

KEY = "19700101T000000Z-" + "5e" * 32
OTHER_KEY = "19700101T000000Z-" + "ca" * 32
# the tests' records arrive long before
LENIENT_KEY = "29990101T000000Z-" + "5e" * 32
