"""The simulation in the test run: some seeds each time, many on demand; and that it finds what is broken on purpose.

What a seed does is in world.py. A seed that fails prints how to run it alone: `script/simulate --seed N --trace`.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import index
from archiver.archive import Archive
from archiver.event import Key as FunctionKey
from archiver.ledger import Ledger
from archiver.others import Others
from archiver.progress import Done, Progress
from archiver.writer import Writer
from journal.archived import Archived
from journal.checkpoint import Checkpoint, CheckpointFile, Generation
from journal.files import Found, Key
from producer import edited, identity, importing, rotate, setback, source
from producer.record import Record
from producer.setback import SetBack
from producer.whereabouts import Whereabouts
from tests.fake_s3 import FakeS3
from tests.simulation.disk import SimOs
from tests.simulation.faults import Violation
from tests.simulation.seeds import run
from tests.simulation.stream import Stream
from tests.simulation.world import simulate

ROOT = Path(__file__).parents[2]
FEW, MANY = 40, 1000
# A mutant is caught by one of so many seeds; most are by one of the first twenty or so
ENOUGH = 120


def failures(seeds: Sequence[int], workers: int) -> list[str]:
    return [problem for _, _, problem in run(seeds, workers) if problem]


def test_some_seeds() -> None:
    assert failures(range(FEW), workers=1) == []


@pytest.mark.chaos
def test_many_seeds() -> None:
    assert failures(range(MANY), workers=2) == []


def test_a_seed_is_one_run() -> None:
    """The same seed is the same run, step by step, also in another process with other hashes and inodes."""
    seed = 7
    steps: list[str] = []
    simulate(seed, steps.append)
    again = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--trace"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": ".:lambda", "PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert len(steps) > 50
    assert without_folders(again.stdout.splitlines()[: len(steps)]) == without_folders(steps)


def without_folders(steps: list[str]) -> list[str]:
    return [" ".join(word for word in step.split() if "/simulation-" not in word) for step in steps]


# What must not pass


def high_water_mark(patch: pytest.MonkeyPatch) -> None:
    """The ledger remembers the last byte of a generation instead of a set of ranges."""
    patch.setattr(Ledger, "covers", lambda self, owner, _start, end: end <= max(self._bounds.get(owner, [0])))


def checkpoint_over_a_gap(patch: pytest.MonkeyPatch) -> None:
    """The checkpoint follows the last entry that was acknowledged."""

    def acknowledge(self: Checkpoint, batch: Sequence[Record], acknowledged: Sequence[object | None]) -> None:
        by_id = {generation.id: generation for generation in self.generations}
        for record, ack in zip(batch, acknowledged, strict=True):
            if ack is not None:
                by_id[record.generation].offset = record.start
                by_id[record.generation].advance(record)

    patch.setattr(Checkpoint, "acknowledge", acknowledge)


def failed_record_count_is_trusted(patch: pytest.MonkeyPatch) -> None:
    """An answer that says that nothing has failed is taken at its word."""
    put_records = Stream.put_records

    def trusting(self: Stream, **request: Any) -> dict[str, Any]:
        answer = put_records(self, **request)
        if answer.get("FailedRecordCount") == 0:
            answer["Records"] = [{"ShardId": "shardId-0", "SequenceNumber": "1"}] * len(request["Records"])
        return answer

    patch.setattr(Stream, "put_records", trusting)


def no_conditions(patch: pytest.MonkeyPatch) -> None:
    """Objects are written without If-Match and If-None-Match."""
    patch.setattr(FakeS3, "_precondition", lambda *_: None)
    patch.setattr(FakeS3, "_check", lambda *_: None)


def checkpoint_before_the_answer(patch: pytest.MonkeyPatch) -> None:
    """Everything that was read counts as acknowledged."""
    acknowledge = Checkpoint.acknowledge
    patch.setattr(Checkpoint, "acknowledge", lambda self, batch, _: acknowledge(self, batch, [True] * len(batch)))


def generation_saved_too_late(patch: pytest.MonkeyPatch) -> None:
    """A generation is sent before anybody remembers its name."""
    save, poll = CheckpointFile.save, source.Source.poll

    def lazy(self: CheckpointFile, checkpoint: Checkpoint) -> None:
        if not fresh.pop("polled", False):
            save(self, checkpoint)

    def polled(self: source.Source, checkpoint: Checkpoint) -> source.Poll:
        fresh["polled"] = True
        return poll(self, checkpoint)

    fresh: dict[str, bool] = {}
    patch.setattr(CheckpointFile, "save", lazy)
    patch.setattr(source.Source, "poll", polled)


def side_object_deleted_too_early(patch: pytest.MonkeyPatch) -> None:
    """The old ledger goes before the object that names the new one is written."""
    put = Writer.multipart

    def multipart(self: Writer, target: Any, state: Any, new: bytes, metadata: dict[str, str]) -> None:
        if state.side:
            self._s3.delete_object(Bucket=self._bucket, Key=state.side)
        put(self, target, state, new, metadata)

    patch.setattr(Writer, "multipart", multipart)


def content_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    """A file is known by its inode alone."""
    patch.setattr(identity, "continues", lambda content, each: content.size >= each.position)


def log_is_not_made_durable(patch: pytest.MonkeyPatch) -> None:
    """Lines are sent that a power cut may take back."""
    patch.setattr(SimOs, "fdatasync", lambda *_: None)


def handler_swallows_errors(patch: pytest.MonkeyPatch) -> None:
    """A batch that failed counts as done."""
    append = Archive.append

    def swallowing(self: Archive, *arguments: Any) -> Any:
        try:
            return append(self, *arguments)
        except Exception:
            return type("Nothing", (), {"lines": 0, "bytes": 0, "conflicts": 0})

    patch.setattr(Archive, "append", swallowing)


def progress_of_another_batch(patch: pytest.MonkeyPatch) -> None:
    """What was done of one batch counts for every batch."""
    init = Progress.__init__

    def shared(self: Progress, store: Any, prefix: str, entries: Any) -> None:
        init(self, store, prefix, entries)
        self._key = f"{prefix}ledger/progress/shard"

    patch.setattr(Progress, "__init__", shared)
    patch.setattr(Progress, "_digest", lambda *_: "")


def progress_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    """Lines count as done while they still wait to be written."""
    commit = index.Run._commit

    def early(self: index.Run, flush: index.Flush, progress: Progress) -> None:
        if flush.end is not None:
            progress.done = Done(flush.end)
            progress.save()
        commit(self, flush, progress)

    patch.setattr(index.Run, "_commit", early)


def progress_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    """A batch that comes back begins from its first line."""
    patch.setattr(Progress, "save", lambda _: None)


def time_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Each invocation goes on until it is killed."""
    patch.setattr(index.Run, "_stop_when_late", lambda *_: None)


