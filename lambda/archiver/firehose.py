"""The transform of a Firehose delivery stream: each record answered once, with its lines as entries.

Our producer's records carry whole lines of one UTC hour, plain or gzip'd; other records may carry anything. Firehose
takes one answer a record, and files its data by the partition keys of that answer:

- All lines are entries of one hour: `Ok`, with the entries and year, month, day, hour of the lines' own time.
- Some lines are rejected: they are appended to `rejected/`, and the record is `Ok` with the others. If that fails (the
  role may not write), the record is `ProcessingFailed`.
- No line is an entry, or the data cannot be read, or its entries belong to several hours, or the response would be
  longer than Lambda allows: `ProcessingFailed` with the data as it came, which Firehose puts under its error prefix.
- There is no line at all (a gzip of nothing), or each is skipped: `Dropped`.

Firehose has no ledger and delivers at least once: a batch may be transformed, and an object written, again.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from archiver import event
from archiver.filing import Item, file_runs
from archiver.format import COMBINED, Format
from archiver.layout import HourlyObject

# Lambda, "Quotas": 6 MB for the request and for the response of a synchronous invocation; which MB is not said
MAX_RESPONSE = 6_000_000
# The owner of Firehose's lines in the ledgers of `rejected/`; `~`: no range of a log
OWNER = "~f"
_DIGEST_BYTES = 6
_EMPTY = len('{"records": []}')

Append = Callable[[HourlyObject, Sequence[Item]], object]
_log = logging.getLogger(__name__)


class _RefusedError(Exception):
    """The record is for the error output; the message is the reason."""


class Transform:
    """One invocation. `append` adds items to an object of the bucket, each once."""

    def __init__(self, append: Append, prefix: str, format_: Format = COMBINED) -> None:
        self._append = append
        self._prefix, self._format = prefix, format_
        names = ("records", "ok", "dropped", "processing_failed", "lines", "rejected", "written", "bytes")
        self.counts = dict.fromkeys(names, 0)

    def answer(self, happened: Mapping[str, Any]) -> dict[str, Any]:
        """The response to a Firehose event, its records in their order; as JSON at most MAX_RESPONSE bytes."""
        records = happened.get("records") or ()
        refusals = [_refused(record) for record in records]
        # a refused record goes back as it came: room for that is kept for every record still to come
        size = _EMPTY + sum(map(_size, refusals))
        answers = []
        for record, refusal in zip(records, refusals, strict=True):
            kept = _size(refusal)
            try:
                answer = self._transformed(record, MAX_RESPONSE - size + kept)
            except _RefusedError as reason:
                # Firehose's error output does not have the reason
                _log.warning("record %a is left to the error output: %s", record.get("recordId"), reason)
                answer = refusal
            size += _size(answer) - kept
            answers.append(answer)
            self.counts["records"] += 1
            self.counts[{"Ok": "ok", "Dropped": "dropped"}.get(answer["result"], "processing_failed")] += 1
        return {"records": answers}

    def _transformed(self, record: Mapping[str, Any], room: int) -> dict[str, Any]:
        """The answer, of at most `room` bytes, unless the record has to be refused."""
        entries: dict[str, list[bytes]] = {}
        rejected: dict[HourlyObject, list[Item]] = {}
        for target, item in file_runs(event.firehose_record(record), self._prefix, self._format):
            self.counts["lines"] += item.lines
            if target.rejected:
                self.counts["rejected"] += item.lines
                for each in item.singly():
                    place = _point(record, sum(map(len, rejected.values())))
                    rejected.setdefault(target, []).append(Item(OWNER, place, place + 1, each.text))
            else:
                entries.setdefault(target.hour, []).append(item.text)
        if not entries and not rejected:
            return {"recordId": record.get("recordId"), "result": "Dropped"}
        if len(entries) != 1:
            raise _RefusedError("lines of several hours" if entries else "no line of it is an entry")
        ((hour, texts),) = entries.items()
        keys = dict(zip(("year", "month", "day", "hour"), hour.split("/"), strict=True))
        data = base64.b64encode(b"".join(texts)).decode()
        answer = {"recordId": record.get("recordId"), "result": "Ok", "data": data, "metadata": {"partitionKeys": keys}}
        if _size(answer) > room:
            raise _RefusedError(f"with {len(data)} bytes of entries the response would be too long")
        try:
            for target, items in sorted(rejected.items()):
                self._append(target, items)
        except Exception as error:  # of any kind: nothing is lost in the error output
            raise _RefusedError(f"its rejected lines cannot be written: {type(error).__name__}: {error}") from error
        self.counts["written"] += sum(map(event.count_lines, texts))
        self.counts["bytes"] += sum(map(len, texts))
        return answer


def _refused(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"recordId": record.get("recordId"), "result": "ProcessingFailed", "data": record.get("data")}


def _size(answer: Mapping[str, Any]) -> int:
    """How much longer the response is with this answer."""
    return len(json.dumps(answer)) + len(", ")


def _point(record: Mapping[str, Any], number: int) -> int:
    """The place of the record's nth rejected line in a ledger: the same when the record is transformed again."""
    digest = hashlib.sha256(f"{record.get('recordId')}:{number}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:_DIGEST_BYTES], "big")
