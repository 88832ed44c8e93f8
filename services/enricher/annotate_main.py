"""`python -m services.enricher annotator`: the annotator, until SIGTERM or SIGINT.

Exit status: 0 stopped cleanly, 1 failed (a restart recovers), 2 wrong settings, or no AI key.
"""

from __future__ import annotations

import asyncio
import math
import signal
from uuid import uuid4

from schemas.catalog import Catalog, load_catalog
from schemas.mapping import load_mappings
from services.common.ai.asker import Asker
from services.common.ai.breaker import Breaker
from services.common.ai.budget import Budget
from services.common.ai.budget_log import KafkaBudgetLog
from services.common.ai.client import Client
from services.common.ai.prompts import load_prompt
from services.common.ai.settings import AiSettings, read_ai_settings
from services.common.ai.vocabulary import load_vocabulary
from services.common.clock import system_clock
from services.common.health import health_server
from services.common.kafka import check_topics
from services.common.logging import get_logger
from services.common.settings import HealthSettings, KafkaSettings, read_settings
from services.enricher.annotations import By
from services.enricher.annotator import Annotator, Limits
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.app import BatchApp, new_app, new_producer, run_until
from services.enricher.enrich import EnrichSettings
from services.enricher.intake import Intake
from services.enricher.kinds import Kinds
from services.enricher.outbox import Outbox
from services.enricher.questions import Form
from services.enricher.raises import Raises
from services.enricher.reader import Model, Reader
from services.enricher.readings import SHAPE_PROMPT, Readings
from services.enricher.recorder import Recorder
from services.enricher.settings import EnricherSettings
from services.enricher.shape_asker import ShapeAsker
from services.enricher.shape_feed import ShapeFeed
from services.enricher.shape_question import ShapeForm
from services.enricher.shape_store import Families

log = get_logger(__name__)

EVENT_PROMPT = "annotate-1"
BATCH_EVENTS = 500
LONGEST_OUTAGE_S = 7 * 24 * 3600.0
"""While a model is away nothing is fetched or committed, and nobody must take that for a dead consumer."""


async def run() -> int:
    """Everything by hand: settings, clients, agent, signals, end. Raises ConfigurationError, TransientError."""
    ai = read_ai_settings()
    price = ai.price()
    kafka = read_settings(KafkaSettings)
    await asyncio.to_thread(check_topics, kafka)
    catalog = load_catalog(read_settings(EnrichSettings).catalog_dir)
    app, ack_timeout_s = _new_app(kafka, ai)
    metrics = AnnotatorMetrics()
    producer, client = new_producer(kafka, "piperoll-annotator"), Client(ai)
    outbox = Outbox(producer, kafka.topics, metrics, ack_timeout_s=ack_timeout_s)
    budget_log = await asyncio.to_thread(KafkaBudgetLog, kafka, "piperoll-annotator-ai-budget")
    recorder = Recorder(outbox, metrics, ai.model_name, system_clock, ai.prompt_log)
    budget = Budget(budget_log, ai.limits, price)
    asker = Asker(client, Breaker(), budget, recorder, recorder.spent, give_up_after_s=ai.give_up_after_s)
    families, readings = Families(), Readings(catalog, ai.model_name, SHAPE_PROMPT)
    feed = ShapeFeed(kafka, readings, families.admits)
    shapes = ShapeAsker(
        readings,
        ShapeForm(load_prompt(SHAPE_PROMPT), load_vocabulary(), ai.language),
        asker,
        outbox,
        caught_up=feed.caught_up,
        families=families,
    )
    annotator = _annotator(ai, catalog, readings, shapes, asker, outbox, metrics, app)
    app.read_batches(annotator.take)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await producer.start()
    following = asyncio.create_task(feed.run())
    await feed.caught_up()  # else shapes that are known would be asked about again
    await app.start()
    log.info(
        "annotator_started",
        model=ai.model_name,
        prompts=[SHAPE_PROMPT, EVENT_PROMPT],
        shapes=len(readings.store),
    )
    with health_server(read_settings(HealthSettings), metrics.registry, alive=app.wrong, ready=app.not_ready):
        failure = await run_until(app, stop, annotator.settle)
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


def _annotator(
    ai: AiSettings,
    catalog: Catalog,
    readings: Readings,
    shapes: ShapeAsker,
    asker: Asker,
    outbox: Outbox,
    metrics: AnnotatorMetrics,
    app: BatchApp,
) -> Annotator:
    form = Form(load_prompt(EVENT_PROMPT), load_vocabulary(), catalog, ai.language)
    by, by_shape = By(ai.model_name, form.version), By(ai.model_name, SHAPE_PROMPT)
    now_ms = lambda: system_clock() / 1000  # noqa: E731
    raises = Raises(now_ms, uuid4().hex)
    kinds = Kinds(catalog, load_mappings(), readings)
    return Annotator(
        Limits(ai.events_per_request, ai.concurrency, ai.window_events),
        Reader(Model(by, by_shape, form), asker, shapes, kinds, raises, outbox),
        kinds,
        Intake(metrics, raises, sample=ai.sample, max_age_ms=ai.max_age_hours * 3_600_000, now_ms=now_ms),
        raises,
        outbox,
        metrics,
        by=by,
        complete=lambda batch: app.batch_consumer.complete(batch),  # noqa: PLW0108 - not there yet
        fail=app.fail,
        clock=system_clock,
    )
