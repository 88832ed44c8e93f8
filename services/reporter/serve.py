"""`python -m services.reporter serve`: sends alerts out, verifies and reports on schedule while it leads, until SIGTERM or
SIGINT. Over HTTP it serves health and metrics alone: no report, no search, no proof.

Exit status: 0 stopped cleanly, 2 wrong settings.
"""

from __future__ import annotations

import asyncio
import signal

from services.common.clock import system_clock
from services.common.health import health_server
from services.common.logging import get_logger
from services.common.settings import HealthSettings, KafkaSettings, PostgresSettings, read_settings
from services.reporter.deliver.courier import Courier
from services.reporter.deliver.metrics import ReporterMetrics
from services.reporter.deliver.settings import DeliverySettings
from services.reporter.deliver.targets import new_targets
from services.reporter.runs.loop import Runs, RunsMetrics
from services.reporter.runs.settings import RunsSettings
from services.reporter.settings import VerifySettings
from services.reporter.watch import Watch, WatchMetrics

log = get_logger(__name__)


async def serve() -> int:
    """Everything by hand: settings, targets, signals, the loop. Raises ConfigurationError."""
    kafka, settings = read_settings(KafkaSettings), read_settings(DeliverySettings)
    metrics = ReporterMetrics()
    targets = new_targets(settings, system_clock)
    log.info("alerts_go_to", targets=[target.name for target in targets] or ["this log"])
    dsn = read_settings(PostgresSettings).dsn
    courier = Courier(kafka, dsn, settings, targets, metrics, system_clock)
    verifying = read_settings(VerifySettings)
    watch = Watch(kafka, dsn, verifying, WatchMetrics(metrics.registry))
    runs = Runs(
        kafka, dsn, read_settings(RunsSettings), verifying, RunsMetrics(metrics.registry), system_clock
    )
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    health = read_settings(HealthSettings)
    with health_server(health, metrics.registry, alive=lambda: None, ready=courier.not_ready):
        tasks = [asyncio.create_task(part.run(stop)) for part in (courier, watch, runs)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        stop.set()  # one that ends, ends with wrong settings or with the service
        await asyncio.gather(*tasks)
    return 0
