"""What this machine has to allow before the appliance can start."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import ssl
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from common.emulator import USER
from common.settings import Settings
from common.web import listen

HOME = Path(__file__).resolve().parent.parent


# What supervisord asks for, and raises a soft limit to
LIMITS = {"nofile": (resource.RLIMIT_NOFILE, 1024), "nproc": (resource.RLIMIT_NPROC, 200)}


class StartError(Exception):
    """The appliance cannot start here; the message names the remedy."""


def _listen(part: str, host: str, port: int) -> None:
    """Raises OSError for the port, StartError when it is the address that is not here."""
    try:
        listen(host, port).close()
    except OSError as error:
        if not host or error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
            raise
        raise StartError(
            f"{part}_HOST={host} cannot be listened on: {error.strerror}. Mend it with an address that this machine "
            f"or container has: 127.0.0.1, or all of them, -e {part}_HOST=0.0.0.0"
        ) from None


def check_limits() -> None:
    """Raise StartError when this process may not have as many open files or processes as it takes."""
    for name, (kind, least) in LIMITS.items():
        soft, hard = resource.getrlimit(kind)
        try:
            if 0 <= soft < least:  # -1: without a limit
                resource.setrlimit(kind, (least, max(least, hard) if hard >= 0 else hard))
        except (OSError, ValueError):
            raise StartError(
                f"the limit `{name}` is {hard}, which is too low. Mend it with --ulimit {name}={least} for docker run, "
                f"or a line `* hard {name} {least}` in /etc/security/limits.conf"
            ) from None


def _may_have_right() -> bool:
    """Whether nginx/start can give nginx the right to listen below 1024, which this process lacks."""
    give = "setpriv --inh-caps=+net_bind_service --ambient-caps=+net_bind_service true"
    return subprocess.run(["sh", "-c", give], capture_output=True, check=False).returncode == 0


def check_nginx(settings: Settings) -> None:
    """Raise StartError when nginx is missing, or could not listen on HTTP_PORT, or does not write what is shipped."""
    if settings.log_files:
        raise StartError(
            "LOG_FILES is for a producer without the appliance, whose nginx writes one log. Mend it by leaving it out, "
            "or with the producer alone (docs/host.md)"
        )
    if shutil.which("nginx") is None:
        raise StartError("nginx is not installed. Mend it with: apt-get install nginx")
    try:
        _listen("HTTP", settings.http_host, settings.http_port)
    except PermissionError:
        if not _may_have_right():
            raise StartError(
                f"HTTP_PORT={settings.http_port} may not be listened on by user {os.geteuid()}. Mend it with -e "
                "HTTP_PORT=8000 (and -p 80:8000), --sysctl net.ipv4.ip_unprivileged_port_start=0, or HTTP_PORT=8000 "
                "script/up"
            ) from None
    except OSError as error:
        raise StartError(
            f"HTTP_PORT={settings.http_port} cannot be listened on: {error.strerror}. "
            "Mend it with another one: -e HTTP_PORT=8000, or HTTP_PORT=8000 script/up"
        ) from None


def check_log(settings: Settings) -> None:
    """Raise StartError for a log that is not the appliance's own, which it would neither rotate nor delete."""
    if not settings.owns_log:
        raise StartError(
            f"LOG_FILE={settings.log_file} is for the producer on a host of its own (docs/host.md): nginx's log is "
            f"{settings.data_dir / 'log' / 'access.log'}. Mend it by leaving LOG_FILE out; DATA_DIR moves the log"
        )


def check_upstream(settings: Settings) -> None:
    """Raise StartError when nothing could verify the certificate of UPSTREAM."""
    if settings.upstream.startswith("https:") and settings.upstream_verify:
        try:
            ssl.create_default_context(cafile=settings.upstream_ca)
        except OSError as error:
            raise StartError(
                f"UPSTREAM_CA={settings.upstream_ca} cannot be used: {error.strerror or error}. Mend it with: apt-get "
                "install ca-certificates, or -e UPSTREAM_CA=<file of certificates>, or -e UPSTREAM_VERIFY=false"
            ) from None


def check_dashboard(settings: Settings) -> None:
    """Raise StartError when the dashboard could not listen on DASHBOARD_PORT."""
    port = settings.dashboard_port
    try:
        if port:
            _listen("DASHBOARD", settings.dashboard_host, port)
    except OSError as error:
        raise StartError(
            f"DASHBOARD_PORT={port} cannot be listened on: {error.strerror}. Mend it with another one: "
            f"-e DASHBOARD_PORT={port + 1 if 1024 <= port < 65535 else 8080}, or with none: -e DASHBOARD_PORT=0"
        ) from None


def emulator_python() -> Path | None:
    """The Python of the emulator's own environment, else this one if it has the emulator."""
    own = Path(sys.prefix, "emulator", "bin", "python")
    if own.exists():
        return own
    return Path(sys.executable) if find_spec("ministack") else None


def check_emulator(folder: Path) -> None:
    """Raise StartError without an emulator, or when it, which is never root, cannot reach Python, code or `folder`."""
    python = emulator_python()
    if python is None:
        raise StartError(
            "nothing answers where an endpoint would be, and there is no embedded emulator here. Mend it with an "
            "endpoint, -e LOCALSTACK_HOST=192.168.99.100, with -e TARGET=aws, or with an image that was built without "
            "--build-arg EMULATOR=0"
        )
    if os.geteuid() != 0:
        return
    try:
        blocked = _unreachable([python.resolve(), python, HOME / "emulator", folder])
    except OSError as error:
        raise StartError(
            f"the embedded emulator does not run as root, and cannot become user {USER}: {error.strerror}. "
            "Mend it by starting the appliance as an ordinary user"
        ) from None
    if blocked:
        raise StartError(
            f"the embedded emulator and its functions do not run as root, and user {USER} may not enter {blocked}. "
            "Mend it by moving what is there (the project, DATA_DIR or Python) to where others may go, such as /opt, "
            "or by starting the appliance as an ordinary user"
        )


def _unreachable(paths: list[Path]) -> str:
    """What on the way to one of `paths` USER may not enter, empty if nothing. Raises OSError if it cannot be tried."""
    way = [each for path in paths for each in (*reversed(path.parents), path)]
    enter = 'for each; do [ -x "$each" ] || { printf %s "$each"; exit; }; done'
    tried = subprocess.run(
        ["sh", "-c", enter, "sh", *way], user=USER, group=USER, extra_groups=[], capture_output=True, check=True
    )
    return os.fsdecode(tried.stdout)
