"""Which alerts stand on audit.alerts already: read when the counts become ours, so that what a crash left said but not
noted is not said again there."""

from __future__ import annotations

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from services.common.errors import TransientError
from services.common.kafka import client_options
from services.common.settings import KafkaSettings

MOST = 2000
"""Messages looked at. A crash leaves the alerts of one batch in doubt, and those are the last."""


class _Named(msgspec.Struct):
    id: str


_decode = msgspec.json.Decoder(_Named).decode


def read_said(kafka: KafkaSettings) -> set[str]:
    """The ids of the last alerts. Blocks. Raises TransientError."""
    place = TopicPartition(kafka.topics.alerts, 0)
    found: set[str] = set()
    try:
        consumer = KafkaConsumer(
            **client_options(kafka, "piperoll-alerter-said"), group_id=None, enable_auto_commit=False
        )
        try:
            consumer.assign([place])
            end = consumer.end_offsets([place])[place]
            first = max(consumer.beginning_offsets([place])[place], end - MOST)
            consumer.seek(place, first)
            while consumer.position(place) < end:
                for messages in consumer.poll(timeout_ms=500).values():
                    found.update(_id_of(message.value) for message in messages)
        finally:
            consumer.close()
    except KafkaError as error:
        raise TransientError(f"the alerts said before cannot be read: {error!r}") from error
    return found


def _id_of(value: bytes | None) -> str:
    try:
        return _decode(value or b"").id
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
