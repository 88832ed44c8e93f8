"""audit.alerts as the leader reads it: from the position that its group has committed, which moves only after delivery."""

from __future__ import annotations

from typing import Any, NamedTuple

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from services.common.alerts import Said, read_alert
from services.common.broker_access import check_access, why_refused
from services.common.errors import TransientError
from services.common.kafka import client_options
from services.common.logging import get_logger
from services.common.settings import KafkaSettings

log = get_logger(__name__)
REMEMBERED = 2000
"""Alerts before the position whose ids are read again at start: a repeat of one of them is not sent again."""
_TIMEOUT_S = 30


class Incoming(NamedTuple):
    """A message of audit.alerts; `alert` is None where it is none."""

    offset: int
    alert: Said | None


class Feed:
    """Its methods block, and raise TransientError. `begin` comes first."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._topics = kafka.topics
        self._place = TopicPartition(kafka.topics.alerts, 0)
        check_access(kafka)
        try:
            self._consumer = KafkaConsumer(
                **client_options(kafka, "piperoll-reporter"),
                group_id=kafka.topics.group("reporter"),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                isolation_level="read_committed",
                max_poll_records=1000,
            )
            self._producer = KafkaProducer(
                **client_options(kafka, "piperoll-reporter"), acks="all", enable_idempotence=True
            )
        except KafkaError as error:
            raise why_refused(kafka, error) from error

    def begin(self) -> set[str]:
        """Seeks to the committed position, or to the earliest; the ids of the alerts before it."""
        consumer, place = self._consumer, self._place
        try:
            consumer.assign([place])
            first, end = consumer.beginning_offsets([place])[place], consumer.end_offsets([place])[place]
            committed = consumer.committed(place)
            position = first if committed is None or not first <= committed <= end else committed
            consumer.seek(place, max(first, position - REMEMBERED))
            known: set[str] = set()
            while consumer.position(place) < position:
                known.update(
                    one.alert.id for one in self._poll(500) if one.alert is not None and one.offset < position
                )
            consumer.seek(place, position)
        except KafkaError as error:
            raise TransientError(f"audit.alerts cannot be read: {error!r}") from error
        return known

    def poll(self, timeout_ms: int) -> list[Incoming]:
        """What has come."""
        try:
            return self._poll(timeout_ms)
        except KafkaError as error:
            raise TransientError(f"audit.alerts cannot be read: {error!r}") from error

    def commit(self, position: int) -> None:
        """All before `position` is delivered or was not to be."""
        try:
            self._consumer.commit({self._place: OffsetAndMetadata(position, "", -1)})
        except KafkaError as error:
            raise TransientError(f"the position cannot be committed: {error!r}") from error

    def record(self, event: bytes) -> None:
        """An event of our own, acknowledged on audit.system."""
        try:
            self._producer.send(self._topics.system, value=event).get(timeout=_TIMEOUT_S)
        except KafkaError as error:
            raise TransientError(f"audit.system does not take the delivery: {error!r}") from error

    def close(self) -> None:
        """Closes both clients. That is a courtesy to the broker: its failure changes nothing."""
        try:
            self._consumer.close()
            self._producer.close(timeout=5)
        except (KafkaError, OSError) as error:
            log.warning("close_failed", error=repr(error))

    def _poll(self, timeout_ms: int) -> list[Incoming]:
        polled: dict[Any, list[Any]] = self._consumer.poll(timeout_ms=timeout_ms)
        return [Incoming(one.offset, _read(one)) for messages in polled.values() for one in messages]


def _read(message: Any) -> Said | None:
    try:
        return read_alert(message.value or b"")
    except ValueError as error:
        log.error("alert_unreadable", offset=message.offset, error=str(error))  # noqa: TRY400 - no fault of ours
        return None
