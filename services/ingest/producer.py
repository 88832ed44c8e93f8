"""The KafkaProducer as ingest needs it: idempotent, acks=all, and a way to part from one that hangs."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.partitioner.abc import Partitioner
from kafka.partitioner.default import murmur2

from services.common.broker_access import check_access
from services.common.errors import ConfigurationError, TransientError
from services.common.kafka import client_options
from services.common.logging import get_logger
from services.common.settings import KafkaSettings

log = get_logger(__name__)

_BATCH_BYTES = 256 * 1024
_OVERHEAD = 4096
_CACHED_KEY_BYTES = 256


class KeyPartitioner(Partitioner):  # type: ignore[misc]  # kafka-python has no types
    """The partition that Java's default gives a key. Sources repeat, so their hashes are kept: kafka-python's own
    takes 15 µs a record."""

    def partition(
        self, topic: str, _key: Any, serialized_key: bytes, _value: Any, _serialized: Any, cluster: Any
    ) -> int:
        count = len(cluster.partitions_for_topic(topic) or ())
        if count == 0:
            raise KafkaError(f"the topic {topic} has no partitions")
        number = (
            _hash(serialized_key) if len(serialized_key) <= _CACHED_KEY_BYTES else murmur2(serialized_key)
        )
        return int(number & 0x7FFFFFFF) % count


@lru_cache(maxsize=4096)
def _hash(key: bytes) -> int:
    return int(murmur2(key))


def options(settings: KafkaSettings, delivery_timeout: float) -> dict[str, Any]:
    """The producer's configuration. It gives up on a record a little before the request does, so that the request
    hears why. Raises ConfigurationError."""
    delivery_ms = int(delivery_timeout * 950)
    return client_options(settings, "piperoll-ingest") | {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": 2,
        "batch_size": min(_BATCH_BYTES, settings.event_limit),
        "max_request_size": max(settings.event_limit + _OVERHEAD, 4 * _BATCH_BYTES),
        "delivery_timeout_ms": delivery_ms,
        "request_timeout_ms": delivery_ms // 2,
        "max_block_ms": min(3000, delivery_ms // 2),
        "bootstrap_timeout_ms": 2000,
        "reconnect_backoff_max_ms": 1000,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
        "partitioner": KeyPartitioner(),
    }


def connect(settings: KafkaSettings, configuration: dict[str, Any], topic: str) -> KafkaProducer:
    """A producer that knows the topic, so that sending does not block. Raises TransientError, whose text tells
    strangers nothing of addresses: it is shown by /readyz."""
    try:
        check_access(settings)
        producer = KafkaProducer(**configuration)
    except ConfigurationError as error:
        log.error("broker_refuses_us", reason=str(error))  # noqa: TRY400 - the text says all
        raise TransientError(
            "the broker does not let ingest in; the log says which settings to change"
        ) from None
    except (TransientError, KafkaError, OSError) as error:
        log.warning("broker_not_reached", servers=configuration["bootstrap_servers"], reason=str(error))
        raise TransientError("no broker answers at KAFKA_BOOTSTRAP_SERVERS; the log says why") from None
    try:
        producer.partitions_for(topic)
    except KafkaError as error:
        log.warning("topic_not_found", topic=topic, reason=str(error))
        part(producer)
        raise TransientError(f"there is no topic {topic} for us: `piperoll topics create` makes it") from None
    return producer


def topic_id(producer: KafkaProducer, topic: str) -> bytes | None:
    """The 16 bytes of a topic's id in the producer's metadata, None where it is not in there."""
    found = producer._metadata.topic_id(topic)  # noqa: SLF001 - told nowhere else
    return None if found is None else bytes(found.bytes)


def part(producer: KafkaProducer) -> None:
    """Ends a producer at once; what it holds fails now, instead of going out whenever the broker comes back.

    Its own close() flushes first, and raises while anything is stuck, before its thread is told to end.
    """
    producer._sender.force_close()  # noqa: SLF001 - the only way to end one that cannot flush
    producer._sender.join(2)  # noqa: SLF001
    try:
        producer.close(timeout=0)
    except KafkaError as error:
        log.warning("producer_not_closed", reason=str(error))