def places_are_not_verified(patch: pytest.MonkeyPatch) -> None:
    """Any program may claim bytes of a log."""
    patch.setattr(FunctionKey, "holds", lambda *_: True)


def rotated_away_unread(patch: pytest.MonkeyPatch) -> None:
    """The appliance deletes what it has renamed, however much of it is sent."""
    patch.setattr(rotate, "_holds", lambda *_: True)


def nothing_is_repaired(patch: pytest.MonkeyPatch) -> None:
    """What the stream has acknowledged counts as archived."""
    patch.setattr(Archived, "missing", lambda *_: {})


def nobody_looks_back(patch: pytest.MonkeyPatch) -> None:
    """A log that was set back goes on under its name."""
    patch.setattr(SetBack, "look_back", lambda _: None)


def cron_does_not_look_back(patch: pytest.MonkeyPatch) -> None:
    """A log that was set back goes on under its name where cron starts the producer."""
    look_back = setback.look_back
    patch.setattr(setback, "look_back", lambda file, once=False: None if once else look_back(file))


def an_inode_is_enough(patch: pytest.MonkeyPatch) -> None:
    """Any file that has the inode of a log begins a generation."""
    find = Whereabouts.find

    def named(self: Whereabouts, generations: Collection[Generation]) -> dict[Key, Found]:
        return {key: replace(seen, hinted=False) for key, seen in find(self, generations).items()}

    patch.setattr(Whereabouts, "find", named)


