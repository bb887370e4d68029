"""The configurations that are applied, each on an emulator, side by side."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.settings import Settings
from tests.emulator import Emulator
from tests.terraform.driver import Workspace

# MiniStack serves what it is told to; tests/emulator.py names what the appliance needs.
SERVICES = "s3,kinesis,lambda,iam,sts,logs,firehose,cloudwatch,glue,athena"


@dataclass(frozen=True)
class Kind:
    root: str
    emulator: str
    delivery: str = ""


KINDS = {
    "stream on MiniStack": Kind("localstack", "ministack", "kinesis"),
    "stream on LocalStack": Kind("localstack", "localstack", "kinesis"),
    "firehose on MiniStack": Kind("localstack", "ministack", "firehose"),
    "bucket on MiniStack": Kind("localstack", "ministack", "s3"),
    "bucket on LocalStack": Kind("localstack", "localstack", "s3"),
    "athena on MiniStack": Kind("modules/athena", "ministack"),
}


@dataclass
class Deployment:
    """One applied configuration. `second` is the plan that was made right after the apply."""

    kind: Kind
    workspace: Workspace
    url: str
    variables: dict[str, Any]
    added: str = ""
    second: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def producer(self) -> dict[str, str]:
        """The settings a producer is given: Terraform's word, and nothing else."""
        settings: dict[str, str] = self.outputs["settings"]
        return settings | {"RECORD_KEY": self.outputs["record_key"]}

    @property
    def settings(self) -> Settings:
        """The same for the appliance. The region and host are the emulator's; retention and shards have defaults."""
        return Settings(**{name.lower(): value for name, value in self.producer.items() if value})

    def apply(self) -> Deployment:
        self.workspace.init()
        self.added = self.workspace.apply(self.variables)
        self.outputs = self.workspace.outputs()
        self.second = self.workspace.plan(self.variables)
        return self

    def destroy(self) -> str:
        return self.workspace.destroy(self.variables)


class Deployments:
    """Begins to apply the named ones at once."""

    def __init__(self, names: list[str], directory: Path, package: Path, urls: Mapping[str, str]) -> None:
        self._emulators: list[Emulator] = []
        self._pool = ThreadPoolExecutor(max_workers=max(1, len(names)))
        self._applied: dict[str, Future[Deployment]] = {}
        self._destroyed: dict[str, Future[str]] = {}
        for name in names:
            folder = directory / name.replace(" ", "-")
            kind = KINDS[name]
            if kind.emulator == "ministack":
                emulator = Emulator(folder / "emulator", {"SERVICES": SERVICES})
                emulator.start()
                self._emulators.append(emulator)
                url = emulator.url
            elif kind.emulator in urls:
                url = urls[kind.emulator]
            else:
                continue  # the fixture that installs it skips the test
            deployment = make(kind, folder, url, package)
            self._applied[name] = self._pool.submit(deployment.apply)

    def applied(self, name: str) -> Deployment:
        return self._applied[name].result()

    def destroyed(self, name: str) -> str:
        """Terraform's last word. The first call destroys all of them, as no test uses them any more."""
        if not self._destroyed:
            for each, applied in self._applied.items():
                self._destroyed[each] = self._pool.submit(applied.result().destroy)
        return self._destroyed[name].result()

    def summary(self) -> dict[str, str]:
        """Name -> what happened to it."""
        found = {}
        for name, future in self._applied.items():
            if not future.done() or future.exception():
                found[name] = "not applied"
                continue
            one = future.result()
            times = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in one.workspace.seconds.items())
            gone = self._destroyed.get(name)
            last = gone.result() if gone and gone.done() and not gone.exception() else ""
            found[name] = " ".join(filter(None, [one.added, *one.notes, last, f"({times})"]))
        return found

    def stop(self) -> None:
        self._pool.shutdown(wait=True)
        for emulator in self._emulators:
            emulator.stop()


def make(kind: Kind, directory: Path, url: str, package: Path) -> Deployment:
    """One with names of its own: LocalStack is shared."""
    some = secrets.token_hex(4)
    if kind.root == "localstack":
        variables: dict[str, Any] = {
            "endpoint": url,
            "package": str(package),
            "delivery": kind.delivery,
            "bucket_name": f"bucket-{some}",
            "stream_name": f"stream-{some}",
            "delivery_stream_name": f"delivery-{some}",
            "firehose_role_name": f"firehose-{some}",
            "function_name": f"function-{some}",
            "role_name": f"role-{some}",
        }
        return Deployment(kind, Workspace(directory, kind.root), url, variables)
    workspace = Workspace(directory, kind.root, {"AWS_ENDPOINT_URL": url})
    workspace.offline(account=True)
    variables = {"bucket_name": f"bucket-{some}", "workgroup_name": f"group-{some}", "database_name": f"base_{some}"}
    return Deployment(kind, workspace, url, variables)
