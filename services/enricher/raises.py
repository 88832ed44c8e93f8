"""Where a model calls events graver than rules do: never an alert for one, a digest of the hour, and one alert `ai:flood`
where that happens to more than 5 % of a source's events. Pure."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from schemas.enrichment import RISKS, Enrichment
from schemas.text import neutral
from services.common.alerts import Alert
from services.enricher.agreement import Agreement

SHARE, LEAST = 0.05, 20
HOUR_MS = 3_600_000
_SOURCES_LIMIT = 5_000
_NAMED = 5
OTHERS = "(other sources)"


class Tally:
    """Events of one source in the hour, and how many of them the AI alone raised; `flooded`: said already."""

    __slots__ = ("events", "flooded", "raised")

    def __init__(self) -> None:
        self.events = self.raised = 0
        self.flooded = False


class Hour(NamedTuple):
    """The running hour (its number since 1970, UTC) and its sources."""

    number: int
    sources: dict[str, Tally]


class Raises:
    """Counts by source and hour; `due` gives the alerts. `now_ms`: milliseconds since 1970 UTC. `instance` keeps the
    digests of several annotators apart."""

    def __init__(self, now_ms: Callable[[], float], instance: str = "") -> None:
        self._now_ms = now_ms
        self._instance = instance
        self._hour = Hour(int(now_ms()) // HOUR_MS, {})
        self._due: list[Alert] = []
        self.agreement = Agreement(now_ms)

    def seen(self, document: Enrichment) -> None:
        """An event as the enricher left it, with or without the reading of its shape."""
        self._tally(document.source).events += 1
        if document.ai is not None:
            self.read(document, document.ai.risk)

    def read(self, document: Enrichment, risk: str) -> None:
        """A model's risk of an event that was seen."""
        self.agreement.read(document, risk)
        if RISKS.index(risk) <= max(RISKS.index(document.risk), RISKS.index("low")):
            return
        tally = self._tally(document.source)
        tally.raised += 1
        if not tally.flooded and tally.raised >= LEAST and tally.raised > SHARE * tally.events:
            tally.flooded = True
            self._due.append(self._flood(document.source, tally))

    def due(self) -> list[Alert]:
        """Alerts to be said now."""
        self._turn()
        due, self._due = self._due, []
        return due

    def _tally(self, source: str) -> Tally:
        self._turn()
        sources = self._hour.sources
        if source not in sources and len(sources) >= _SOURCES_LIMIT:
            source = OTHERS
        return sources.setdefault(source, Tally())

    def _turn(self) -> None:
        number = int(self._now_ms()) // HOUR_MS
        if number != self._hour.number:
            ended, self._hour = self._hour, Hour(number, {})
            self._due += self._digest(ended)

    def _flood(self, source: str, tally: Tally) -> Alert:
        name = neutral(source, 120)
        identity = sha256(f"ai-flood/{self._hour.number}/{source}".encode("utf-8", "replace")).hexdigest()[
            :32
        ]
        text = (
            f"ai:flood: within the hour the AI alone called {tally.raised} of {tally.events} events of {name} graver than the "
            "rules do, more than 5 %. Single ones are not told any more. Either something is going on that rules do not know, or "
            "the model is wrong or misled: look at some of these events."
        )
        facts: dict[str, object] = {"source": name, "raised": tally.raised, "events": tally.events}
        return Alert(identity, "medium", "ai_flood", text, facts)

    def _digest(self, ended: Hour) -> list[Alert]:
        raised = {name: tally for name, tally in ended.sources.items() if tally.raised and not tally.flooded}
        if not raised:
            return []
        count = sum(tally.raised for tally in raised.values())
        first = sorted(raised, key=lambda name: -raised[name].raised)[:_NAMED]
        named = ", ".join(f"{neutral(name, 60)} ({raised[name].raised})" for name in first)
        identity = sha256(f"ai-digest/{ended.number}/{self._instance}".encode()).hexdigest()[:32]
        text = (
            f"Within an hour the AI called {count} events graver than the rules do, of {len(raised)} sources: {named}. "
            "They are in audit_events where risk_ai is above risk_floor."
        )
        return [Alert(identity, "low", "ai_raises", text, {"raised": count, "sources": len(raised)})]
