"""A connection to the appliance's own nginx, where clients connect; and a socket for those that connect here."""

from __future__ import annotations

import http.client
import socket

from common.settings import Settings

BACKLOG = 100  # as hypercorn's own


def listen(host: str, port: int) -> socket.socket:
    """Listening; an empty `host` means every address, as HTTP_HOST. Raises OSError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # two may bind with SO_REUSEADDR while none listens
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class Connection(http.client.HTTPConnection):
    """`timeout`: seconds."""

    def __init__(self, settings: Settings, timeout: float) -> None:
        super().__init__(settings.http_host or "127.0.0.1", settings.http_port, timeout)
        self._proxied = settings.proxy_protocol

    def connect(self) -> None:
        super().connect()
        if self._proxied:
            self.send(b"PROXY UNKNOWN\r\n")  # no proxy is in between: PROXY protocol, 2.1
