"""How far recording has come, from Kafka's end offsets and from the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import asyncpg
from kafka import KafkaConsumer, TopicPartition

from services.common.kafka import client_options
from services.common.settings import KafkaSettings

_RECORDED = "SELECT count(*) FROM audit.record WHERE kind IN (1, 2, 3)"
_DECLARED = "SELECT count(*) FROM audit.record WHERE kind = 8"


class Counts(NamedTuple):
    """Messages in audit.events, in audit.enriched, and records of them; `own`: own events recorded."""

    in_kafka: int
    enriched: int
    recorded: int
    own: int


class Counter:
    """Asks broker and database."""

    def __init__(
        self, settings: KafkaSettings, consumer: Any, runner: asyncio.Runner, connection: Any
    ) -> None:
        self._topics = settings.topics
        self._consumer, self._runner, self._connection = consumer, runner, connection

    def read(self) -> Counts:
        recorded, own = self._runner.run(self._rows())
        return Counts(self._end(self._topics.events), self._end(self._topics.enriched), recorded, own)

    async def _rows(self) -> tuple[int, int]:
        return await self._connection.fetchval(_RECORDED), await self._connection.fetchval(_DECLARED)

    def _end(self, topic: str) -> int:
        partitions = [
            TopicPartition(topic, number) for number in self._consumer.partitions_for_topic(topic) or ()
        ]
        return sum(self._consumer.end_offsets(partitions).values())


@contextmanager
def open_counter(settings: KafkaSettings, dsn: str) -> Iterator[Counter]:
    """A counter, with its connections open."""
    consumer = KafkaConsumer(**client_options(settings, "piperoll-demo"))
    try:
        with asyncio.Runner() as runner:
            connection = runner.run(asyncpg.connect(dsn))
            try:
                yield Counter(settings, consumer, runner, connection)
            finally:
                runner.run(connection.close())
    finally:
        consumer.close()
