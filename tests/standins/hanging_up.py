"""For the servers of the stand-ins: a client that hangs up before it has its answer is no fault to print."""

from __future__ import annotations

import sys
from http.server import HTTPServer, ThreadingHTTPServer
from typing import Any


class HangingUp:
    """Beside a class of socketserver, and before it."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class ThreadingServer(HangingUp, ThreadingHTTPServer):
    """Each request in a thread of its own."""


class Server(HangingUp, HTTPServer):
    """One request after the other."""
