"""The shape of an event on audit.enriched, found as the enricher found it: by its enrichment and its message. Pure."""

from __future__ import annotations

from typing import Any

from schemas.catalog import CATALOG, Catalog, CatalogEntry
from schemas.events import PoisonError
from schemas.mapping import GENERIC, Mapping, Mappings
from schemas.shredding.token import read_shown
from services.enricher.envelope import unwrap
from services.enricher.questions import Subject
from services.enricher.readings import Readings
from services.enricher.shapes import Shape


class Kinds:
    """Mapping or catalogue entry of an event, by the log source that its enrichment names."""

    def __init__(self, catalog: Catalog, mappings: Mappings, readings: Readings) -> None:
        self._entries = catalog.entries
        self._recognise = mappings.recognise
        self._mappings = {mapping.log_source: mapping for mapping in mappings.all}
        self._shape_of = readings.shape_of

    def shape(self, subject: Subject) -> tuple[Shape | None, dict[str, Any]]:
        """The event's shape and its data; None where no reading can be shared."""
        document = subject.document
        try:
            data = unwrap(self._recognise, read_shown(subject.value, subject.headers).data)
        except PoisonError:
            return None, {}
        kind = self._kind(document.log_source, document.type)
        return (None if kind is None else self._shape_of(kind, document.type, data, document.who)), data

    def _kind(self, log_source: str | None, event_type: str) -> Mapping | CatalogEntry | None:
        if log_source == CATALOG:
            return self._entries.get(event_type)
        return self._mappings.get(log_source or "") or (GENERIC if log_source == GENERIC.log_source else None)
