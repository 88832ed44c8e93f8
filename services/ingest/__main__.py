"""`python -m services.ingest`: HTTP in, audit.events out. Exit status: 0 stopped, 1 failed, 2 wrong settings."""

from __future__ import annotations

import asyncio
import signal
import sys

from schemas.catalog import load_catalog
from schemas.documents import DocumentError
from services.common.errors import ConfigurationError, FatalError, TransientError
from services.common.logging import configure_logging, get_logger
from services.common.settings import KafkaSettings, LogSettings, environment, read_settings
from services.common.shredding.door import Door, configured_door
from services.common.shredding.settings import SubjectKeySettings
from services.ingest.access import Access
from services.ingest.app import Ingest
from services.ingest.encrypting import FieldDoor
from services.ingest.metrics import Metrics
from services.ingest.proofs import Proofs, proofs_dsn
from services.ingest.publisher import Publisher
from services.ingest.reading import Reader
from services.ingest.reads import Reads
from services.ingest.replies import Replies
from services.ingest.routes import Routes
from services.ingest.server import HttpServer, stopped
from services.ingest.settings import IN_CLEAR, IngestSettings, check_settings

log = get_logger(__name__)

_LOOK_SECONDS = 2.0
"""Between two looks at the files that may change: API keys, the certificate, the keys of subjects."""


async def run(
    settings: IngestSettings,
    kafka: KafkaSettings,
    access: Access,
    reader: Reader,
    door: Door | None,
    dsn: str | None,
) -> int:
    """Serves until SIGTERM or SIGINT, or a thread fails (FatalError, after an orderly end); returns the exit status."""
    metrics, stop = Metrics(), asyncio.Event()
    publisher = Publisher(kafka, settings.delivery_timeout, metrics, on_failure=stop.set)
    replies = Replies(kafka, settings.max_waiting, broker_away=publisher.away, on_failure=stop.set)
    routes = Routes(
        settings,
        kafka,
        access=access,
        reader=reader,
        publisher=publisher,
        replies=replies,
        metrics=metrics,
        door=door,
    )
    ingest = Ingest(routes, Proofs(dsn, access, Reads(kafka), settings))
    server = HttpServer(ingest, settings)
    metrics.certificate_until.set_function(server.certificate_until)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    publisher.start()
    replies.start()
    serving = asyncio.create_task(server.serve())
    _say_started(settings)
    await _watch(serving, stop, access, server, routes.door)
    if serving.done():
        serving.result()
        raise FatalError("the HTTP server ended by itself")
    await ingest.drain(settings.stop_timeout)
    server.stop()
    await stopped(serving, 5.0)
    await ingest.end(settings.delivery_timeout)
    log.info("ingest_stopped")
    return 0


def _say_started(settings: IngestSettings) -> None:
    log.info(
        "ingest_started",
        host=settings.host,
        port=settings.port,
        tls=settings.ssl_certfile is not None,
        key_required=settings.key_required,
    )
    if settings.in_clear:
        log.warning("sent_in_clear", reason=IN_CLEAR)


async def _watch(
    serving: asyncio.Task[None],
    stop: asyncio.Event,
    access: Access,
    server: HttpServer,
    door: FieldDoor | None,
) -> None:
    """Until `stop` or the server's end; reads what changes meanwhile."""
    stopping = asyncio.create_task(stop.wait())
    while not stopping.done() and not serving.done():
        await asyncio.wait({serving, stopping}, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        access.reload()
        server.look()
        if door is not None:
            await door.look()
    stopping.cancel()


def main() -> int:
    try:
        variables = environment()
        configure_logging(read_settings(LogSettings, variables), "ingest")
        settings, kafka = read_settings(IngestSettings, variables), read_settings(KafkaSettings, variables)
        check_settings(settings, kafka)
        access = Access(settings.keys_file, required=settings.key_required)
        reader = Reader(
            load_catalog(settings.catalog), event_limit=kafka.event_limit, batch_events=settings.batch_events
        )
        door = configured_door(read_settings(SubjectKeySettings, variables))
        return asyncio.run(run(settings, kafka, access, reader, door, proofs_dsn(variables)))
    except (FatalError, TransientError, DocumentError) as error:
        log.error("ingest_failed", reason=str(error))  # noqa: TRY400 - the text says all
        return 2 if isinstance(error, ConfigurationError | DocumentError) else 1


if __name__ == "__main__":
    sys.exit(main())
