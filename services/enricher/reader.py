"""Reads what is on the agenda: asks, and sends the annotations and replies that come of it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

from services.common.ai.asker import About, Asker
from services.common.ai.outcome import WAITS, Failure
from services.common.logging import get_logger
from services.enricher.agenda import Item, ShapeToRead
from services.enricher.annotations import By, annotation, reply
from services.enricher.kinds import Kinds
from services.enricher.outbox import Outbox
from services.enricher.questions import Form, Reading, Subject
from services.enricher.raises import Raises
from services.enricher.readings import GRAVE
from services.enricher.shape_asker import SOURCE_LIMIT, ShapeAsker
from services.enricher.shape_reading import SharedReading
from services.enricher.shape_store import Withheld

log = get_logger(__name__)
INVALID = "invalid"
_REFUSED_S = 60.0
"""For so long at most the budget is not asked again after it refused."""
Missing = list[tuple[Item, str]]
"""Events without a reading, and why."""


class Model(NamedTuple):
    """Whom to ask and how. `by` labels readings of single events, `by_shape` those of shapes."""

    by: By
    by_shape: By
    form: Form


class Reader:
    """Asks about single events and about shapes."""

    def __init__(
        self,
        model: Model,
        asker: Asker,
        shapes: ShapeAsker,
        kinds: Kinds,
        raises: Raises,
        outbox: Outbox,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._asker = asker
        self._shapes = shapes
        self._kinds = kinds
        self._raises = raises
        self._outbox = outbox
        self._now = now
        self._refused: dict[str, tuple[float, str]] = {}
        self._told: dict[str, float] = {}

    def is_new(self, source: str) -> bool:
        """Whether a source has had no new shape before today."""
        return self._asker.is_new(source[:SOURCE_LIMIT])

    async def events(self, items: Sequence[Item]) -> Missing:
        """Asks about some events together, then one by one about those that got no reading: so one event that makes
        a model refuse, or talk of nothing else, costs no other its reading. Returns those that stay without."""
        missing = await self._ask(items)
        if len(items) == 1 or not missing or missing[0][1] in (*WAITS, "budget"):
            return missing
        return [found for item, _ in missing for found in await self._ask([item])]

    async def shape(self, work: ShapeToRead) -> SharedReading | str:
        """The reading of a shape, or why there is none."""
        for name in ("", f"source/{work.source}"):
            until, why = self._refused.get(name, (0.0, ""))
            if self._now() < until and self._shapes.known(work.shape) is None:
                return why
        found = await self._shapes.read(work.shape, work.source)
        if isinstance(found, SharedReading):
            return found
        if isinstance(found, Withheld):
            return found.reason
        if found.kind in ("budget", "source"):
            self._note_refusal("" if found.kind == "budget" else f"source/{work.source}", found)
        if self._now() >= self._told.get(found.kind, 0.0) + _REFUSED_S:  # made-up sources would fill the log
            self._told[found.kind] = self._now()
            log.warning("ai_gave_no_reading_of_shape", why=found.kind, advice=found.advice)
        return found.kind

    async def fill(self, reading: SharedReading, items: Sequence[Item]) -> None:
        """The reading of their shape as annotations of some events."""
        found = []
        for item in items:
            _, data = self._kinds.shape(item.subject)
            made = reading.fill(item.subject.document.who, data)
            found.append((item.subject, Reading(made.summary, made.tags, made.risk)))
        await self._send(found, self._model.by_shape)

    async def _ask(self, items: Sequence[Item]) -> Missing:
        """One question; sends the annotations that come of it, and returns the events that have none."""
        subjects = [item.subject for item in items]
        question = self._model.form.ask(subjects)
        about = About("high" if subjects[0].document.risk in GRAVE else "event", self._model.form.version)
        asked = await self._asker.ask(
            question.messages, self._model.form.name, self._model.form.schema, about
        )
        if isinstance(asked.result, Failure):
            why = asked.result.kind
            log.warning("ai_gave_no_reading", events=len(items), why=why, advice=asked.result.advice)
            return [(item, why) for item in items]
        readings = question.read(asked.result.text)
        await self._send(
            [(subjects[number], reading) for number, reading in sorted(readings.items())], self._model.by
        )
        missing = [item for number, item in enumerate(items) if number not in readings]
        if missing:
            log.warning("ai_readings_invalid", events=len(items), without=len(missing))
        return [(item, INVALID) for item in missing]

    async def _send(self, found: Sequence[tuple[Subject, Reading]], by: By) -> None:
        by_partition: dict[int, list[bytes]] = defaultdict(list)
        for subject, reading in found:
            by_partition[subject.header.partition].append(annotation(subject, reading, by))
            self._raises.read(subject.document, reading.risk)
        for partition, made in by_partition.items():
            await self._outbox.annotations(partition, made)
        await self._outbox.replies(
            [(s.token, reply(s, reading, by.model)) for s, reading in found if s.token]
        )

    def _note_refusal(self, name: str, failure: Failure) -> None:
        if len(self._refused) > 10_000:
            self._refused.clear()
        again_s = failure.retry_after_s or _REFUSED_S
        self._refused[name] = (self._now() + min(again_s, _REFUSED_S), failure.kind)
