"""What tests of the sealer need: chains that say what a topic holds, and a sealer that is run a round at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaProducer, TopicPartition

from schemas.commitment import decode_body
from schemas.record import decode
from schemas.tlog.note import Verifier
from services.common.errors import TransientError
from services.common.kafka import admin_client, topic_ids
from services.common.settings import KafkaSettings
from services.writer.alert import Alert
from services.writer.heads import Head, HeadKeeper
from services.writer.sealer.key import read_keys
from services.writer.sealer.loop import Sealer
from services.writer.sealer.metrics import SealerMetrics
from services.writer.sealer.outlet import Outlet
from services.writer.sealer.settings import SealerSettings
from services.writer.sealer.source import Reading, Source
from services.writer.sealer.store import Store
from tests.chain_rows import ChainRows
from tests.recording import SAID

NOWHERE = KafkaSettings(bootstrap_servers="127.0.0.1:9")


class Sent(NamedTuple):
    """A message as a consumer would get it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


def send(kafka: KafkaSettings, count: int, partition: int = 0, start: int = 0) -> list[Sent]:
    """Events onto audit.events; what became of them."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap_servers, acks="all")
    try:
        sent = []
        for number in range(start, start + count):
            value = b'{"specversion":"1.0","id":"%d","source":"app","type":"t","data":{}}' % number
            headers = [("trace", b"%d" % number)]
            future = producer.send(
                kafka.topics.events, key=b"k", value=value, headers=headers, partition=partition
            )
            said = future.get(timeout=20)
            sent.append(Sent(said.offset, said.timestamp, 0, b"k", value, headers))
        return sent
    finally:
        producer.close(timeout=5)


def events_topic_id(kafka: KafkaSettings) -> bytes:
    admin = admin_client(kafka, "tests")
    try:
        return topic_ids(admin, [kafka.topics.events])[kafka.topics.events]
    finally:
        admin.close()


def chain_of(kafka: KafkaSettings, sent: list[Sent], **fields: Any) -> ChainRows:
    """A chain whose records say exactly what was sent."""
    chain = ChainRows(topic=kafka.topics.events, topic_id=events_topic_id(kafka), **fields)
    for message in sent:
        chain.event(message=message)
    return chain


class Silent:
    """Stands for Kafka in tests that are not about it: holds the messages that chains say, or is away. The contract
    of `Source`: tests/integration/test_sealer.py runs on the real one. `said`: heads as their writer said them, beside
    those that recorders said."""

    def __init__(
        self, messages: Callable[[TopicPartition], list[Sent]] | None, said: Sequence[Head] = ()
    ) -> None:
        self._messages = messages
        self._said = list(said)

    def __call__(self, _kafka: KafkaSettings) -> Any:
        return self

    def compare(self, readings: list[Reading], _seconds: float) -> None:
        if self._messages is None:
            raise TransientError("Kafka is away")
        for reading in readings:
            held = [message for message in self._messages(reading.at) if message.offset >= reading.start]
            reading.look.take(held)
            end = held[-1].offset + 1 if held else reading.start
            reading.look.reached(end)
            if not reading.look.done:
                reading.look.ends_at(end)

    def heads(self) -> Any:
        if self._messages is None:
            raise TransientError("Kafka is away")
        return Anywhere([*self._said, *SAID])

    def close(self) -> None:
        """Nothing to close."""


class Anywhere:
    """The same heads for every partition: they name their chains."""

    def __init__(self, heads: list[Head]) -> None:
        self._heads = heads

    def get(self, _at: TopicPartition, _default: Any) -> list[Head]:
        return self._heads


def heads_of(chain: ChainRows) -> list[Head]:
    """The head of a chain after each of its records."""
    return [Head(chain.chain_id, row.seq + 1, row.record_hash) for row in chain.rows]


def say_heads(kafka: KafkaSettings, *chains: ChainRows) -> None:
    """Says them where the writer would; as many as fit."""
    topics, keeper = kafka.topics, HeadKeeper(kafka)
    try:
        for chain in chains:
            read = topics.enriched if chain.topic == topics.events else chain.topic
            at = TopicPartition(read, chain.partition)
            keeper.take_over({at: None})
            keeper._said[at] = heads_of(chain)[-52:]
            keeper.say_again([at])
    finally:
        keeper.close()


def silent_of(*chains: ChainRows) -> Silent:
    """A topic that holds what some chains say."""
    held = {}
    for chain in chains:
        messages = held.setdefault((chain.topic, chain.partition), [])
        for row, content in zip(chain.rows, chain.contents, strict=True):
            if row.source_offset is not None:
                record, body = decode(row.leaf), decode_body(content.body)
                headers = [(name.decode(), value) for name, value in body.headers]
                messages.append(Sent(row.source_offset, record.kafka_ts_ms, 0, body.key, body.value, headers))
    said = [head for chain in chains for head in heads_of(chain)]
    return Silent(lambda at: held.get((at.topic, at.partition), []), said)


class Quiet(Outlet):
    """An outlet that keeps alerts and checkpoints from Kafka: for tests without a broker."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.heard: list[Alert] = []
        self.recorded: list[bytes] = []

    def _announce(self, new: Any) -> None:
        self.heard += new

    def _send(self, _work: Any) -> None:
        """Nowhere."""

    async def record(self, event: bytes) -> bool:
        self.recorded.append(event)
        return True

    def last_sent(self) -> bytes | None:
        return None


class Sealing:
    """A sealer in this process, run a round at a time. `alerts`: the names of those said so far."""

    def __init__(
        self,
        dsn: str,
        folder: Path,
        kafka: KafkaSettings = NOWHERE,
        *,
        connect: Any = Source,
        clock: Callable[[], int] | None = None,
        **settings: Any,
    ) -> None:
        self.settings = SealerSettings(**{"folder": folder, "origin": "example.com/test", **settings})
        self.folder = self.settings.publish_to
        self.keys = read_keys(self.settings)
        self.key = self.keys.current
        outlet_of = Quiet if kafka is NOWHERE else Outlet
        self.outlet = outlet_of(kafka, self.settings, self.keys, SealerMetrics())
        named = {} if clock is None else {"clock": clock}
        self.sealer = Sealer(
            kafka, self.settings, Store(dsn), self.outlet, SealerMetrics(), connect=connect, **named
        )
        self.sealer._stop = asyncio.Event()
        self._opened = False

    @property
    def verifier(self) -> Verifier:
        return self.key.verifier

    @property
    def memory(self) -> Any:
        return self.sealer._book.memory

    @property
    def alerts(self) -> list[str]:
        return sorted(identifier.split(":")[1] for identifier in self.outlet._said)

    async def rounds(self, count: int = 1) -> None:
        """So many rounds; the first one opens the book."""
        if not self._opened:
            for _ in range(100):  # the lead of a sealer that just ended is free in a moment
                if await self.sealer._connected():
                    break
                await asyncio.sleep(0.05)
            await self.sealer._open()
            self._opened = True
        for _ in range(count):
            await self.sealer._round()

    async def close(self) -> None:
        await self.sealer._close()
