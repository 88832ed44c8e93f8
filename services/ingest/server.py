"""Granian inside this process: its Rust side speaks HTTP, our event loop runs the application."""

from __future__ import annotations

import asyncio
import resource
from typing import Any

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.embed import Server

from services.common.errors import FatalError
from services.common.logging import get_logger
from services.ingest.certificate import Certificate
from services.ingest.settings import IngestSettings

log = get_logger(__name__)

_HEADERS_BYTES = 64 * 1024
_SPARE_FILES = 256


class HttpServer:
    """HTTP/1.1 on one port, over TLS 1.2 or 1.3 where there is a certificate. A connection without a request is closed
    after 30 s. Raises ConfigurationError where the certificate cannot be used."""

    def __init__(self, app: Any, settings: IngestSettings) -> None:
        self._where = f"INGEST_HOST={settings.host}, INGEST_PORT={settings.port}"
        file = settings.ssl_certfile
        self.certificate = None if file is None else Certificate(file, settings.ssl_keyfile)
        _allow_files(settings.max_connections + _SPARE_FILES)
        self._server = Server(
            app,
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=30_000, max_buffer_size=_HEADERS_BYTES),
            websockets=False,
            backlog=1024,
            backpressure=settings.max_connections,
            log_enabled=False,
            ssl_cert=None if self.certificate is None else self.certificate.file,
            ssl_key=None if self.certificate is None else self.certificate.key,
            ssl_protocol_min=SSLProtocols.tls12,
        )

    async def serve(self) -> None:
        """Until `stop`. Raises FatalError where it cannot listen or ends by itself."""
        try:
            await self._server.serve()
        except (OSError, RuntimeError) as error:
            raise FatalError(f"cannot listen at {self._where}: {error}") from error

    def look(self) -> None:
        """Takes a renewed certificate: new connections get it, those in use end as they are."""
        if self.certificate is not None and self.certificate.renewed():
            self._server.reload()  # type: ignore[no-untyped-call]  # granian has few types

    def certificate_until(self) -> float:
        """When the certificate expires, Unix time; 0 without one."""
        return 0.0 if self.certificate is None else self.certificate.until.timestamp()

    def stop(self) -> None:
        """Takes no new connections and ends once those in use are answered."""
        self._server.stop()  # type: ignore[no-untyped-call]  # granian has few types


def _allow_files(count: int) -> None:
    """A connection is an open file; the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def stopped(serving: asyncio.Task[None], seconds: float) -> None:
    """Waits for the server's end; a client that neither sends nor reads cannot hold it up."""
    _done, pending = await asyncio.wait({serving}, timeout=seconds)
    if pending:
        log.warning("connections_cut", reason=f"still open after {seconds:g} s")
        serving.cancel()
