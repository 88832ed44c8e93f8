"""What the enricher makes of the readings of shapes: one look-up for each event, and never a wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from schemas.catalog import CATALOG, Catalog, CatalogEntry
from schemas.enrichment import Enrichment
from schemas.mapping import Mapping
from services.common.ai.vocabulary import load_vocabulary
from services.enricher.outcome_words import ENGLISH, outcome_words
from services.enricher.shape_reading import Entry, SharedReading, checked
from services.enricher.shape_store import RETRY_MS, ShapeStore, Withheld
from services.enricher.shapes import Shape, Shapes, placeholders

SHAPE_PROMPT = "shape-1"


def shape_version(language: str) -> str:
    """What the readings of a language are kept under: another language is another reading. Raises ConfigurationError."""
    name = outcome_words(language).name
    return SHAPE_PROMPT if name == ENGLISH.name else f"{SHAPE_PROMPT}.{name}"


GRAVE = ("high", "critical")
"""Risks by rules at which an event is read for itself."""


class Readings:
    """The readings of one model and prompt version. `now_ms`: milliseconds since 1970 UTC."""

    def __init__(
        self,
        catalog: Catalog,
        model: str,
        prompt_version: str,
        *,
        store: ShapeStore | None = None,
        now_ms: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        self.store = ShapeStore() if store is None else store
        self.model = model
        self.prompt_version = prompt_version
        self.shape_of = Shapes().of
        self._catalog = catalog
        self._vocabulary = frozenset(load_vocabulary())
        self._now_ms = now_ms

    def apply(
        self, document: Enrichment, kind: Mapping | CatalogEntry, event_type: str, data: dict[str, Any]
    ) -> None:
        """Puts the reading of the event's shape into its enrichment; `pending` where one is still to come, of the shape
        or, at high risk, of the event itself."""
        document.pending = document.risk in GRAVE
        shape = self.shape_of(kind, event_type, data, document.who)
        if shape is None:
            return
        found = self.store.get(shape)
        if type(found) is SharedReading:
            document.ai = found.fill(document.who, data)
        elif found is None or found.until_ms < self._now_ms():  # type: ignore[union-attr]
            document.pending = True

    def allowed(self, shape: Shape) -> tuple[str, ...]:
        """The placeholders that a reading of the shape may have."""
        entry = self._catalog.entries.get(shape.type) if shape.source == CATALOG else None
        return shape.facts if entry is None else placeholders(entry, shape)

    def learn(self, shape: Shape, entry: Entry) -> SharedReading | Withheld | None:
        """Takes what audit.shapes says, checked again: who may write there is not who may say anything. None where it
        is of another model or prompt, or no reading."""
        if (entry.model, entry.prompt_version) != (self.model, self.prompt_version):
            return None
        if entry.withheld:
            found: SharedReading | Withheld | None = Withheld(entry.withheld[:40], entry.at_ms + RETRY_MS)
        else:
            found = self.check(shape, entry.text, entry.tags, entry.risk)
        if found is not None:
            self.store.put(shape, found)
        return found

    def check(self, shape: Shape, text: Any, tags: Any, risk: Any) -> SharedReading | None:
        """A model's reading of a shape as far as it is believed."""
        name = (self.model, self.prompt_version)
        return checked(text, tags, risk, allowed=self.allowed(shape), vocabulary=self._vocabulary, name=name)
