"""A producer with DELIVERY=s3 that is killed at a random instant, again and again, while its log grows.

`python -m tests.chaos.kills DATA_DIR URL LINES KILLS SEED` writes and ships at least so many lines into BUCKET of the
emulator at URL, and prints how many they became and how many runs were killed. Each run is a fork of this process, with
all modules loaded, so that it begins at once and a kill seldom hits an import.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from itertools import islice
from pathlib import Path

from bench.backlog import lines
from common import aws
from common.settings import load_settings
from producer.__main__ import main as producer

BUCKET = "kills"
HOURS = 3
# Of the last run that was not killed: a kill comes within so much of its time
REACH = 1.3
MOST = 100  # runs for each kill


def run_and_kill(after: float | None) -> bool:
    """Run the producer once; whether it was killed before its end. Raises AssertionError when it failed."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = producer(["--once"])
        finally:
            os._exit(code)
    if after is not None:
        time.sleep(after)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the producer failed; its lines say why"
    return False


def main(folder: Path, url: str, count: int, kills: int, seed: int) -> None:
    os.environ |= {
        "TARGET": "aws",  # which trusts S3: a poll is its appends and nothing else
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "DELIVERY": "s3",
        "DATA_DIR": str(folder),
        "S3_BUCKET": BUCKET,
    }
    settings = load_settings()
    settings.log_file.parent.mkdir(parents=True, exist_ok=True)
    s3 = aws.client(settings, "s3")  # what a session loads is loaded before the forks
    s3.create_bucket(Bucket=BUCKET)
    s3.close()
    rng, part = random.Random(seed), count // kills
    source = lines(MOST * count, seconds=MOST * HOURS * 3600)
    written = killed = 0
    took = 1.0
    with settings.log_file.open("ab", buffering=0) as log:
        while written < count or killed < kills:
            log.write(b"".join(islice(source, part)))
            written += part
            begun, after = time.monotonic(), rng.uniform(0, REACH * took)
            if run_and_kill(after):
                killed += 1
            else:
                took = min(after, time.monotonic() - begun)
    assert not run_and_kill(None)
    print(written, killed)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
