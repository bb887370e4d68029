"""`script/chaos --container MODE`: the real image under requests, while its container and what it talks to break.

`embedded`: the emulator inside, all state on a volume. `external`: the endpoint in a container of its own, which keeps
its buckets and forgets its stream when it is killed. The faults come from a seed; the verdict is the native run's.
"""

from __future__ import annotations

import random
import secrets
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from botocore.exceptions import BotoCoreError

from common.aws import answers
from common.delivery import KINESIS, Delivery
from tests.appliance.drivers import EMULATOR_PYTHON, IMAGE, Container, build, engine, ready, s3_client
from tests.chaos.faults import Skipped, Step, in_time, steps
from tests.chaos.run import Outcome, archived_entries, rejected_lines, settle
from tests.chaos.traffic import Traffic
from tests.waiting import eventually, free_port

Mode = Literal["embedded", "external"]

# How often each is drawn, relative to the others
WEIGHTS: dict[str, float] = {
    "container kill -9, started": 3,
    "container stopped, started": 2,
    "container restarted": 2,
    "container removed, run again": 2,
    "container paused": 3,
    "producer kill -9": 4,
    "nginx workers kill -9": 4,
    "entrypoint kill -9": 2,
}
EMBEDDED: dict[str, float] = {"emulator kill -9": 3}
EXTERNAL: dict[str, float] = {
    "endpoint paused": 3,
    "endpoint cut off the network": 3,
    "endpoint kill -9, buckets kept": 2,
}
# A producer without its stream has to know soon that lines are missing
SETTINGS = {"LIMIT_REQUESTS": "0", "REPAIR_INTERVAL": "5", "REPAIR_AFTER": "5", "LOG_ROTATE_BYTES": "150000"}
SETTINGS |= {"LIMIT_REQUESTS": "0", "LIMIT_CONNECTIONS": "0"}  # all traffic comes from one address
# What docs/sizing.md says is enough, without swap
MEMORY = "192m"
# Faults of a run, however slow the engine is
LEAST = 4
# In the container: end every process whose command line holds the first argument
KILL = (
    "import os,sys\n"
    "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
    "    try:\n"
    "        line = open(f'/proc/{pid}/cmdline','rb').read().replace(b'\\0', b' ').decode()\n"
    "        if sys.argv[1] in line and 'import os' not in line: os.kill(int(pid), 9)\n"
    "    except OSError: pass\n"
)


class Endpoint:
    """An emulator in a container of its own: buckets on a volume, all else in memory."""

    def __init__(self, engine_name: str, network: str) -> None:
        self.name = f"endpoint-{secrets.token_hex(4)}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.call = caller(engine_name)
        self._network = network

    def start(self) -> None:
        variables = {"S3_PERSIST": "1", "S3_DATA_DIR": "/data/s3", "LOG_LEVEL": "WARNING", "BIND_HOST": "0.0.0.0"}
        self.call(
            *("run", "--detach", "--name", self.name, "--network", self._network, "--volume", f"{self.name}:/data"),
            *("--publish", f"127.0.0.1:{self.port}:4566"),
            *(part for name, value in variables.items() for part in ("--env", f"{name}={value}")),
            *(IMAGE, EMULATOR_PYTHON, "-m", "ministack"),
        )
        self.wait()

    def wait(self) -> None:
        eventually(lambda: answers("127.0.0.1", self.port), why="the endpoint listens")

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        self.call("network", "disconnect", self._network, self.name)
        try:
            yield
        finally:
            self.call("network", "connect", self._network, self.name)
            self.wait()

    def remove(self) -> None:
        self.call("rm", "--force", self.name)
        self.call("volume", "rm", "--force", self.name)


class World:
    """The container, what it talks to, and the requests."""

    def __init__(self, engine_name: str, network: str, mode: Mode, rate: float, delivery: Delivery) -> None:
        self.call = caller(engine_name)
        self.container = Container(engine_name, network)
        self.container.http_port = free_port()
        self.container.options = ["--memory", MEMORY, "--memory-swap", MEMORY]
        self.endpoint = Endpoint(engine_name, network) if mode == "external" else None
        self.traffic = Traffic(self.container.http_port, rate, secrets.token_hex(4))
        self._archive = self.endpoint.url if self.endpoint else self.container
        self._settings = SETTINGS | {"DELIVERY": delivery.name}
        self._settings |= {"LOCALSTACK_HOST": self.endpoint.name} if self.endpoint else {}

    def start(self) -> None:
        if self.endpoint:
            self.endpoint.start()
        self.run_again()
        ready(self.container)
        self.traffic.start()

    def run_again(self) -> None:
        """`rm --force`, and `run` on the same volume."""
        self.container.start(**self._settings)
        self.wait()

    def wait(self) -> None:
        eventually(lambda: answers("127.0.0.1", self.container.http_port), within=60, every=0.05, why="nginx is back")

    def archive(self) -> list[tuple[str, dict[str, Any]]]:
        try:
            return archived_entries(s3_client(self._where()))
        except BotoCoreError as error:  # the engine's proxy takes the connection before the emulator is back
            raise OSError(str(error)) from error

    def rejected(self) -> list[str]:
        return rejected_lines(s3_client(self._where()))

    def _where(self) -> str | Container:
        return self.endpoint.url if self.endpoint else self.container

    def close(self) -> None:
        with suppress(AssertionError):
            self.traffic.stop()
        self.container.remove()
        if self.endpoint:
            self.endpoint.remove()


