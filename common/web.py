"""A connection to the appliance's own nginx, where clients connect."""

from __future__ import annotations

import http.client

from common.settings import Settings


class Connection(http.client.HTTPConnection):
    """`timeout`: seconds."""

    def __init__(self, settings: Settings, timeout: float) -> None:
        super().__init__(settings.http_host or "127.0.0.1", settings.http_port, timeout)
        self._proxied = settings.proxy_protocol

    def connect(self) -> None:
        super().connect()
        if self._proxied:
            self.send(b"PROXY UNKNOWN\r\n")  # no proxy is in between: PROXY protocol, 2.1
