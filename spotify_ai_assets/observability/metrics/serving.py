"""The endpoint: ``/metrics`` for Prometheus and ``/health`` as JSON, on loopback unless the operator says otherwise.

There is no login here, as with other exporters: who may read is decided by where it listens. On loopback a foreign Host header is
refused, so that no web page can read it by pointing a name of its own at this machine.
"""

import ipaddress
import json
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from spotify_ai_assets.errors import SettingsError

_PATIENCE_S = 10
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"
_STATUSES = {"failing": HTTPStatus.SERVICE_UNAVAILABLE}

Health = Callable[[], Mapping[str, Any]]
"""Gives health as JSON; its ``grade`` decides on the status."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address, or a name that stands for one."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def refuse_others(host: str, *, is_public: bool) -> None:
    """Refuse an address that others can reach unless somebody said that they may.

    Raises:
        SettingsError: It is such an address.
    """
    if not is_public and not is_loopback(host):
        raise SettingsError(f"{host} can be reached by others; metrics are for this machine alone unless --public is given")


class Endpoint(ThreadingHTTPServer):
    """Serves metrics and health; each request in a thread of its own.

    Args:
        metrics: Gives the metrics in Prometheus' text format.
        health: Gives health.
        host: Where to listen.
        port: Where to listen; 0 takes any that is free.
        is_public: Whether others than this machine may ask.

    Raises:
        SettingsError: The address is not of this machine alone, and nobody said that it may be.
    """

    daemon_threads = True

    def __init__(self, metrics: Callable[[], bytes], health: Health, host: str, port: int, *, is_public: bool = False) -> None:
        refuse_others(host, is_public=is_public)
        self.metrics, self.health, self.is_public = metrics, health, is_public
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host.strip("[]"), port), _Handler)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint  # pyright: ignore[reportIncompatibleVariableOverride]: what makes it is one
    timeout = _PATIENCE_S
    server_version, sys_version = "spotify-ai", ""

    def do_GET(self) -> None:
        """Answer ``/metrics`` and ``/health``."""
        try:
            host, path = urlsplit(f"//{self.headers.get('Host', '')}").hostname or "", urlsplit(self.path).path
        except ValueError:
            self._answer(HTTPStatus.BAD_REQUEST, _TEXT, b"this is no address\n")
            return
        try:
            if not self.server.is_public and not is_loopback(host):
                self._answer(HTTPStatus.FORBIDDEN, _TEXT, b"this address is for this machine alone\n")
            elif path == "/metrics":
                self._answer(HTTPStatus.OK, _TEXT, self.server.metrics())
            elif path == "/health":
                found = self.server.health()
                self._answer(_STATUSES.get(str(found["grade"]), HTTPStatus.OK), _JSON, json.dumps(found, ensure_ascii=False).encode())
            else:
                self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"/metrics and /health are here\n")
        except ConnectionError:  # whoever asked has gone
            self.close_connection = True
        except Exception as error:  # what failed is told by its kind alone, since a message may say more than strangers may know
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, f"{type(error).__name__}\n".encode())

    do_HEAD = do_GET

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")):
            self.send_header(name, value)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: a scrape every few seconds is no news."""