class Hands:
    """Does what a Step says."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.counts: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self._last_kill: dict[str, float] = {}

    def do(self, step: Step) -> None:
        try:
            self._what(step.fault)(step.seconds)
        except Skipped:
            self.skipped[step.fault] += 1
        else:
            self.counts[step.fault] += 1

    def _what(self, fault: str) -> Callable[[float], None]:
        world = self._world
        name, endpoint = world.container.name, world.endpoint
        what: dict[str, Callable[[float], None]] = {
            "container kill -9, started": lambda _: self._again(("kill", name), ("start", name)),
            "container stopped, started": lambda _: self._again(("stop", "--time", "10", name), ("start", name)),
            "container restarted": lambda _: self._again(("restart", "--time", "10", name)),
            "container removed, run again": lambda _: world.run_again(),
            "container paused": lambda seconds: self._pause(name, seconds),
            "producer kill -9": lambda _: self._kill("-m producer"),
            "nginx workers kill -9": lambda _: self._kill("nginx: worker"),
            "entrypoint kill -9": lambda _: self._kill("-m entrypoint"),
            "emulator kill -9": lambda _: self._kill("-m emulator"),
        }
        if endpoint:
            what |= {
                "endpoint paused": lambda seconds: self._pause(endpoint.name, seconds),
                "endpoint cut off the network": self._cut_off,
                "endpoint kill -9, buckets kept": lambda _: self._lose_endpoint(),
            }
        return what[fault]

    def _again(self, *commands: tuple[str, ...]) -> None:
        for command in commands:
            self._world.call(*command)
        self._world.wait()

    def _pause(self, name: str, seconds: float) -> None:
        try:
            self._world.call("pause", name)
        except AssertionError as error:
            if "unable to freeze" in str(error):  # runc gives up after some tries on a busy machine
                raise Skipped from None
            raise
        try:
            time.sleep(seconds)
        finally:
            self._world.call("unpause", name)

    def _kill(self, program: str) -> None:
        """Not before supervisord counts the program as started: it gives one up that ends three times before that."""
        now = time.monotonic()
        if now - self._last_kill.get(program, 0.0) < 12.0:
            raise Skipped
        self._last_kill[program] = now
        self._world.call("exec", self._world.container.name, "python", "-c", KILL, program)

    def _cut_off(self, seconds: float) -> None:
        assert self._world.endpoint
        with self._world.endpoint.cut_off():
            time.sleep(seconds)

    def _lose_endpoint(self) -> None:
        assert self._world.endpoint
        self._again(("kill", self._world.endpoint.name), ("start", self._world.endpoint.name))
        self._world.endpoint.wait()


def chaos(
    engine_name: str, network: str, mode: Mode, seed: int, seconds: float, rate: float, delivery: Delivery
) -> tuple[Outcome, str]:
    """One run on a network of its own: the outcome, and what the container has printed. Ends what it started."""
    world = World(engine_name, network, mode, rate, delivery)
    hands = Hands(world)
    problems: list[str] = []
    try:
        world.start()
        plan = steps(random.Random(seed), WEIGHTS | (EXTERNAL if mode == "external" else EMBEDDED))
        for step in in_time(plan, seconds, LEAST):
            try:
                hands.do(step)
            except Exception as error:
                problems.append(f"{step.fault}: {type(error).__name__}: {error}")
                break
        outcome = settle(world, hands.counts, hands.skipped, seed, seconds, problems)
        return outcome, world.container.output()
    finally:
        world.close()


def caller(engine_name: str) -> Callable[..., str]:
    def call(*arguments: str) -> str:
        done = subprocess.run([engine_name, *arguments], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{engine_name} {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    return call


def run(directory: Path, mode: Mode, seed: int, seconds: float, rate: float, delivery: Delivery = KINESIS) -> Outcome:
    """`chaos` on the image as it is built now; what the container printed is left in `directory` unless all is well."""
    name = engine()
    assert name, "no container engine answers. Mend it with: apt-get install podman, or start Docker"
    built = build(name)
    assert built.returncode == 0, built.stderr[-3000:]
    call, network = caller(name), f"chaos-{secrets.token_hex(4)}"
    call("network", "create", network)
    try:
        outcome, printed = chaos(name, network, mode, seed, seconds, rate, delivery)
    finally:
        with suppress(AssertionError):
            call("network", "rm", network)
    if not outcome.clean:
        (directory / "container.log").write_text(printed)
    return outcome
