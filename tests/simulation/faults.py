"""What may go wrong in a simulated run, by name, and how probable it is."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, fields
from typing import Any

# A run has about half of the faults: one that has all of them seldom gets far enough to be interesting
SHARE_OF_FAULTS = 0.5


class Crash(BaseException):
    """The process ends here, as by `kill -9`: nothing of it runs any more."""


class Violation(AssertionError):  # noqa: N818
    """Something that is promised does not hold."""


def _up_to(most: float, *, apart: bool = False) -> Any:
    """`apart`: it is drawn from random numbers of its own, so that the others stay what they were."""
    return field(default=0.0, metadata={"most": most, "apart": apart})


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities from 0 to 1, each for one occasion."""

    # PutRecords, for each call
    put_refused: float = _up_to(0.2)  # the whole call, with one of many codes
    put_unreachable: float = _up_to(0.2)
    put_partial: float = _up_to(0.4)  # any set of entries is refused
    put_lies: float = _up_to(1.0)  # FailedRecordCount is any number
    put_unordered: float = _up_to(1.0)  # the records of one call are stored in any order
    answer_lost: float = _up_to(0.2)  # stored, refused entries and all, and nobody hears of it
    answer_short: float = _up_to(0.1)
    answer_nonsense: float = _up_to(0.1)
    throttled_for_minutes: float = _up_to(0.05)
    # The producer, for each operation on a file and each call
    producer_killed: float = _up_to(0.02)
    power_cut: float = _up_to(0.8)  # instead of a kill: what was not made durable may be gone
    rename_undone: float = _up_to(0.8)  # of the power cuts: a checkpoint whose folder was not made durable is as before
    producer_restarted: float = _up_to(0.2)  # for each tick
    producer_stopped: float = _up_to(0.2)  # for each batch: told to end
    disk_full: float = _up_to(0.1)  # for each operation that writes
    read_error: float = _up_to(0.01)  # for each operation that reads
    meanwhile_written: float = _up_to(0.03)  # nginx writes, or logrotate renames, in the middle of it
    meanwhile_emptied: float = _up_to(0.03)  # nginx or logrotate does anything in the middle of it
    # The log, for each turn of nginx and logrotate
    partial_line: float = _up_to(0.3)  # a write ends within a line; the rest comes with the next one
    unparsable: float = _up_to(0.3)  # of the lines
    long_line: float = _up_to(0.1)  # of the lines
    late_line: float = _up_to(0.3)  # of the lines: its time is up to some hours ago
    renamed: float = _up_to(0.3)
    late_reopen: float = _up_to(0.7)  # of the renames: nginx goes on writing to the old file for a while
    copytruncated: float = _up_to(0.2)
    truncated: float = _up_to(0.1)
    regrown: float = _up_to(0.8)  # of the truncations: at once longer than before
    deleted: float = _up_to(0.2)  # a rotated file that is in the stream
    packed: float = _up_to(0.2)  # a rotated file is compressed: the packed one grows beside it, then takes its place
    copied: float = _up_to(0.2)  # a rotated file, unpacked if it is packed, gets a copy beside it
    restored: float = _up_to(0.1)  # the log is put back from a copy just made: the same bytes under another inode
    strange: float = _up_to(0.1)  # a file that is no log appears beside it
    deleted_too_early: float = _up_to(0.05)  # a rotated file that may not be
    clock_jumps: float = _up_to(0.05)
    meanwhile_rotated: float = _up_to(0.03, apart=True)  # the appliance's own rotation, in the middle of a tick
    meanwhile_ticked: float = _up_to(0.2, apart=True)  # for each look of repair's into the bucket
    set_back: float = _up_to(0.1, apart=True)  # for each step: a snapshot of the volume takes its place
    cloned: float = _up_to(0.05, apart=True)  # for each step: another machine goes on from the snapshot, too
    no_room: float = _up_to(0.2, apart=True)  # for each look of it
    direct: float = _up_to(0.5, apart=True)  # for each start of the producer: it appends to the bucket by itself
    # Lambda, for each invocation
    redelivered: float = _up_to(0.3)  # the position in the shard moves back by any number of records
    at_the_same_time: float = _up_to(0.6)  # several invocations, one S3 call of one of them after the other
    same_twice: float = _up_to(0.4)  # of those: of the same shard
    out_of_time: float = _up_to(0.3)  # for each look at the time: the machine stood still until little of it is left
    out_of_memory: float = _up_to(0.4, apart=True)  # killed at any request or look at the time
    other_batch: float = _up_to(0.5, apart=True)  # of those that come back: not as long as before
    # S3, for each call
    handler_killed: float = _up_to(0.04)
    s3_down: float = _up_to(0.05)
    s3_answer_lost: float = _up_to(0.05)
    s3_slow_down: float = _up_to(0.05)
    s3_conflict: float = _up_to(0.1)  # 409 or 412 without any visible reason
    s3_slow: float = _up_to(0.5, apart=True)  # it takes ten times as long
    s3_late: float = _up_to(0.8, apart=True)  # of the calls in flight at a kill: they take effect some calls later
    # Another program that may PutRecords, for each step
    forged: float = _up_to(0.2, apart=True)  # it claims bytes of a log, whose lines may come yet
    # The stream, for each step
    resharded: float = _up_to(0.1, apart=True)  # its shards close, as full as they are, and others take over
    records_lost: float = _up_to(0.1, apart=True)  # acknowledged, and never read
    # More of the log, for each turn
    moved_away: float = _up_to(0.6, apart=True)  # what is renamed, packed or copied goes to a folder of its own
    packed_otherwise: float = _up_to(0.8, apart=True)  # of the packed: bzip2, xz, or a mere copy in its place
    copied_live: float = _up_to(0.1, apart=True)  # the log itself gets a copy beside it
    inode_taken: float = _up_to(0.2, apart=True)  # a text appears beside the log, under the inode that is free
    shredded: float = _up_to(0.5, apart=True)  # of the deleted: overwritten instead
    imported: float = _up_to(0.1, apart=True)  # for each step: old logs, and copies of these
    edited: float = _up_to(0.1, apart=True)  # for each step: `sed -i`, an editor, or `head` on a file of a log
    joined: float = _up_to(0.2, apart=True)  # for each step: `cat` puts rotated logs together that were sent

    @classmethod
    def drawn(cls, rng: random.Random, apart: random.Random) -> Faults:
        """A mix of its own for each run: some faults not at all, the others more or less."""

        def probability(most: float, rng: random.Random) -> float:
            return round(rng.uniform(0, most), 4) if rng.random() < SHARE_OF_FAULTS else 0.0

        return cls(
            **{
                each.name: probability(each.metadata["most"], apart if each.metadata["apart"] else rng)
                for each in fields(cls)
            }
        )

    def __str__(self) -> str:
        return "\n".join(f"  {each.name} = {value}" for each in fields(self) if (value := getattr(self, each.name)))
