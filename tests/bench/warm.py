"""An enricher as it runs in earnest: the community's rules beside ours, and an AI reading of the events' shape on audit.shapes.

No model is asked: the reading is written here, as an annotator would write it.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from schemas.catalog import load_catalog
from schemas.enrichment import Enrichment, decode_header
from schemas.topics import PIPEROLL_HEADER
from services.common.settings import KafkaSettings
from services.enricher.enrich import Coordinates, EnrichSettings, load_enricher
from services.enricher.readings import SHAPE_PROMPT, Readings
from services.enricher.shape_reading import Entry, entry_key
from services.enricher.shapes import Shape

COMMUNITY = Path(__file__).parents[3] / "shared" / "data" / "sigma" / "rules"
_MODEL = "bench"


def variables(rules: Path | None) -> dict[str, str]:
    """The settings of such an enricher. `rules`: the community's, None to do without."""
    own = {"OPENAI_API_KEY": "never-sent", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_MODEL": _MODEL}
    return own if rules is None else own | {"RULES_DIR": str(rules)}


def rule_count(rules: Path | None) -> int:
    """How many rules that enricher has."""
    settings = EnrichSettings.model_validate({} if rules is None else {"RULES_DIR": rules})
    return len(load_enricher(settings).rules.report.loaded)


async def put_reading(kafka: KafkaSettings, event: bytes) -> None:
    """Puts a reading of the event's shape on audit.shapes."""
    readings = Readings(load_catalog(), _MODEL, SHAPE_PROMPT)
    shape = _shape_of(readings, event)
    named = " and ".join(f"{{{name}}}" for name in readings.allowed(shape)[:2])
    now_ms = int(time.time() * 1000)
    text = f"Somebody took data out of the platform, as far as it tells: {named}."
    entry = Entry(list(shape), _MODEL, SHAPE_PROMPT, now_ms, text, [], "low")
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers)
    await producer.start()
    key = entry_key(shape, _MODEL, SHAPE_PROMPT)
    await producer.send_and_wait(kafka.topics.shapes, msgspec.json.encode(entry), key=key)
    await producer.stop()


async def check_applied(kafka: KafkaSettings) -> None:
    """Raises RuntimeError where the last enrichment lacks the reading: the figure would be of something else."""
    place = TopicPartition(kafka.topics.enriched, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
    await consumer.start()
    consumer.assign([place])
    consumer.seek(place, (await consumer.end_offsets([place]))[place] - 1)
    record = await consumer.getone()
    await consumer.stop()
    header = decode_header(dict(record.headers)[PIPEROLL_HEADER])
    if msgspec.json.decode(header.enrichment, type=Enrichment).ai is None:
        raise RuntimeError("the enricher did not apply the reading on audit.shapes")


def _shape_of(readings: Readings, event: bytes) -> Shape:
    """The shape by which an enricher looks for the event's reading."""
    found: list[Shape | None] = []
    shape_of = readings.shape_of
    readings.shape_of = lambda *given: found.append(shape_of(*given)) or found[-1]  # type: ignore[func-returns-value, method-assign]
    load_enricher(ai=readings).enrich(None, event, [], Coordinates(bytes(16), 0, 0, 0), bytes(32))
    if found[0] is None:
        raise RuntimeError("events of this kind share no reading")
    return found[0]
