"""`python -m services.writer`: the writer (`… sealer`: the sealer), until SIGTERM or SIGINT.

Exit status: 0 stopped cleanly, 1 failed (a restart recovers), 2 wrong settings.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from importlib import import_module

from services.common.errors import ConfigurationError, FatalError
from services.common.health import health_server
from services.common.logging import configure_logging, get_logger
from services.common.settings import (
    HealthSettings,
    KafkaSettings,
    LogSettings,
    PostgresSettings,
    read_settings,
)
from services.writer.loop import Writer
from services.writer.metrics import Metrics
from services.writer.settings import WriterSettings
from services.writer.store import Store

log = get_logger(__name__)


async def run() -> None:
    """Everything by hand: settings, clients, signals, the loop."""
    settings = read_settings(WriterSettings)
    metrics = Metrics()
    store = Store(read_settings(PostgresSettings).dsn, settings.statement_timeout_s)
    writer = Writer(read_settings(KafkaSettings), settings, store, metrics)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    health = read_settings(HealthSettings)
    with health_server(health, metrics.registry, alive=writer.not_alive, ready=writer.not_ready):
        await writer.run(stop)


def main() -> None:
    """Settings, logging, run; the process ends at once afterwards, whatever threads are left."""
    gc.set_threshold(50_000, 20, 20)  # batches are thousands of small objects, hardly any in cycles
    sys.setswitchinterval(0.001)  # the thread that parses must not keep the one that appends waiting
    status = 0
    service = "sealer" if "sealer" in sys.argv[1:] else "writer"
    try:
        configure_logging(read_settings(LogSettings), service)
        # The sealer's module only where it runs: the writer has no key and needs no cryptography.
        begin = run if service == "writer" else import_module("services.writer.seal_main").run
        asyncio.run(begin())
    except ConfigurationError as error:
        log.critical("settings_wrong", error=str(error))
        status = 2
    except FatalError as error:
        log.critical("service_failed", service=service, error=str(error))
        status = 1
    except Exception:
        log.critical("service_failed", service=service, exc_info=True)
        status = 1
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
