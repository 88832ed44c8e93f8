"""What tests of the writer as a service need: messages produced to its topics, and the database asked what it has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Self

import asyncpg
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from schemas.record import Kind, decode, record_hash
from services.common.kafka import admin_client, topic_ids
from services.common.settings import KafkaSettings
from tests.builders import Log, Message


class Producer:
    """Sends to the topics of one prefix, in order and acknowledged."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.topics = kafka.topics
        self._kafka = kafka
        self._producer = KafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers, acks="all", linger_ms=5, enable_idempotence=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close(timeout=5)

    def enriched(self, partition: int, messages: Iterable[Message]) -> None:
        for message in messages:
            self._producer.send(
                self.topics.enriched,
                key=message.key,
                value=message.value,
                headers=message.headers,
                partition=partition,
            )
        self._producer.flush()

    def send(self, topic: str, value: bytes | None, partition: int = 0, headers=()) -> int:
        """One message; its offset."""
        future = self._producer.send(topic, value=value, partition=partition, headers=list(headers))
        return future.get(timeout=10).offset

    def topic_id(self, topic: str) -> bytes:
        admin = admin_client(self._kafka, "tests")
        try:
            for _ in range(100):  # a topic just made is not known at once
                found = topic_ids(admin, [topic])
                if topic in found:
                    return found[topic]
                time.sleep(0.1)
            raise AssertionError(f"no topic {topic}")
        finally:
            admin.close()

    def logs(self, partitions: int = 3) -> list[Log]:
        """The logs of audit.events' partitions under its present id."""
        topic_id = self.topic_id(self.topics.events)
        return [Log(topic_id, partition) for partition in range(partitions)]


def read_all(kafka: KafkaSettings, topic: str, count: int, timeout: float = 20) -> list[bytes]:
    """The values of a topic's partition 0, once there are `count`."""
    consumer = KafkaConsumer(bootstrap_servers=kafka.bootstrap_servers)
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        values: list[bytes] = []
        deadline = time.monotonic() + timeout
        while len(values) < count and time.monotonic() < deadline:
            for messages in consumer.poll(200).values():
                values += [message.value for message in messages]
        return values
    finally:
        consumer.close()


class Asked:
    """Asks the database over the superuser's connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def until(self, query: str, expected: object, patience_s: float = 60, *arguments: object) -> None:
        """Until the query's single value is `expected`."""
        deadline = time.monotonic() + patience_s
        while True:
            value = await self.connection.fetchval(query, *arguments)
            if value == expected:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{query}: {value} after {patience_s} s, not {expected}")
            await asyncio.sleep(0.05)

    async def until_events(self, count: int, patience_s: float = 60) -> None:
        """Until so many events are recorded (kind 1)."""
        await self.until("SELECT count(*) FROM audit.record WHERE kind = 1", count, patience_s)

    async def offsets(self, partition: int) -> list[int]:
        """All source offsets of a partition of events, of all its chains in order."""
        rows = await self.connection.fetch(
            "SELECT r.source_offset FROM audit.record r JOIN audit.chain c USING (chain_no)"
            " WHERE c.partition = $1 AND c.topic LIKE '%.events' AND r.source_offset IS NOT NULL ORDER BY chain_no, seq",
            partition,
        )
        return [row[0] for row in rows]

    async def kinds(self, topic_ending: str, partition: int = 0) -> list[int]:
        """Kinds of all records of a partition's chains, in order."""
        rows = await self.connection.fetch(
            "SELECT r.kind FROM audit.record r JOIN audit.chain c USING (chain_no)"
            " WHERE c.topic LIKE $1 AND c.partition = $2 ORDER BY chain_no, seq",
            f"%{topic_ending}",
            partition,
        )
        return [row[0] for row in rows]

    async def verify(self) -> None:
        """Recomputes every chain from its leaves, down to its head."""
        for chain in await self.connection.fetch(
            "SELECT * FROM audit.chain JOIN audit.chain_head USING (chain_no)"
        ):
            before, seq = bytes(32), 0
            rows = await self.connection.fetch(
                "SELECT leaf, record_hash FROM audit.record WHERE chain_no = $1 ORDER BY seq",
                chain["chain_no"],
            )
            for row in rows:
                record = decode(row["leaf"])
                assert (record.chain_id, record.seq, record.prev) == (chain["chain_id"], seq, before)
                assert (record.kind == Kind.GENESIS) == (seq == 0)
                before, seq = record_hash(row["leaf"]), seq + 1
                assert row["record_hash"] == before
            assert (chain["next_seq"], chain["last_hash"]) == (seq, before)
