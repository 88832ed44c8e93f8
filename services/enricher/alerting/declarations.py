"""Which back-fills were declared: the own events of audit.system that say so, read when first in question."""

from __future__ import annotations

from collections.abc import Collection

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from schemas.events import is_reserved
from schemas.text import neutral
from services.common.errors import TransientError
from services.common.kafka import client_options
from services.common.settings import KafkaSettings
from services.enricher.counts import BACKFILL_LIMIT

DECLARED = "piperoll.backfill.declared"


class _Declaration(msgspec.Struct):
    id: str
    source: str
    type: str


_decode = msgspec.json.Decoder(_Declaration).decode


class Declarations:
    """Its methods block. A declaration is acknowledged before the first event that names it is sent."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._known: set[str] = set()
        self._consumer: KafkaConsumer | None = None

    def of(self, names: Collection[str]) -> Collection[str]:
        """All declared back-fills that are known, having looked for these. Raises TransientError."""
        if not self._known.issuperset(names):
            try:
                self._read_on()
            except KafkaError as error:
                self.close()
                raise TransientError(f"declarations cannot be read: {error!r}") from error
        return self._known

    def close(self) -> None:
        """Closes the connection; another is opened when needed, and reads from the start."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _read_on(self) -> None:
        place = TopicPartition(self._kafka.topics.system, 0)
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **client_options(self._kafka, "piperoll-alerter-declarations"),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
            self._consumer.assign([place])
            self._consumer.seek_to_beginning(place)
        end = self._consumer.end_offsets([place])[place]
        while self._consumer.position(place) < end:
            for messages in self._consumer.poll(timeout_ms=500).values():
                for message in messages:
                    self._note(message.value)

    def _note(self, value: bytes | None) -> None:
        if value is None or DECLARED.encode() not in value:
            return
        try:
            said = _decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        if said.type == DECLARED and is_reserved(said.source):
            self._known.add(neutral(said.id, BACKFILL_LIMIT))
