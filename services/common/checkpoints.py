"""The topic of checkpoints: the last one of a log."""

from __future__ import annotations

import time

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from services.common.errors import TransientError
from services.common.kafka_client import client_options
from services.common.settings import KafkaSettings

_LAST_MESSAGES = 50
_READ_SECONDS = 10.0
_POLL_MS = 200
_BOOTSTRAP_MS = 5000


def last_checkpoint(settings: KafkaSettings, origin: str) -> bytes | None:
    """The last message with the key `origin` on the topic of checkpoints, among its last few. Raises TransientError."""
    options = client_options(settings, "piperoll-checkpoints") | {"bootstrap_timeout_ms": _BOOTSTRAP_MS}
    at = TopicPartition(settings.topics.checkpoints, 0)
    found = None
    try:
        consumer = KafkaConsumer(
            **options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
        )
        try:
            consumer.assign([at])
            consumer.partitions_for_topic(at.topic)
            end = consumer.end_offsets([at])[at]
            consumer.seek(at, max(consumer.beginning_offsets([at])[at], end - _LAST_MESSAGES))
            until = time.monotonic() + _READ_SECONDS
            while consumer.position(at) < end and time.monotonic() < until:
                for message in consumer.poll(timeout_ms=_POLL_MS).get(at, ()):
                    found = message.value if message.key == origin.encode() else found
        finally:
            consumer.close(autocommit=False)
    except (KafkaError, OSError, KeyError) as error:
        raise TransientError(f"the topic {at.topic} cannot be read: {error!r}") from error
    return found
