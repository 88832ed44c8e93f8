"""The enricher with the rules, the mappings and the catalogue that are shipped: loaded once a process, as it takes a
second. For tests that change nothing of it."""

from __future__ import annotations

from functools import cache

from services.enricher.enrich import Enricher, load_enricher

EVENT_LIMIT = 1024 * 1024


@cache
def shipped_enricher(event_limit: int = EVENT_LIMIT) -> Enricher:
    """Without an AI."""
    return load_enricher(event_limit=event_limit)
