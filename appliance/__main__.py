"""Starts the appliance: `python -m appliance`, the container's first process.

Checks the settings, prepares DATA_DIR, decides whether the embedded emulator is needed, renders nginx's configuration,
then runs supervisord until it is told to stop. Exit status: 0 stopped, 1 a program could not be kept running, 2 the
settings or the machine do not allow a start.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import logging
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from appliance.site import render
from common.aws import answers
from common.log import configure, event
from common.settings import Settings, SettingsError, load_settings
from common.status import write_status

log = logging.getLogger("appliance")

HOME = Path(__file__).resolve().parent.parent
PR_SET_PDEATHSIG = 1  # prctl.h
CAP_NET_BIND_SERVICE = 1 << 10  # capability.h


class StartError(Exception):
    """The appliance cannot start here; the message names the remedy."""


def needs_emulator(settings: Settings) -> bool:
    """Whether the embedded emulator has to serve: nothing was named, and nothing answers where one would be."""
    return (
        settings.target != "aws" and not settings.localstack_host and not answers("127.0.0.1", settings.emulator_port)
    )


def lock(settings: Settings) -> int:
    """Reserve DATA_DIR for this appliance; returns the descriptor that holds it. Raises StartError."""
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(settings.data_dir / "appliance.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unwritable(settings, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StartError(
            f"an appliance already runs on DATA_DIR {settings.data_dir}. Mend it by stopping that one, "
            "or give this one a folder of its own, -e DATA_DIR=/data2"
        ) from None
    return descriptor


def _unwritable(settings: Settings, error: OSError) -> StartError:
    return StartError(
        f"cannot write to DATA_DIR {settings.data_dir}: {error.strerror}. Mend it with a folder or volume with "
        f"free space that user {os.geteuid()} may write to, e.g. -v web-log:/data"
    )


def prepare(settings: Settings) -> None:
    """Make the folders; everything under run/ is made anew. Raises StartError."""
    try:
        shutil.rmtree(settings.run_dir, ignore_errors=True)
        for folder in (settings.log_file.parent, settings.run_dir / "nginx", settings.data_dir / "emulator"):
            folder.mkdir(parents=True, exist_ok=True)
        # for script/appliance and script/aws, which are started in another environment than this
        given = {name: value for name in Settings.model_fields if (value := os.environ.get(name.upper()))}
        (settings.run_dir / "environment").write_text(
            "".join(f"export {name.upper()}={shlex.quote(value)}\n" for name, value in given.items())
        )
        render(settings)
    except OSError as error:
        raise _unwritable(settings, error) from None


def announce(settings: Settings, emulator: bool) -> None:
    """Leave for the dashboard when the appliance started, and what it works with. Raises StartError."""
    kind = "aws" if settings.target == "aws" else "embedded" if emulator else "endpoint"
    try:
        write_status(settings.status_dir, "appliance", {"started_at": datetime.now(UTC).isoformat(), "endpoint": kind})
    except OSError as error:
        raise _unwritable(settings, error) from None


def _of_this_process(name: str) -> int:
    """A hexadecimal field of /proc/self/status; 0 where there is none."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1], 16)
    return 0


def _gains_capability(nginx: str) -> bool:
    """Whether nginx, as in the image, may listen on any port though this process may not. Raises StartError.

    capabilities(7): a file capability outside the bounding set makes the program impossible to start; with
    no_new_privs it starts, without it.
    """
    try:
        os.getxattr(nginx, "security.capability")
    except OSError:
        return False
    if not _of_this_process("CapBnd") & CAP_NET_BIND_SERVICE:
        raise StartError(
            "nginx cannot be started in a container without the capability to listen on port 80. "
            "Mend it with --cap-add NET_BIND_SERVICE"
        )
    return not _of_this_process("NoNewPrivs")


def check_nginx(settings: Settings) -> None:
    """Raise StartError when nginx is missing, cannot be started, or could not listen on HTTP_PORT."""
    nginx = shutil.which("nginx")
    if nginx is None:
        raise StartError("nginx is not installed. Mend it with: apt-get install nginx")
    gains = _gains_capability(nginx)
    port = settings.http_port
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.http_host, port))
        except PermissionError:
            if not gains:
                raise StartError(
                    f"HTTP_PORT={port} may not be listened on by user {os.geteuid()}. "
                    "Mend it with -e HTTP_PORT=8000 (and -p 80:8000), or HTTP_PORT=8000 script/up"
                ) from None
        except OSError as error:
            raise StartError(
                f"HTTP_PORT={port} cannot be listened on: {error.strerror}. "
                "Mend it with another one: -e HTTP_PORT=8000, or HTTP_PORT=8000 script/up"
            ) from None


