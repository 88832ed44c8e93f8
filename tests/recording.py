"""Records messages into a real database through the writer's own linking and store, without Kafka."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Self

from schemas.topics import Topics
from services.common.clock import Clock, system_clock
from services.writer.anchors import Anchors
from services.writer.batch import Linked, Linker
from services.writer.chain import Place
from services.writer.found import Item
from services.writer.items import OwnReader, enriched_item
from services.writer.store import Store
from tests.builders import Message

TOPICS = Topics()
WINDOW_US = 7 * 24 * 3600 * 1_000_000


class Recorder:
    """The writer of one partition. `claim` first where the partition has a chain already."""

    def __init__(
        self,
        dsn: str,
        topic: str = TOPICS.enriched,
        partition: int = 0,
        clock: Clock = system_clock,
        read_topic_id: bytes | None = None,
        timeout_s: float = 20,
    ) -> None:
        source = TOPICS.events if topic == TOPICS.enriched else topic
        self.place = Place("cluster", source, partition, topic)
        self.store = Store(dsn, timeout_s)
        self.anchors = Anchors(self.store)
        self.clock = clock
        self.read_topic_id = read_topic_id or os.urandom(16)
        self.linker = Linker(
            self.place, self.read_topic_id, None, {}, by_name=topic != TOPICS.enriched, clock=clock
        )
        self.to_item = self._item_maker(topic, partition)
        self.numbers: dict[bytes, list[int]] = {}
        self._read_offset = 0

    def _item_maker(self, topic: str, partition: int) -> Callable[[Message], Item]:
        if topic == TOPICS.enriched:
            return lambda message: enriched_item(message, partition)
        reader = OwnReader(self.read_topic_id, partition, -1, reset=False)
        return reader.annotation if topic == TOPICS.annotations else reader.own_event

    async def __aenter__(self) -> Self:
        await self.store.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()

    async def claim(self) -> None:
        """Takes over the chain that is there."""
        lineage = await self.store.lineage(self.place)
        chain = await self.store.claim(lineage)
        self.linker = Linker(
            self.place,
            self.read_topic_id,
            chain,
            dict(lineage.passed),
            by_name=self.place.read_topic != TOPICS.enriched,
            clock=self.clock,
        )
        self.numbers = lineage.numbers
        self._read_offset = lineage.next_read_offset

    async def link(self, *messages: Message) -> Linked:
        """One batch, linked only."""
        items = []
        for message in messages:
            items.append(self.to_item(message._replace(offset=self._read_offset)))
            self._read_offset += 1
        passed, identities = self.linker.to_look_up(items)
        chain = self.linker.chain
        number = None if chain is None else chain.number
        since = time.time_ns() // 1000 - WINDOW_US
        found = await self.store.look_up(number, self.numbers, passed, identities, since)
        anchor = await self.anchors.body() if self.linker.wants_anchor else None
        return self.linker.link(items, found, anchor)

    async def record(self, *messages: Message) -> Linked:
        """One batch, linked and stored."""
        linked = await self.link(*messages)
        await self.store.append([(self.place, linked)])
        self.linker.stored()
        for section in linked.sections:
            if section.opening is not None:
                self.numbers.setdefault(section.chain.topic_id, []).append(section.chain.number)
        return linked
