"""`logs lambda`: what the function printed, from the endpoint's CloudWatch Logs, oldest first.

In the container (`docker exec <id> logs lambda`) or by `script/inside logs lambda`. Exit status: 0 printed, 1 there is
none or the endpoint does not answer, 2 wrong settings or arguments.
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta

from botocore.exceptions import BotoCoreError, ClientError

from appliance.aws import client
from appliance.clock import Clock, SystemClock
from appliance.settings import Settings, SettingsError, load_settings

DEFAULT_MINUTES = 60.0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="logs", description="Prints the log of the function, oldest line first.")
    parser.add_argument("of", choices=["lambda"], help="the other programs' lines are in the container's own log")
    parser.add_argument(
        "--minutes",
        type=float,
        default=DEFAULT_MINUTES,
        help="how far back (default: %(default)g)",
    )
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    return show(settings, SystemClock(), options.minutes)


def show(settings: Settings, clock: Clock, minutes: float) -> int:
    """Print the lines of the last `minutes`; the exit status."""
    group = f"/aws/lambda/{settings.lambda_function}"
    start = int((clock.now() - timedelta(minutes=minutes)).timestamp() * 1000)
    logs = client(settings, "logs")
    printed = 0
    try:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=start):
            for event in page["events"]:
                print(event["message"].rstrip("\n"))
                printed += 1
    except logs.exceptions.ResourceNotFoundException:
        print(f"{group}: no such log. The function has not run yet, or its role may not write one.", file=sys.stderr)
        return 1
    except (ClientError, BotoCoreError) as error:
        print(f"{group}: {error}. `health` says whether the endpoint answers.", file=sys.stderr)
        return 1
    finally:
        logs.close()
    if not printed:
        print(f"{group}: nothing in the last {minutes:g} minutes; --minutes looks further back.", file=sys.stderr)
    return 0 if printed else 1


if __name__ == "__main__":
    sys.exit(main())
