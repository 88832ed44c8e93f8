"""The alerter's table: Faust recovers it from its changelog; what is written is written here, and waited for.

Faust sends a table's changes in passing, and may commit the offset that led to them before they are durable: a crash
between loses counts. So changes are kept until `flush`, go out through the alerter's idempotent producer, and the batch
is complete only when they are acknowledged. One record a key and flush, whatever happened to it in between.
They go out in the order of `in_order`, which one partition and an idempotent producer keep.
"""

from __future__ import annotations

import asyncio
from typing import Any

import faust
from aiokafka import AIOKafkaProducer

from services.common.errors import FatalError
from services.enricher.alerting.state import in_order
from services.enricher.app import BatchApp


class StateTable(faust.Table[bytes, bytes]):
    """Keys and values are bytes; one partition."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.changed: dict[bytes, bytes | None] = {}

    def on_key_set(self, key: bytes, value: bytes) -> None:
        self.changed[key] = value

    def on_key_del(self, key: bytes) -> None:
        self.changed[key] = None

    async def flush(self, producer: AIOKafkaProducer, timeout_s: float) -> None:
        """Everything that changed is durable on return. Raises FatalError, or KafkaError."""
        changed, self.changed = self.changed, {}
        topic = self.changelog_topic_name

        async def send() -> None:
            ordered = sorted(changed.items(), key=lambda change: in_order(change[0]))
            sent = [await producer.send(topic, value, key=key, partition=0) for key, value in ordered]
            await asyncio.gather(*sent)

        try:
            await asyncio.wait_for(send(), timeout_s)
        except TimeoutError:
            raise FatalError(f"no ack from Kafka for {timeout_s:g} s") from None


def new_table(app: BatchApp) -> StateTable:
    """The table of an app that reads one partition. To be made before the app starts."""
    changelog = app.topic(
        app.kafka.topics.alert_state,
        key_type=bytes,
        value_type=bytes,
        key_serializer="raw",
        value_serializer="raw",
        partitions=1,
        compacting=True,
        acks=False,
        internal=True,
        allow_empty=True,
    )
    table = StateTable(
        app, name="alert-state", key_type=bytes, value_type=bytes, partitions=1, changelog_topic=changelog
    )
    app.tables.add(table)
    return table
