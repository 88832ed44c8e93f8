"""Follows audit.shapes, whole and without a group: what it says is in `Readings` a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.common.logging import get_logger
from services.common.settings import KafkaSettings
from services.enricher.app import client_settings
from services.enricher.readings import Readings
from services.enricher.shape_reading import read_entry
from services.enricher.shapes import Shape

log = get_logger(__name__)
_RETRY_S = 2.0
_POLL_MS = 300


class ShapeFeed:
    """`run` it as a task. `noted` hears of every shape that became known."""

    def __init__(
        self, kafka: KafkaSettings, readings: Readings, noted: Callable[[Shape], object] = lambda _shape: None
    ) -> None:
        self._kafka = kafka
        self._readings = readings
        self._noted = noted
        self._place = TopicPartition(kafka.topics.shapes, 0)
        self._next = 0
        self._moved = asyncio.Condition()
        self._consumer: Any = None

    async def run(self) -> None:
        """Until cancelled. A broker that is away is tried again: events flow by what is known."""
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                log.warning("shapes_not_followed", error=repr(error))
                await asyncio.sleep(_RETRY_S)

    async def caught_up(self) -> None:
        """Returns when all is read that stood on the topic at the call."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._consumer is not None)
        end = (await self._consumer.end_offsets([self._place]))[self._place]
        async with self._moved:
            await self._moved.wait_for(lambda: self._next >= end)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            client_id="piperoll-shapes",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            **client_settings(self._kafka),
        )
        await consumer.start()
        try:
            consumer.assign([self._place])
            await consumer.seek_to_beginning(self._place)
            async with self._moved:
                self._consumer = consumer
                self._moved.notify_all()
            while True:
                found = await consumer.getmany(self._place, timeout_ms=_POLL_MS)
                for record in found.get(self._place, ()):
                    self._take(record)
                async with self._moved:
                    self._next = await consumer.position(self._place)
                    self._moved.notify_all()
        finally:
            self._consumer = None
            await consumer.stop()

    def _take(self, record: Any) -> None:
        if record.value is None:
            return
        try:
            shape, entry = read_entry(record.value)
        except ValueError as error:
            log.warning("shape_unreadable", offset=record.offset, error=str(error))
            return
        if self._readings.learn(shape, entry) is not None:
            self._noted(shape)
