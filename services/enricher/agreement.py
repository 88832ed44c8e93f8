"""How often a model's risk lies far from that of the rules: counted by each annotator, put on audit.system every few minutes,
where the alerter adds it up. Pure."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from schemas.enrichment import RISKS, Enrichment
from services.common.ai.record import iso, own_event

READINGS = "piperoll.annotator.readings"
PERIOD_MS = 5 * 60_000
APART = 2
"""Levels of risk: informational and medium are apart, low and medium are not."""


class Agreement:
    """Readings of the running period. `now_ms`: milliseconds since 1970 UTC. What a crash takes is a few minutes' count."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self._begun_ms = now_ms()
        self._readings = self._above = self._below = 0

    def read(self, document: Enrichment, risk: str) -> None:
        """A model's risk of an event."""
        levels = RISKS.index(risk) - RISKS.index(document.risk)
        self._readings += 1
        self._above += levels >= APART
        self._below += levels <= -APART

    def due(self, source: str, model: str) -> bytes | None:
        """The own event of the period, once that is over and had readings."""
        now_ms = self._now_ms()
        if now_ms - self._begun_ms < PERIOD_MS:
            return None
        begun_ms, self._begun_ms = self._begun_ms, now_ms
        readings, above, below = self._readings, self._above, self._below
        self._readings = self._above = self._below = 0
        if not readings:
            return None
        data = {
            "model": model,
            "from": iso(int(begun_ms * 1000)),
            "to": iso(int(now_ms * 1000)),
            "readings": readings,
            "apart": above + below,
            "above_rules": above,
            "below_rules": below,
        }
        return own_event(source, READINGS, uuid4().hex, iso(int(now_ms * 1000)), data)
