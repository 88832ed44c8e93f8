"""An oracle for audit.enriched: what a writer that knows only the drop rule would record.

Written apart from the writer on purpose: two readings of design page 2.1 that must agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import uuid4

from kafka import KafkaConsumer, TopicPartition

from schemas.enrichment import FLAG_RESET, decode_header
from services.common.settings import KafkaSettings


@dataclass
class Outcome:
    """Offsets of one partition: recorded in order, skipped lawfully, expired; redelivered and unplaceable messages."""

    recorded: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    expired: list[int] = field(default_factory=list)
    redelivered: int = 0
    unplaceable: int = 0
    values: dict[int, bytes | None] = field(default_factory=dict)


def read_partition(settings: KafkaSettings, topic: str, partition: int) -> list:
    """All committed messages that stand in a partition now."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers,
        group_id=None,
        isolation_level="read_committed",
        client_id=f"oracle-{uuid4().hex[:6]}",
        fetch_max_wait_ms=100,
    )
    place = TopicPartition(topic, partition)
    consumer.assign([place])
    end = consumer.end_offsets([place])[place]
    consumer.seek_to_beginning(place)
    found = []
    while consumer.position(place) < end:
        for batch in consumer.poll(timeout_ms=500).values():
            found += batch
    consumer.close()
    return found


def replay(messages: Iterable) -> Outcome:
    """Applies the drop rule to the messages of one partition of audit.enriched."""
    outcome = Outcome()
    expected = None
    for message in messages:
        header = decode_header(message.headers[-1][1])
        if expected is None:
            expected = header.prev + 1 if header.prev >= 0 else header.offset
        if header.offset < expected:
            outcome.redelivered += 1
            assert outcome.values.get(header.offset) == message.value, (
                f"offset {header.offset} came back changed"
            )
        elif header.prev >= expected:
            outcome.unplaceable += 1
        else:
            hole = range(expected, header.offset)
            (outcome.expired if header.flags & FLAG_RESET else outcome.skipped).extend(hole)
            outcome.recorded.append(header.offset)
            outcome.values[header.offset] = message.value
            expected = header.offset + 1
    return outcome


def assert_every_event_once(settings: KafkaSettings) -> int:
    """Every event of audit.events has exactly one place after the drop rule, byte for byte. Returns redeliveries."""
    redelivered = 0
    for partition in range(settings.partitions):
        sent = read_partition(settings, settings.topics.events, partition)
        outcome = replay(read_partition(settings, settings.topics.enriched, partition))
        assert outcome.recorded == [message.offset for message in sent]
        assert outcome.values == {message.offset: message.value for message in sent}
        redelivered += outcome.redelivered
    return redelivered
