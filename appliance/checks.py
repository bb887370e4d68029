"""What this machine has to allow before the appliance can start."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from pathlib import Path

from common.settings import Settings

CAP_NET_BIND_SERVICE = 1 << 10  # capability.h


class StartError(Exception):
    """The appliance cannot start here; the message names the remedy."""


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
    try:
        _listen(settings.http_host, settings.http_port)
    except PermissionError:
        if not gains:
            raise StartError(
                f"HTTP_PORT={settings.http_port} may not be listened on by user {os.geteuid()}. "
                "Mend it with -e HTTP_PORT=8000 (and -p 80:8000), or HTTP_PORT=8000 script/up"
            ) from None
    except OSError as error:
        raise StartError(
            f"HTTP_PORT={settings.http_port} cannot be listened on: {error.strerror}. "
            "Mend it with another one: -e HTTP_PORT=8000, or HTTP_PORT=8000 script/up"
        ) from None


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
            _listen(settings.dashboard_host, port)
    except OSError as error:
        raise StartError(
            f"DASHBOARD_PORT={port} cannot be listened on: {error.strerror}. Mend it with another one: "
            f"-e DASHBOARD_PORT={port + 1 if 1024 <= port < 65535 else 8080}, or with none: -e DASHBOARD_PORT=0"
        ) from None


def _listen(host: str, port: int) -> None:
    """Take the port for a moment. Raises OSError."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
