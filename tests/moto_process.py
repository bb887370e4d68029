"""Moto's server as a process of a test's own, on as many ports as an old LocalStack had, with one memory for all.

`python -m tests.moto_process HOST PORT …`
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import eventually

ROOT = Path(__file__).resolve().parent.parent


@contextmanager
def moto_server(host: str, *ports: int) -> Iterator[None]:
    """The server, listening."""
    from common.aws import answers

    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    # without these there is no AWSLambdaBasicExecutionRole
    environment = kept | {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.moto_process", host, *map(str, ports)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: all(answers(host, port) for port in ports), why="moto listens")
        yield
    finally:
        process.kill()
        process.wait(60)


def main(host: str, *ports: str) -> None:
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = DomainDispatcherApplication(create_backend_app)
    threads = [
        threading.Thread(target=make_server(host, int(port), application, threaded=True).serve_forever)
        for port in ports
    ]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main(*sys.argv[1:])
