"""What the annotator does next: out of order, the highest risk first, and no source at another's expense. Pure."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.enrichment import RISKS
from services.enricher.ledger import Range
from services.enricher.questions import Subject
from services.enricher.readings import GRAVE
from services.enricher.shapes import Shape
from services.enricher.transport import Batch

_EVERY_THIRD = 3


@dataclass(eq=False)
class Held:
    """A batch in hand: how many of its events are still to do, and which of them stay without a reading, and why."""

    batch: Batch
    ranges: list[Range]
    done: Callable[[], Any]
    left: int = 0
    passed: list[tuple[Subject, str]] = field(default_factory=list)


class Item(NamedTuple):
    """An event in hand."""

    subject: Subject
    held: Held


class EventsToRead(NamedTuple):
    """Events that are asked about in one request."""

    items: list[Item]


@dataclass(eq=False)
class ShapeToRead:
    """A shape, and the events that wait for its reading; more may join until that has come."""

    shape: Shape
    source: str
    items: list[Item] = field(default_factory=list)


Work = EventsToRead | ShapeToRead


class Agenda:
    """Grave events go first, yet every third turn is a shape's, so that neither starves the other; then samples. Among
    shapes, the source that has asked least goes first."""

    def __init__(self, events_per_request: int) -> None:
        self._most = events_per_request
        self._events: list[tuple[int, int, Item]] = []
        self._shapes: list[tuple[int, int, ShapeToRead]] = []
        self._by_shape: dict[Shape, ShapeToRead] = {}
        self._asked: Counter[str] = Counter()
        self._number = self._turn = 0
        self._news = asyncio.Condition()

    def add_event(self, item: Item) -> None:
        """An event that is to be read by itself."""
        self._number += 1
        heapq.heappush(self._events, (-RISKS.index(item.subject.document.risk), self._number, item))

    def add_shape(self, shape: Shape, item: Item) -> None:
        """An event that waits for the reading of its shape."""
        waiting = self._by_shape.get(shape)
        if waiting is None:
            source = item.subject.document.source
            waiting = self._by_shape[shape] = ShapeToRead(shape, source)
            self._asked[source] += 1
            if len(self._asked) > 10_000:
                self._asked.clear()
            self._number += 1
            heapq.heappush(self._shapes, (self._asked[source], self._number, waiting))
        waiting.items.append(item)

    def close_shape(self, work: ShapeToRead) -> list[Item]:
        """Its reading has come, or will not: the events that waited; later ones wait anew."""
        self._by_shape.pop(work.shape, None)
        return work.items

    async def announce(self) -> None:
        """Wakes those who wait for work."""
        async with self._news:
            self._news.notify_all()

    async def next(self) -> Work:
        """The next piece of work; waits for it."""
        async with self._news:
            await self._news.wait_for(lambda: bool(self._events or self._shapes))
            return self._take()

    def _take(self) -> Work:
        self._turn += 1
        grave = bool(self._events) and _is_grave(self._events[0][2])
        if self._shapes and (not grave or self._turn % _EVERY_THIRD == 0):
            return heapq.heappop(self._shapes)[2]
        items = [heapq.heappop(self._events)[2]]
        while self._events and len(items) < self._most and _is_grave(self._events[0][2]) == grave:
            items.append(heapq.heappop(self._events)[2])
        return EventsToRead(items)


def _is_grave(item: Item) -> bool:
    return item.subject.document.risk in GRAVE
