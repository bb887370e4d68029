"""An hourly object in S3 before an append: its state, its ledger and the bytes that stay.

The object may have changed since our last write:

- Another program wrote it, without a ledger: its bytes stay, the ledger starts here, and a warning says so.
- It was edited, and its ledger names another length: bytes and ledger both stay, so that removed lines do not come back
  with a re-send; a warning says so.
- An emulator was killed inside a write. MiniStack replaces an object's bytes first and its metadata after that, so it
  may report the old length over longer bytes: only bytes below the reported length are read or copied, and the
  unacknowledged tail vanishes. An object's first write may be left without metadata: a body of nothing but lines that
  are to be written now is taken for the remains of that write and replaced.
- Its ledger cannot be read, or the side object is gone: LedgerError. To go on could double every line.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from archiver.layout import HourlyObject
from archiver.ledger import Ledger, LedgerError, referenced

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

METADATA_KEY = "ledger"
LINES_KEY = "lines"  # how many lines the object has, decimal; an append does without it

_COUNT = re.compile(r"[0-9]{1,15}")
_log = logging.getLogger(__name__)


class State(NamedTuple):
    """The object as last read. `etag`: None if there is no object. `side`: the key of its ledger's side object."""

    etag: str | None
    size: int
    ledger: Ledger
    side: str | None
    ledgered: bool  # it carries a ledger of ours
    intact: bool  # its bytes are those of the ledger; else they may end without a newline
    lines: int | None  # None: not known, as an older version or another program wrote it


def _absent() -> State:
    return State(None, 0, Ledger(), None, ledgered=False, intact=True, lines=0)


class Reader:
    """Reads the objects of one bucket, and their side objects; writes nothing."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def read(self, target: HourlyObject) -> State:
        """The object as it is now. Raises LedgerError when its ledger cannot be read, and ClientError of S3."""
        try:
            head = self._s3.head_object(Bucket=self._bucket, Key=target.key)
        except ClientError as error:
            if status_of(error) != 404:
                raise
            return _absent()
        state = self._state(target, head, head["ContentLength"])
        if not state.ledgered:
            _log.warning(
                "s3://%s/%s has no ledger: its %d bytes stay as they are", self._bucket, target.key, state.size
            )
        elif not state.intact:
            _log.warning(
                "s3://%s/%s was edited: its ledger is not that of its %d bytes; both are kept",
                *(self._bucket, target.key, state.size),
            )
        return state

    def fetch(self, target: HourlyObject, most: int) -> tuple[State, bytes | None]:
        """The same, and in the same request the bytes of an object of less than `most`; None for those of others.

        LocalStack (4.14.0) takes the range from the object as it was when the request came, and the rest of the answer
        from the one that is there when it answers. The ledger's length tells, so only an intact object is taken as the
        answer says; of any other the bytes are then read on the condition that they are those of its state.
        """
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=target.key, Range=f"bytes=0-{most - 1}")
        except ClientError as error:
            # an object without a byte has no such range, and one in Glacier has a state and no bytes
            if status_of(error) == 416 or error.response.get("Error", {}).get("Code") == "InvalidObjectState":
                return self.read(target), None
            if status_of(error) != 404:
                raise
            return _absent(), None
        with answer["Body"] as content:
            size = int(answer.get("ContentRange", "").rpartition("/")[2] or answer["ContentLength"])
            body = content.read() if size < most else None
        if body is not None and len(body) != size:
            raise OSError(f"s3://{self._bucket}/{target.key}: {len(body)} bytes instead of {size}")
        state = self._state(target, answer, size)
        return (state, body) if state.intact else (self.read(target), None)

    def _state(self, target: HourlyObject, answer: Any, size: int) -> State:
        # names of headers, which a proxy or another kind of endpoint writes as Ledger
        metadata = {name.lower(): value for name, value in answer["Metadata"].items()}
        text, side = metadata.get(METADATA_KEY), None
        if text is None:
            return State(answer["ETag"], size, Ledger(), None, ledgered=False, intact=False, lines=None)
        try:
            found = referenced(text)
            if found:
                side = target.ledger_key(found[1])
                text = self._read_side(target, answer["ETag"], side, found[1])
            ledger, length = Ledger.decode(text)
        except LedgerError as error:
            raise LedgerError(
                f"s3://{self._bucket}/{target.key}: {error}. Nothing can be added to it without the risk of doubling "
                f"lines. Make its ledger again: appliance repair-ledger {target.key}"
            ) from None
        count = metadata.get(LINES_KEY, "")
        lines = int(count) if length == size and _COUNT.fullmatch(count) else None
        return State(answer["ETag"], size, ledger, side, ledgered=True, intact=length == size, lines=lines)

    def _read_side(self, target: HourlyObject, etag: str, key: str, digest: str) -> str:
        try:
            content = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            # a side object that was superseded between the two reads: the object has another ETag by now
            if status_of(error) != 404 or self._s3.head_object(Bucket=self._bucket, Key=target.key)["ETag"] != etag:
                raise
            raise LedgerError(f"its side object {key} is gone") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise LedgerError(f"the content of its side object {key} is not what the name says")
        return content.decode("ascii").partition("\n")[0]

    def old_bytes(self, target: HourlyObject, state: State, body: bytes | None, new: Sequence[bytes]) -> bytes:
        """The bytes that `new` is to follow, ended by a newline; none when they are the remains of writing `new`.

        `body`: what the object has, where it was fetched.
        """
        if not state.size:
            return b""
        if body is None:
            body = self.read_from(target, state, 0)
        if state.intact:
            return body
        if not body.endswith(b"\n"):
            return body + b"\n"
        if not state.ledgered and _are_remains(body, new):
            _log.warning("s3://%s/%s is what a killed write left: it is replaced", self._bucket, target.key)
            return b""
        return body

    def read_from(self, target: HourlyObject, state: State, start: int) -> bytes:
        """The bytes from `start` to the size that was read, and none beyond (see above: an emulator killed)."""
        wanted = state.size - start
        answer = self._s3.get_object(
            Bucket=self._bucket,
            Key=target.key,
            Range=f"bytes={start}-{state.size - 1}",
            IfMatch=state.etag or "",
        )
        body = answer["Body"].read()
        if len(body) != wanted:
            raise OSError(f"s3://{self._bucket}/{target.key}: {len(body)} bytes instead of {wanted} from byte {start}")
        return body


def _are_remains(body: bytes, new: Sequence[bytes]) -> bool:
    """Whether the lines of `body` are all among those of `new`, as often as they occur."""
    left = Counter(body.split(b"\n")[:-1])
    for text in new:
        left -= Counter(text.split(b"\n")[:-1])
    return not left


def status_of(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
