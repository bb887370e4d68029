"""Follows a few requests through the running appliance, from nginx to S3, and says at each step what it saw.

It looks from outside, with the same API calls a user would make, and believes no status but what it can check.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

from cli.firehose_steps import delivered, delivered_entries, delivery_role, delivery_stream
from cli.kinesis_steps import archived, entries, mapping, records, stream
from cli.screen import OK, PROBLEM, note
from cli.steps import Journey, StepError, acknowledged, bucket, function, requests, role
from common.clock import SystemClock
from common.delivery import FIREHOSE, KINESIS, S3, Delivery
from common.errors import AWS_ERRORS, explain
from common.settings import Settings

STEPS: dict[Delivery, list[tuple[str, Callable[[Journey], str]]]] = {
    KINESIS: [
        ("bucket", bucket),
        ("stream", stream),
        ("role", role),
        ("function", function),
        ("event source mapping", mapping),
        ("requests to nginx", requests),
        ("acknowledged by the stream", acknowledged),
        ("records in the stream", records),
        ("object in S3", archived),
        ("JSON lines", entries),
    ],
    FIREHOSE: [
        ("bucket", bucket),
        ("delivery stream", delivery_stream),
        ("delivery role", delivery_role),
        ("transform role", role),
        ("transform function", function),
        ("requests to nginx", requests),
        ("acknowledged by Firehose", acknowledged),
        ("objects in S3", delivered),
        ("JSON lines", delivered_entries),
    ],
    S3: [
        ("bucket", bucket),
        ("requests to nginx", requests),
        ("acknowledged by S3", acknowledged),
        ("object in S3", archived),
        ("JSON lines", entries),
    ],
}


@dataclass(frozen=True)
class Step:
    """A step that was taken; these are the keys of --json."""

    step: str
    ok: bool
    detail: str  # what was seen; or what is wrong, and its remedy
    seconds: float  # that it took

    def __str__(self) -> str:
        return f"{'✓' if self.ok else '✗'} {self.step}: {self.detail}"


def walk(journey: Journey) -> Iterator[Step]:
    """The steps, each as it is taken. The first that fails is the last."""
    for title, step in STEPS[journey.settings.delivery]:
        begun = journey.clock.monotonic()
        ok = False
        try:
            detail, ok = step(journey), True
        except StepError as error:
            detail = str(error)
        except AWS_ERRORS as error:
            detail = str(explain(error, title, journey.settings.target)).removeprefix(f"{title}: ")
        yield Step(title, ok, detail, round(journey.clock.monotonic() - begun, 3))
        if not ok:
            return


def main(settings: Settings, options: argparse.Namespace) -> int:
    # that something is waited for is for people
    tell = note if options.json else partial(print, flush=True)
    ok = False
    for step in walk(Journey(settings, SystemClock(), tell)):
        print(json.dumps(asdict(step), ensure_ascii=False) if options.json else step, flush=True)
        ok = step.ok
    return OK if ok else PROBLEM
