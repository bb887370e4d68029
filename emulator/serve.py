"""MiniStack in this process, behind the guard, with bounded memory and with this DATA_DIR's access key."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ministack import app
from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from common.emulator import read_key
from common.unused import unused
from emulator import memory, objects
from emulator.guard import guarded

with unused("multiprocessing.synchronize"):  # for several processes
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

KEEP_ALIVE = 75  # seconds, MiniStack's own


def restore(data: Any, load: Callable[[Any], None] = lambda_svc.load_persisted_state) -> None:
    """Load functions. One that was being made when the emulator ended has no thread any more that would end that."""
    load(data)
    for function in lambda_svc._functions._data.values():
        function["config"] |= {"State": "Active", "StateReasonCode": "", "LastUpdateStatus": "Successful"}


async def run(host: str, port: str, key: dict[str, str]) -> None:
    # MiniStack would give functions the account's number as their key
    credentials = {**key, "AWS_SESSION_TOKEN": ""}
    lambda_runtime.execution_credentials = lambda_svc.execution_credentials = lambda _configuration: credentials
    lambda_svc.load_persisted_state = restore
    memory.install(asyncio.get_running_loop())
    objects.install()
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.keep_alive_timeout = KEEP_ALIVE
    config.loglevel = app.LOG_LEVEL
    await serve(guarded(app.app, key["AWS_ACCESS_KEY_ID"], host), config)  # type: ignore[arg-type]


def main() -> str | None:
    host, port = os.environ["BIND_HOST"], os.environ["GATEWAY_PORT"]
    key = read_key(Path(os.environ["HOME"], "credentials"))
    try:
        asyncio.run(run(host, port, key))
    except OSError as error:
        return f"cannot listen on {host}, port {port}: {error}. Mend it with another EMULATOR_HOST or EMULATOR_PORT"
    return None


if __name__ == "__main__":
    sys.exit(main())
