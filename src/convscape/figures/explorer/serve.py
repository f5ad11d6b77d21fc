"""Serves the explorer's page to this machine alone."""

from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from convscape.arithmetic.errors import InputError
from convscape.figures.explorer.bundle import module, text
from convscape.figures.explorer.page import POLICY, served

HOST = "127.0.0.1"
PORT = 8123


class Server(ThreadingHTTPServer):
    """The page and its two files on the loopback interface.

    Args:
        port: Port; 0 is any that is free.
        network: What `network.describe` made of a model, or None.

    Raises:
        InputError: The port is not a port, or is in use.
    """

    daemon_threads = True

    def __init__(self, port: int = PORT, network: Mapping[str, Any] | None = None) -> None:
        if not 0 <= port <= 65535:
            raise InputError("a port is a number from 0 to 65535", f"{port}", f"use --port {PORT}")
        self.files = {
            "/": ("text/html", served(network).encode()),
            "/explorer.css": ("text/css", text("explorer.css").encode()),
            "/explorer.js": ("text/javascript", module().encode()),
            "/page.js": ("text/javascript", text("page.js").encode()),
        }
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise InputError(
                "the explorer's port must be free",
                f"port {port}: {error.strerror}",
                "choose another by --port, or --port 0 for any that is free",
            ) from None

    @property
    def address(self) -> str:
        """Where the page is, without a setting."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "convscape"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        # A page elsewhere that has its own name resolved to this machine is not served.
        names = {f"{host}:{self.server.server_port}" for host in (HOST, "localhost")}
        if self.headers.get("Host") not in names:
            self.send_error(HTTPStatus.FORBIDDEN, "only this machine is served")
            return
        found = self.server.files.get(self.path.partition("?")[0])
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, content = found
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        policy = POLICY.format(scripts="'self'", styles="'self'") + "; frame-ancestors 'none'"
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the command line prints the address, and errors reach the browser."""
