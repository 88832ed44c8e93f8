"""One question for each new shape, whoever needs it: asked once, put on audit.shapes, and there for every enricher."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from services.common.ai.asker import About, Asked, Asker
from services.common.ai.outcome import Answer, Failure
from services.common.logging import get_logger
from services.enricher.readings import Readings
from services.enricher.shape_question import ShapeForm, read_answer
from services.enricher.shape_reading import Entry, SharedReading, entry_key
from services.enricher.shape_store import Families, Withheld
from services.enricher.shapes import Shape

log = get_logger(__name__)
TOO_MANY = "too-many-values"
INVALID = "invalid"
_LASTS = frozenset({"refused", "truncated", "malformed", "request", "dialect"})
"""Failures that asking again would only repeat: the shape has no reading for a day."""
_CLAIM_WAIT_S = 0.5
SOURCE_LIMIT = 200
"""Characters of a source's name in the budget's log."""


class Publisher(Protocol):
    """Puts a message on audit.shapes, acknowledged when it returns."""

    async def shape(self, key: bytes, entry: bytes) -> None: ...


class ShapeAsker:
    """`caught_up` returns when all that stood on audit.shapes is known here too."""

    def __init__(
        self,
        readings: Readings,
        form: ShapeForm,
        asker: Asker,
        outbox: Publisher,
        *,
        caught_up: Callable[[], Awaitable[None]],
        families: Families | None = None,
        now_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        self._families = Families() if families is None else families
        self._readings = readings
        self._form = form
        self._asker = asker
        self._outbox = outbox
        self._caught_up = caught_up
        self._now_ms = now_ms

    def known(self, shape: Shape) -> SharedReading | Withheld | None:
        """What is known of a shape without asking."""
        found = self._readings.store.get(shape)
        return None if isinstance(found, Withheld) and found.until_ms < self._now_ms() else found

    async def read(self, shape: Shape, source: str) -> SharedReading | Withheld | Failure:
        """The reading, why there is none for now, or the failure of asking. `source`: whose event showed the shape."""
        while True:
            if (found := self.known(shape)) is not None:
                return found
            if not self._families.admits(shape):
                return await self._publish(shape, Entry(list(shape), *self._name, 0, withheld=TOO_MANY))
            asked = await self._ask(shape, source)
            if not isinstance(asked.result, Failure) or asked.result.kind != "claimed":
                outcome = await self._found(shape, asked.result)
                if isinstance(outcome, Failure):
                    # What is published keeps its claim until that runs out: nobody has to ask any more.
                    await self._asker.release(asked)
                return outcome
            await asyncio.sleep(_CLAIM_WAIT_S)
            await self._caught_up()

    async def _ask(self, shape: Shape, source: str) -> Asked:
        messages = self._form.ask(shape, self._readings.allowed(shape))
        claim = entry_key(shape, *self._name).decode()
        about = About("shape", self._form.version, source[:SOURCE_LIMIT], claim)
        return await self._asker.ask(messages, self._form.name, self._form.schema, about)

    @property
    def _name(self) -> tuple[str, str]:
        return self._readings.model, self._readings.prompt_version

    async def _found(self, shape: Shape, result: Answer | Failure) -> SharedReading | Withheld | Failure:
        entry = Entry(list(shape), *self._name, 0)
        if isinstance(result, Failure):
            if result.kind not in _LASTS:
                return result
            return await self._publish(shape, msgspec.structs.replace(entry, withheld=result.kind))
        reading = read_answer(self._readings, shape, result.text, self._form.words)
        if reading is None:
            log.warning("ai_reading_of_shape_invalid", log_source=shape.source)
            return await self._publish(shape, msgspec.structs.replace(entry, withheld=INVALID))
        entry = msgspec.structs.replace(entry, text=reading.text, tags=reading.tags, risk=reading.risk)
        return await self._publish(shape, entry)

    async def _publish(self, shape: Shape, entry: Entry) -> SharedReading | Withheld:
        """Durable first, then known here."""
        entry = msgspec.structs.replace(entry, at_ms=int(self._now_ms()))
        await self._outbox.shape(entry_key(shape, *self._name), msgspec.json.encode(entry))
        found = self._readings.learn(shape, entry)
        assert found is not None
        return found
