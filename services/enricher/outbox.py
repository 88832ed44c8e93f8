"""What the annotator sends: each awaited until the broker has acknowledged it, or the process ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from schemas.topics import Topics
from services.common.alerts import Alert, as_message, as_own_event
from services.common.errors import FatalError
from services.common.logging import get_logger
from services.enricher.annotator_metrics import AnnotatorMetrics

log = get_logger(__name__)


class Outbox:
    """Over an idempotent producer with acks from all replicas. `ack_timeout_s`: then FatalError."""

    def __init__(
        self, producer: AIOKafkaProducer, topics: Topics, metrics: AnnotatorMetrics, *, ack_timeout_s: float
    ) -> None:
        self._producer = producer
        self._topics = topics
        self._metrics = metrics
        self._ack_timeout_s = ack_timeout_s

    async def own_event(self, event: bytes) -> None:
        """To audit.system. Raises FatalError or KafkaError where it is not durable."""
        await self._acknowledged(self._topics.system, 0, [event])

    async def alert(self, alert: Alert, source: str, now_us: int) -> None:
        """To audit.alerts and, as an own event, to audit.system. Raises as `own_event`."""
        await self._acknowledged(self._topics.alerts, 0, [as_message(alert, source, now_us)])
        await self._acknowledged(self._topics.system, 0, [as_own_event(alert, source, now_us)])

    async def shape(self, key: bytes, entry: bytes) -> None:
        """To audit.shapes: from here on every enricher applies it. Raises as `own_event`."""
        await self._acknowledged(self._topics.shapes, 0, [entry], key)

    async def annotations(self, partition: int, made: Sequence[bytes]) -> None:
        """To audit.annotations, under the number of the event's partition. Raises as `own_event`."""
        await self._acknowledged(self._topics.annotations, partition, made)
        self._metrics.annotations.inc(len(made))

    async def replies(self, made: Sequence[tuple[bytes, bytes]]) -> None:
        """To audit.replies: each with its token, which is the key. A lost one costs a caller its 200, never an
        event: so it is only counted."""
        for token, reply in made:
            try:
                await self._producer.send(self._topics.replies, reply, key=token)
            except KafkaError as error:
                self._metrics.replies_failed.inc()
                log.warning("reply_failed", error=str(error))

    async def _acknowledged(
        self, topic: str, partition: int, values: Sequence[bytes], key: bytes | None = None
    ) -> None:
        async def send() -> None:
            sent: list[Any] = [
                await self._producer.send(topic, value, key=key, partition=partition) for value in values
            ]
            await asyncio.gather(*sent)

        try:
            await asyncio.wait_for(send(), self._ack_timeout_s)
        except TimeoutError:
            raise FatalError(f"no ack from Kafka for {self._ack_timeout_s:g} s") from None
