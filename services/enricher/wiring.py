"""The annotator put together by hand, for its own process and for `piperoll enrich again`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from uuid import uuid4

from schemas.catalog import load_catalog
from schemas.mapping import load_mappings
from services.common.ai.asker import Asker
from services.common.ai.breaker import Breaker
from services.common.ai.budget import Budget
from services.common.ai.client import Client
from services.common.ai.prompts import load_prompt
from services.common.ai.settings import AiSettings
from services.common.ai.vocabulary import load_vocabulary
from services.common.clock import system_clock
from services.common.settings import KafkaSettings, read_settings
from services.enricher.annotations import By
from services.enricher.annotator import Annotator, Limits
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.enrich import EnrichSettings
from services.enricher.intake import Intake
from services.enricher.kinds import Kinds
from services.enricher.outbox import Outbox
from services.enricher.questions import Form
from services.enricher.raises import Raises
from services.enricher.reader import Model, Reader
from services.enricher.readings import SHAPE_PROMPT, Readings, shape_version
from services.enricher.recorder import Recorder
from services.enricher.shape_asker import ShapeAsker
from services.enricher.shape_feed import ShapeFeed
from services.enricher.shape_question import ShapeForm
from services.enricher.shape_store import Families
from services.enricher.transport import Batch

EVENT_PROMPT = "annotate-1"


class Wired(NamedTuple):
    """The annotator, and the feed of readings that is to be run beside it."""

    annotator: Annotator
    feed: ShapeFeed


def wire(
    ai: AiSettings,
    kafka: KafkaSettings,
    client: Client,
    budget: Budget,
    outbox: Outbox,
    metrics: AnnotatorMetrics,
    *,
    complete: Callable[[Batch], None],
    fail: Callable[[BaseException], None],
    run: str = "",
) -> Wired:
    """`run`: the name of a run of `piperoll enrich again`, which reads every event, pending or not, however old. Raises
    ConfigurationError."""
    catalog = load_catalog(read_settings(EnrichSettings).catalog_dir)
    recorder = Recorder(outbox, metrics, ai.model_name, system_clock, ai.prompt_log)
    asker = Asker(client, Breaker(), budget, recorder, recorder.spent, give_up_after_s=ai.give_up_after_s)
    families, readings = Families(), Readings(catalog, ai.model_name, shape_version(ai.language))
    feed = ShapeFeed(kafka, readings, families.admits)
    shape_form = ShapeForm(load_prompt(SHAPE_PROMPT), load_vocabulary(), ai.language)
    shapes = ShapeAsker(readings, shape_form, asker, outbox, caught_up=feed.caught_up, families=families)
    form = Form(load_prompt(EVENT_PROMPT), load_vocabulary(), catalog, ai.language)
    by, by_shape = By(ai.model_name, form.version, run), By(ai.model_name, readings.prompt_version, run)
    raises, kinds = Raises(_now_ms, uuid4().hex), Kinds(catalog, load_mappings(), readings)
    max_age_ms = float("inf") if run else ai.max_age_hours * 3_600_000
    intake = Intake(metrics, raises, sample=ai.sample, max_age_ms=max_age_ms, now_ms=_now_ms, again=bool(run))
    annotator = Annotator(
        Limits(ai.events_per_request, ai.concurrency, ai.window_events, ai.linger_s),
        Reader(Model(by, by_shape, form), asker, shapes, kinds, raises, outbox),
        kinds,
        intake,
        raises,
        outbox,
        metrics,
        by=by,
        complete=complete,
        fail=fail,
        clock=system_clock,
    )
    return Wired(annotator, feed)


def _now_ms() -> float:
    return system_clock() / 1000
