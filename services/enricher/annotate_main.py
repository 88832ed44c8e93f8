"""`python -m services.enricher annotator`: the annotator, until SIGTERM or SIGINT.

Exit status: 0 stopped cleanly, 1 failed (a restart recovers), 2 wrong settings, or no AI key.
"""

from __future__ import annotations

import asyncio
import math
import signal

from schemas.catalog import load_catalog
from services.common.ai.asker import Asker
from services.common.ai.breaker import Breaker
from services.common.ai.budget import Budget
from services.common.ai.client import Client
from services.common.ai.prompts import load_prompt
from services.common.ai.settings import AiSettings, read_ai_settings
from services.common.ai.vocabulary import load_vocabulary
from services.common.clock import system_clock
from services.common.health import health_server
from services.common.kafka import check_topics
from services.common.logging import get_logger
from services.common.settings import HealthSettings, KafkaSettings, read_settings
from services.enricher.annotator import Annotator, Model, Recorder
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.app import BatchApp, new_app, new_producer, run_until
from services.enricher.enrich import EnrichSettings
from services.enricher.intake import Intake
from services.enricher.outbox import Outbox
from services.enricher.questions import Form
from services.enricher.settings import EnricherSettings

log = get_logger(__name__)

PROMPT = "annotate-1"
LONGEST_OUTAGE_S = 7 * 24 * 3600.0
"""While a model is away nothing is fetched or committed, and nobody must take that for a dead consumer."""


async def run() -> int:
    """Everything by hand: settings, clients, agent, signals, end. Raises ConfigurationError, TransientError."""
    ai = read_ai_settings()
    kafka = read_settings(KafkaSettings)
    await asyncio.to_thread(check_topics, kafka)
    app, ack_timeout_s = _new_app(kafka, ai)
    metrics = AnnotatorMetrics()
    producer = new_producer(kafka, "piperoll-annotator")
    client = Client(ai)
    annotator = _annotator(
        ai, client, app, Outbox(producer, kafka.topics, metrics, ack_timeout_s=ack_timeout_s), metrics
    )
    app.read_batches(annotator.take)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await producer.start()
    await app.start()
    log.info("annotator_started", model=ai.model_name, prompt=PROMPT)
    with health_server(read_settings(HealthSettings), metrics.registry, alive=app.wrong, ready=app.not_ready):
        failure = await run_until(app, stop, annotator.settle)
    await client.close()
    if failure is not None:
        log.critical("annotator_failed", error=str(failure), kind=type(failure).__name__)
        return 1
    await producer.stop()
    return 0


def _new_app(kafka: KafkaSettings, ai: AiSettings) -> tuple[BatchApp, float]:
    """The app on audit.enriched, whose batches may take as long as the model does; and seconds to an ack."""
    settings = read_settings(EnricherSettings)
    patient = settings.model_copy(update={"batch_events": ai.window_events, "ack_timeout_s": math.inf})
    app = new_app(kafka, patient, service="annotator", batched=kafka.topics.enriched)
    app.conf.broker_max_poll_interval = LONGEST_OUTAGE_S
    app.conf.stream_processing_timeout = LONGEST_OUTAGE_S
    app.conf.broker_commit_livelock_soft_timeout = LONGEST_OUTAGE_S
    return app, settings.ack_timeout_s


def _annotator(
    ai: AiSettings, client: Client, app: BatchApp, outbox: Outbox, metrics: AnnotatorMetrics
) -> Annotator:
    catalog = load_catalog(read_settings(EnrichSettings).catalog_dir)
    form = Form(load_prompt(PROMPT), load_vocabulary(), catalog, ai.language)
    budget = Budget(ai.requests_a_minute, ai.requests)
    recorder = Recorder(outbox, metrics, form.version, system_clock)
    asker = Asker(client, Breaker(), budget, recorder, give_up_after_s=ai.give_up_after_s)
    max_age_ms = ai.max_age_hours * 3_600_000
    return Annotator(
        Model(ai.model_name, form, ai.events_per_request, ai.concurrency),
        asker,
        Intake(metrics, max_age_ms=max_age_ms, now_ms=lambda: system_clock() / 1000),
        outbox,
        metrics,
        complete=lambda batch: app.batch_consumer.complete(batch),  # noqa: PLW0108 - not there yet
        fail=app.fail,
        clock=system_clock,
    )