def other_formats_are_not_asked(patch: pytest.MonkeyPatch) -> None:
    """Of a line that another format has rejected, or not, nothing is known."""
    patch.setattr(Others, "enter", lambda *_: None)


def an_edited_log_is_a_new_one(patch: pytest.MonkeyPatch) -> None:
    """What was sent of a log before it was edited is sent again."""
    patch.setattr(identity, "take_over_edited", lambda *_: None)


def an_edited_log_goes_on_at_its_end(patch: pytest.MonkeyPatch) -> None:
    """What comes in a log behind what was sent before it was edited is not sent."""
    patch.setattr(edited, "moved_to", lambda content, _: content.size)


def an_import_has_a_name_of_its_own(patch: pytest.MonkeyPatch) -> None:
    """What is imported again has other places."""
    numbers = itertools.count(10**15)
    patch.setattr(importing, "load", lambda _: {})
    patch.setattr(importing, "digest_of", lambda *_: (f"{next(numbers)}", None))


def a_log_is_imported(patch: pytest.MonkeyPatch) -> None:
    """Copies of what the producer has not seen yet are imported."""
    patch.setattr(importing, "_holds", lambda *_: False)


def what_was_imported_is_not_known_beside_the_log(patch: pytest.MonkeyPatch) -> None:
    """What was imported before is sent again when it comes to lie there."""
    patch.setattr(identity, "take_over", lambda *_: None)


# each with the seed that finds it as the code is now: the others are tried only when that one does not
MUTANTS: dict[Callable[[pytest.MonkeyPatch], None], int] = {
    high_water_mark: 1,
    checkpoint_over_a_gap: 20,
    failed_record_count_is_trusted: 2,
    no_conditions: 2,
    checkpoint_before_the_answer: 0,
    generation_saved_too_late: 1,
    side_object_deleted_too_early: 3,
    content_is_not_compared: 0,
    log_is_not_made_durable: 1,
    handler_swallows_errors: 1,
    progress_of_another_batch: 3,
    progress_before_the_commit: 14,
    progress_is_not_kept: 0,
    time_is_not_looked_at: 3,
    places_are_not_verified: 0,
    rotated_away_unread: 19,
    nothing_is_repaired: 3,
    nobody_looks_back: 8,
    other_formats_are_not_asked: 2,
    cron_does_not_look_back: 46,
    an_inode_is_enough: 58,
    an_edited_log_is_a_new_one: 3,
    an_edited_log_goes_on_at_its_end: 0,
    an_import_has_a_name_of_its_own: 3,
    a_log_is_imported: 444,
    what_was_imported_is_not_known_beside_the_log: 3,
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_what_is_broken_on_purpose_is_found(mutant: Callable[[pytest.MonkeyPatch], None]) -> None:
    for seed in (MUTANTS[mutant], *range(ENOUGH)):
        with pytest.MonkeyPatch.context() as patch:
            mutant(patch)
            try:
                simulate(seed)
            except Violation:
                return
    pytest.fail(f"{mutant.__doc__} {ENOUGH} seeds have not noticed")


def test_what_fails_says_how_to_see_it_again() -> None:
    with pytest.MonkeyPatch.context() as patch:
        checkpoint_before_the_answer(patch)
        problem = next(problem for _, _, problem in run(range(ENOUGH), 1) if problem)
    seed = problem.split(":")[0].removeprefix("seed ")
    assert f"script/simulate --seed {seed} --trace" in problem
    assert "appliances" in problem
