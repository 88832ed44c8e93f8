"""What models were asked and said, as it stands on audit.system: read on from where the state says."""

from __future__ import annotations

import time
from typing import NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.events import is_reserved
from services.common.ai.record import INFERENCE
from services.common.errors import TransientError
from services.common.kafka import client_options
from services.common.settings import KafkaSettings
from services.enricher.agreement import READINGS

MOST = 5000
"""Messages of one look; the rest comes with the next."""
_PATIENCE_S = 10.0
_WANTED = (INFERENCE.encode(), READINGS.encode())


class Facts(msgspec.Struct):
    """What counts of a request to a model (`model_inference`), or of the readings of an annotator."""

    outcome: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None
    readings: int = 0
    apart: int = 0


class Seen(NamedTuple):
    """One of them: its offset on audit.system, and Kafka's time in milliseconds since 1970 UTC."""

    offset: int
    at_ms: int
    request: bool
    facts: Facts


class _Event(msgspec.Struct):
    source: str
    type: str
    data: Facts


_decode = msgspec.json.Decoder(_Event).decode


class AiFeed:
    """Its methods block. One partition, so an offset names an event."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._place = TopicPartition(kafka.topics.system, 0)
        self._consumer: KafkaConsumer | None = None

    def read(self, first: int | None) -> tuple[list[Seen], int]:
        """What stands from offset `first` on (None: what is yet to come), and the offset to read on from. Raises TransientError."""
        try:
            return self._read(first)
        except KafkaError as error:
            self.close()
            raise TransientError(f"what models were asked cannot be read: {error!r}") from error

    def close(self) -> None:
        """Closes the connection; the next read opens another."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _read(self, first: int | None) -> tuple[list[Seen], int]:
        consumer = self._connected()
        end = consumer.end_offsets([self._place])[self._place]
        # Beyond the end: the topic was made anew. Before its beginning: retention has taken what lies between.
        position = min(end if first is None else first, end)
        position = max(position, consumer.beginning_offsets([self._place])[self._place])
        if consumer.position(self._place) != position:
            consumer.seek(self._place, position)
        found: list[Seen] = []
        until, deadline = min(end, position + MOST), time.monotonic() + _PATIENCE_S
        while consumer.position(self._place) < until and time.monotonic() < deadline:
            for messages in consumer.poll(timeout_ms=500, max_records=500).values():
                found += [seen for message in messages if (seen := _seen(message)) is not None]
        return found, consumer.position(self._place)

    def _connected(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **client_options(self._kafka, "piperoll-alerter-ai"),
                group_id=None,
                enable_auto_commit=False,
                isolation_level="read_committed",
            )
            self._consumer.assign([self._place])
            self._consumer.seek_to_end(self._place)
        return self._consumer


def _seen(message: object) -> Seen | None:
    value: bytes | None = message.value  # type: ignore[attr-defined]  # kafka-python has no types
    if value is None or not any(kind in value for kind in _WANTED):
        return None
    try:
        said = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if said.type not in (INFERENCE, READINGS) or not is_reserved(said.source):
        return None
    return Seen(message.offset, max(0, message.timestamp), said.type == INFERENCE, said.data)  # type: ignore[attr-defined]  # as above