def check_dashboard(settings: Settings) -> None:
    """Raise StartError when nobody could listen on DASHBOARD_PORT."""
    port = settings.dashboard_port
    if not port:
        return
    family = socket.AF_INET6 if ":" in settings.dashboard_host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.dashboard_host, port))
        except OSError as error:
            raise StartError(
                f"DASHBOARD_PORT={port} cannot be listened on: {error.strerror}. Mend it with another one: "
                f"-e DASHBOARD_PORT={port + 1 if 1024 <= port < 65535 else 8080}, or with none: -e DASHBOARD_PORT=0"
            ) from None


def environment(settings: Settings, emulator: bool) -> dict[str, str]:
    """What supervisord.conf and the programs read, on top of this process's own environment."""
    paths = [str(HOME), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "DATA_DIR": str(settings.data_dir),
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "LOG_FORMAT": settings.log_format,
        # the function in the embedded emulator calls it back; a proxy in between could not
        "NO_PROXY": ",".join(filter(None, ("127.0.0.1,localhost", os.environ.get("NO_PROXY")))),
        "EMULATOR_AUTOSTART": str(emulator).lower(),
        "EMULATOR_HOST": settings.emulator_host,
        "EMULATOR_PORT": str(settings.emulator_port),
        "DASHBOARD_AUTOSTART": str(settings.dashboard_port > 0).lower(),
        "EMULATOR_LOG_LEVEL": "INFO" if settings.log_level == "DEBUG" else "WARNING",
    }


def _end_with_parent() -> None:
    # prctl(2): when this process is killed, supervisord is told to stop, so that no program is left running alone
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def supervise(settings: Settings, variables: dict[str, str]) -> int:
    """Run supervisord until it ends; returns the exit status for the whole. Signals to stop are handed on."""
    if stat.S_ISREG(os.fstat(1).st_mode):
        # supervisord opens /dev/stdout anew for each program: in a plain file all of them must append
        fcntl.fcntl(1, fcntl.F_SETFL, fcntl.fcntl(1, fcntl.F_GETFL) | os.O_APPEND)
    stopping = False
    command = [sys.executable, "-m", "appliance.supervise", settings.log_format]
    command += ["--configuration", str(HOME / "supervisord.conf")]
    if os.geteuid() == 0:
        command += ["--user", "root"]  # said on purpose: it would warn that nobody said so
    supervisord = subprocess.Popen(
        command,
        env=variables,
        start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the programs in their order
        preexec_fn=_end_with_parent,
    )

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        os.kill(supervisord.pid, signal.SIGTERM)  # Popen.terminate() could collect the status itself

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, stop)
    while True:
        # as a container's first process this one inherits every orphan, and has to collect them all
        pid, status = os.wait()
        if pid == supervisord.pid:
            supervisord.returncode = os.waitstatus_to_exitcode(status)
            break
    fatal = settings.run_dir / "fatal"
    if fatal.exists():
        name = fatal.read_text()
        log.error(
            "%s could not be kept running; its lines above say why. The appliance has ended.",
            name,
            extra=event("failed", part=name),
        )
        return 1
    if not stopping:
        ended = supervisord.returncode
        log.error("supervisord ended by itself with status %s.", ended, extra=event("failed", part="supervisord"))
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m appliance",
        description="Run nginx, entrypoint, producer and, when it is needed, the embedded emulator. "
        "Everything is set by environment variables; docs/settings.md lists them.",
    )
    parser.parse_args(arguments)
    try:
        settings = load_settings()
        configure(settings.log_level, settings.log_format, "appliance", tag=True)
        emulator = needs_emulator(settings)
        check_nginx(settings)
        check_dashboard(settings)
        lock(settings)
        prepare(settings)
        announce(settings, emulator)
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)  # LOG_FORMAT is one of them
        return 2
    except StartError as error:
        log.error("%s", error, extra=event("failed", part="appliance"))
        return 2
    where = settings.localstack_host or f"127.0.0.1:{settings.emulator_port}"
    kind = "AWS" if settings.target == "aws" else "embedded emulator" if emulator else "endpoint"
    log.info(
        "%s",
        f"nginx on port {settings.http_port}, {kind} {where if kind != 'AWS' else ''}".rstrip(),
        extra=event("started", http_port=settings.http_port, endpoint=None if kind == "AWS" else where),
    )
    return supervise(settings, environment(settings, emulator))


if __name__ == "__main__":
    sys.exit(main())
