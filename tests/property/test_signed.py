"""A place holds where the holder of the key has put it, with this data; whatever else is claimed is foreign.

The producer signs, the function verifies: two pieces of code that share no line.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.event import Key, kinesis_record
from common.values import LOG_NAME
from producer.batch import KEY_BYTES
from producer.record import MAX_RECORD_BYTES, Piece, Record, packs, singles
from producer.signed import SIGNATURE_BYTES, signed
from tests.keys import KEY, LENIENT_KEY, OTHER_KEY
from tests.lambda_events import ARRIVED, record

GENERATION = "5e9a5f2a0123456789abcdef"

lines = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=5)
offsets = st.integers(min_value=0, max_value=10**18 - 10**7)
names = st.from_regex(LOG_NAME, fullmatch=True, alphabet=st.characters(codec="ascii"))
folders = st.one_of(st.just(""), names.map(lambda name: f"{name}/"))


def records(offset: int, texts: list[bytes], packed: bool, folder: str = "") -> list[Record]:
    piece = Piece(GENERATION, offset, b"".join(line + b"\n" for line in texts), folder=folder)
    return list((packs if packed else singles)(piece))


def verified(key: str, data: bytes, secret: str, **more: Any) -> tuple[str | None, int]:
    entry = record(data, key)
    entry["kinesis"] |= more
    found = kinesis_record(entry, Key.of(secret))
    assert found.data == data
    return found.generation, found.offset


@given(offsets, lines, st.booleans(), folders)
def test_what_the_producer_signs_holds_and_nothing_else_does(
    offset: int, texts: list[bytes], packed: bool, folder: str
) -> None:
    for each in records(offset, texts, packed, folder):
        name = signed(each.key, each.data, KEY)
        assert len(name) == len(each.key) + SIGNATURE_BYTES <= KEY_BYTES + len(folder)
        assert kinesis_record(record(each.data, name), Key.of(KEY)).folder == folder
        assert verified(name, each.data, KEY) == (GENERATION, each.start)
        # without its signature, with that of other data, of another place, of another key
        for forged in (
            each.key,
            signed(each.key, each.data + b"x", KEY),
            signed(f"{GENERATION}:{each.start + 1}", each.data, KEY).replace(f":{each.start + 1}:", f":{each.start}:"),
            signed(each.key, each.data, OTHER_KEY),
            name.removeprefix(folder) if folder else f"shop/{name}",
            f"x{name}",
        ):
            assert verified(forged, each.data, KEY) == (None, 0), forged


@given(offsets, lines, folders, st.data())
def test_a_changed_bit_of_name_or_data_makes_it_foreign(
    offset: int, texts: list[bytes], folder: str, data: st.DataObject
) -> None:
    each = records(offset, texts, True, folder)[0]
    name = signed(each.key, each.data, KEY)
    at = data.draw(st.integers(0, len(name) - 1))
    other = name[:at] + chr(ord(name[at]) ^ 1) + name[at + 1 :]
    assert verified(other, each.data, KEY) == (None, 0)
    at = data.draw(st.integers(0, len(each.data) - 1))
    changed = each.data[:at] + bytes([each.data[at] ^ 1]) + each.data[at + 1 :]
    assert verified(name, changed, KEY) == (None, 0)


@given(st.binary(min_size=1, max_size=50))
def test_a_fragment_cannot_become_a_line(data: bytes) -> None:
    """The length is signed, too."""
    name = signed(f"{GENERATION}:7:{len(data)}", data, KEY)
    entry = kinesis_record(record(data, name), Key.of(KEY))
    assert (entry.generation, entry.offset, entry.length) == (GENERATION, 7, len(data))
    assert verified(f"{GENERATION}:7:{name.rpartition(':')[2]}", data, KEY) == (None, 0)


def test_an_unsigned_place_holds_before_the_key_s_time_by_kinesis_clock_and_a_wrong_signature_never() -> None:
    place, since = f"{GENERATION}:7", Key.of(LENIENT_KEY)
    assert since
    assert verified(place, b"x", LENIENT_KEY) == (GENERATION, 7)
    assert verified(place, b"x", LENIENT_KEY, approximateArrivalTimestamp=since.since - 1) == (GENERATION, 7)
    for unknown in (since.since, since.since + 1, 0, None, "soon"):
        assert verified(place, b"x", LENIENT_KEY, approximateArrivalTimestamp=unknown) == (None, 0)
    assert verified(signed(place, b"x", OTHER_KEY), b"x", LENIENT_KEY) == (None, 0)
    assert verified(place, b"x", KEY, approximateArrivalTimestamp=ARRIVED) == (None, 0)


def test_without_a_key_every_place_holds_signed_or_not() -> None:
    """A function that has lost its key loses and doubles nothing."""
    for name in (f"{GENERATION}:7", signed(f"{GENERATION}:7", b"x", KEY), signed(f"{GENERATION}:7", b"x", OTHER_KEY)):
        found = kinesis_record(record(b"x", name))
        assert (found.generation, found.offset) == (GENERATION, 7)


@pytest.mark.parametrize("folder", ["", f"x{'0' * 31}/"])
def test_the_longest_fragment_leaves_room_for_its_signature(folder: str) -> None:
    noise = random.Random(1).randbytes(2 * MAX_RECORD_BYTES).replace(b"\n", b"n")  # which gzip makes no shorter
    found = list(packs(Piece("f" * 24, 10**18 - 3 * 2**20, noise + b"\n", folder=folder)))
    assert len(found) == 3
    for each in found:
        assert each.inside_line or each is found[-1]
        assert len(signed(each.key, each.data, KEY)) + len(each.data) == each.size <= MAX_RECORD_BYTES
