"""`python -m services.enricher alerter`: the alerter, until SIGTERM or SIGINT.

Exit status: 0 stopped cleanly, 1 failed (a restart recovers), 2 wrong settings or thresholds.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from aiokafka import AIOKafkaProducer
from pydantic import Field

from services.common.clock import system_clock
from services.common.errors import TransientError
from services.common.health import health_server
from services.common.kafka import check_topics
from services.common.logging import get_logger
from services.common.settings import HealthSettings, KafkaSettings, SettingsGroup, read_settings
from services.enricher.alerting.ai_feed import AiFeed
from services.enricher.alerting.ai_use import AiUse
from services.enricher.alerting.alerter import Alerter
from services.enricher.alerting.declarations import Declarations
from services.enricher.alerting.horizon import Horizon
from services.enricher.alerting.judge import Judge
from services.enricher.alerting.metrics import AlerterMetrics
from services.enricher.alerting.said import read_said
from services.enricher.alerting.state import State
from services.enricher.alerting.table import new_table
from services.enricher.alerting.thresholds import load_thresholds
from services.enricher.app import BatchApp, new_app, new_producer, run_until
from services.enricher.settings import EnricherSettings

log = get_logger(__name__)


class AlerterSettings(SettingsGroup):
    """When to raise an alert."""

    file: Path | None = Field(
        None, alias="ALERTS_FILE", description="YAML with what differs from schemas/alerts.yaml"
    )
    look_every_s: float = Field(
        5.0,
        alias="ALERTER_LOOK_EVERY",
        gt=0,
        description="seconds between two looks for silent sources and gaps",
    )


async def run() -> int:
    """Everything by hand: settings, clients, agent, signals, end. Raises ConfigurationError, TransientError."""
    kafka, settings = read_settings(KafkaSettings), read_settings(AlerterSettings)
    limits = read_settings(EnricherSettings)
    thresholds = load_thresholds(settings.file)
    await asyncio.to_thread(check_topics, kafka)
    app = new_app(kafka, limits, service="alerter", batched=kafka.topics.counts)
    table, metrics, producer = new_table(app), AlerterMetrics(), new_producer(kafka, "piperoll-alerter")
    state = State(table)
    alerter = Alerter(
        Judge(state, thresholds),
        table,
        producer,
        kafka.topics,
        metrics,
        Declarations(kafka),
        Horizon(kafka),
        AiUse(state, thresholds),
        AiFeed(kafka),
        read_said=lambda: read_said(kafka),
        owned_since=lambda: app.batch_consumer.progress()[1],
        holds=lambda batch: app.batch_consumer.holds(batch),  # noqa: PLW0108 - not there yet
        complete=lambda batch: app.batch_consumer.complete(batch),  # noqa: PLW0108 - not there yet
        clock=system_clock,
        ack_timeout_s=limits.ack_timeout_s,
    )
    app.before_revocation = alerter.settle
    app.read_batches(alerter.take)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await producer.start()
    await app.start()
    looking = asyncio.create_task(_look(app, alerter, settings.look_every_s))
    with health_server(read_settings(HealthSettings), metrics.registry, alive=app.wrong, ready=app.not_ready):
        failure = await run_until(app, stop, alerter.settle)
    looking.cancel()
    return await _end(failure, alerter, producer)


async def _look(app: BatchApp, alerter: Alerter, every_s: float) -> None:
    """Looks now and then while the counts are ours to read and the state is recovered."""
    while True:
        await asyncio.sleep(every_s)
        ours = any(place.topic == app.kafka.topics.counts for place in app.batch_consumer.assignment())
        if not ours or app.not_ready() is not None or app.in_recovery:
            continue
        try:
            await alerter.look()
        except TransientError as error:
            log.warning("not_looked", why=str(error))
        except Exception as error:  # noqa: BLE001 - what is said and what is kept may differ now: only a restart mends it
            app.fail(error)


async def _end(failure: BaseException | None, alerter: Alerter, producer: AIOKafkaProducer) -> int:
    if failure is not None:
        log.critical("alerter_failed", error=str(failure), kind=type(failure).__name__)
        return 1
    alerter.close()
    await producer.stop()
    return 0
