"""The commands of a page, run one after the other in a copy of the repository, as a reader would in one terminal."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.appliance.drivers import IMAGE, ROOT, python
from tests.waiting import eventually, free_port

BLOCK = re.compile(r"(?:<!-- not run: (.+?) -->\n+)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = ["README.md", "docs/operating.md"]
PAGES += [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs" / "environments").glob("*.md"))]
# What would take minutes, and what is run instead
SHORTER = {
    "script/test": "script/test -q tests/unit/common/test_clock.py",
    "--seeds 1000": "--seeds 5",
    "--minutes 5": "--minutes 0.05",
    "script/bench": "script/bench --only producer --runs 1",
}
# A folder of programs that a page takes for granted: the reader's own, where the machine has none
OWN = "own"
HOUR = re.compile(r"\d{4}/\d\d/\d\d/\d\d(?=/web-access\.log)")
STATE_SECONDS, COMMAND_SECONDS, STOP_SECONDS = 120.0, 300.0, 120.0


class Block(NamedTuple):
    """The commands of a fenced block, without output and comments; `# … Ctrl-C …` on a line of its own is one.

    `mark`: why it is not run."""

    mark: str
    commands: list[str]


def blocks(markdown: str) -> list[Block]:
    found = []
    for mark, language, content in BLOCK.findall(markdown):
        lines = content.replace("\\\n", " ").splitlines()
        if language == "":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        elif language != "sh":
            continue
        commands = [line if line.startswith("#") else re.sub(r"\s+#.*", "", line) for line in lines]
        commands = [each for each in commands if each and (not each.startswith("#") or "Ctrl-C" in each)]
        if commands:
            found.append(Block(mark, commands))
    return found


def of(page: str) -> list[Block]:
    return blocks((ROOT / page).read_text(encoding="utf-8"))


def pages(way: str) -> list[str]:
    """Those with a command that is run in this way."""
    return [page for page in PAGES if commands(page, way)]


def commands(page: str, way: str) -> list[str]:
    """What is run in this way: natively all but the blocks with docker commands; by Docker these, and of a page without
    any the commands that start, or look at, an appliance."""
    run = [block.commands for block in of(page) if not block.mark]
    by_docker = [each for each in run if any("docker" in command for command in each)]
    if way == "native":
        return [command for each in run if each not in by_docker for command in each]
    if by_docker:
        return [command for each in by_docker for command in each]
    return [command for each in run for command in each if re.match(r"script/(up|appliance|aws)\b", command)]


def copy_repository(to: Path) -> None:
    """What git tracks, and a .venv with the tests' packages and a Python that the embedded emulator may enter."""
    to.chmod(0o755)
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    for made in ("dashboard/static/vendor", "dashboard/node_modules"):
        if (ROOT / made).is_dir():
            (to / made).symlink_to(ROOT / made)
    subprocess.run([python(), "-m", "venv", "--without-pip", str(to / ".venv")], check=True, timeout=300)
    [packages] = (to / ".venv" / "lib").glob("python*/site-packages")
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for tool in (ROOT / ".venv" / "bin").iterdir():
        if not (to / ".venv" / "bin" / tool.name).exists():
            (to / ".venv" / "bin" / tool.name).symlink_to(tool.resolve())
    shutil.copy(ROOT / ".venv" / "installed", to / ".venv")
    (to / OWN).mkdir()
    (to / OWN / "aws").symlink_to(ROOT / ".venv" / "bin" / "aws")


