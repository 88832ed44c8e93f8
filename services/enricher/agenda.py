"""What the annotator does next: out of order, the highest risk first, and no source at another's expense. Pure."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
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
    shapes, sources that were here before today go first, then the source that has asked least. Events that are too few for a request wait up to `linger_s` seconds
    for company, unless somebody waits for one of them."""

    def __init__(
        self, events_per_request: int, linger_s: float = 0.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = events_per_request
        self._linger_s = linger_s
        self._now = now
        self._due = 0.0
        self._waited_for = 0
        self._events: list[tuple[int, int, Item]] = []
        self._shapes: list[tuple[bool, int, int, ShapeToRead]] = []
        self._by_shape: dict[Shape, ShapeToRead] = {}
        self._asked: Counter[str] = Counter()
        self._number = self._turn = 0
        self._news = asyncio.Condition()

    def add_event(self, item: Item) -> None:
        """An event that is to be read by itself."""
        self._number += 1
        if not self._events:
            self._due = self._now() + self._linger_s
        self._waited_for += item.subject.token is not None
        heapq.heappush(self._events, (-RISKS.index(item.subject.document.risk), self._number, item))

    def add_shape(self, shape: Shape, item: Item, *, new: bool = False) -> None:
        """An event that waits for the reading of its shape; `new`: its source has had none before today."""
        waiting = self._by_shape.get(shape)
        if waiting is None:
            source = item.subject.document.source
            waiting = self._by_shape[shape] = ShapeToRead(shape, source)
            self._asked[source] += 1
            if len(self._asked) > 10_000:
                self._asked.clear()
            self._number += 1
            heapq.heappush(self._shapes, (new, self._asked[source], self._number, waiting))
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
            while not (self._shapes or self._ready()):
                left_s = self._due - self._now() if self._events else None
                with suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._news.wait()
            return self._take()

    def _ready(self) -> bool:
        """Whether there are events to be read now."""
        if not self._events:
            return False
        return len(self._events) >= self._most or self._waited_for > 0 or self._now() >= self._due

    def _take(self) -> Work:
        self._turn += 1
        ready = self._ready()
        grave = ready and _is_grave(self._events[0][2])
        if self._shapes and (not ready or not grave or self._turn % _EVERY_THIRD == 0):
            return heapq.heappop(self._shapes)[3]
        items = [self._pop()]
        while self._events and len(items) < self._most and _is_grave(self._events[0][2]) == grave:
            items.append(self._pop())
        self._due = self._now() + self._linger_s
        return EventsToRead(items)

    def _pop(self) -> Item:
        item = heapq.heappop(self._events)[2]
        self._waited_for -= item.subject.token is not None
        return item


def _is_grave(item: Item) -> bool:
    return item.subject.document.risk in GRAVE
