"""What script/up tells the container engine, by an engine that only writes it down; and its answers to what a person
types wrong."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.appliance.drivers import ROOT
from tests.waiting import eventually, free_port

# `run --rm` is what script/up asks of the settings: it gets the real answer
ENGINE = f"""#!/bin/sh
echo "$@" >> "$0.said"
case "$1 $2" in
  "info "*) cat "$0.info" >&2 2>/dev/null && exit 1; exit 0;;
  "run --rm") exec env PYTHONPATH={ROOT}:{sysconfig.get_path("purelib")} {sys.executable} -m common.settings;;
  "run --detach") echo id; exit "$(cat "$0.run" 2>/dev/null || echo 0)";;
  "inspect "*) cat "$0.running" 2>/dev/null || exit 1;;
  "volume inspect") test -e "$0.volume";;
  "wait "*) echo 0;;
esac
"""


class Checkout:
    """script/ in a folder of its own, with fake engines before all others on PATH."""

    def __init__(self, folder: Path, *engines: str) -> None:
        self.path = folder / "checkout"
        shutil.copytree(ROOT / "script", self.path / "script")
        shutil.copy(ROOT / "settings.env", self.path)
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in engines:
            self.engine(name)
        ports = {name: str(free_port()) for name in ("HTTP_PORT", "DASHBOARD_PORT", "EMULATOR_PORT")}
        self.environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", **ports}

    def engine(self, name: str, text: str = ENGINE) -> Path:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def tell(self, what: str, text: str = "", engine: str = "docker") -> None:
        """What the engine is to answer to `info` (why it cannot be used), `run` (status), inspect (`running`) …"""
        (self.bin / f"{engine}.{what}").write_text(text)

    def up(self, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return self.run("up", *options, **settings)

    def run(self, script: str, *options: str, **settings: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.path / "script" / script), *options]
        environment = self.environment | settings
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def said(self, engine: str = "docker") -> list[str]:
        """The engine's command lines."""
        file = self.bin / f"{engine}.said"
        return file.read_text().splitlines() if file.exists() else []

    def started(self) -> str:
        """The command line that starts the container."""
        [run] = [line for line in self.said() if line.startswith("run --detach ")]
        return run

    @property
    def name(self) -> str:
        return self.started().split(" --name ")[1].split()[0]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path, "docker", "podman")


@pytest.mark.parametrize(
    ("where", "embedded"), [({}, True), ({"LOCALSTACK_HOST": "192.0.2.1"}, False), ({"TARGET": "aws"}, False)]
)
def test_the_users_key_goes_only_where_the_appliance_talks_to_somebody_else(
    checkout: Checkout, where: dict[str, str], embedded: bool
) -> None:
    ended = checkout.up("--docker", AWS_SECRET_ACCESS_KEY="x", **where)
    assert ended.returncode == 0, ended.stderr
    run, port = checkout.started(), checkout.environment["EMULATOR_PORT"]
    assert ("--env AWS_SECRET_ACCESS_KEY" in run) is not embedded
    assert (f"--env EMULATOR_HOST=0.0.0.0 --publish 127.0.0.1:{port}:{port}" in run) is embedded
    assert "EMULATOR_HOST" not in run or embedded


def test_proxies_and_certificates_of_the_environment_reach_the_build(checkout: Checkout, tmp_path: Path) -> None:
    own = tmp_path / "company.pem"
    own.write_text("a company's authority\n")
    checkout.up("--docker", HTTPS_PROXY="http://proxy:3128", NODE_EXTRA_CA_CERTS=str(own))
    assert [line for line in checkout.said() if line.startswith("build ")] == [
        f"build --build-arg HTTPS_PROXY --tag {checkout.name} --tag kinesis-lambda-logging ."
    ]
    assert (checkout.path / "ca.pem").read_text() == own.read_text()
    checkout.up("--docker")
    assert not (checkout.path / "ca.pem").exists()