class Session:
    """`way`: native, or docker, to which `docker …` belongs. What goes on, such as script/up, ends with the session."""

    def __init__(self, folder: Path, way: str) -> None:
        self.name = f"docs-{secrets.token_hex(4)}"
        self._folder = folder
        self.way = way
        self._lasting: dict[subprocess.Popen[bytes], Path] = {}  # with what each prints to
        self._ports: dict[str, str] = {}
        self._hour = ""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        settings = {name: str(free_port()) for name in ("HTTP_PORT", "DASHBOARD_PORT", "EMULATOR_PORT")}
        self._environment = kept | settings | {"POLL_INTERVAL": "2", "PATH": f"{kept['PATH']}:{folder / OWN}"}

    def run(self, command: str) -> None:
        """Raises AssertionError with what it printed when it fails."""
        if command.startswith("#"):
            self.interrupt()
            return
        command = self._adapted(command)
        if re.search(r"script/up\b|docker run (?!.*(--rm|--detach))", command):
            self.interrupt()
            self._begin(command, self._up if "script/up" in command else lambda _: self._healthy())
        elif "appliance tail" in command:
            process = self._begin(command, lambda _: True)
            try:
                status = process.wait(2)
                raise AssertionError(f"{command} has ended with {status}: {said(self._lasting[process])}")
            except subprocess.TimeoutExpired:
                self.interrupt(process)
        else:
            done = self._shell(command)
            assert done.returncode == 0, f"{command} has ended with {done.returncode}: {done.stdout}{done.stderr}"
            assert "Traceback" not in done.stderr, f"{command}: {done.stderr}"
            if "--detach" in command:
                eventually(self._healthy, within=STATE_SECONDS, every=0.5)

    def interrupt(self, *processes: subprocess.Popen[bytes]) -> None:
        """Ctrl-C to these, or to all that goes on, and to nothing else; each ends well."""
        for process in processes or tuple(self._lasting):
            os.killpg(process.pid, signal.SIGINT)
            output = self._lasting[process]
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"after Ctrl-C it goes on: {said(output)}") from None
            del self._lasting[process]
            assert process.returncode == 0, f"after Ctrl-C it ended with {process.returncode}: {said(output)}"

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self._lasting:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(120)
        if self.way == "docker":
            mine = f"docker ps --all --quiet --filter label=docs={self.name}"
            self._shell(f"{mine} | xargs --no-run-if-empty docker rm --force --volumes")
            self._shell(f"docker volume ls --quiet | grep {self.name} | xargs --no-run-if-empty docker volume rm")
            # those that script/up names after the folder
            names = "name=kinesis-lambda-logging-$(pwd -P | cksum | cut -d' ' -f1)"
            self._shell(f"{names}; docker volume rm $name; docker image rm $name")
            self._shell(f"docker network rm {self.name}; docker image rm {self.name}")

    def _adapted(self, command: str) -> str:
        """With names, ports and an hour of this session, and without waiting for minutes."""
        for long, short in SHORTER.items():
            command = re.sub(rf"{long}(?= |$)", short, command)
        command = re.sub(r"script/up\b", f"script/up --{self.way}", command)
        command = command.replace("web-log", self.name).replace("my-network", self.name)
        command = re.sub(r"\bkinesis-lambda-logging(?= |$)", self.name if "docker build" in command else IMAGE, command)
        command = command.replace("docker run ", f"docker run --label docs={self.name} ")
        command = re.sub(r"(?<=-p )(127\.0\.0\.1:)?(\d+)", lambda one: f"127.0.0.1:{self._port(one[2])}", command)
        command = re.sub(r"(?<=http://localhost:)\d+", lambda one: self._port(one[0]), command)
        if HOUR.search(command):
            command = HOUR.sub(self._hour_of_a_line(), command)
        return command

    def _port(self, documented: str) -> str:
        return self._ports.setdefault(documented, str(free_port()))

    def _hour_of_a_line(self) -> str:
        def listed() -> str:
            hours = HOUR.findall(self._shell("script/aws s3 ls s3://my-bucket --recursive").stdout)
            return hours[-1] if hours else ""

        return eventually(listed, within=30, every=0.5)

    def _begin(self, command: str, ready: Callable[[str], bool]) -> subprocess.Popen[bytes]:
        output = self._folder / f"{secrets.token_hex(4)}.output"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self._folder,
                env=self._environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._lasting[process] = output

        def look() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"{command} has ended with {process.returncode}: {said(output)}")
            return ready(said(output))

        eventually(look, within=STATE_SECONDS, every=0.5, why=command)
        return process

    def _up(self, printed: str) -> bool:
        """script/up says that it is ready; a page is opened, so that there is a line."""
        if "Ready after" not in printed:
            return False
        page = f"http://127.0.0.1:{self._environment['HTTP_PORT']}/"
        return self._shell(f"curl --silent --fail --output /dev/null {page}").returncode == 0

    def _healthy(self) -> bool:
        newest = f"$(docker ps --quiet --filter label=docs={self.name} | head -n 1)"
        return self._shell(f"docker exec {newest} appliance health --ready").returncode == 0

    def _shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )


def said(output: Path) -> str:
    return output.read_text(errors="replace")[-5000:]


def follow(page: str, session: Session) -> None:
    """Run the page's commands of the session's way."""
    try:
        for command in commands(page, session.way):
            session.run(command)
        session.interrupt()
    finally:
        session.end()
