"""`python -m services.enricher annotator`: the annotator, until SIGTERM or SIGINT.

Exit status: 0 stopped cleanly, 1 failed (a restart recovers), 2 wrong settings, or no AI key.
"""

from __future__ import annotations

import asyncio
import math
import signal

from services.common.ai.budget import Budget
from services.common.ai.budget_log import KafkaBudgetLog
from services.common.ai.client import Client
from services.common.ai.settings import AiSettings, read_ai_settings
from services.common.health import health_server
from services.common.kafka import check_topics
from services.common.logging import get_logger
from services.common.settings import HealthSettings, KafkaSettings, read_settings
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.app import BatchApp, new_app, new_producer, run_until
from services.enricher.outbox import Outbox
from services.enricher.readings import SHAPE_PROMPT
from services.enricher.settings import EnricherSettings
from services.enricher.wiring import EVENT_PROMPT, wire

log = get_logger(__name__)

BATCH_EVENTS = 500
LONGEST_OUTAGE_S = 7 * 24 * 3600.0
"""While a model is away nothing is fetched or committed, and nobody must take that for a dead consumer."""


async def run() -> int:
    """Everything by hand: settings, clients, agent, signals, end. Raises ConfigurationError, TransientError."""
    ai = read_ai_settings()
    price = ai.price()
    kafka = read_settings(KafkaSettings)
    await asyncio.to_thread(check_topics, kafka)
    app, ack_timeout_s = _new_app(kafka, ai)
    metrics = AnnotatorMetrics()
    producer = new_producer(kafka, "piperoll-annotator")
    outbox = Outbox(producer, kafka.topics, metrics, ack_timeout_s=ack_timeout_s)
    budget_log = await asyncio.to_thread(KafkaBudgetLog, kafka, "piperoll-annotator-ai-budget")
    client = Client(ai)
    wired = wire(
        ai,
        kafka,
        client,
        Budget(budget_log, ai.limits, price),
        outbox,
        metrics,
        complete=lambda batch: app.batch_consumer.complete(batch),  # noqa: PLW0108 - not there yet
        fail=app.fail,
    )
    app.read_batches(wired.annotator.take)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await producer.start()
    following = asyncio.create_task(wired.feed.run())
    await wired.feed.caught_up()  # else shapes that are known would be asked about again
    await app.start()
    log.info("annotator_started", model=ai.model_name, prompts=[SHAPE_PROMPT, EVENT_PROMPT])
    with health_server(read_settings(HealthSettings), metrics.registry, alive=app.wrong, ready=app.not_ready):
        failure = await run_until(app, stop, wired.annotator.settle)
    following.cancel()
    await client.close()
    await asyncio.to_thread(budget_log.close)
    if failure is not None:
        log.critical("annotator_failed", error=str(failure), kind=type(failure).__name__)
        return 1
    await producer.stop()
    return 0


def _new_app(kafka: KafkaSettings, ai: AiSettings) -> tuple[BatchApp, float]:
    """The app on audit.enriched, whose batches may take as long as the model does; and seconds to an ack."""
    settings = read_settings(EnricherSettings)
    events = min(ai.window_events, BATCH_EVENTS)
    patient = settings.model_copy(update={"batch_events": events, "ack_timeout_s": math.inf})
    app = new_app(kafka, patient, service="annotator", batched=kafka.topics.enriched)
    app.conf.broker_max_poll_interval = LONGEST_OUTAGE_S
    app.conf.stream_processing_timeout = LONGEST_OUTAGE_S
    app.conf.broker_commit_livelock_soft_timeout = LONGEST_OUTAGE_S
    return app, settings.ack_timeout_s
