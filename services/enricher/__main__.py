"""`python -m services.enricher`: the enricher (`… annotator`, `… alerter`: those), until SIGTERM or SIGINT.

Exit status: 0 stopped cleanly, 1 failed (a restart recovers), 2 wrong settings.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module

from schemas.catalog import load_catalog
from services.common.ai.settings import AiSettings, ai_configured
from services.common.errors import ConfigurationError, TransientError
from services.common.health import health_server
from services.common.kafka import check_topics
from services.common.logging import configure_logging, get_logger
from services.common.settings import HealthSettings, KafkaSettings, LogSettings, read_settings
from services.enricher.app import new_app, new_producer, run_until
from services.enricher.enrich import EnrichSettings, load_enricher
from services.enricher.metrics import Metrics
from services.enricher.pipeline import Pipeline
from services.enricher.readings import Readings, shape_version
from services.enricher.rules.follow import follow_rules
from services.enricher.settings import EnricherSettings
from services.enricher.shape_feed import ShapeFeed

log = get_logger(__name__)
_SHAPES_WITHIN_S = 10.0
_OTHERS = {"annotator": "services.enricher.annotate_main", "alerter": "services.enricher.alert_main"}


async def run() -> int:
    """Everything by hand: settings, clients, agent, signals, end."""
    kafka, settings = read_settings(KafkaSettings), read_settings(EnricherSettings)
    await asyncio.to_thread(check_topics, kafka)
    metrics = Metrics()
    app = new_app(kafka, settings, service="enricher", batched=kafka.topics.events)
    producer = new_producer(kafka, "piperoll-enricher")
    own = read_settings(EnrichSettings)
    readings = _readings(own)
    enricher = load_enricher(settings=own, event_limit=kafka.event_limit, ai=readings)
    pipeline = Pipeline(
        enricher,
        producer,
        kafka.topics,
        metrics,
        complete=lambda batch: app.batch_consumer.complete(batch),  # noqa: PLW0108 - not there yet
        fail=app.fail,
        in_flight=settings.batches_in_flight,
        ack_timeout_s=settings.ack_timeout_s,
    )
    app.read_batches(pipeline.take)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    gc.collect()
    gc.freeze()  # what stands here stands for ever: not to be looked at again and again
    gc.set_threshold(50_000, 20, 50)
    await producer.start()
    following = [
        asyncio.create_task(follow_rules(own.rules_dir, enricher.rules.version, enricher.take_rules))
    ]
    if readings is not None:
        feed = ShapeFeed(kafka, readings)
        following.append(asyncio.create_task(feed.run()))
        with suppress(
            TimeoutError
        ):  # the first events after a start would else be marked pending for nothing
            await asyncio.wait_for(feed.caught_up(), _SHAPES_WITHIN_S)
    await app.start()
    with health_server(read_settings(HealthSettings), metrics.registry, alive=app.wrong, ready=app.not_ready):
        failure = await run_until(app, stop, pipeline.settle)
    for task in following:
        task.cancel()
    if failure is not None:
        log.critical("enricher_failed", error=str(failure), kind=type(failure).__name__)
        return 1
    await producer.stop()
    return 0


def _readings(own: EnrichSettings) -> Readings | None:
    """The readings of shapes by the model of the settings; None where none is asked."""
    if not ai_configured():
        return None
    ai = read_settings(AiSettings)
    return Readings(load_catalog(own.catalog_dir), ai.model_name, shape_version(ai.language))


def main() -> None:
    """Settings, logging, run; the process ends at once afterwards, whatever threads are left."""
    service = next((name for name in _OTHERS if name in sys.argv[1:]), "enricher")
    runner = asyncio.Runner()  # never closed: that would wait for tasks and threads that hang with the broker
    try:
        configure_logging(read_settings(LogSettings), service)
        # Another's module only where it runs: the enricher needs no openai.
        begin = run if service == "enricher" else import_module(_OTHERS[service]).run
        status = runner.run(begin())
    except (ConfigurationError, TransientError) as error:
        status = 2 if isinstance(error, ConfigurationError) else 1
        log.critical("settings_wrong" if status == 2 else "broker_not_reached", error=str(error))
    except Exception:
        status = 1  # without this the process would stay, and do nothing: threads of its clients still run
        log.critical("service_failed", service=service, exc_info=True)
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