def test_addresses_and_the_authorities_file_are_handed_on_as_the_container_has_them(
    checkout: Checkout, tmp_path: Path
) -> None:
    own = tmp_path / "company.pem"
    own.touch()
    ended = checkout.up(
        *("--docker",), HTTP_HOST="::1", DASHBOARD_HOST="192.0.2.7", EMULATOR_HOST="0.0.0.0", UPSTREAM_CA=str(own)
    )
    assert ended.returncode == 0, ended.stderr
    run, ports = checkout.started(), checkout.environment
    assert f"--publish [::1]:{ports['HTTP_PORT']}:{ports['HTTP_PORT']} " in run
    assert f"--env DASHBOARD_HOST=0.0.0.0 --publish 192.0.2.7:{ports['DASHBOARD_PORT']}:" in run
    assert f"--env EMULATOR_HOST=0.0.0.0 --publish 0.0.0.0:{ports['EMULATOR_PORT']}:" in run
    assert f"--volume {own}:/upstream-ca.pem:ro --env UPSTREAM_CA=/upstream-ca.pem" in run
    assert "--env-file settings.env" in run


@pytest.mark.parametrize(
    ("options", "settings", "answer"),
    [
        (["--dcoker"], {}, "script/up: there is no option --dcoker\nMend it with: script/up --help"),
        (["--docker", "now"], {}, "script/up: it takes one option, not also now\n"),
        (
            ["--docker"],
            {"DATA_DIR": "/srv/log"},
            "script/up: DATA_DIR is for --native: by docker all state is in a volume",
        ),
        (["--docker"], {"UPSTREAM_CA": "/nowhere.pem"}, "script/up: UPSTREAM_CA=/nowhere.pem cannot be read\n"),
        (["--docker"], {"POLL_INTERVALL": "5"}, "POLL_INTERVALL: there is no such setting; is POLL_INTERVAL meant?"),
        (["--docker"], {"LOCALSTACKHOST": "x"}, "LOCALSTACKHOST: there is no such setting; is LOCALSTACK_HOST meant?"),
        (["--docker"], {"SHARD_COUNT": "two"}, "Mend it with: -e SHARD_COUNT=1"),
    ],
)
def test_what_is_typed_wrong_gets_its_answer_and_starts_nothing(
    checkout: Checkout, options: list[str], settings: dict[str, str], answer: str
) -> None:
    ended = checkout.up(*options, **settings)
    assert ended.returncode == 2
    assert answer in ended.stderr
    assert not [line for line in checkout.said() if line.startswith("run --detach")]


def test_a_taken_port_is_named_with_a_free_one_before_anything_is_built(checkout: Checkout) -> None:
    with socket.socket() as web, socket.socket() as other:
        for listener in (web, other):
            listener.bind(("127.0.0.1", 0))
            listener.listen()
        taken = {"HTTP_PORT": str(web.getsockname()[1]), "DASHBOARD_PORT": str(other.getsockname()[1])}
        ended = checkout.up("--docker", **taken)
        assert ended.returncode == 2
        assert (
            "listens already on HTTP_PORT={HTTP_PORT} DASHBOARD_PORT={DASHBOARD_PORT} ".format(**taken) in ended.stderr
        )
        [remedy] = [line for line in ended.stderr.splitlines() if line.startswith("Mend it with: ")]
        assert not [line for line in checkout.said() if line.startswith("build")]
        free = dict(word.split("=") for word in remedy.split() if "_PORT=" in word)
        assert len({*free.values(), *taken.values()}) == 4
        assert checkout.up("--docker", **free).returncode == 0


def test_a_second_one_is_refused_and_the_first_left_alone(checkout: Checkout) -> None:
    checkout.tell("running", "true\n", engine="podman")
    for way in ("--docker", "--podman", "--native"):
        ended = checkout.up(way)
        assert ended.returncode == 2
        assert (
            "this checkout's appliance runs already, by podman in the container kinesis-lambda-logging-" in ended.stderr
        )
        assert "or podman stop kinesis-lambda-logging-" in ended.stderr
    assert {line.split()[0] for engine in ("docker", "podman") for line in checkout.said(engine)} == {"info", "inspect"}


