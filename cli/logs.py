"""`appliance logs lambda`: what the function printed, from the endpoint's CloudWatch Logs, oldest first."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cli.screen import CommandError, note
from common.aws import client
from common.clock import iso
from common.errors import AWS_ERRORS, explain
from common.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import FilteredLogEventTypeDef


def as_object(event: FilteredLogEventTypeDef) -> dict[str, Any]:
    """What --json prints of an entry."""
    message: Any = event["message"].rstrip("\n")
    try:
        found = json.loads(message)
    except ValueError:
        found = None  # what Lambda itself has said, START and END
    return {
        "time": iso(datetime.fromtimestamp(event["timestamp"] / 1000, UTC)),
        "stream": event["logStreamName"],
        "message": found if isinstance(found, dict) else message,
    }


def main(settings: Settings, options: argparse.Namespace) -> int:
    if settings.delivery.is_direct:
        raise CommandError(
            f"DELIVERY={settings.delivery} has no function; see the producer's lines in the container's log"
        )
    minutes, group = options.minutes, f"/aws/lambda/{settings.lambda_function}"
    start = int((datetime.now(UTC) - timedelta(minutes=minutes)).timestamp() * 1000)
    logs = client(settings, "logs")
    printed = 0
    try:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=start):
            for event in page["events"]:
                shown = json.dumps(as_object(event), ensure_ascii=False) if options.json else event["message"]
                print(shown.rstrip("\n"))
                printed += 1
    except logs.exceptions.ResourceNotFoundException:
        note(f"{group}: no such log. The function has not run yet, or its role may not write one.")
        return 1
    except AWS_ERRORS as error:
        note(str(explain(error, group, settings.target)))
        return 1
    finally:
        logs.close()
    if not printed:
        note(f"{group}: nothing in the last {minutes:g} minutes; --minutes looks further back.")
    return 0 if printed else 1
