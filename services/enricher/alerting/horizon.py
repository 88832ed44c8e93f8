"""Up to when all that stood on audit.events has been counted: only then is a silence a silence, and a gap a gap.

Without it an enricher that is away, or far behind, would make every source silent.
"""

from __future__ import annotations

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from services.common.clock import Clock, system_clock
from services.common.errors import TransientError
from services.common.kafka import client_options
from services.common.settings import KafkaSettings

_MARKER = 1
"""A transaction's end marker at the end of a log is no message, so nobody ever commits past it."""


class Horizon:
    """Asks the broker; its methods block. `ms` rises as enrichers and alerter come along."""

    def __init__(self, kafka: KafkaSettings, clock: Clock = system_clock) -> None:
        self._kafka = kafka
        self._clock = clock
        self._consumer: KafkaConsumer | None = None
        self._ends: dict[TopicPartition, int] = {}
        self._asked_ms = 0
        self._counts_end: int | None = None
        self.ms = 0

    def look(self, counted: int) -> int:
        """The horizon in milliseconds since 1970 UTC, 0 while there is none. `counted`: the next offset of audit.counts
        that is to be taken. Raises TransientError."""
        try:
            if not self._ends:
                self._asked_ms = self._clock() // 1000
                self._ends = self._end_offsets(self._kafka.topics.events)
            if self._counts_end is None and self._enriched():
                (self._counts_end,) = self._end_offsets(self._kafka.topics.counts).values()
            if self._counts_end is not None and counted >= self._counts_end:
                self.ms, self._ends, self._counts_end = self._asked_ms, {}, None
        except KafkaError as error:
            self.close()
            raise TransientError(f"the enricher's position cannot be read: {error!r}") from error
        return self.ms

    def close(self) -> None:
        """Closes the connection; the next look opens another."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _end_offsets(self, topic: str) -> dict[TopicPartition, int]:
        consumer = self._connected()
        numbers = consumer.partitions_for_topic(topic) or set()
        found: dict[TopicPartition, int] = consumer.end_offsets([TopicPartition(topic, n) for n in numbers])
        return found

    def _enriched(self) -> bool:
        """Whether the enrichers have committed all that stood there when the ends were read."""
        consumer = self._connected()
        behind = {
            place: end
            for place, end in self._ends.items()
            if end > 0 and (consumer.committed(place) or 0) < end - _MARKER
        }
        return not behind

    def _connected(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **client_options(self._kafka, "piperoll-alerter-horizon"),
                group_id=self._kafka.topics.group("enricher"),
                enable_auto_commit=False,
            )
        return self._consumer
