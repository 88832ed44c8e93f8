"""`piperoll enrich again`: has a model read what is on audit.enriched, as annotations beside those that are there."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import typer
from kafka import KafkaConsumer, TopicPartition

from services.cli.target import errors_told, say, target_variables
from services.common.ai.budget import Budget
from services.common.ai.budget_log import KafkaBudgetLog
from services.common.ai.client import Client
from services.common.ai.settings import AiSettings, read_ai_settings
from services.common.errors import ConfigurationError
from services.common.kafka import admin_client, client_options, topic_ids
from services.common.settings import KafkaSettings, read_settings
from services.enricher.annotator_metrics import AnnotatorMetrics
from services.enricher.app import new_producer
from services.enricher.ledger import Range
from services.enricher.outbox import Outbox
from services.enricher.transport import Batch
from services.enricher.wiring import wire

app = typer.Typer()
enrich = typer.Typer(help="Have a model read events again.", no_args_is_help=True)
app.add_typer(enrich, name="enrich")
_ACK_TIMEOUT_S = 60.0
_POLL_MS = 1000
When = Annotated[datetime, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Kafka's time, UTC.")]


class Part(NamedTuple):
    """A partition of audit.enriched, and the offsets to read of it: from `first` to before `end`."""

    partition: int
    first: int
    end: int


@enrich.callback()
def group() -> None:
    """Have a model read events again."""


@enrich.command("again")
def again(
    since: When,
    model: Annotated[str, typer.Option(help="Default: OPENAI_MODEL.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many messages would be read.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Read all events that came to audit.enriched since then, by shape or, at high risk, one by one, under the budget.

    Adds annotations of a run of its own: nothing that is recorded changes, no risk is lowered. What the budget does not pay
    is named on audit.system. Exit status: 0 done, 1 some events stay without a reading, 2 could not.
    """
    with errors_told():
        variables = target_variables()
        if model:
            variables |= {"OPENAI_MODEL": model, "AZURE_OPENAI_DEPLOYMENT": model}
        os.environ.update(
            {name: text for name, text in variables.items() if name in ("CATALOG_DIR", "RULES_DIR")}
        )
        kafka = read_settings(KafkaSettings, variables)
        start_ms = int(since.replace(tzinfo=UTC).timestamp() * 1000)
        if dry_run:
            with _consumer(kafka) as consumer:
                count = sum(part.end - part.first for part in _parts(kafka, consumer, start_ms))
            print(json.dumps({"messages": count}) if as_json else f"{count:,} messages would be read")
            return
        found = asyncio.run(_again(read_ai_settings(variables), kafka, start_ms))
    print(json.dumps(found) if as_json else _told(found))
    raise typer.Exit(1 if found["passed_by"] else 0)


async def _again(ai: AiSettings, kafka: KafkaSettings, start_ms: int) -> dict[str, Any]:
    run = f"again-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    metrics, client, producer = AnnotatorMetrics(), Client(ai), new_producer(kafka, "piperoll-enrich-again")
    budget_log = await asyncio.to_thread(KafkaBudgetLog, kafka, "piperoll-enrich-again-budget")
    failures: list[BaseException] = []
    outbox = Outbox(producer, kafka.topics, metrics, ack_timeout_s=_ACK_TIMEOUT_S)
    budget, done = Budget(budget_log, ai.limits, ai.price()), asyncio.Event()
    completed = 0

    def complete(_batch: Batch) -> None:
        nonlocal completed
        completed += 1
        done.set()

    def fail(error: BaseException) -> None:
        failures.append(error)
        done.set()

    wired = wire(ai, kafka, client, budget, outbox, metrics, complete=complete, fail=fail, run=run)
    await producer.start()
    feed = asyncio.create_task(wired.feed.run())
    taken = messages = 0
    try:
        await wired.feed.caught_up()
        batches = _batches(kafka, start_ms)
        while not failures and (batch := await asyncio.to_thread(next, batches, None)) is not None:
            await wired.annotator.take(batch, lambda: None)
            taken, messages = taken + 1, messages + len(batch.records)
            say(f"{messages:,} messages read")
        while completed < taken and not failures:
            done.clear()
            await done.wait()
    finally:
        await wired.annotator.settle()
        feed.cancel()
        await producer.stop()
        await client.close()
        await asyncio.to_thread(budget_log.close)
    if failures:
        raise failures[0]
    return {"run": run, "model": ai.model_name, "messages": messages, **_counts(metrics)}


def _counts(metrics: AnnotatorMetrics) -> dict[str, Any]:
    def total(counter: Any) -> float:
        samples = [sample for metric in counter.collect() for sample in metric.samples]
        return float(sum(sample.value for sample in samples if sample.name.endswith("_total")))

    return {
        "annotations": int(total(metrics.annotations)),
        "passed_by": int(total(metrics.passed_by)),
        "requests": int(total(metrics.requests)),
        "dollars": round(total(metrics.dollars), 6),
    }


def _told(found: dict[str, Any]) -> str:
    return (
        f"run {found['run']} by {found['model']}: {found['messages']:,} messages, {found['annotations']:,} annotations, "
        f"{found['passed_by']:,} events without a reading, {found['requests']:,} requests, ${found['dollars']:.4f}"
    )


def _consumer(kafka: KafkaSettings) -> KafkaConsumer:
    return KafkaConsumer(
        **client_options(kafka, "piperoll-enrich-again"),
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_poll_records=200,
    )


def _parts(kafka: KafkaSettings, consumer: KafkaConsumer, start_ms: int) -> list[Part]:
    numbers = consumer.partitions_for_topic(kafka.topics.enriched)
    if not numbers:
        raise ConfigurationError(
            f"topic {kafka.topics.enriched} does not exist: `piperoll topics create` makes it"
        )
    places = [TopicPartition(kafka.topics.enriched, number) for number in sorted(numbers)]
    starts, ends = consumer.offsets_for_times(dict.fromkeys(places, start_ms)), consumer.end_offsets(places)
    return [
        Part(place.partition, starts[place].offset, ends[place])
        for place in places
        if starts[place] is not None and starts[place].offset < ends[place]
    ]


def _batches(kafka: KafkaSettings, start_ms: int) -> Iterator[Batch]:
    """What stood on audit.enriched at the start, partition by partition."""
    admin = admin_client(kafka, "piperoll-enrich-again")
    try:
        topic_id = topic_ids(admin, [kafka.topics.enriched])[kafka.topics.enriched]
    finally:
        admin.close()
    with _consumer(kafka) as consumer:
        for part in _parts(kafka, consumer, start_ms):
            place = TopicPartition(kafka.topics.enriched, part.partition)
            consumer.assign([place])
            consumer.seek(place, part.first)
            while consumer.position(place) < part.end:
                records = [
                    r for r in consumer.poll(timeout_ms=_POLL_MS).get(place, ()) if r.offset < part.end
                ]
                if records:
                    held = Range(records[0].offset, records[-1].offset, 0.0)
                    yield Batch(place.topic, topic_id, part.partition, -1, False, records, held)
