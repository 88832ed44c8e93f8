"""Whoever receives alerts: a webhook over real HTTP, and a real SMTP server with TLS."""

from __future__ import annotations

import json
import ssl
import threading
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from deploy.local.ports import free_port
from tests.standins.hanging_up import ThreadingServer


class Webhook:
    """Takes POSTs; `answers` are the statuses it gives, the last for ever after."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers) or [200]
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.paths: list[str] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = stand_in.answers.pop(0) if len(stand_in.answers) > 1 else stand_in.answers[0]
                stand_in.requests.append((dict(self.headers), body))
                stand_in.paths.append(self.path)
                self.send_response(status)
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?token=secret-in-url"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def digests(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]


class Mailbox:
    """An SMTP server that insists on STARTTLS and a password; `messages` are what it took."""

    USER, PASSWORD = "piperoll", "a password"

    def __init__(self, certificate: Path, key: Path) -> None:
        self.messages: list[Any] = []
        self.recipients: list[list[str]] = []
        self.refuse = 0
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        self._controller = _Controller(self, context)
        self.port = self._controller.port
        self._controller.start()

    def close(self) -> None:
        self._controller.stop()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's
        if self.refuse:
            self.refuse -= 1
            return "451 try again later"
        self.messages.append(message_from_bytes(envelope.content, policy=default))
        self.recipients.append(envelope.rcpt_tos)
        return "250 taken"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = (data.login, data.password) == (self.USER.encode(), self.PASSWORD.encode())
        return AuthResult(success=good)


class _Controller(Controller):
    def __init__(self, box: Mailbox, context: ssl.SSLContext) -> None:
        self._box = box
        self._tls = context
        super().__init__(box, hostname="127.0.0.1", port=free_port())

    def factory(self) -> SMTP:
        return SMTP(
            self._box,
            tls_context=self._tls,
            require_starttls=True,
            auth_required=True,
            authenticator=self._box.authenticate,
        )
