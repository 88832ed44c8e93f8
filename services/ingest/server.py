"""Granian inside this process: its Rust side speaks HTTP, our event loop runs the application."""

from __future__ import annotations

import asyncio
import os
import resource
from pathlib import Path
from ssl import SSLError
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.server.embed import Server

from services.common.errors import ConfigurationError, FatalError
from services.common.logging import get_logger
from services.ingest.certificate import Certificate
from services.ingest.settings import IngestSettings

log = get_logger(__name__)

_HEADERS_BYTES = 64 * 1024
_SPARE_FILES = 256
_OVERLAP_S = 0.5
"""For which the listener of a new certificate and that of the old one both take connections."""
_IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - ours alone is made in it


class _Listener(NamedTuple):
    """Granian, and the folder of the certificate that it reads, None without one."""

    server: Server
    folder: TemporaryDirectory[str] | None

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.server.serve())

    def stop(self) -> None:
        """Takes no new connections; those in use are answered."""
        self.server.stop()  # type: ignore[no-untyped-call]  # granian has few types
        if self.folder is not None:
            self.folder.cleanup()


class HttpServer:
    """HTTP/1.1 on one port, over TLS 1.2 or 1.3 where there is a certificate. A connection without a request is closed
    after 30 s. Raises ConfigurationError where the certificate cannot be used."""

    def __init__(self, app: Any, settings: IngestSettings) -> None:
        self._app = app
        self._settings = settings
        _allow_files(settings.max_connections + _SPARE_FILES)
        file = settings.ssl_certfile
        self._certificate = None if file is None else Certificate(file, settings.ssl_keyfile)
        self._next = self._listener()
        self._changed = asyncio.Event()
        self._stopping = False

    async def serve(self) -> None:
        """Until `stop`, by one listener after another where certificates are renewed. Raises FatalError where it cannot
        listen or ends by itself."""
        try:
            await self._serve()
        except (OSError, RuntimeError) as error:
            where = f"INGEST_HOST={self._settings.host}, INGEST_PORT={self._settings.port}"
            raise FatalError(f"cannot listen at {where}: {error}") from error

    async def _serve(self) -> None:
        listener, ending = self._next, set[asyncio.Task[None]]()
        serving = listener.start()
        while not serving.done():
            changed = asyncio.create_task(self._changed.wait())
            await asyncio.wait({serving, changed}, return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            self._changed.clear()
            if self._next is not listener and not serving.done():
                ending.add(serving)
                old, listener = listener, self._next
                serving = listener.start()
                await asyncio.sleep(_OVERLAP_S)
                old.stop()
            if self._stopping:
                listener.stop()
                await asyncio.wait({serving, *ending})
        serving.result()

    def look(self) -> None:
        """Takes a renewed certificate: new connections get it, those in use end as they are."""
        if self._certificate is None or not self._certificate.renewed():
            return
        try:
            self._next = self._listener()
        except ConfigurationError as error:
            log.error("keep_old_certificate", reason=str(error))  # noqa: TRY400 - the text says all
            return
        log.info("read_certificate", until=self._certificate.pair.until.isoformat())
        self._changed.set()

    def certificate_until(self) -> float:
        """When the certificate expires, Unix time; 0 without one."""
        return 0.0 if self._certificate is None else self._certificate.pair.until.timestamp()

    def stop(self) -> None:
        """Takes no new connections and ends once those in use are answered."""
        self._stopping = True
        self._changed.set()

    def _listener(self) -> _Listener:
        folder = file = key = None
        if self._certificate is not None:
            # granian may read its files at any time until it ends: nobody changes these
            folder = TemporaryDirectory(prefix="piperoll-ingest-", dir=_IN_MEMORY)
            file, key = self._certificate.pair.save(Path(folder.name))
        try:
            server = Server(
                self._app,
                address=self._settings.host,
                port=self._settings.port,
                interface=Interfaces.ASGINL,
                http=HTTPModes.http1,
                http1_settings=HTTP1Settings(header_read_timeout=30_000, max_buffer_size=_HEADERS_BYTES),
                websockets=False,
                backlog=1024,
                backpressure=self._settings.max_connections,
                log_enabled=False,
                ssl_cert=file,
                ssl_key=key,
                ssl_protocol_min=SSLProtocols.tls12,
            )
        except SSLError as error:
            raise ConfigurationError(f"INGEST_SSL_CERTFILE cannot be used: {error}") from error
        return _Listener(server, folder)


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