def test_natively_a_second_one_on_the_same_folder_is_refused(checkout: Checkout) -> None:
    folder = checkout.path / ".data"
    folder.mkdir()
    with subprocess.Popen(["flock", str(folder / "appliance.lock"), "cat"], stdin=subprocess.PIPE) as held:
        eventually(lambda: (folder / "appliance.lock").exists())
        ended = eventually(lambda: refused(checkout.up("--native")))
        assert held.stdin
        held.stdin.close()
    assert f"an appliance runs already, natively on {folder}\nMend it with: Ctrl-C" in ended.stderr


def refused(ended: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert ended.returncode == 2, ended.stderr
    return ended


def test_a_container_that_could_not_start_is_not_left_behind(checkout: Checkout) -> None:
    checkout.tell("run", "125")
    ended = checkout.up("--docker")
    assert ended.returncode == 2
    assert (
        "script/up: docker could not start the container; it says above why\nMend it with: another port" in ended.stderr
    )
    assert checkout.said()[-1] == f"rm {checkout.name}"


def test_each_checkout_has_a_container_and_a_volume_of_its_own(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Checkout(tmp_path / "other", "docker")
    for one in (checkout, other):
        assert one.up("--docker").returncode == 0
        assert f"--volume {one.name}:/data" in one.started()
        assert one.started().endswith(f" {one.name}"), "its own image, whatever another one built meanwhile"
        assert not [line for line in one.said() if line.startswith("rm --force") and line != "rm --force id"]
    assert checkout.name != other.name


def test_the_volume_of_before_is_used_on(checkout: Checkout) -> None:
    checkout.tell("volume")
    assert checkout.up("--docker").returncode == 0
    assert "--volume kinesis-lambda-logging:/data" in checkout.started()
    assert checkout.name != "kinesis-lambda-logging"


DENIED = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock\n"
REMEDY = "this user may not use docker (permission denied; for Docker: sudo usermod -aG docker "


def test_a_socket_that_the_user_may_not_use_is_said(checkout: Checkout) -> None:
    checkout.tell("info", DENIED)
    ended = checkout.up("--docker")
    assert ended.returncode == 2
    assert REMEDY in ended.stderr
    assert f"Starting by podman, as {REMEDY}" in checkout.up().stderr
    checkout.tell("info", "Cannot connect\n", engine="podman")
    ended = checkout.up()
    assert ended.returncode == 2
    assert REMEDY in ended.stderr
    assert "and podman does not answer\nMend it with: that, or script/up --native" in ended.stderr


@pytest.mark.parametrize(
    ("docker", "podman", "said"),
    [
        (True, True, "Starting by docker; --podman or --native is another way."),
        (False, True, "Starting by podman, as docker does not answer."),
        (False, False, "Starting natively, as docker does not answer, and podman does not answer."),
    ],
)
def test_it_says_why_it_goes_its_way(checkout: Checkout, docker: bool, podman: bool, said: str) -> None:
    for name, answers in (("docker", docker), ("podman", podman)):
        if not answers:
            checkout.tell("info", "Cannot connect to the daemon\n", engine=name)
    shutil.copy("/bin/false", checkout.path / "script" / "bootstrap")  # natively, it ends there
    assert checkout.up().stderr.splitlines()[0] == said


# Natively: an appliance that ends soon, and a health that is always good
PYTHON = """#!/bin/sh
test "$2" = appliance || exit 0
test -z "$OWN" || echo $$ > "$DATA_DIR/run/supervisord.pid"
exec sleep 2
"""


@pytest.mark.parametrize("own", [True, False])
def test_it_is_ready_only_by_what_it_started_itself(checkout: Checkout, own: bool) -> None:
    run = checkout.path / ".data" / "run"
    run.mkdir(parents=True)
    (run / "supervisord.pid").write_text(str(os.getpid()))
    python = checkout.path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    shutil.copy("/bin/true", checkout.path / "script" / "bootstrap")
    ended = checkout.up("--native", OWN="x" if own else "")
    assert ended.returncode == 0, ended.stderr
    assert ("Ready after" in ended.stdout) is own
